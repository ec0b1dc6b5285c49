"""Episodes that follow from their seed alone, in environments that know more than their seed.

Two kinds of environment do: those whose instance remembers its earlier episodes, which are made afresh for each, and
those that draw from `np.random` or `random`, which the whole process shares, instead of their own generator: each of
these keeps a state of its own of them.
"""

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from polyak.environments.closing import raised_by_closing
from polyak.errors import UsageError

REMEMBERING = frozenset({"BipedalWalker-v3", "BipedalWalkerHardcore-v3"})
"""Ids whose instances remember: their Box2D world survives `reset`, so that the order of contacts is another."""
_GLOBAL: Any = np.random  # NumPy's stubs know half of it
SHARED = ("np.random", "random")
"""The generators that a process shares."""


@dataclass(frozen=True)
class Isolation:
    """What keeps an environment's episodes apart from each other and from the rest of the process."""

    afresh: bool = False
    """Each episode in an instance made for it."""
    draws: tuple[str, ...] = ()
    """Of `SHARED`, those of which each environment keeps a state of its own, seeded from each episode's seed."""

    def __post_init__(self) -> None:
        if not set(self.draws) <= set(SHARED):
            raise ValueError(f"{self.draws!r} are no generators that a process shares")


NONE = Isolation()


def isolation_of(environment: object, fresh: bool, draws: tuple[str, ...]) -> Isolation:
    """That of a run in an environment (an id or a callable): ids that are known to remember are always made afresh."""
    remembers = isinstance(environment, str) and environment.rpartition(":")[2] in REMEMBERING
    return Isolation(fresh or remembers, draws)


def draws_of(description: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run's description says of the generators that its environments draw from; earlier versions say nothing.

    Raises:
        ValueError, TypeError: these are no generators.
    """
    return Isolation(draws=tuple(description.get("own_draws", ()))).draws


def isolated(make: Callable[[], Any], isolation: Isolation, index: int = 0) -> Any:
    """What `make` makes, kept apart as asked; it is number `index` of its kind.

    Raises:
        UsageError: what is to be made afresh is a whole VectorEnv.
    """
    generators = [_KINDS[name](index) for name in isolation.draws]
    with _put_in(generators):  # a constructor may draw too
        made: Any = Afresh(make, anew=bool(generators)) if isolation.afresh else make()
    return OwnDraws(made, generators) if generators and isinstance(made, gymnasium.Env) else made


class Afresh(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Each episode in an instance made for it; the instance before is closed first, for there may be only one."""

    def __init__(self, make: Callable[[], Any], *, anew: bool = False) -> None:
        """Make the first; `anew`: it only shows the spaces, because its constructor drew other numbers than later ones.

        Raises:
            UsageError: it is a whole VectorEnv.
        """
        made = make()
        if isinstance(made, VectorEnv):
            raised_by_closing(made)
            raise UsageError(
                "fresh_environments makes each episode's environment anew, but a VectorEnv makes its own: do it there"
            )
        super().__init__(made)
        self._make = make
        self._used = anew

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Make a new instance, unless this one has not begun an episode yet.

        Raises:
            RuntimeError: it cannot be made, or the same one is made again.
        """
        if self._used:
            before = self.env.unwrapped
            raised_by_closing(self.env)  # of which nothing depends
            try:
                self.env = self._make()
            except UsageError as error:  # which would be the caller's at the door, but not within a run
                raise RuntimeError(f"it cannot be made afresh: {error}") from error
            if self.env.unwrapped is before:
                raise RuntimeError(
                    "fresh_environments needs a new environment for each episode, but got the same again"
                )
        self._used = True
        return self.env.reset(seed=seed, options=options)


class OwnDraws(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The generators that a process shares are this environment's own while it works."""

    def __init__(self, env: Any, generators: "Sequence[_Numpy | _Python]") -> None:
        super().__init__(env)
        self._generators = generators

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Seed them from the episode's seed; without one, they go on."""
        if seed is not None:
            for generator in self._generators:
                generator.seed(seed)
        with _put_in(self._generators):
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As it is, with its own generators."""
        with _put_in(self._generators):
            return self.env.step(action)

    def render(self) -> Any:
        """As it is, with its own generators."""
        with _put_in(self._generators):
            return self.env.render()

    def close(self) -> None:
        """As it is, with its own generators."""
        with _put_in(self._generators):
            self.env.close()


@contextmanager
def generators_kept() -> Generator[None]:
    """Whatever draws within: `np.random` and `random` are afterwards as they were before."""
    with _put_in([kind(0) for kind in _KINDS.values()]):
        yield


@contextmanager
def draws_noted() -> Generator[list[str]]:
    """Note which of `SHARED` whatever is done within draws from, or seeds; they are afterwards as they were before."""
    noted: list[str] = []
    generators = {name: kind(0) for name, kind in _KINDS.items()}
    before = {name: generator.mark() for name, generator in generators.items()}
    try:
        with _put_in(list(generators.values())):
            yield noted
    finally:
        noted += [name for name, generator in generators.items() if generator.mark() != before[name]]


class _Numpy:
    """A state of `np.random`'s generator."""

    def __init__(self, seed: int) -> None:
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Begin anew; not with the numbers that an environment's own generator gives for the same seed."""
        self._bits: Any = np.random.MT19937(np.random.SeedSequence(seed, spawn_key=tuple(b"np.random")))

    def mark(self) -> Any:
        """What differs once it has been drawn from."""
        state = self._bits.state
        inner = state.get("state")
        if isinstance(inner, dict) and "key" in inner:
            return inner["key"].tobytes(), inner["pos"]
        return repr(state)  # of a kind that an environment has put in its place

    def put_in(self) -> Callable[[], None]:
        """Make it that of the process; gives what puts back the one before, and keeps this one's state."""
        theirs, half = _GLOBAL.get_bit_generator(), _GLOBAL.get_state(legacy=False)
        _GLOBAL.set_bit_generator(self._bits)

        def take_out() -> None:
            self._bits = _GLOBAL.get_bit_generator()
            _GLOBAL.set_bit_generator(theirs)
            if half["has_gauss"] and half["bit_generator"] == "MT19937":  # half of a pair of normal numbers, kept apart
                _GLOBAL.set_state(half)

        return take_out


class _Python:
    """A state of `random`'s generator."""

    def __init__(self, seed: int) -> None:
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Begin anew."""
        self._state = random.Random(f"random {seed}").getstate()  # noqa: S311 - no cryptography

    def mark(self) -> Any:
        """What differs once it has been drawn from."""
        return self._state

    def put_in(self) -> Callable[[], None]:
        """Make it that of the process; gives what puts back the one before, and keeps this one's state."""
        theirs = random.getstate()
        random.setstate(self._state)

        def take_out() -> None:
            self._state = random.getstate()
            random.setstate(theirs)

        return take_out


_KINDS: dict[str, type[_Numpy] | type[_Python]] = dict(zip(SHARED, (_Numpy, _Python), strict=True))


@contextmanager
def _put_in(generators: "Sequence[_Numpy | _Python]") -> Generator[None]:
    taken = [generator.put_in() for generator in generators]
    try:
        yield
    finally:
        for take_out in taken:
            take_out()
