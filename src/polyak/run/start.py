"""From what was asked for to a loop that is ready to begin."""

import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from polyak import frameworks, tracking
from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.environments.history import generators_kept
from polyak.environments.make import Environment
from polyak.environments.probe import Found
from polyak.experience.collector import Collector
from polyak.run.assembly import MakeLearner, make_loop, make_replay
from polyak.run.checkpoints import Checkpoints
from polyak.run.folder import Run, create, load
from polyak.run.loop import Loop
from polyak.run.plan import Plan
from polyak.run.progress import Observer, Silent
from polyak.run.worlds import probed_worlds
from polyak.settings.configuration import resolve
from polyak.settings.kinds import checked, require
from polyak.settings.options import Options
from polyak.system.locking import locked
from polyak.system.randomness import Streams
from polyak.system.signals import Limit


def planned(
    algorithm: str,
    environment: Environment,
    config: Settings | None,
    options: Options,
    settings: Mapping[str, Any],
) -> Plan:
    """What `train` was asked for, settled; the framework has been imported, and its device and threads are named.

    Raises:
        UsageError: something asked for cannot be.
    """
    algorithm = require_names(algorithm, environment)
    options = options.placed()
    earlier = load(options.from_run) if options.from_run is not None else None
    preset, config = resolve(algorithm, environment, config, options.preset, settings, earlier)
    asked: dict[str, Any] = {
        **vars(options),
        "preset": preset,
        "from_run": earlier.folder.resolve() if earlier else None,
        "track": tracking.require(options.track),
    }
    plan = Plan(algorithm=algorithm, environment=environment, config=config, **asked)
    with generators_kept():  # JAX's import draws from np.random
        return plan.settled(frameworks.start(plan.backend, plan.execution))


def require_names(algorithm: str, environment: Environment) -> str:
    """The algorithm's name as polyak writes it.

    Raises:
        UsageError: there is no such algorithm, or the environment is neither named nor made by a call.
    """
    algorithm_module(checked("algorithm", algorithm, str))  # says so where there is none
    named = isinstance(environment, str) and environment != ""
    require("environment", environment, named or callable(environment), "an id, or a callable that makes one")
    return algorithm.lower()


def begun(
    stack: ExitStack,
    plan: Plan,
    limit: Limit,
    observer: Observer,
    make_learner: MakeLearner | None = None,
    *,
    found: Found | None = None,
    together: int = 1,
    exact: bool = True,
) -> Loop:
    """The loop of a new run, whose folder has been made; its collector has not begun. `stack` ends it.

    `found` is what a probe of its environment found, where it was tried before. It is one of so many runs `together` in
    this process; `exact`: it will equal one that is alone, bit for bit.

    Raises:
        UsageError: something asked for cannot be.
    """
    streams, config = Streams(plan.seed), plan.config
    plan, (environments, alone), found = probed_worlds(stack, plan, streams, limit, found)
    learner = algorithm_module(plan.algorithm).initial_state(streams.weights, environments.spec, config)
    if plan.from_run is not None:
        earlier, arrays = Run(plan.from_run), learner
        kept = Checkpoints(earlier.checkpoints)
        learner = kept.newest(lambda made: kept.learner(made, plan.algorithm, arrays), earlier.settings)
    replay = make_replay(plan, environments.spec, environments.count, together)
    spaces = {"spaces": environments.spec.to_json()}
    described = plan.description(environments.count) | spaces | ({} if exact else {"together": together})
    run = create(plan.run_dir, plan.name, plan.algorithm, plan.seed, described)
    stack.enter_context(locked(run.folder))
    collector = Collector(environments, streams.warm_up, streams.exploration, config.exploration_correlation)
    checkpoints = Checkpoints(run.checkpoints)
    notes = {"probe": found.said} if found.said else {}
    if found.wrong and isinstance(observer, Silent):  # who watches is told with all else
        with suppress(Warning):  # where warnings are errors, too
            warnings.warn(f"{plan.name}: {found.said}", stacklevel=3)
    return make_loop(
        stack, plan, run, streams, collector, alone, replay, learner, checkpoints, observer, make_learner, notes=notes
    )
