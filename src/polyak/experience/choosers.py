"""Which of the transitions in replay a learner learns from."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError
from polyak.experience.replay import Replay
from polyak.types import Float


class Chosen(NamedTuple):
    """The transitions of K updates."""

    numbers: NDArray[np.int64]
    """[K, B], counted from the first ever added."""
    weight: Float
    """[K, B]: how much each counts in the critics' losses."""


class Chooser(Protocol):
    """Chooses transitions; `generator` is all the chance there is."""

    def choose(self, replay: Replay, generator: np.random.Generator, updates: int, batch_size: int) -> Chosen:
        """For K updates at once, B transitions each.

        Raises:
            UsageError: replay is empty.
        """
        ...


class Uniform:
    """Each transition that is held, with equal probability and replacement, and of weight 1 (Lin 1992)."""

    def choose(self, replay: Replay, generator: np.random.Generator, updates: int, batch_size: int) -> Chosen:
        """As `Chooser.choose`."""
        if replay.size == 0:
            raise UsageError("cannot sample from an empty replay: add transitions first")
        numbers = generator.integers(0, replay.size, size=(updates, batch_size))  # rows of the ring
        if replay.added > replay.size:
            newest = replay.added - 1
            numbers = newest - (newest - numbers) % replay.capacity
        return Chosen(numbers, np.ones(numbers.shape, np.float32))
