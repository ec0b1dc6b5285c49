"""A run as it was settled, before any of it is made; `settings.json` and checkpoints describe it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings, require
from polyak.environments.make import Environment, Vectorization
from polyak.learners.edge import Execution

LONGEST_TIMEOUT = 10_000_000
"""Seconds, four months: more than a timer of the system need count."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run depends on."""

    algorithm: str
    environment: Environment
    config: Settings
    preset: str
    """Where the settings come from, in a word."""
    seed: int
    backend: str
    execution: Execution
    envs: int
    vectorization: Vectorization
    stop_at_return: float | None
    checkpoint_every: int | None
    """Environment steps; None is an epoch."""
    step_timeout: float | None
    """Seconds that the environments may take for one answer; None is no limit."""
    from_run: str | None
    track: tuple[str, ...] = ()
    """The trackers that get the records too, by name."""

    def __post_init__(self) -> None:
        require("seed", self.seed, self.seed >= 0, "at least 0")
        every, timeout = self.checkpoint_every, self.step_timeout
        require("checkpoint_every", every, every is None or every >= 1, "at least 1, or None for an epoch")
        in_time = timeout is None or 0 < timeout <= LONGEST_TIMEOUT
        require("step_timeout", timeout, in_time, f"above 0 and at most {LONGEST_TIMEOUT:,}, or None for no limit")

    @property
    def name(self) -> str:
        """The environment in a word."""
        if isinstance(self.environment, str):
            return self.environment
        called = getattr(self.environment, "__qualname__", type(self.environment).__name__)
        return str(called).replace("<", "").replace(">", "")

    def description(self, envs: int) -> dict[str, Any]:
        """As JSON can hold it; `envs` is what an environment that is a whole vector has."""
        return {
            "algorithm": self.algorithm,
            "environment": self.name,
            "environment_is_callable": not isinstance(self.environment, str),
            "backend": self.backend,
            "device": self.execution.device,
            "threads": self.execution.threads,
            "fast": self.execution.fast,
            "preset": self.preset,
            "from_run": self.from_run,
            "seed": self.seed,
            "envs": envs,
            "vectorization": self.vectorization,
            "stop_at_return": self.stop_at_return,
            "checkpoint_every": self.checkpoint_every,
            "step_timeout": self.step_timeout,
            "track": list(self.track),
            "settings": dataclasses.asdict(self.config),
        }


def plan_of(description: Mapping[str, Any], environment: Environment) -> Plan:
    """The plan that a description says, for the environment that goes with it.

    Raises:
        UsageError: something in it cannot be.
        KeyError, TypeError, ValueError: this is no description of a run.
    """
    vectorization = description["vectorization"]
    if vectorization not in get_args(Vectorization):
        raise ValueError(f"vectorization {vectorization!r}")
    settings = cast(Mapping[str, Any], description["settings"])
    return Plan(
        algorithm=str(description["algorithm"]),
        environment=environment,
        config=algorithm_module(str(description["algorithm"])).Config(**settings),
        preset=str(description["preset"]),
        seed=_whole(description["seed"]),
        backend=str(description["backend"]),
        execution=Execution(description["device"], description["threads"], bool(description["fast"])),
        envs=_whole(description["envs"]),
        vectorization=vectorization,
        stop_at_return=_optional(description["stop_at_return"], float),
        checkpoint_every=_optional(description["checkpoint_every"], int),
        step_timeout=_optional(description["step_timeout"], float),
        from_run=_optional(description["from_run"], str),
        track=tuple(map(str, description.get("track", ()))),  # runs from before there were trackers have none
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{str(value)[:40]!r} is no whole number")
    return value


def _optional(value: Any, kind: type[Any]) -> Any:
    return None if value is None else kind(value)
