"""Random numbers for N environments side by side: all from one stream, or each environment's from its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyak.system.randomness import go_on_from, state_of
from polyak.types import Float


class Draws:
    """Rows [N, A] of numbers.

    Drawn from one stream, a row depends on how many others there are beside it. Where each environment has a stream
    of its own, it does not, so that it matters not which process the environment is in.
    """

    def __init__(self, streams: np.random.Generator | Sequence[np.random.Generator], shape: tuple[int, int]) -> None:
        """Take one stream for all of `shape` [N, A], or N of them."""
        self._each = None if isinstance(streams, np.random.Generator) else list(streams)
        self._one: Any = streams
        self._shape = shape
        if self._each is not None and len(self._each) != shape[0]:
            raise ValueError(f"{len(self._each)} streams for {shape[0]} environments")

    def uniform(self) -> Float:
        """In [-1, 1)."""
        if self._each is None:
            return self._one.uniform(-1.0, 1.0, self._shape).astype(np.float32)
        return np.stack([stream.uniform(-1.0, 1.0, self._shape[1]) for stream in self._each]).astype(np.float32)

    def normal(self) -> Float:
        """Standard normal."""
        if self._each is None:
            return self._one.standard_normal(self._shape, dtype=np.float32)
        return np.stack([stream.standard_normal(self._shape[1], dtype=np.float32) for stream in self._each])

    def normal_for(self, index: int) -> Float:
        """One row, for environment `index` alone: [A]."""
        return self._of(index).standard_normal(self._shape[1], dtype=np.float32)

    def uniform_for(self, index: int) -> float:
        """One number in [0, 1), for environment `index` alone."""
        return float(self._of(index).random())

    def _of(self, index: int) -> Any:
        return self._one if self._each is None else self._each[index]

    def state(self) -> Any:
        """Where the stream is, or each of them, as JSON can hold it."""
        return state_of(self._one) if self._each is None else [state_of(stream) for stream in self._each]

    def restore(self, state: Any) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError, KeyError: this is none.
        """
        if self._each is None:
            go_on_from(self._one, state)
            return
        for stream, saved in zip(self._each, state, strict=True):
            go_on_from(stream, saved)
