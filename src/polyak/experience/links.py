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
