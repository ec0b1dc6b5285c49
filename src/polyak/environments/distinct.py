"""Environments are different objects: one that is in use is not made a second time."""

from collections.abc import Iterable, Iterator
from typing import Any, cast
from weakref import WeakSet

import gymnasium
from gymnasium.vector import VectorEnv

from polyak.errors import UsageError


class Claim:
    """Environments in use, until it is released or forgotten; nobody else in this process may have one of them."""

    def __init__(self, made: Iterable[Any], whose: str) -> None:
        """Claim the environments that `whose`, a name, has made, and all that is within them.

        Raises:
            UsageError: one of them is in another, or in use already.
        """
        self.objects: dict[int, Any] = {}
        """By their identity."""
        for environment in made:
            for single in _singles(environment):
                parts = parts_of(single)
                taken = [part for key, part in parts.items() for claim in (self, *_claims) if key in claim.objects]
                if taken:
                    raise UsageError(
                        f"{whose} gives the same {type(taken[-1]).__name__} "
                        "again, but every environment must be one of its own, also the one for evaluation: make a new "
                        "one at each call, as lambda: gymnasium.make(...) does and lambda: environment does not"
                    )
                self.objects |= parts
        _claims.add(self)

    def release(self) -> None:
        """They are closed, or somebody else's."""
        self.objects = {}


def is_in_use(environment: Any) -> bool:
    """Whether somebody in this process has it, or what it wraps."""
    return any(key in claim.objects for key in parts_of(environment) for claim in _claims)


_claims: WeakSet[Claim] = WeakSet()


def _singles(made: Any) -> list[Any]:
    """The environments that stand side by side in a vector, where it shows them; else itself."""
    inner: Any = getattr(cast(Any, made).unwrapped, "envs", None) if isinstance(made, VectorEnv) else None
    if isinstance(inner, list | tuple) and inner:
        return [*cast("list[Any]", inner), cast(Any, made).unwrapped]
    return [made]


def parts_of(environment: Any) -> dict[int, Any]:
    """All environments that it consists of, itself included: those it wraps, and those it holds as attributes."""
    found: dict[int, Any] = {}
    waiting = [environment]
    while waiting:
        each = waiting.pop()
        if id(each) not in found:
            found[id(each)] = each
            waiting += _held(each)
    return found


def _held(environment: Any) -> Iterator[Any]:
    for name, value in cast("dict[str, Any]", getattr(environment, "__dict__", {})).items():
        if isinstance(value, gymnasium.Env | VectorEnv):
            yield value
        elif name in ("env", "_env") and hasattr(value, "reset") and hasattr(value, "step"):
            yield value  # another library's
