"""From what was asked for to a loop that is ready to begin."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from polyak import learners, runs, tracking
from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.assembly import MakeLearner, make_loop, make_replay, make_worlds
from polyak.checkpoints import Checkpoints
from polyak.collector import Collector
from polyak.configuration import resolve
from polyak.environments.make import Environment, Vectorization
from polyak.learners.edge import Device, Execution
from polyak.loop import Loop
from polyak.plan import Plan
from polyak.progress import Observer
from polyak.runs import Run
from polyak.system.locking import locked
from polyak.system.randomness import Streams
from polyak.system.signals import Limit


def planned(
    algorithm: str,
    environment: Environment,
    *,
    config: Settings | None,
    preset: str | None,
    seed: int,
    backend: str,
    device: Device,
    threads: int | None,
    fast: bool,
    envs: int,
    vectorization: Vectorization,
    from_run: str | Path | None,
    stop_at_return: float | None,
    checkpoint_every: int | None,
    step_timeout: float | None,
    track: str | Sequence[str],
    settings: Mapping[str, Any],
) -> Plan:
    """What `train` was asked for, settled; the framework has been imported, and its device and threads are named.

    Raises:
        UsageError: something asked for cannot be.
    """
    algorithm_module(algorithm)  # says so where there is none
    algorithm = algorithm.lower()
    earlier = runs.load(from_run) if from_run is not None else None
    preset, config = resolve(algorithm, environment, config, preset, settings, earlier)
    return Plan(
        algorithm=algorithm,
        environment=environment,
        config=config,
        preset=preset,
        seed=seed,
        backend=backend,
        execution=learners.start(backend, Execution(device, threads, fast)),
        envs=envs,
        vectorization=vectorization,
        stop_at_return=stop_at_return,
        checkpoint_every=checkpoint_every,
        step_timeout=step_timeout,
        from_run=str(earlier.folder.resolve()) if earlier else None,
        track=tracking.require(track),
    )


def begun(
    stack: ExitStack,
    plan: Plan,
    run_dir: Path,
    limit: Limit,
    observer: Observer,
    make_learner: MakeLearner | None = None,
    *,
    together: int = 1,
    exact: bool = True,
) -> Loop:
    """The loop of a new run, whose folder has been made; its collector has not begun. `stack` ends it.

    It is one of so many runs `together` in this process; `exact`: it will equal one that is alone, bit for bit.

    Raises:
        UsageError: something asked for cannot be.
    """
    streams, config = Streams(plan.seed), plan.config
    environments, alone = make_worlds(stack, plan, streams, limit)
    learner = algorithm_module(plan.algorithm).initial_state(streams.weights, environments.spec, config)
    if plan.from_run is not None:
        kept, arrays = Checkpoints(Run(Path(plan.from_run)).checkpoints), learner
        learner = kept.newest(lambda made: kept.learner(made, plan.algorithm, arrays))
    replay = make_replay(plan, environments.spec, environments.count, together)
    described = plan.description(environments.count) | ({} if exact else {"together": together})
    run = runs.create(run_dir, plan.name, plan.algorithm, plan.seed, described)
    stack.enter_context(locked(run.folder))
    collector = Collector(environments, streams.warm_up, streams.exploration, config.exploration_correlation)
    checkpoints = Checkpoints(run.checkpoints)
    return make_loop(stack, plan, run, streams, collector, alone, replay, learner, checkpoints, observer, make_learner)
