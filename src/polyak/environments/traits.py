"""What an environment says of itself before it is stepped: whether anything limits its episodes, what it averages."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from gymnasium.vector import VectorEnv

from polyak.environments.distinct import parts_of


class Traits(NamedTuple):
    """What is known of environments that are made alike."""

    time_limited: bool = False
    """Whether a time limit is known that ends each episode; one that it keeps to itself is not."""
    averages: tuple[str, ...] = ()
    """Wrappers by their names that normalize by averages of all they have seen."""


def traits_of(made: Any) -> Traits:
    """Those of an environment, or of a VectorEnv."""
    singles: Any = getattr(cast(Any, made).unwrapped, "envs", None) if isinstance(made, VectorEnv) else [made]
    limited = bool(singles) and all(map(_is_limited, singles))
    return Traits(limited or _declares_limit(made), tuple(dict.fromkeys(_averaging([made, *(singles or ())]))))


def _is_limited(environment: Any) -> bool:
    limits = (part for part in parts_of(environment).values() if type(part).__name__.endswith("TimeLimit"))
    return any(True for _ in limits) or _declares_limit(environment)


def _declares_limit(made: Any) -> bool:
    return getattr(getattr(made, "spec", None), "max_episode_steps", None) is not None


def _averaging(made: list[Any]) -> Iterator[str]:
    """The wrappers that hold a running mean and standard deviation, whoever's they are."""
    for part in (part for each in made for part in parts_of(each).values()):
        held = cast("dict[str, Any]", getattr(part, "__dict__", {})).values()
        if any("RunningMeanStd" in type(value).__name__ for value in held):
            yield type(part).__name__
