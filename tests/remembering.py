"""Environments whose episodes depend on more than their seed; `remembering:Counting-v0` is one."""

import random
from typing import Any

import gymnasium
import numpy as np

from tiny_cli import Tiny


class Counting(Tiny):
    """Is pushed a little further in each episode of its instance, as by a world that survives `reset`."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        if self._time == 1:  # so that the first observation tells nothing
            self._place += 0.01 * self.pushed
        return super().step(action)

    @property
    def pushed(self) -> float:
        """How far."""
        return self.episodes


class FirstDiffers(Counting):
    """Is pushed in the first episode of its instance only."""

    @property
    def pushed(self) -> float:
        return self.episodes == 1


class Numbered(Counting):
    """Is pushed by the number of its instance."""

    made = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        Numbered.made += 1
        self.pushed_by = Numbered.made

    @property
    def pushed(self) -> float:
        return self.pushed_by


class FromNumpy(Counting):
    """Is pushed by `np.random`, of which it takes half a pair."""

    @property
    def pushed(self) -> float:
        return np.random.randn()  # noqa: NPY002 - the fault that is meant


class FromPython(Counting):
    """Is pushed by `random`."""

    @property
    def pushed(self) -> float:
        return random.random()


class FromBoth(Counting):
    """Is pushed by both, and looks at one when it begins and when it is made."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mass = np.random.rand()  # noqa: NPY002 - the fault that is meant

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        shown = super().reset(seed=seed, options=options)
        self.force = random.random()
        return shown

    @property
    def pushed(self) -> float:
        return self.mass + self.force + np.random.rand()  # noqa: NPY002 - the fault that is meant


class SeedsItself(FromNumpy):
    """Seeds what all share, as if nobody else did."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        np.random.seed(seed)  # noqa: NPY002 - the fault that is meant
        return super().reset(seed=seed, options=options)


class Unseeded(Counting):
    """Is pushed by a generator that nobody seeds."""

    @property
    def pushed(self) -> float:
        return np.random.default_rng().random()


class Lonely(Tiny):
    """A simulator of which there may be only one in a process."""

    alive = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if Lonely.alive:
            raise RuntimeError("port 2000 is in use")
        Lonely.alive = True

    def close(self) -> None:
        Lonely.alive = False
        super().close()


for kind in (Counting, FirstDiffers, Numbered, FromNumpy, FromPython, FromBoth, SeedsItself, Unseeded, Lonely):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
