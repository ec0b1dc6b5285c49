"""Experience replay: a ring of packed records in NumPy, sampled uniformly (Lin 1992; Lillicrap et al. 2016)."""

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError
from polyak.system.memory import memory_free, readable_bytes
from polyak.types import Float, Layout, Transitions


class Replay:
    """The last `capacity` transitions, one contiguous float32 record each, so that one gather serves K x B samples."""

    def __init__(self, capacity: int, observation_size: int, action_size: int, expected: int | None = None) -> None:
        """Reserve `capacity * (2 O + A + 2) * 4` bytes; the system hands them over as transitions arrive.

        Where no more than so many transitions are `expected` ever, memory is reserved for these alone, and no more of
        them may be added.

        Raises:
            UsageError: more than the memory that is free.
        """
        rows = capacity if expected is None else min(capacity, expected)
        require_memory(capacity, observation_size, action_size, expected)
        self._remedy = "lower one of them" if expected is None else "free some"  # a run that goes on keeps its settings
        self.layout = Layout(observation_size, action_size)
        self.capacity = capacity
        self.size = 0
        """Transitions held."""
        self.added = 0
        """Transitions ever added; the next one goes to row `added % capacity`."""
        try:
            self._records: Float = np.zeros((rows, record_size(observation_size, action_size)), np.float32)
        except (MemoryError, ValueError) as error:  # a limit that is not the memory's; more than can be counted
            needed = readable_bytes(memory_needed(rows, observation_size, action_size))
            raise UsageError(f"replay_size {capacity:,} needs {needed}, which the system refuses: {error}") from error

    @property
    def row_bytes(self) -> int:
        """Bytes of one record."""
        return memory_needed(1, self.layout.observation_size, self.layout.action_size)

    def require_burst(self, updates: float, batch_size: int) -> None:
        """Check that the batches of so many updates, sampled at once, fit into the memory that is free.

        Raises:
            UsageError: they do not.
        """
        needed, free = int(updates * batch_size * 3 * self.row_bytes), memory_free()  # rows, batches, packed with noise
        if needed > free:
            raise UsageError(
                f"updates_per_step and update_every make bursts of {updates:,.0f} updates, whose batches of "
                f"{batch_size:,} need {readable_bytes(needed)}, but {readable_bytes(free)} are free: {self._remedy}"
            )

    def add(self, transitions: Transitions) -> None:
        """Append transitions in order; the oldest are overwritten once the ring is full."""
        count, first = len(transitions.reward), self.added % self.capacity
        if first + count <= self.capacity:
            self._pack(transitions, self._records[first : first + count])
        else:
            packed = np.empty((count, self._records.shape[1]), np.float32)
            self._pack(transitions, packed)
            rows = np.arange(self.added, self.added + count)[-self.capacity :] % self.capacity
            self._records[rows] = packed[-self.capacity :]
        self.added += count
        self.size = min(self.added, self.capacity)

    def _pack(self, transitions: Transitions, records: Float) -> None:
        """Write transitions [n] into records [n, 2 O + A + 2]."""
        layout = self.layout
        records[:, layout.observation] = transitions.observation
        records[:, layout.action] = transitions.action
        records[:, layout.reward] = transitions.reward
        records[:, layout.next_observation] = transitions.next_observation
        records[:, layout.terminated] = transitions.terminated

    def gathered(self, rows: NDArray[np.int64]) -> Float:
        """The records in these rows [...], copied, with a column more than they have: [..., 2 O + A + 3]."""
        records = np.empty((*rows.shape, self.layout.width), np.float32)
        records[..., : self.layout.weight] = self._records[rows]
        return records

    def records(self, first: int, end: int) -> Float:
        """Records number `first` to `end` (exclusive), counted from the first ever added: [end - first, 2 O + A + 2].

        They are copied; all of them must still be held.
        """
        return self._records[np.arange(first, end) % self.capacity]

    def restore(self, first: int, records: Float) -> None:
        """Put back what `records(first, end)` gave; the last record restored is the newest of all."""
        end = first + len(records)
        rows = np.arange(first, end)[-self.capacity :]
        self._records[rows % self.capacity] = records[-self.capacity :]
        self.added = end
        self.size = min(end, self.capacity)


def record_size(observation_size: int, action_size: int) -> int:
    """Numbers in one record: observation, action, reward, next observation, terminated."""
    return 2 * observation_size + action_size + 2


def memory_needed(capacity: int, observation_size: int, action_size: int) -> int:
    """Bytes that a replay of this capacity takes when full."""
    return capacity * record_size(observation_size, action_size) * np.dtype(np.float32).itemsize


def require_memory(capacity: int, observation_size: int, action_size: int, expected: int | None = None) -> None:
    """Check that a full replay, or as many transitions as are `expected` in it, fits into the memory that is free.

    Raises:
        UsageError: it does not; the message says how many transitions would.
    """
    rows = capacity if expected is None else min(capacity, expected)
    needed, free = memory_needed(rows, observation_size, action_size), memory_free()
    if needed > free:
        fits = free // memory_needed(1, observation_size, action_size)
        what = f"replay_size {capacity:,} needs" if expected is None else f"the run will keep {rows:,} transitions, for"
        remedy = "lower replay_size" if expected is None else "free some, or ask for fewer steps"
        raise UsageError(
            f"{what} {readable_bytes(needed)}, but {readable_bytes(free)} are free: "
            f"at most {fits:,} transitions of this environment fit; {remedy}"
        )
