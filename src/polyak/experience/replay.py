"""Experience replay: a ring of packed records in NumPy (Lin 1992; Lillicrap et al. 2016), which draws nothing."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError
from polyak.experience.links import Futures, Links
from polyak.system.memory import memory_free, readable_bytes
from polyak.types import Bool, Float, Integers, Layout, Transitions


class Replay:
    """The last `capacity` transitions, each a contiguous float32 record and the number of its episode.

    Records have a batch's columns, so that one gather serves K x B samples. Transitions are told by their numbers,
    counted from the first ever added: an overwritten one's is not given to another.
    """

    def __init__(
        self, capacity: int, observation_size: int, action_size: int, expected: int | None = None, beside: int = 0
    ) -> None:
        """Reserve `capacity * (2 O + A + 4) * 4` bytes; the system hands them over as transitions arrive.

        Where no more than so many transitions are `expected` ever, memory is reserved for these alone, and no more of
        them may be added. `beside` are the bytes that others will keep of each, such as its priority.

        Raises:
            UsageError: more than the memory that is free.
        """
        rows = capacity if expected is None else min(capacity, expected)
        require_memory(capacity, observation_size, action_size, expected, beside)
        self._remedy = "lower one of them" if expected is None else "free some"  # a run that goes on keeps its settings
        self.layout = Layout(observation_size, action_size)
        self.capacity = capacity
        self.rows = rows
        """Transitions that there is memory for."""
        self.row_bytes = memory_needed(1, observation_size, action_size, beside)
        """Bytes of one transition, with what others keep of it."""
        self.size = 0
        """Transitions held."""
        self.added = 0
        """Transitions ever added; the next one goes to row `added % capacity`."""
        self._links: Links | None = None
        self._futures: Futures | None = None
        """Both made when they are first asked for."""
        try:
            self._records: Float = np.zeros((rows, self.layout.width), np.float32)
            self._episodes: NDArray[np.int32] = np.zeros(rows, np.int32)
        except (MemoryError, ValueError) as error:  # a limit that is not the memory's; more than can be counted
            needed = readable_bytes(memory_needed(rows, observation_size, action_size))
            raise UsageError(f"replay_size {capacity:,} needs {needed}, which the system refuses: {error}") from error

    @property
    def oldest(self) -> int:
        """The number of the oldest transition that is held."""
        return self.added - self.size

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
            self.layout.pack(transitions, self._records[first : first + count])
            self._episodes[first : first + count] = transitions.episode
        else:
            packed = np.empty((count, self.layout.width), np.float32)
            self.layout.pack(transitions, packed)
            self._put(self.added, packed, transitions.episode)
        for known in (self._links, self._futures):
            if known is not None:
                ended = np.logical_or(transitions.terminated, transitions.truncated)
                known.append(self.added, transitions.episode, ended)
        self._count(self.added + count)

    def gathered(self, numbers: Integers) -> Float:
        """The records of held transitions, by their numbers [...], copied in one gather: [..., 2 O + A + 3]."""
        return self._records[self._rows(numbers)]

    def rewards(self, numbers: Integers) -> Float:
        """Those of held transitions, by their numbers [...]: [...]."""
        return self._records[self._rows(numbers), self.layout.reward]

    def _rows(self, numbers: Integers) -> Integers:
        return numbers if self.added <= self.capacity else numbers % self.capacity

    def successors(self, numbers: Integers) -> NDArray[np.int64]:
        """The numbers of the next transitions of their episodes, for held ones by their numbers [...]; -1 for none.

        None follows an episode's last one, nor one whose episode was given up there, nor one that earlier versions
        stored. The first call makes `Links` of all that is held.
        """
        if self._links is None:
            self._links = Links(len(self._records))
            self._links.append(self.oldest, *self._episodes_and_ends())
        return self._links.after(numbers)

    def _known_futures(self) -> Futures:
        if self._futures is None:
            self._futures = Futures(len(self._records))
            self._futures.append(self.oldest, *self._episodes_and_ends())
        return self._futures

    def _episodes_and_ends(self) -> tuple[NDArray[np.int32], Bool]:
        """Of all that is held, in order."""
        held = self.oldest, self.added
        return self.episodes(*held), cast(Bool, self.records(*held)[:, self.layout.terminated :].any(axis=1))

    def followers(self, numbers: Integers) -> NDArray[np.int64]:
        """How many held transitions of their episodes come after held ones of `numbers` [...]: [...].

        The first call makes `Futures` of all that is held.
        """
        return self._known_futures().count(numbers)

    def later(self, numbers: Integers, steps: Integers) -> NDArray[np.int64]:
        """The numbers of what came `steps` [n] later in the episodes of held transitions, by their numbers [n].

        Of each as many are held. Where environments take turns, as all do but collectors that are free, a look at how
        far apart two neighbours are tells where the wanted one is; elsewhere one goes from each to the next.
        """
        futures, found, left = self._known_futures(), np.array(numbers, np.int64), np.array(steps, np.int64)
        while True:
            open_ = np.flatnonzero(left)
            if not len(open_):
                return found
            near, far = found[open_], left[open_]
            following = self.successors(near)
            guess = near + far * (following - near)
            right = guess < self.added
            right[right] = futures.are(guess[right], far[right], near[right])
            found[open_] = np.where(right, guess, following)
            left[open_] = np.where(right, 0, far - 1)

    def records(self, first: int, end: int) -> Float:
        """Records number `first` to `end` (exclusive): [end - first, 2 O + A + 3].

        They are copied; all of them must still be held.
        """
        return self._records[np.arange(first, end) % self.capacity]

    def episodes(self, first: int, end: int) -> NDArray[np.int32]:
        """The episodes of the same: [end - first]."""
        return self._episodes[np.arange(first, end) % self.capacity]

    def of_episode(self, number: int) -> Float:
        """The records of an episode that are held, in order: [n, 2 O + A + 3]."""
        numbers = self.oldest + np.flatnonzero(self.episodes(self.oldest, self.added) == number)
        return self._records[numbers % self.capacity]

    def restore(self, first: int, records: Float, episodes: NDArray[np.int32]) -> None:
        """Put back what `records(first, end)` and `episodes` gave; the last one restored is the newest of all."""
        self._put(first, records, episodes)
        self._count(first + len(records))
        self._links = self._futures = None

    def _put(self, first: int, records: Float, episodes: NDArray[np.int32]) -> None:
        kept = slice(-self.capacity, None)
        rows = np.arange(first, first + len(records))[kept] % self.capacity
        self._records[rows], self._episodes[rows] = records[kept], episodes[kept]

    def _count(self, added: int) -> None:
        self.added = added
        self.size = min(added, self.capacity)


def memory_needed(capacity: int, observation_size: int, action_size: int, beside: int = 0) -> int:
    """Bytes that a replay of this capacity takes when full, with `beside` of each transition that others keep."""
    own = (Layout(observation_size, action_size).width + 1) * 4  # float32, and int32 for the episode
    return capacity * (own + beside)


def require_memory(
    capacity: int, observation_size: int, action_size: int, expected: int | None = None, beside: int = 0
) -> None:
    """Check that a full replay, or as many transitions as are `expected` in it, fits into the memory that is free.

    Raises:
        UsageError: it does not; the message says how many transitions would.
    """
    rows = capacity if expected is None else min(capacity, expected)
    needed, free = memory_needed(rows, observation_size, action_size, beside), memory_free()
    if needed > free:
        fits = free // memory_needed(1, observation_size, action_size, beside)
        what = f"replay_size {capacity:,} needs" if expected is None else f"the run will keep {rows:,} transitions, for"
        remedy = "lower replay_size" if expected is None else "free some, or ask for fewer steps"
        raise UsageError(
            f"{what} {readable_bytes(needed)}, but {readable_bytes(free)} are free: "
            f"at most {fits:,} transitions of this environment fit; {remedy}"
        )
