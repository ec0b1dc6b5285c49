"""Which transition follows which within its episode, for whoever looks further ahead than one step."""

import numpy as np
from numpy.typing import NDArray

from polyak.types import Bool, Integers

NO_EPISODE = -1
"""The episode of transitions that were stored before episodes had numbers: nothing follows them."""


class Links:
    """For each transition in a ring of `capacity`: how much later its episode's next one came, in one look.

    All follows from the numbers of the episodes, in the order in which the transitions came, so that it can be made
    anew from them. Four bytes a transition.
    """

    def __init__(self, capacity: int) -> None:
        self._gaps: NDArray[np.int32] = np.zeros(capacity, np.int32)
        """[capacity]: 0 where nothing follows."""
        self._latest: dict[int, int] = {}
        """The number of the last transition of each episode that has not ended."""

    def append(self, first: int, episodes: Integers, ended: Bool) -> None:
        """Link transitions from number `first` on to those before; of these `episodes` [n], which may have `ended`."""
        capacity, gaps, latest = len(self._gaps), self._gaps, self._latest
        for number, (episode, over) in enumerate(zip(episodes.tolist(), ended.tolist(), strict=True), first):
            gaps[number % capacity] = 0
            if episode == NO_EPISODE:
                continue
            before = latest.pop(episode, number)
            if 0 < number - before < capacity:  # further back, its place has been taken
                gaps[before % capacity] = number - before
            if not over:
                latest[episode] = number

    def after(self, numbers: Integers) -> NDArray[np.int64]:
        """The numbers of the transitions that follow those of `numbers` [...], all of which are held; or -1."""
        gaps = self._gaps[numbers % len(self._gaps)]
        return np.where(gaps, numbers + gaps, -1)


class Futures:
    """For each transition in a ring of `capacity`: how many of its episode have come after it, and which was the k-th.

    Made anew from the numbers of the episodes as `Links` are. Sixteen bytes a transition.
    """

    def __init__(self, capacity: int) -> None:
        self._places: NDArray[np.int32] = np.zeros(capacity, np.int32)
        """[capacity]: which of its episode's transitions it is."""
        self._shelves: NDArray[np.int32] = np.full(capacity, -1, np.int32)
        """[capacity]: where what is known of its episode is kept; no two that are held share a place."""
        self._newest: NDArray[np.int64] = np.zeros(capacity, np.int64)
        """[capacity]: by shelf, the number of the episode's newest transition."""
        self._free: list[int] = []
        self._used = 0
        self._running: dict[int, int] = {}
        """The shelf of each episode that has not ended."""

    def append(self, first: int, episodes: Integers, ended: Bool) -> None:
        """Note transitions from number `first` on; of these `episodes` [n], which may have `ended`."""
        capacity, places, shelves, newest = len(self._places), self._places, self._shelves, self._newest
        for number, (episode, over) in enumerate(zip(episodes.tolist(), ended.tolist(), strict=True), first):
            row = number % capacity
            self._forget(row, number - capacity)
            shelf = self._running.get(episode, -1) if episode != NO_EPISODE else -1
            if shelf < 0:
                shelf = self._shelf()
                places[row] = 0
            else:
                places[row] = places[newest[shelf] % capacity] + 1
            shelves[row], newest[shelf] = shelf, number
            if over or episode == NO_EPISODE:
                self._running.pop(episode, None)
            else:
                self._running[episode] = shelf

    def _shelf(self) -> int:
        if self._free:
            return self._free.pop()
        self._used += 1
        return self._used - 1

    def _forget(self, row: int, number: int) -> None:
        """Give back the shelf of the episode whose last held transition is overwritten."""
        shelf = int(self._shelves[row])
        if number >= 0 and shelf >= 0 and self._newest[shelf] == number:
            self._free.append(shelf)
            for episode in [each for each, kept in self._running.items() if kept == shelf]:
                del self._running[episode]

    def count(self, numbers: Integers) -> NDArray[np.int64]:
        """How many transitions of the same episode have come after those of `numbers` [...], all of which are held."""
        capacity = len(self._places)
        rows = numbers % capacity
        newest = self._newest[self._shelves[rows]] % capacity
        return self._places[newest].astype(np.int64) - self._places[rows]

    def are(self, found: Integers, later: Integers, numbers: Integers) -> Bool:
        """Whether those of `found` [n] are what came so much `later` [n] in the episodes of `numbers` [n]."""
        capacity = len(self._places)
        rows, wanted = found % capacity, numbers % capacity
        same = self._shelves[rows] == self._shelves[wanted]
        return same & (self._places[rows] == self._places[wanted] + later)
