"""When each control step is due, and how late it was."""

import math

import numpy as np

SHARE = 0.25
"""Of a period: what the policy has at least, however late the observation came."""
RESOLUTION, HIGHEST = 1e-5, 1.0
"""Seconds: lateness is counted in such bins, and above by one; a loop may run for weeks."""


class Lateness:
    """How late control steps began, counted."""

    def __init__(self) -> None:
        self._counts = np.zeros(round(HIGHEST / RESOLUTION) + 2, np.int64)
        self.worst = 0.0
        """Seconds."""

    def add(self, seconds: float) -> None:
        """One step; an early one is on time."""
        self.worst = max(self.worst, seconds)
        self._counts[min(max(math.ceil(seconds / RESOLUTION - 1e-6), 0), len(self._counts) - 1)] += 1

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the steps began, to 10 us; of more than a second, the worst."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        index = int(np.searchsorted(self._counts.cumsum(), math.ceil(share * total)))
        return self.worst if index == len(self._counts) - 1 else min(index * RESOLUTION, self.worst)

    def within(self, seconds: float) -> float:
        """The share of the steps that began at most so late."""
        total = self._counts.sum()
        return float(self._counts[: int(seconds / RESOLUTION + 1e-6) + 1].sum() / total) if total else 1.0


class Schedule:
    """A grid of moments, a period apart, which begins anew with each episode and after each overrun.

    An overrun is an environment that answers only after the next step was due. That step then begins as soon as it has
    its action, and the grid goes on from there: none is left out, and none follows at once to make up for it.
    """

    def __init__(self, period: float) -> None:
        """Steps are so many seconds apart."""
        self.period = period
        self.lateness = Lateness()
        self.overruns = 0
        self._due, self._late_from_the_start = 0.0, False

    def begin(self, now: float) -> None:
        """An episode has begun: its first step is due in a period."""
        self._due, self._late_from_the_start = now + self.period, False

    @property
    def due(self) -> float:
        """When the next step is."""
        return self._due

    def deadline(self, seen: float) -> float:
        """When the policy must have its action on what was `seen` at a moment: when it is due, or a little after."""
        self._late_from_the_start = seen > self._due
        return max(self._due, seen + SHARE * self.period)

    def stepped(self, began: float, ended: float) -> None:
        """The environment was given an action at one moment, and answered at another."""
        self.lateness.add(began - self._due)
        self._due = (began if self._late_from_the_start else self._due) + self.period
        self.overruns += ended > self._due
