"""Experience replay: a ring of packed records in NumPy, sampled uniformly (Lin 1992; Lillicrap et al. 2016)."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import psutil

from polyak.errors import UsageError
from polyak.types import Batch, Float, Transitions


class Replay:
    """The last `capacity` transitions, one contiguous float32 record each, so that one gather serves K x B samples."""

    def __init__(self, capacity: int, observation_size: int, action_size: int) -> None:
        """Reserve `capacity * (2 O + A + 2) * 4` bytes; the system hands them over as transitions arrive.

        Raises:
            UsageError: more than the memory that is free.
        """
        require_memory(capacity, observation_size, action_size)
        self.observation_size = observation_size
        self.action_size = action_size
        self.capacity = capacity
        self.size = 0
        """Transitions held."""
        self.added = 0
        """Transitions ever added; the next one goes to row `added % capacity`."""
        self._records: Float = np.zeros((capacity, record_size(observation_size, action_size)), np.float32)

    @property
    def row_bytes(self) -> int:
        """Bytes of one record."""
        return memory_needed(1, self.observation_size, self.action_size)

    def require_burst(self, updates: float, batch_size: int) -> None:
        """Check that the batches of so many updates, sampled at once, fit into the memory that is free.

        Raises:
            UsageError: they do not.
        """
        needed, free = int(updates * batch_size * 3 * self.row_bytes), memory_free()  # rows, batches, packed with noise
        if needed > free:
            raise UsageError(
                f"updates_per_step and update_every make bursts of {updates:,.0f} updates, whose batches of "
                f"{batch_size:,} need {readable_bytes(needed)}, but {readable_bytes(free)} are free: lower one of them"
            )

    def add(self, transitions: Transitions) -> None:
        """Append transitions in order; the oldest are overwritten once the ring is full."""
        packed = np.column_stack(
            (
                transitions.observation,
                transitions.action,
                transitions.reward,
                transitions.next_observation,
                transitions.terminated,
            )
        )
        count = len(packed)
        if count == 1:
            self._records[self.added % self.capacity] = packed[0]
        else:
            rows = np.arange(self.added, self.added + count)[-self.capacity :] % self.capacity
            self._records[rows] = packed[-self.capacity :]
        self.added += count
        self.size = min(self.added, self.capacity)

    def sample(self, generator: np.random.Generator, updates: int, batch_size: int) -> Batch:
        """K batches of B transitions [K, B], each drawn uniformly with replacement, in one gather.

        Raises:
            UsageError: replay is empty.
        """
        if self.size == 0:
            raise UsageError("cannot sample from an empty replay: add transitions first")
        rows = generator.integers(0, self.size, size=(updates, batch_size))
        return Batch(self._records[rows], self.observation_size, self.action_size)

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


def require_memory(capacity: int, observation_size: int, action_size: int) -> None:
    """Check that a full replay fits into the memory that is free.

    Raises:
        UsageError: it does not; the message says how many transitions would.
    """
    needed, free = memory_needed(capacity, observation_size, action_size), memory_free()
    if needed > free:
        fits = free // memory_needed(1, observation_size, action_size)
        raise UsageError(
            f"replay_size {capacity:,} needs {readable_bytes(needed)}, but {readable_bytes(free)} are free: "
            f"at most {fits:,} transitions of this environment fit; lower replay_size"
        )


def memory_free() -> int:
    """Bytes that this process may still take: the machine's, or its control group's where that is less."""
    free = int(psutil.virtual_memory().available)
    if sys.platform == "linux":
        limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
        with contextlib.suppress(OSError, ValueError):  # no control group, or no limit ("max")
            free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def readable_bytes(count: int) -> str:
    """`168_000_000` as `168 MB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            amount = count / size
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{count} bytes"
