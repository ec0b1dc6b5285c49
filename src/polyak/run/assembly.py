"""Makes a run's moving parts from its plan."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from polyak import frameworks, tracking
from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.environments.stepping import Environments
from polyak.errors import UsageError
from polyak.experience.collector import Collector
from polyak.experience.replay import Replay, memory_needed
from polyak.frameworks.execution import Execution, count_of_threads
from polyak.policies.policy import Policy
from polyak.run.checkpoints import Checkpoints
from polyak.run.folder import Run, made_for
from polyak.run.learning import Updates
from polyak.run.ledger import Ledger
from polyak.run.loop import Loop
from polyak.run.metrics import MetricsWriter
from polyak.run.plan import Plan
from polyak.run.progress import Observer, Progress, tell_ended
from polyak.system.memory import memory_free, readable_bytes
from polyak.system.randomness import Streams
from polyak.types import Arrays, Learner, Spec

MakeLearner = Callable[[str, Spec, Settings, Arrays, Execution], Learner]
"""(algorithm, spec, settings, state, where it computes) -> a learner."""


def make_replay(plan: Plan, spec: Spec, envs: int, runs: int = 1, expected: int | None = None) -> Replay:
    """An empty replay, for so many environments; one of so many runs' in this process.

    A run that goes on says how many transitions are `expected` ever, and needs memory for no more.

    Raises:
        UsageError: it, what is sampled from it at once, or all that the runs will keep does not fit into memory.
    """
    config = plan.config
    if runs > 1:
        held = min(config.replay_size, config.steps)
        needed, free = runs * memory_needed(held, spec.observation_size, spec.action_size), memory_free()
        if needed > free:
            raise UsageError(
                f"{runs} runs together will need {readable_bytes(needed)} for replay, but {readable_bytes(free)} are "
                "free: train fewer seeds together, or lower replay_size"
            )
    replay = Replay(config.replay_size, spec.observation_size, spec.action_size, expected)
    replay.require_burst(max(config.update_every, envs) * config.updates_per_step, config.batch_size)
    return replay


def make_loop(
    stack: ExitStack,
    plan: Plan,
    run: Run,
    streams: Streams,
    collector: Collector,
    test_environments: Environments | None,
    replay: Replay,
    learner: Arrays,
    checkpoints: Checkpoints,
    observer: Observer,
    make_learner: MakeLearner | None = None,
    *,
    written: bytes = b"",
    step: int | None = None,
    notes: Mapping[str, str] | None = None,
) -> Loop:
    """The loop that trains, its folder open and its observer started; `stack` ends both.

    `make_learner` is that of the plan's backend unless given. `written` are the metrics up to `step`, of a run that
    goes on; `notes` are facts for the observer.
    """
    module = algorithm_module(plan.algorithm)
    writer = stack.enter_context(MetricsWriter(run.folder, written, step))
    trackers, places = tracking.start(plan.track, run)
    writer.sinks += trackers
    progress = Progress(
        title=f"{plan.algorithm.upper()} on {plan.name}, seed {plan.seed}",
        facts={**facts(plan, collector.environments.count, replay), **places, **(notes or {})},
        folder=run.folder,
        total_steps=plan.config.steps,
        steps=step or 0,
    )
    observer.started(progress)
    stack.callback(tell_ended, observer, progress)
    make = make_learner or partial(frameworks.make_learner, plan.backend)
    made = make(plan.algorithm, collector.environments.spec, plan.config, learner, plan.execution)
    noise = getattr(plan.config, "exploration_noise", 0.0)
    policy = Policy(made.actor(), collector.environments.spec, module.POLICY_KIND, noise, made_for(run.settings))
    ledger, cut = Ledger(module.METRICS), _many_lengths(plan, collector)
    return Loop(
        run=run,
        plan=plan,
        collector=collector,
        updates=Updates(plan, streams, replay, made, policy, ledger, run.folder, in_pieces=cut),
        ledger=ledger,
        test_environments=test_environments,
        writer=writer,
        checkpoints=checkpoints,
        progress=progress,
        observer=observer,
    )


def _many_lengths(plan: Plan, collector: Collector) -> bool:
    """Whether bursts are of as many lengths as there are environments, because some of them spend steps on resets."""
    environments = collector.environments
    return environments.resets_take_steps and environments.count > plan.config.update_every


EVALUATED = {
    "process": "in a process of its own",
    "training": "in the environment that trains, at the first episode's end after the epoch",
    "never": "never",
}
"""Where, in words."""


def facts(plan: Plan, envs: int, replay: Replay) -> dict[str, str]:
    """What is worth knowing of a run at its start."""
    execution, config = plan.execution, plan.config
    memory = readable_bytes(replay.capacity * replay.row_bytes)
    device = "cuda" if execution.device == "cuda" else f"cpu, {count_of_threads(execution)}"
    rhythm = "every step" if config.update_every == 1 else f"every {config.update_every} steps"
    rhythm += ", computed while the environments go on" if config.lag else ""
    return {
        "preset": str(plan.preset),
        **({"from": str(plan.from_run)} if plan.from_run else {}),
        "backend": f"{plan.backend} on {device}" + ("" if execution.fast else ", plain"),
        "replay": f"{replay.capacity:,} transitions; replay will use {memory}",
        "environments": f"{envs} ({plan.vectorization})"
        + (", each episode's made anew" if plan.isolation.afresh else ""),
        **({} if plan.evaluate_in == "own" else {"evaluated": EVALUATED[plan.evaluate_in]}),
        "updates": f"{config.updates_per_step:g} per environment step, however many environments; "
        f"batch {config.batch_size}, {rhythm} from step {config.update_after:,}",
    }
