"""A run as it was settled, before any of it is made; `settings.json` and checkpoints describe it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.environments.history import Isolation, draws_of, isolation_of
from polyak.environments.make import Environment
from polyak.errors import UsageError
from polyak.frameworks.execution import Execution
from polyak.settings.options import KINDS, LATER, UNDESCRIBED, Options, described


@dataclass(frozen=True, kw_only=True)
class Plan(Options):
    """Everything that a run depends on: its options, with device, threads and preset named, and the rest."""

    algorithm: str
    environment: Environment
    config: Settings
    own_draws: tuple[str, ...] = ()
    """The process's generators of which each environment keeps a state of its own, because it (perhaps) draws from
    them."""

    @property
    def isolation(self) -> Isolation:
        """What keeps the environments' episodes apart."""
        return isolation_of(self.environment, self.fresh_environments, self.own_draws)

    @property
    def name(self) -> str:
        """The environment in a word."""
        if isinstance(self.environment, str):
            return self.environment
        called = getattr(self.environment, "__qualname__", type(self.environment).__name__)
        return str(called).replace("<", "").replace(">", "")

    @property
    def execution(self) -> Execution:
        """Where and how the framework computes."""
        return Execution(self.device, self.threads, self.fast)

    def settled(self, execution: Execution) -> "Plan":
        """The same, computed there."""
        return dataclasses.replace(self, device=execution.device, threads=execution.threads)

    def description(self, envs: int) -> dict[str, Any]:
        """As JSON can hold it; `envs` is what an environment that is a whole vector has."""
        return {
            "algorithm": self.algorithm,
            "environment": self.name,
            "environment_is_callable": not isinstance(self.environment, str),
            **described(self),
            "envs": envs,
            "own_draws": list(self.own_draws),
            "settings": dataclasses.asdict(self.config),
        }


def plan_of(description: Mapping[str, Any], environment: Environment) -> Plan:
    """The plan that a description says, for the environment that goes with it.

    Raises:
        KeyError, TypeError, ValueError: this is no description of a run.
    """
    settings = cast(Mapping[str, Any], description["settings"])
    told = [name for name in KINDS if name not in UNDESCRIBED and (name not in LATER or name in description)]
    algorithm = str(description["algorithm"])
    try:
        return Plan(
            algorithm=algorithm,
            environment=environment,
            config=algorithm_module(algorithm).Config(**settings),
            own_draws=draws_of(description),
            **{name: description[name] for name in told},
        )
    except UsageError as error:  # it is the file that is wrong, and not the call
        raise ValueError(str(error)) from error
