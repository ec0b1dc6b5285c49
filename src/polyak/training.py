"""`train` and `resume`: from what was asked for to a run's moving parts; `loop.py` moves them.

Data flows one way: environments -> collector -> replay -> learner -> policy -> environments.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from polyak import frameworks, tracking
from polyak.algorithms.settings import Settings
from polyak.environments.history import generators_kept
from polyak.environments.make import Environment, Vectorization
from polyak.errors import UnreadableError, UsageError
from polyak.experience.collector import Collector
from polyak.frameworks.execution import Device
from polyak.run import mending
from polyak.run.assembly import make_loop
from polyak.run.checkpoints import Checkpoints
from polyak.run.folder import Run, write_settings
from polyak.run.loop import Loop
from polyak.run.plan import Plan
from polyak.run.progress import Observer, Progress, tell_ended, watching
from polyak.run.resumption import (
    Saved,
    notes_and_description,
    plan_to_go_on,
    read_checkpoint,
    restore_episodes,
    restore_evaluation,
    sensible,
)
from polyak.run.start import begun, planned
from polyak.run.worlds import make_worlds
from polyak.settings.kinds import Count, checked
from polyak.settings.options import EvaluateIn, changes_of, options_of, telling_options
from polyak.system.files import remove_leftovers
from polyak.system.locking import locked
from polyak.system.randomness import Streams
from polyak.system.signals import signals_marked, time_limit
from polyak.system.threads import one_numpy_thread

REPLAY_SECONDS = 300.0
"""How long the half-finished episodes may take to be enacted again, unless said otherwise."""


@telling_options
def train(  # noqa: D417 - the options are told by their declaration
    algorithm: str,
    environment: Environment,
    *,
    config: Settings | None = None,
    preset: str | None = None,
    seed: int = 0,
    backend: str = "jax",
    device: Device = "auto",
    threads: int | None = None,
    fast: bool = True,
    envs: int = 1,
    vectorization: Vectorization = "sync",
    fresh_environments: bool = False,
    evaluate_in: EvaluateIn = "own",
    probe: bool = True,
    from_run: str | Path | None = None,
    run_dir: str | Path = "runs",
    stop_at_return: float | None = None,
    checkpoint_every: int | None = None,
    step_timeout: float | None = 600.0,
    track: str | Sequence[str] = (),
    observer: Observer | None = None,
    **settings: Any,
) -> Run:
    """Train a policy and return its run; `polyak.train("sac", "Pendulum-v1", steps=20_000, seed=0)`.

    The run's options, from `preset` to `track`, are each as `polyak.settings.options.Options` declares it.

    Args:
        algorithm: "ddpg", "td3" or "sac".
        environment: an id, `module:Id`, or a callable that makes a Gymnasium environment or a whole VectorEnv.
        config: all settings at once, instead of `preset` and single `settings`.
        observer: watches the run; by default nobody does.
        **settings: single settings by name, over the preset's: `steps=20_000`, `batch_size=128`.

    Raises:
        UsageError: something asked for cannot be; nothing has been trained.
        TrainingError: a loss or an environment's number was not finite, an environment failed, or a file could not be
            written; what was learned until then is saved.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    options, watcher = options_of(locals()), watching(observer)
    with ExitStack() as stack:
        stack.enter_context(signals_marked())
        stack.enter_context(one_numpy_thread())
        plan = planned(algorithm, environment, config, options, settings)
        limit = stack.enter_context(time_limit(plan.step_timeout))
        loop = begun(stack, plan, limit, watcher)
        loop.collector.begin()
        loop.run_to_the_end()
    return loop.run


@telling_options
def resume(  # noqa: D417 - as above
    folder: str | Path,
    *,
    steps: int | None = None,
    environment: Environment | None = None,
    backend: str | None = None,
    device: Device | None = None,
    threads: int | None = None,
    fresh_environments: bool | None = None,
    checkpoint_every: int | None = None,
    step_timeout: float | None = None,
    track: str | Sequence[str] | None = None,
    replay_seconds: float = REPLAY_SECONDS,
    observer: Observer | None = None,
) -> Run:
    """Go on with a run that was interrupted, killed or failed, from its last whole checkpoint.

    What follows is the same, bit for bit, as if nothing had happened: weights, moments, replay, metrics, evaluation
    returns. An episode that was running is enacted again from its seed with its recorded actions; where an environment
    does not show the same again, a new episode is started there, `train/episodes_given_up` counts it, and
    `settings.json` says it under `resumed`. A run that has ended is extended by asking for more `steps`.

    Options that are given are others than before, from now on: with another `backend`, `device` or number of `threads`,
    or with `fresh_environments`, the run goes on, but not bit for bit; an empty `track` is none.

    Args:
        folder: the run's folder, here or copied from elsewhere.
        steps: environment steps of the whole run, if they are to be other than before.
        environment: what it trains on, where that was a callable; another one than before is recorded. A run that was
            trained on an id goes on with it.
        replay_seconds: how long the running episodes may take to be enacted again.
        observer: watches the run; by default nobody does.

    Raises:
        UsageError: the folder holds no run, no whole checkpoint, or one in use; or something asked for cannot be.
        TrainingError, Interrupted: as for `train`.
    """
    changes = changes_of(locals())
    steps = checked("steps", steps, Count | None)
    seconds = checked("replay_seconds", replay_seconds, float)
    run, watcher = Run(checked("folder", folder, Path).absolute()), watching(observer)
    run.require_no_links()
    if not run.checkpoints.is_dir():
        _ = run.settings  # says so where this is no run at all
        raise UsageError(f"{folder} has no checkpoint, so that nothing was trained in it: start it anew")
    tracking.require(changes.get("track", ()))
    with ExitStack() as stack:
        stack.enter_context(signals_marked())
        stack.enter_context(one_numpy_thread())
        stack.enter_context(locked(run.folder))
        checkpoints = Checkpoints(run.checkpoints)
        saved = _read(checkpoints, run, steps)
        with sensible(checkpoints, saved.manifest):
            plan, ended = plan_to_go_on(run, saved, changes, steps, environment)
            wrong = mending.faults(run, saved, plan, over=bool(ended))
        if ended and (not wrong or mending.holds_the_end(saved)):
            mending.put_right(run, saved, plan, wrong)
            mended = f"; put right from the checkpoint: {mending.told(wrong)}" if wrong else ""
            _say(run, plan, f"nothing to do: {ended}; ask for more steps to go on{mended}", watcher)
            return Run(run.folder)
        tracking.require(plan.track)
        with generators_kept():  # JAX's import draws from np.random
            plan = plan.settled(frameworks.start(plan.backend, plan.execution))
        loop = _restored(stack, plan, run, saved, checkpoints, changes, seconds, watcher, wrong)
        moved = plan.name != saved.manifest.run["environment"]
        if steps is not None or changes or moved or loop.ledger.given_up:
            loop.checkpoint()  # so that it is not forgotten if the run is killed at once
        loop.run_to_the_end()
    return Run(run.folder)


def _read(checkpoints: Checkpoints, run: Run, steps: int | None) -> Saved:
    try:
        return checkpoints.newest(lambda made: read_checkpoint(checkpoints, made, steps), run.settings_if_whole)
    except UnreadableError as error:
        try:  # what a new run would begin with
            checkpoints.newest(lambda made: checkpoints.content(made.files["learner"]))
        except UsageError:
            raise error from error.__cause__
        hint = f"its learner is whole, and `polyak train ... --from {run.folder}` begins a new run with it"
        raise UnreadableError(f"{error}; {hint}") from error


def _restored(
    stack: ExitStack,
    plan: Plan,
    run: Run,
    saved: Saved,
    checkpoints: Checkpoints,
    changes: Mapping[str, Any],
    replay_seconds: float,
    observer: Observer,
    wrong: Mapping[str, str],
) -> Loop:
    """The loop, with all its parts where the checkpoint was; nothing in the folder is touched before they are."""
    streams = Streams(plan.seed)
    environments, alone = make_worlds(stack, plan, streams, stack.enter_context(time_limit(plan.step_timeout)))
    collector = Collector(environments, streams.warm_up, streams.exploration, plan.config.exploration_correlation)
    with sensible(checkpoints, saved.manifest):
        given_up = restore_episodes(collector, saved, replay_seconds)
        if alone is not None and plan.evaluate_in != "training":
            restore_evaluation(alone, saved)
        notes, description = notes_and_description(checkpoints, saved, plan, changes, given_up)
    notes |= {"put right": mending.told(wrong)} if wrong else {}
    remove_leftovers(run.folder)
    remove_leftovers(run.checkpoints)
    write_settings(run, description)
    loop = make_loop(
        stack,
        plan,
        Run(run.folder),
        streams,
        collector,
        alone,
        saved.replay,
        saved.learner,
        checkpoints,
        observer,
        written=saved.metrics,
        step=saved.manifest.step,
        notes=notes,
    )
    with sensible(checkpoints, saved.manifest):
        loop.restore(saved.manifest.state, saved.loop, saved.best)
    loop.ledger.given_up += len(given_up)
    return loop


def _say(run: Run, plan: Plan, outcome: str, observer: Observer) -> None:
    """Tell an observer of a run in which nothing is left to do."""
    progress = Progress(f"{plan.algorithm.upper()} on {plan.name}, seed {plan.seed}", {}, run.folder, plan.config.steps)
    progress.outcome = outcome
    observer.started(progress)
    tell_ended(observer, progress)
