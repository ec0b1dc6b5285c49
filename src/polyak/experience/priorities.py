"""Prioritized replay: what was predicted badly is drawn more often (Schaul et al. 2016; LAP: Fujimoto et al. 2020)."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from polyak.errors import UsageError
from polyak.experience.choosers import Chosen
from polyak.experience.replay import Replay
from polyak.experience.sums import Doubles, Rows, Sums
from polyak.types import Arrays, Float

EPSILON = 1e-6
"""Is added to each error, so that no transition is out of reach (Schaul et al. 2016, section 3.3)."""
LEAST = 1.0
"""LAP's errors count as at least so much, which is where its loss becomes linear (Fujimoto et al. 2020)."""


class Prioritized:
    """Each transition that is held, with a probability P proportional to its priority, independently, with replacement.

    With delta the error that the newest burst with the transition in it found, by what `rule` says:

    - proportional (1511.05952, section 3): priority (|delta| + 1e-6)^exponent. In the loss a transition counts
      (N P)^-beta over the largest such number of its batch; beta goes from `correction` to 1 at the run's last update.
    - lap (2007.06049, section 4): priority max(|delta|, 1)^exponent. All count 1, because the loss is linear where an
      error is above 1 (`regression`).

    A new transition has the largest priority that there ever was, at first 1. During a burst priorities stand still.
    """

    wants_errors = True

    def __init__(
        self,
        replay: Replay,
        rule: Literal["proportional", "lap"],
        exponent: float,
        correction: float,
        updates: int,
    ) -> None:
        """For a replay, what it holds already included, and a run of so many updates.

        Raises:
            UsageError: the system refuses the memory.
        """
        self._capacity, self._rule, self._exponent = replay.capacity, rule, exponent
        self._correction, self._updates = correction, max(updates, 1)
        self._largest = 1.0
        self._added = replay.added
        """Transitions ever added to replay."""
        self._chosen = 0
        """Updates that transitions were chosen for, which tell beta."""
        try:
            self._priorities = Sums(replay.rows)
        except (MemoryError, ValueError) as error:
            raise UsageError(f"the system refuses the memory for priorities of {replay.rows:,} transitions") from error
        self._priorities.fill(0, replay.size, self._largest)

    def entered(self, count: int) -> None:
        """So many transitions have been added to replay; their priority is the largest that there ever was."""
        first = self._added % self._capacity
        self._added += count
        end = first + min(count, self._capacity)
        self._priorities.fill(first, min(end, self._capacity), self._largest)
        if end > self._capacity:
            self._priorities.fill(0, end - self._capacity, self._largest)

    def choose(self, replay: Replay, generator: np.random.Generator, updates: int, batch_size: int) -> Chosen:
        """As `Chooser.choose`."""
        if replay.size == 0:
            raise UsageError("cannot sample from an empty replay: add transitions first")
        rows = self._priorities.drawn(generator.random((updates, batch_size)))
        weight = self._weights(rows)
        self._chosen += updates
        newest = self._added - 1
        return Chosen(newest - (newest - rows) % self._capacity, weight, weighted=self._rule == "proportional")

    def _weights(self, rows: Rows) -> Float:
        """(N P)^-beta over the largest of each batch, which is that of the smallest P; ones for LAP: [K, B]."""
        if self._rule == "lap":
            return np.ones(rows.shape, np.float32)
        priority = self._priorities.of(rows)
        relative = priority.min(axis=1, keepdims=True) / priority
        done = np.minimum((self._chosen + np.arange(len(rows))) / self._updates, 1.0)
        beta = self._correction + (1.0 - self._correction) * done
        return (relative ** beta[:, None]).astype(np.float32)

    def learned(self, numbers: Rows, errors: Float) -> None:
        """As `Chooser.learned`: a transition that was chosen several times has the error of the last time."""
        latest, last = np.unique(numbers.ravel()[::-1], return_index=True)
        held = latest >= self._added - self._capacity
        if held.any():
            priority = self._priority(errors.ravel()[::-1][last[held]].astype(np.float64))
            self._priorities.put(latest[held] % self._capacity, priority)
            self._largest = max(self._largest, float(priority.max()))

    def _priority(self, error: Doubles) -> Doubles:
        size = np.abs(error)
        return (np.maximum(size, LEAST) if self._rule == "lap" else size + EPSILON) ** self._exponent

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """As `Chooser.state`: how far beta has come, the largest priority, and those of the rows of the ring."""
        return {"chosen": self._chosen, "largest": self._largest}, {"priorities": self._priorities.values()}

    def restore(self, replay: Replay, state: Mapping[str, Any], arrays: Arrays) -> None:
        """As `Chooser.restore`."""
        chosen, largest, priorities = state["chosen"], float(state["largest"]), arrays["priorities"]
        if type(chosen) is not int or chosen < 0:
            raise ValueError(f"transitions were chosen for {chosen!r:.40} updates")
        if priorities.dtype != np.float64 or priorities.shape != (replay.size,):
            raise ValueError(f"priorities are {priorities.dtype} {priorities.shape} of {replay.size:,} transitions")
        if not (np.all(priorities > 0.0) and np.all(priorities <= largest) and np.isfinite(largest)):
            raise ValueError(f"priorities are not above 0 and at most the largest, {largest}")
        self._chosen, self._largest, self._added = chosen, largest, replay.added
        self._priorities.fill(0, replay.size, priorities)
