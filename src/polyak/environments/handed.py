"""An environment that was handed over as an object: used as it is, left open, and made a second time from its spec."""

import copy
from collections.abc import Callable
from typing import Any, cast

import gymnasium
from gymnasium.vector import VectorEnv, VectorWrapper

from polyak.environments.distinct import is_in_use
from polyak.errors import UsageError
from polyak.system.foreign import foreign, told

Given = str | Callable[..., Any] | gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]
"""What may be given as an environment: an id, a callable that makes one, or one that is there already."""

GYMNASIUMS = ("PassiveEnvChecker", "OrderEnforcing", "TimeLimit")
"""Wrappers that `gymnasium.make` puts around an environment by itself."""


class Lent(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Somebody's own environment, which is theirs to close."""

    def close(self) -> None:
        """Leave it open."""


class LentVector(VectorWrapper[Any, Any, Any]):
    """The same of a vector environment."""

    def close(self, **how: Any) -> None:
        """Leave it open."""


class Handed:
    """Makes an environment of one that was handed over: that one itself, or where it is in use, one of its spec."""

    def __init__(self, environment: Any) -> None:
        self._one = environment
        spec = _spec_of(environment)
        self.id: str = "" if spec is None else spec.id
        """The environment's id, where Gymnasium made it of one."""
        self.is_vector = isinstance(environment, VectorEnv)
        self.__qualname__ = self.id or type(environment.unwrapped).__name__
        self.__name__ = self.__qualname__

    def __call__(self, render_mode: str | None = None) -> Any:
        """It, or another like it, which draws as asked.

        Raises:
            UsageError: another one cannot be made.
        """
        fits = render_mode is None or self._one.render_mode == render_mode
        if fits and not is_in_use(self._one):
            return LentVector(self._one) if self.is_vector else Lent(self._one)
        try:
            return self._another(render_mode)
        except UsageError as error:
            if fits:
                raise
            raise UsageError(f"{error}; or make it with render_mode={render_mode!r} at once") from error

    def require(self, *, envs: int, vectorization: str, afresh: bool, evaluate_in: str = "own") -> None:
        """Check that a run can use one that is there already.

        Raises:
            UsageError: it needs several, or one in another process; the line to write instead is in the message.
        """
        wrong = {
            "envs": (envs, envs > 1 and not self.is_vector),
            "vectorization": (vectorization, vectorization != "sync"),
            "fresh_environments": (afresh, afresh),
            "evaluate_in": (evaluate_in, evaluate_in == "process"),
        }
        for name, (value, is_wrong) in wrong.items():
            if is_wrong:
                raise UsageError(
                    f"{name} is {value}, but the environment is one that is there already, in this process: give "
                    f"{self._instead}"
                )

    @property
    def _instead(self) -> str:
        *wrappers, kind = [name for name in _layers(self._one).split("<") if name not in GYMNASIUMS]
        made = f"gymnasium.make({self.id!r}, ...)" if self.id and not self.is_vector else f"{kind}(...)"
        for name in reversed(wrappers):
            made = f"{name}({made})"
        by_id = f"its id, {self.id!r}, or " if self.id and not wrappers else ""
        return f"{by_id}what makes a new one each time it is called, as lambda: {made}"

    def _another(self, render_mode: str | None) -> Any:
        spec = _spec_of(self._one)
        if spec is None:
            raise UsageError(f"no second one is made of {self.__qualname__}, which has no spec: give {self._instead}")
        with foreign(self._not_made):
            made: Any = self._made(copy.deepcopy(spec), render_mode)
        ours, theirs = _layers(self._one), _layers(made)
        if ours != theirs:
            made.close()
            raise UsageError(
                f"no second one is made of {self.__qualname__}: by its spec it is {theirs}, but it is {ours}: give "
                f"{self._instead}"
            )
        return made

    def _made(self, spec: Any, render_mode: str | None) -> Any:
        spec.kwargs.pop("render_mode", None)  # no second window, nor pictures that nobody asked for
        if self.is_vector:
            return gymnasium.make_vec(spec)
        drawn: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        return gymnasium.make(spec, **drawn)

    def _not_made(self, error: BaseException) -> str:
        return (
            f"no second one is made of {self.__qualname__}: by its spec, Gymnasium raised {type(error).__name__}"
            f"{told(error)}; give {self._instead}"
        )


def callable_of(environment: Given) -> str | Callable[..., Any]:
    """What makes environments, where one was given as an object; whatever else was given as it is."""
    return Handed(environment) if isinstance(environment, gymnasium.Env | VectorEnv) else environment


def _spec_of(environment: Any) -> Any:
    """Its spec, if it has one; a wrapper's may be computed, and fail."""
    try:
        return environment.spec
    except Exception:  # noqa: BLE001 - whatever copying a stranger's arguments raises
        return None


def _layers(environment: Any) -> str:
    """The classes of its wrappers and of itself, from the outermost."""
    names: list[str] = []
    while isinstance(environment, gymnasium.Wrapper | VectorWrapper):
        names.append(type(cast(Any, environment)).__name__)
        environment = cast(Any, environment).env
    return "<".join([*names, type(environment).__name__])
