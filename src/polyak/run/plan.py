"""From what was asked for to a plan: a run as it was settled, before any of it is made.

`settings.json` and checkpoints describe it.
"""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from polyak import tracking
from polyak.algorithm import Algorithm, shape_of
from polyak.algorithms import algorithm as algorithm_named
from polyak.algorithms import is_built_in, presets_by_name, titled, with_page
from polyak.environments.additions import Additions, require_names
from polyak.environments.handed import Given, Handed, callable_of
from polyak.environments.history import Isolation, draws_of, generators_kept, isolation_of
from polyak.environments.make import Environment
from polyak.environments.probe import Found
from polyak.errors import UsageError
from polyak.experience import minari
from polyak.frameworks.execution import Execution
from polyak.run.folder import Run
from polyak.run.origin import algorithm_of, label_of
from polyak.run.runs import load
from polyak.settings import presets
from polyak.settings.kinds import checked, require_environment
from polyak.settings.names import hint
from polyak.settings.options import KINDS, LATER, UNDESCRIBED, Options, described
from polyak.settings.shared import Settings
from polyak.system.stores import store_at
from polyak.types import Spec

BESIDE = ("algorithm", "environment", "config", "progress", "observer")
"""What `train` takes besides options and settings."""


@dataclass(frozen=True, kw_only=True)
class Plan(Options):
    """Everything that a run depends on: its options, with device, threads and preset named, and the rest."""

    algorithm: Algorithm
    """With its page, once the plan is settled."""
    environment: Environment
    config: Settings
    in_environment_units: tuple[str, ...] = ()
    """Settings of noise that the preset states so; they become fractions once there is an environment."""
    found: Found | None = None
    """What the probe found, once it has tried the environment, or what stands in its place."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_needed(self.algorithm, self)
        require_demonstrations(self.config, self)
        if self.collectors is not None:
            require_rounds(self.config, self.side_by_side)

    @property
    def own_draws(self) -> tuple[str, ...]:
        """The process's generators of which each environment keeps a state of its own, as it may draw from them."""
        return () if self.found is None else self.found.draws

    @property
    def isolation(self) -> Isolation:
        """What keeps the environments' episodes apart."""
        return isolation_of(self.environment, self.fresh_environments, self.own_draws)

    @property
    def additions(self) -> Additions:
        """What the environment has besides what its id says."""
        config = self.config
        return Additions(self.environment_settings, self.wrappers, config.action_repeat, config.hindsight)

    @property
    def label(self) -> str:
        """The environment in a few words, with what is added to it."""
        return label_of({"environment": self.name, **described(self)})

    @property
    def name(self) -> str:
        """The environment in a word."""
        return name_of(self.environment)

    @property
    def title(self) -> str:
        """The run in a line."""
        return f"{titled(self.algorithm.name)} on {self.label}, seed {self.seed}"

    @property
    def execution(self) -> Execution:
        """Where and how the framework computes."""
        return Execution(self.device, self.threads, self.fast)

    def settled(self, execution: Execution) -> "Plan":
        """The same, computed there, by the algorithm's page, which is imported."""
        algorithm = with_page(self.algorithm, self.backend)
        return dataclasses.replace(self, algorithm=algorithm, device=execution.device, threads=execution.threads)

    def with_fractions(self, half_range: ArrayLike) -> "Plan":
        """The same, all noise stated in fractions of [A], half the width of each action's range.

        Raises:
            UsageError: the preset states noise as one number in environment units, but the actions' ranges differ.
        """
        if not self.in_environment_units:
            return self
        noise = {
            name: presets.fraction(f"preset {self.preset}: {name}", getattr(self.config, name), half_range, self.name)
            for name in self.in_environment_units
        }
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **noise), in_environment_units=())

    def description(self, envs: int) -> dict[str, Any]:
        """As JSON can hold it; `envs` is what an environment that is a whole vector has."""
        return {
            "algorithm": self.algorithm.name,
            "environment": self.name,
            "environment_is_callable": not isinstance(self.environment, str),
            **described(self),
            "envs": envs,
            "own_draws": list(self.own_draws),
            "settings": dataclasses.asdict(self.config),
        }


def is_run(demonstrations: str) -> bool:
    """Whether they are another run's."""
    return os.path.lexists(Path(demonstrations, "settings.json"))


def require_needed(algorithm: Algorithm, options: Options) -> None:
    """Check that an algorithm, by the name that it is asked for by, has what makes it what it is called.

    Raises:
        UsageError: it has not.
    """
    needed = algorithm.needs.get(algorithm.name)
    if needed is not None and getattr(options, needed) is None:
        without = presets_by_name().get(algorithm.name, "another algorithm")
        flag = f"--{needed.replace('_', '-')}"
        raise UsageError(
            f"{algorithm.name} learns from {needed}, and none are given: name them ({flag}), or take {without}"
        )


def require_demonstrations(config: Settings, options: Options) -> None:
    """Check that what is to be learned from demonstrations can be.

    Raises:
        UsageError: there are none, or their part of a batch is none of it, or all.
    """
    given, rows = options.demonstrations, config.demonstrated(config.batch_size)
    if given is None:
        if config.offline:
            raise UsageError(
                f"offline_updates is {config.offline_updates:,}, but there is nothing to learn from: name "
                "demonstrations (--demonstrations PATH|ID)"
            )
        return
    if not config.offline and not 0 < rows < config.batch_size:
        raise UsageError(
            f"demonstration_fraction {config.demonstration_fraction:g} of batch_size {config.batch_size} is {rows} "
            "rows, but each batch must have some of demonstrations and some of replay: choose another of the two"
        )
    if config.offline and options.collectors is not None:
        raise UsageError(
            f"collectors is {options.collectors}, but a run of offline_updates takes no steps: leave collectors out"
        )


def name_of(environment: Environment) -> str:
    """What a run calls its environment: an id, or a callable by its name."""
    if isinstance(environment, str):
        return environment
    called = getattr(environment, "__qualname__", type(environment).__name__)
    return str(called).replace("<", "").replace(">", "")


def require_rounds(config: Settings, side_by_side: int) -> None:
    """Check that collectors can work in rounds, of so many environments in all.

    Raises:
        UsageError: the lag is 0, or a burst of updates is not due after a whole number of steps of each environment.
    """
    if config.lag == 0:
        raise UsageError(
            "lag is 0, but collectors go on with the policy before while a burst of updates is computed: leave lag "
            "out, or give 1"
        )
    every = config.update_every
    if every % side_by_side:
        below, above = every // side_by_side * side_by_side, -(-every // side_by_side) * side_by_side
        nearest = f"{below} or {above}" if below else f"{above}"
        raise UsageError(
            f"update_every is {every}, but the {side_by_side} environments of all collectors take {side_by_side} steps "
            f"at a time, and a round of theirs lasts until updates are due: choose update_every (--update-every) "
            f"{nearest}, or other numbers of collectors or envs"
        )


class Chosen(NamedTuple):
    """The settings that a preset, with others over it, comes to."""

    preset: str
    """The name of the one in force."""
    config: Settings
    in_environment_units: tuple[str, ...] = ()
    """As `Plan` has it."""


def planned(
    algorithm: str, environment: Given, config: Settings | None, options: Options, settings: Mapping[str, Any]
) -> Plan:
    """What `train` was asked for, checked; nothing has been made, nor a framework imported.

    Raises:
        UsageError: something asked for cannot be.
    """
    with generators_kept():  # a user's module may import JAX, which draws from np.random
        found = asked_algorithm(algorithm, options.from_run)
    made_by = callable_of(environment)
    return plan_with(found, made_by, options, resolve(found, made_by, config, options, settings))


def asked_algorithm(name: str, from_run: Path | None) -> Algorithm:
    """The algorithm of a name; one of the user's own is imported, and no framework for the sake of polyak's.

    Raises:
        UsageError: there is no such algorithm, or it came with the run that is gone on from.
    """
    name = checked("algorithm", name, str)
    return algorithm_named(name) if from_run is None else algorithm_of(name, load(from_run).placed().folder)


def plan_with(algorithm: Algorithm, environment: Environment, options: Options, chosen: Chosen) -> Plan:
    """The same, once the settings have been chosen.

    Raises:
        UsageError: a package of a tracker or the mirror is not installed; or the environment is neither named nor
            made by a call.
    """
    require_environment(environment)
    if options.from_run is not None:
        _require_same_networks(load(options.from_run), algorithm, chosen.config)
        _require_same_scales(load(options.from_run), chosen.config)
    require_fitting(environment, options)
    require_names(Additions(options.environment_settings, options.wrappers), environment)
    asked: dict[str, Any] = {
        **vars(options.placed()),
        "preset": chosen.preset,
        "from_run": options.from_run.resolve() if options.from_run else None,
        "track": tracking.require(options.track),
    }
    if options.mirror:
        store_at(options.mirror)  # says what is not installed
    if isinstance(asked["demonstrations"], str) and not is_run(asked["demonstrations"]):
        minari.require(asked["demonstrations"])
    return Plan(
        algorithm=algorithm,
        environment=environment,
        config=chosen.config,
        in_environment_units=chosen.in_environment_units,
        **asked,
    )


def _require_same_networks(earlier: Run, algorithm: Algorithm, config: Settings) -> None:
    """Check that a run's learner can go on in networks of these settings."""
    if not is_built_in(algorithm.name):
        return
    known = [field.name for field in dataclasses.fields(config)]
    before = algorithm.Config(**_settings_of(earlier, algorithm.name, known))
    for name in known:
        asked, had = getattr(config, name), getattr(before, name)
        if asked != had and _makes_others(algorithm, config, name, had):
            raise UsageError(
                f"{name} is {asked}, but the run that is gone on from, {earlier.folder}, has {had}: a learner goes "
                f"on in networks of its own sizes; leave {name} out, or give {had}"
            )


def _require_same_scales(earlier: Run, config: Settings) -> None:
    """Check that a run's networks are shown observations, and learn of rewards, on the scale that they know."""
    known = cast(Mapping[str, Any], earlier.settings["settings"])
    for name in ("normalize_observations", "normalize_rewards"):
        asked, had = getattr(config, name), known.get(name, False)
        if asked != had:
            raise UsageError(
                f"{name} is {asked}, but the run that is gone on from, {earlier.folder}, has {had}: its networks know "
                f"numbers of that scale; leave {name} out, or give {had}"
            )


def _makes_others(algorithm: Algorithm, config: Settings, name: str, value: Any) -> bool:
    """Whether a learner's arrays have other shapes with another value of one setting, whatever the environment."""
    try:
        other = dataclasses.replace(config, **{name: value})
    except UsageError:  # it does not go with the rest
        return False
    spec = Spec((1,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))
    states = [algorithm.state(spec, each) for each in (config, other)]
    one, two = ([shape_of(entries, name) for name in entries] for entries in states)
    return one != two


def require_fitting(environment: Environment, options: Options) -> None:
    """Check that a run of these options can use an environment that is there already, if it is one.

    Raises:
        UsageError: it cannot.
    """
    if isinstance(environment, Handed):
        fresh, place = options.fresh_environments, options.evaluate_in
        environment.require(envs=options.envs, vectorization=options.vectorization, afresh=fresh, evaluate_in=place)


def resolve(
    algorithm: Algorithm,
    environment: Environment,
    config: Settings | None,
    options: Options,
    settings: Mapping[str, Any],
) -> Chosen:
    """What the preset that is asked for, with `settings` over it, comes to.

    Without a preset, a run that is gone on from stands for one: its settings, with no steps of uniform actions, because
    its policy can act already.

    Raises:
        UsageError: an unknown preset or setting, a setting out of its limits, or `config` together with others.
    """
    kind = algorithm.Config
    earlier = None if options.from_run is None else load(options.from_run)
    if earlier is not None:
        earlier.require_no_links()
    if config is not None:
        if options.preset is not None or settings:
            raise UsageError("give either config, or preset and single settings, not both")
        if not isinstance(config, kind):
            raise UsageError(
                f"config is a {type(config).__module__} {type(config).__name__}, but {algorithm.name} needs its own"
            )
        return Chosen("none", config)
    if options.collectors is not None:
        settings = {"lag": 1, **settings}
    known = [field.name for field in dataclasses.fields(kind)]
    for name in settings:
        if name not in known:
            answer = hint(name, (*known, *KINDS, *BESIDE), algorithm.name) or f"it has {', '.join(known)}"
            raise UsageError(f"{algorithm.name} has no setting {name!r}: {answer}")
    if earlier is not None and options.preset is None:
        values: dict[str, Any] = {**_settings_of(earlier, algorithm.name, known), "start_steps": 0, **settings}
        return Chosen(f"that of {earlier.folder.absolute().name}", kind(**values))
    called = environment if isinstance(environment, str) else environment.id if isinstance(environment, Handed) else ""
    preset = presets.load(options.preset or presets.default_for(called, algorithm.name), algorithm, called)
    units = tuple(name for name in preset.in_environment_units if name not in settings)
    return Chosen(Path(preset.name).name, kind(**{**preset.values, **settings}), units)


def _settings_of(run: Run, algorithm: str, known: list[str]) -> dict[str, Any]:
    if run.settings["algorithm"] != algorithm:
        raise UsageError(
            f"{run.folder} is a run of {run.settings['algorithm']}, but {algorithm} is asked for: "
            "a learner goes on in its own algorithm"
        )
    values = cast(dict[str, Any], run.settings["settings"])
    return {name: value for name, value in values.items() if name in known}


def plan_of(description: Mapping[str, Any], environment: Environment, algorithm: Algorithm) -> Plan:
    """The plan that a description says, for the environment and the algorithm that go with it.

    Raises:
        KeyError, TypeError, ValueError: this is no description of a run.
    """
    settings = cast(Mapping[str, Any], description["settings"])
    told = [name for name in KINDS if name not in UNDESCRIBED and (name not in LATER or name in description)]
    try:
        return Plan(
            algorithm=algorithm,
            environment=environment,
            config=algorithm.Config(**settings),
            found=Found(draws_of(description)),
            **{name: description[name] for name in told},
        )
    except UsageError as error:  # it is the file that is wrong, and not the call
        raise ValueError(str(error)) from error
