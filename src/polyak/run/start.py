"""From a plan to a loop that is ready to run; what a run that goes on is put together from is the same."""

import dataclasses
import warnings
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from polyak import frameworks, tracking
from polyak.algorithm import first_state
from polyak.algorithms import is_built_in, require_page
from polyak.algorithms.checks import require_parts
from polyak.algorithms.trial import require_working
from polyak.environments.goals import Goals
from polyak.environments.history import generators_kept
from polyak.environments.probe import Found
from polyak.environments.stepping import Environments
from polyak.errors import UsageError
from polyak.experience.batches import Batches, batches_of
from polyak.experience.remote import Remote
from polyak.experience.replay import Replay, memory_needed
from polyak.experience.sums import ROW_BYTES
from polyak.frameworks import Group
from polyak.policies.policy import policy_of
from polyak.run.callbacks import Callbacks, making
from polyak.run.callbacks.view import Training
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.collecting import Collecting, collector_of, described, inexact, started
from polyak.run.demonstrations import demonstrations_of
from polyak.run.description import spaces_of
from polyak.run.evaluating import Evaluations
from polyak.run.facts import facts, told_of, told_of_goals
from polyak.run.folder import Run
from polyak.run.learned import sensible
from polyak.run.learning import Updates
from polyak.run.ledger import Ledger
from polyak.run.loop import Loop
from polyak.run.metrics import MetricsWriter
from polyak.run.mirror.sending import mirrored
from polyak.run.origin import added_of, made_for
from polyak.run.plan import Plan
from polyak.run.progress import Observer, Progress, Silent, tell_ended
from polyak.run.runs import new_run
from polyak.run.states import ending_kept
from polyak.run.worlds import Worlds, probed_worlds
from polyak.settings.shared import Settings
from polyak.system.locking import locked
from polyak.system.memory import memory_free, readable_bytes
from polyak.system.randomness import Streams
from polyak.system.signals import Limit, signals_marked, time_limit
from polyak.system.threads import one_numpy_thread
from polyak.types import Arrays, Spec


def train(plan: Plan, observer: Observer, fed: Remote | None = None) -> Run:
    """Train a new run to its end; one that is `fed` from elsewhere makes no environments.

    Raises:
        UsageError: something asked for cannot be; nothing has been trained.
        TrainingError, Interrupted: as `polyak.train` says.
    """
    with signals_marked(), one_numpy_thread(), ExitStack() as stack:
        plan = settled(plan)
        limit = stack.enter_context(time_limit(plan.step_timeout))
        loop = new_loop(stack, plan, limit, observer, fed=fed)
        loop.collector.begin()
        loop.run_to_the_end()
    return loop.run


def settled(plan: Plan) -> Plan:
    """The plan with its framework imported, and its device and threads named.

    Raises:
        UsageError: the framework is not installed, or has no such device.
    """
    require_page(plan.algorithm, plan.backend)
    making.require(plan.callbacks)
    with generators_kept():  # JAX's import draws from np.random
        return plan.settled(frameworks.start(plan.backend, plan.execution))


def new_loop(
    stack: ExitStack,
    plan: Plan,
    limit: Limit,
    observer: Observer,
    group: Group | None = None,
    runs: int = 1,
    fed: Remote | None = None,
) -> Loop:
    """The loop of a new run, whose folder has been made; its collector has not begun. `stack` ends it.

    `group` makes the learners of so many `runs` that learn together in this process, of which it is one.

    Raises:
        UsageError: something asked for cannot be.
    """
    if plan.on is not None and plan.collectors is None:
        raise UsageError(
            f"on is {plan.on}, but there is one run, in this process, and it has no collectors: ask for some "
            "(--collectors 2), or for several runs (--seeds 0-4)"
        )
    streams = Streams(plan.seed)
    if fed is None:
        plan, worlds = probed_worlds(stack, plan, streams, limit)
    else:
        plan, worlds = dataclasses.replace(plan, found=Found()), Worlds(fed.environments, None)
    environments, evaluation, goals = worlds
    spec = environments.spec
    plan = plan.with_fractions(spec.action_half_range)
    require_parts(plan.algorithm, spec.seen, plan.config)
    if not is_built_in(plan.algorithm.name):
        require_working(plan.algorithm, plan.backend, spec.seen, plan.config, plan.execution)
    learner = first_state(plan.algorithm.state(spec.seen, plan.config), streams.weights)
    demonstrations = demonstrations_of(plan, spec)
    replay = make_replay(plan, spec, environments.count, runs)
    batches = make_batches(plan, spec, environments.count, replay, demonstrations, goals)
    if plan.from_run is not None:
        learner = _gone_on_from(Run(plan.from_run), plan, spec.seen, learner, batches)
    batches.begin()
    collector = fed or collector_of(stack, plan, streams, environments, replay)
    description = plan.description(plan.envs if plan.collectors else environments.count) | {"spaces": spec.to_json()}
    if group is not None and not group.exact:
        description["together"] = runs
    callbacks = making.made(plan.callbacks)
    started(collector)
    why = inexact(collector)
    description |= described(collector) | ({"machine": {"not_exact": why}} if why else {})
    called = "+".join([plan.name, *added_of(description)])
    run = stack.enter_context(new_run(plan.run_dir, called, plan.algorithm.name, plan.seed, description))
    stack.enter_context(locked(run.folder))
    parts = Parts(plan, run, streams, collector, evaluation, batches, learner, Checkpoints(run.checkpoints))
    parts.callbacks = callbacks
    parts.notes |= {"not exact": why} if why else {}
    parts.notes |= told_of_goals(plan, goals)
    if plan.found is not None and plan.found.said:
        parts.notes["probe"] = plan.found.said
        if plan.found.wrong and isinstance(observer, Silent):  # who watches is told with all else
            _warn(plan, plan.found.said)
    if callbacks.forgetful and isinstance(observer, Silent):
        _warn(plan, _anew(callbacks))
    return put_together(stack, parts, observer, group)


def _gone_on_from(earlier: Run, plan: Plan, spec: Spec, first: Arrays, batches: Batches) -> Arrays:
    """An earlier run's learner, in place of this `first` state; `batches` begin with what normalized that one's."""
    _require_same_spaces(earlier, plan, spec)
    kept = Checkpoints(earlier.checkpoints)

    def read(made: Manifest) -> Arrays:
        learner = kept.learner(made, plan.algorithm.name, first)
        with sensible(kept.folder / made.name):
            batches.begin_with(kept.batches(made))
        return learner

    return kept.newest(read, earlier.settings)


def _require_same_spaces(earlier: Run, plan: Plan, spec: Spec) -> None:
    shown = spaces_of(earlier.settings)
    before = None if shown is None else shown.seen
    sizes = (spec.observation_size, spec.action_size)
    if before is not None and (before.observation_size, before.action_size) != sizes:
        raise UsageError(
            f"{plan.name} has {sizes[0]} numbers in an observation and {sizes[1]} in an action, but the run that is "
            f"gone on from, {earlier.folder}, was trained on {before.observation_size} and {before.action_size} "
            f"({earlier.settings['environment']}): a learner goes on where both are the same"
        )


def _warn(plan: Plan, said: str, stacklevel: int = 6) -> None:
    with suppress(Warning):  # where warnings are errors, too
        warnings.warn(f"{plan.name}: {said}", stacklevel=stacklevel)


def make_replay(plan: Plan, spec: Spec, envs: int, runs: int = 1, expected: int | None = None) -> Replay:
    """An empty replay, for so many environments; one of so many runs' in this process.

    A run that goes on says how many transitions are `expected` ever, and needs memory for no more.

    Raises:
        UsageError: it, what is sampled from it at once, or all that the runs will keep does not fit into memory.
    """
    config = plan.config
    if config.offline:  # nothing enters it
        expected = 0
    if runs > 1:
        held = min(config.replay_size, config.steps)
        sizes = spec.observation_size, spec.action_size, bytes_beside(config)
        needed, free = runs * memory_needed(held, *sizes), memory_free()
        if needed > free:
            raise UsageError(
                f"{runs} runs together will need {readable_bytes(needed)} for replay, but {readable_bytes(free)} are "
                "free: train fewer seeds together, or lower replay_size"
            )
    beside = bytes_beside(config)
    replay = Replay(config.replay_size, spec.observation_size, spec.action_size, expected, beside)
    replay.require_burst(max(config.update_every, envs) * config.updates_per_step, config.batch_size)
    return replay


def bytes_beside(config: Settings) -> int:
    """What is kept of each transition beside replay, as the settings say."""
    return 0 if config.prioritized == "none" else ROW_BYTES


def make_batches(
    plan: Plan,
    spec: Spec,
    envs: int,
    replay: Replay,
    demonstrations: Replay | None = None,
    goals: Goals | None = None,
) -> Batches:
    """What the learner learns from, out of a replay that is empty or restored, before anything of it has advanced."""
    return batches_of(plan.config, spec, envs, replay, demonstrations, goals)


@dataclass
class Parts:
    """What a loop is put together from, as a new run has it or as a checkpoint had it."""

    plan: Plan
    run: Run
    streams: Streams
    collector: Collecting
    evaluation: Environments | None
    """Where the policy is evaluated, if it is."""
    batches: Batches
    learner: Arrays
    """The state that the learner goes on from."""
    checkpoints: Checkpoints
    metrics: bytes = b""
    """What `metrics.jsonl` holds already."""
    step: int | None = None
    """Steps of a run that goes on."""
    notes: dict[str, str] = field(default_factory=dict[str, str])
    """Facts for the observer."""
    callbacks: Callbacks = field(default_factory=Callbacks)


def put_together(stack: ExitStack, parts: Parts, observer: Observer, group: Group | None = None) -> Loop:
    """The loop that trains, its folder open and its observer started; `stack` ends both."""
    plan, run, environments = parts.plan, parts.run, parts.collector.environments
    going_on, waits = parts.step is not None, bool(plan.own_draws)
    mirror = stack.enter_context(mirrored(plan.mirror, run, parts.checkpoints, resumed=going_on, waits=waits))
    stack.enter_context(ending_kept(run.folder))
    writer = stack.enter_context(MetricsWriter(run.folder, parts.metrics, parts.step))
    trackers, places = tracking.track(plan.track, run)
    writer.sinks += trackers
    said = told_of(plan, environments.traits)
    told = {**_of_callbacks(parts.callbacks), **places, **said, **parts.notes}
    shown = {**facts(plan, environments.count, parts.batches.replay, parts.batches.demonstrations), **told}
    if "averages" in said and isinstance(observer, Silent):
        _warn(plan, said["averages"], stacklevel=7)
    progress = Progress(plan.title, shown, run.folder, plan.config.length, parts.step or 0, unit=plan.config.unit)
    progress.untrained = plan.config.learns_nothing
    if progress.untrained and isinstance(observer, Silent):
        _warn(plan, progress.untrained, stacklevel=7)
    observer.started(progress)
    stack.callback(tell_ended, observer, progress)
    seen = environments.spec.seen
    described = plan.algorithm, seen, plan.config, parts.learner, plan.execution
    learner = frameworks.make_learner(plan.backend, *described) if group is None else group.learner(*described)
    marks = made_for(run.settings), parts.batches.snapshot.normalizer
    policy = policy_of(plan.algorithm, plan.config, seen, learner.actor(), *marks)
    ledger = Ledger(plan.algorithm.metrics, plan.info_metrics)
    # Where some environments spend steps on resets, bursts are of as many lengths as there are environments.
    cut = environments.resets_take_steps and environments.count > plan.config.update_every
    updates = Updates(plan, parts.streams, parts.batches, learner, policy, ledger, run.folder, in_pieces=cut)
    if isinstance(parts.collector, Remote):
        parts.collector.measured_by(updates)
    training = Training(plan, run.folder, parts.collector, updates, ledger, progress)
    stack.callback(parts.callbacks.end, training)
    return Loop(
        run=run,
        plan=plan,
        collector=parts.collector,
        updates=updates,
        ledger=ledger,
        evaluations=Evaluations(plan, parts.evaluation, parts.collector, updates, progress),
        writer=writer,
        checkpoints=parts.checkpoints,
        progress=progress,
        observer=observer,
        callbacks=parts.callbacks,
        training=training,
        mirror=mirror,
    )


def _of_callbacks(callbacks: Callbacks) -> dict[str, str]:
    """Which there are; and which of them a resumed run would begin anew."""
    names = ", ".join(each.name for each in callbacks.made)
    kept = f"; {_anew(callbacks)}" if callbacks.forgetful else ""
    return {"callbacks": f"{names}{kept}"} if names else {}


def _anew(callbacks: Callbacks) -> str:
    return f"resume would begin {', '.join(callbacks.forgetful)} anew, without state() and restore()"
