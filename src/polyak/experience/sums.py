"""Sums of a million numbers in which the smallest counts: rows are drawn with a probability proportional to theirs."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

ROOTS = 1_024
"""Nodes without a parent at most: a running total over so many is faster than ten more levels."""
ROW_BYTES = 16
"""Of one row: its number, and its share of the nodes above."""


class Sums:
    """A number for each row, above 0 from the first to the last that has one, in a tree (Schaul et al. 2016, B.2.1).

    Each node is the sum of its two children in float64, and is computed anew from them when one changes: differences
    would gather rounding, and a tree made anew of the same numbers would be another one.
    """

    def __init__(self, rows: int) -> None:
        rows = max(rows, 1)
        self._levels = (-(-rows // ROOTS) - 1).bit_length()
        """Between roots and leaves."""
        self._roots = -(-rows >> self._levels)
        """Their count, and the place of the first. The children of the node at n are at 2 n and 2 n + 1."""
        self._leaves = self._roots << self._levels
        """The place of the first row's."""
        self._nodes: Doubles = np.zeros(2 * self._leaves, np.float64)
        self.filled = 0
        """Rows that have a number."""

    def values(self) -> Doubles:
        """The numbers of the rows that have one, copied."""
        return self._nodes[self._leaves : self._leaves + self.filled].copy()

    def of(self, rows: Rows) -> Doubles:
        """The numbers of rows [...]: [...]."""
        return self._nodes[self._leaves + rows]

    def fill(self, first: int, end: int, value: float | Doubles) -> None:
        """Give the rows from `first` to `end` (exclusive) a number, or each its own; none before `first` is without."""
        low, high = self._leaves + first, self._leaves + end
        self._nodes[low:high] = value
        for _ in range(self._levels):
            low, high = low >> 1, (high + 1) >> 1
            children = self._nodes[2 * low : 2 * high]
            self._nodes[low:high] = children[::2] + children[1::2]
        self.filled = max(self.filled, end)

    def put(self, rows: Rows, values: Doubles) -> None:
        """Give rows [n], each of which is there once and has a number, others [n]."""
        nodes = self._leaves + rows
        self._nodes[nodes] = values
        for _ in range(self._levels):
            nodes >>= 1
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def drawn(self, places: Doubles) -> Rows:
        """The rows at places [...] of the whole, from 0 to below 1, on which each takes as much as its number."""
        roots = self._nodes[self._roots : 2 * self._roots]
        ends: Doubles = np.cumsum(roots)
        left = places * ends[-1]
        nodes = np.minimum(cast(Rows, np.searchsorted(ends, left, side="right")), self._roots - 1)
        left -= np.where(nodes > 0, ends[nodes - 1], 0.0)
        nodes += self._roots
        for _ in range(self._levels):
            nodes *= 2
            lower = self._nodes[nodes]
            beyond = left >= lower
            left -= lower * beyond
            nodes += beyond
        return np.minimum(nodes - self._leaves, self.filled - 1)  # rounding may step behind the last
