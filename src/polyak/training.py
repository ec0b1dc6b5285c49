"""`train`, `resume` and `train_together`: what they take, and who does it.

Data flows one way: environments -> collector -> replay -> learner -> policy -> environments.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from polyak.environments.handed import Given
from polyak.many import together
from polyak.run import resume as resumption
from polyak.run import start
from polyak.run.changes import Changes
from polyak.run.folder import Run
from polyak.run.mirror.fetching import Fetched
from polyak.run.plan import planned
from polyak.run.progress import Observer
from polyak.run.runs import to_go_on
from polyak.settings.door import door
from polyak.settings.kinds import AT_LEAST_0, Count, checked
from polyak.settings.options import (
    NO_SETTINGS,
    Collection,
    Device,
    EvaluateIn,
    Vectorization,
    changes_of,
    options_of,
    telling_options,
)
from polyak.settings.shared import Settings
from polyak.types import Transitions
from polyak.views.choice import watched, watched_together

REPLAY_SECONDS = 300.0
"""How long the half-finished episodes may take to be enacted again, unless said otherwise."""


@door
@telling_options
def train(  # noqa: D417 - the options are told by their declaration
    algorithm: str,
    environment: Given,
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
    collectors: int | None = None,
    collection: Collection = "in-step",
    on: str | None = None,
    environment_settings: Mapping[str, Any] = NO_SETTINGS,
    wrappers: str | Sequence[str] = (),
    fresh_environments: bool = False,
    evaluate_in: EvaluateIn = "own",
    probe: bool = True,
    from_run: str | Path | Run | None = None,
    demonstrations: str | Path | Run | Mapping[str, Any] | Transitions | None = None,
    run_dir: str | Path = "runs",
    stop_at_return: float | None = None,
    checkpoint_every: int | None = None,
    step_timeout: float | None = 600.0,
    info_metrics: str | Sequence[str] = (),
    callbacks: str | Sequence[object] = (),
    track: str | Sequence[str] = (),
    mirror: str | Path | None = None,
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Run:
    """Train a policy and return its run; `polyak.train("sac", "Pendulum-v1", steps=20_000, seed=0)`.

    The run's options, from `preset` to `track`, are each as `polyak.settings.options.Options` declares it.

    Args:
        algorithm: "ddpg", "td3", "sac", or the name of a module of your own, as "my_folder.my_algorithm".
        environment: an id, `module:Id`, a callable that makes a Gymnasium environment or a whole VectorEnv, or one of
            these as an object: it is trained in and left open, and a second one, to evaluate in, is made from its spec.
        config: all settings at once, instead of `preset` and single `settings`.
        progress: a view of the run: live in a terminal (on standard error) or a notebook's cell, lines elsewhere. By
            default where somebody watches, a terminal or a notebook; True: in any case; False: never.
        observer: also watches the run.
        **settings: single settings by name, over the preset's: `steps=20_000`, `batch_size=128`.

    Raises:
        UsageError: something asked for cannot be; nothing has been trained.
        TrainingError: a loss or an environment's number was not finite, an environment failed, or a file could not be
            written; what was learned until then is saved.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    options, watcher = options_of(locals()), watched(observer, progress)
    return start.train(planned(algorithm, environment, config, options, settings), watcher)


@door
@telling_options
def train_together(
    algorithm: str,
    environment: Given,
    *,
    seeds: Sequence[int],
    config: Settings | None = None,
    preset: str | None = None,
    backend: str = "jax",
    device: Device = "auto",
    threads: int | None = None,
    fast: bool = True,
    envs: int = 1,
    vectorization: Vectorization = "sync",
    collectors: int | None = None,
    collection: Collection = "in-step",
    on: str | None = None,
    environment_settings: Mapping[str, Any] = NO_SETTINGS,
    wrappers: str | Sequence[str] = (),
    fresh_environments: bool = False,
    evaluate_in: EvaluateIn = "own",
    probe: bool = True,
    from_run: str | Path | Run | None = None,
    demonstrations: str | Path | Run | Mapping[str, Any] | Transitions | None = None,
    run_dir: str | Path = "runs",
    stop_at_return: float | None = None,
    checkpoint_every: int | None = None,
    step_timeout: float | None = 600.0,
    info_metrics: str | Sequence[str] = (),
    callbacks: str | Sequence[object] = (),
    track: str | Sequence[str] = (),
    mirror: str | Path | None = None,
    progress: bool | None = None,
    observers: Sequence[Observer] = (),
    **settings: Any,
) -> list[Run]:
    """Train a run for each seed, all in this process; `polyak.train_together("sac", "Pendulum-v1", seeds=range(4))`.

    On the CPU each run equals `train(..., seed=seed)` bit for bit. On a GPU the runs' updates are one call, and a run
    equals its single one up to rounding. One that fails stops no other.

    There is a run for each of `seeds`, and either one of `observers` for each or none at all. `backend` must be "jax".
    Whatever else there is is as for `train`, and the same for all.

    Returns:
        The runs, in the order of the seeds.

    Raises:
        UsageError: something asked for cannot be; nothing has been trained.
        SomeFailedError: a TrainingError; some runs failed, and the others have ended well. What was learned is saved.
        Interrupted: Ctrl-C or SIGTERM; every run is saved.
    """
    options = options_of(locals())
    plan = planned(algorithm, environment, config, options, settings)
    seeds, observers = together.asked_for(seeds, observers)
    with watched_together(plan, seeds, observers, progress) as watchers:
        return together.train(plan, seeds, watchers)


@door
@telling_options
def resume(  # noqa: D417 - as above
    folder: str | Path | Run,
    *,
    steps: int | None = None,
    environment: Given | None = None,
    backend: str | None = None,
    device: Device | None = None,
    threads: int | None = None,
    on: str | None = None,
    fresh_environments: bool | None = None,
    stop_at_return: float | None = None,
    checkpoint_every: int | None = None,
    step_timeout: float | None = None,
    callbacks: str | Sequence[object] | None = None,
    track: str | Sequence[str] | None = None,
    mirror: str | Path | None = None,
    replay_seconds: float = REPLAY_SECONDS,
    run_dir: str | Path = "runs",
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Run:
    """Go on with a run that was interrupted, killed or failed, from its last whole checkpoint.

    What follows is the same, bit for bit, as if nothing had happened: weights, moments, replay, metrics, evaluation
    returns. An episode that was running is enacted again from its seed with its recorded actions; where an environment
    does not show the same again, a new episode is started there, `train/episodes_given_up` counts it, and
    `settings.json` says it under `resumed`. A run that has ended is extended by asking for more `steps`.

    Options that are given are others than before, from now on: with another `backend`, `device` or number of `threads`,
    or with `fresh_environments`, the run goes on, but not bit for bit; an empty `track` is none. Other `steps` move the
    end of a `learning_rate_schedule` that is not constant, and the run is not one that was longer from the start. Of
    the algorithm's `settings`, those may be others whose declaration says so (`Changeable`): the learning rates, how
    often and how long the policy is evaluated. From there on it is another run, which is said, and kept under `resumed`
    with what was before.

    Args:
        folder: the run, or its folder, here or copied from elsewhere; "latest" is that in `run_dir` which was begun
            last. What lies at a mirror, a URL or a folder, is brought into its folder below `run_dir`, and goes on
            there and at the mirror.
        steps: environment steps of the whole run, if they are to be other than before.
        environment: what it trains on, where that was a callable; another one than before is recorded. A run that was
            trained on an id goes on with it.
        replay_seconds: how long the running episodes may take to be enacted again.
        run_dir: where "latest" is looked for, and a run at a mirror is brought to.
        progress: a view of the run, as for `train`.
        observer: also watches the run.
        **settings: settings that are others from now on, as `actor_learning_rate=1e-4`.

    Raises:
        UsageError: the folder holds no run, no whole checkpoint, or one in use; or something asked for cannot be.
        ReplacedError: a TrainingError; another attempt goes on with the run at its mirror.
        BehindError: a TrainingError; the run is saved here, and its mirror does not have all of it.
        TrainingError, Interrupted: as for `train`.
    """
    options, watcher = changes_of(locals()), watched(observer, progress)
    run = to_go_on(folder, run_dir)
    asked = resumption.Asked(
        run=run.placed(),
        fetched=run if isinstance(run, Fetched) else None,
        changes=Changes(options, settings, checked("steps", steps, Count | None)),
        environment=environment,
        replay_seconds=checked("replay_seconds", replay_seconds, Annotated[float, AT_LEAST_0]),
    )
    return resumption.resume(asked, watcher)
