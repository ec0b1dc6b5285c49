"""Which of the transitions in replay a learner learns from."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError
from polyak.experience.replay import Replay
from polyak.types import Arrays, Float


class Chosen(NamedTuple):
    """The transitions of K updates."""

    numbers: NDArray[np.int64]
    """[K, B], counted from the first ever added."""
    weight: Float
    """[K, B]: how much each counts in the critics' losses."""
    weighted: bool = False
    """Whether a weight may be another than 1."""


class Chooser(Protocol):
    """Chooses transitions of one replay; `generator` is all the chance there is."""

    @property
    def wants_errors(self) -> bool:
        """Whether it is to be told what errors the updates found."""
        ...

    def entered(self, count: int) -> None:
        """So many transitions have just been added to replay."""
        ...

    def choose(self, replay: Replay, generator: np.random.Generator, updates: int, batch_size: int) -> Chosen:
        """For K updates at once, B transitions each.

        Raises:
            UsageError: replay is empty.
        """
        ...

    def learned(self, numbers: NDArray[np.int64], errors: Float) -> None:
        """What a burst found, as the bursts were chosen: the numbers of its transitions [K, B], their errors [K, B].

        Transitions that were overwritten since are passed over.
        """
        ...

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `restore` needs beside replay: as JSON can hold it, and as arrays of any kind."""
        ...

    def restore(self, replay: Replay, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Go on from a `state()`, with a replay that is restored already.

        Raises:
            ValueError, TypeError, KeyError: this is no state of what the chooser keeps.
        """
        ...


class Uniform:
    """Each transition that is held, with equal probability and replacement, and of weight 1 (Lin 1992).

    What it keeps is nothing.
    """

    wants_errors = False

    def entered(self, count: int) -> None:
        """As `Chooser.entered`."""

    def choose(self, replay: Replay, generator: np.random.Generator, updates: int, batch_size: int) -> Chosen:
        """As `Chooser.choose`."""
        if replay.size == 0:
            raise UsageError("cannot sample from an empty replay: add transitions first")
        numbers = generator.integers(0, replay.size, size=(updates, batch_size))  # rows of the ring
        if replay.added > replay.size:
            newest = replay.added - 1
            numbers = newest - (newest - numbers) % replay.capacity
        return Chosen(numbers, np.ones(numbers.shape, np.float32))

    def learned(self, numbers: NDArray[np.int64], errors: Float) -> None:
        """As `Chooser.learned`."""

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """As `Chooser.state`."""
        return {}, {}

    def restore(self, replay: Replay, state: Mapping[str, Any], arrays: Arrays) -> None:
        """As `Chooser.restore`."""
        if state or arrays:
            raise ValueError(f"a uniform choice keeps {sorted({*state, *arrays})}, but it keeps nothing")
