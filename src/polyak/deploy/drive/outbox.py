"""Steps on their way to a learner: a queue with a bound, into which the control loop puts without ever waiting."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from polyak.deploy.drive.messages import State, Taken
from polyak.experience.collector import Collector, Episode
from polyak.experience.rounds import Finished
from polyak.types import Transitions


def state_of(collector: Collector) -> State:
    """Where a collector stands, in arrays of its own."""
    counts, arrays = collector.state()
    return State(counts, collector.environments.state(), {name: each.copy() for name, each in arrays.items()})


class Outbox:
    """What a collector's steps gave, `every` so many at a time.

    Where there is no room, they are dropped, and the running episode is `cut`: what follows has another number, so that
    no return of several steps reaches over the gap.
    """

    def __init__(self, collector: Collector, every: int, bound: int) -> None:
        """Hold `bound` steps at most that have not been sent."""
        self._collector, self._every, self._bound = collector, every, bound
        self._changed = threading.Condition()
        self._waiting = deque[Taken | None]()
        self._rows: list[tuple[Any, Any]] = []
        self._finished: list[Finished] = []
        self._gap = 0
        self.kept = self.dropped = 0
        """Steps that were sent or wait, and steps for which there was no room."""
        self.closed = False
        """Nobody takes anything any more: all is dropped."""

    def add(self, transitions: Transitions, episodes: Sequence[Episode]) -> None:
        """Keep a step, in which these episodes ended."""
        layout = self._collector.environments.spec.layout
        record = np.empty((1, layout.width), np.float32)
        layout.pack(transitions, record)
        index = len(self._rows)
        self._rows.append((record, transitions.episode.copy()))
        self._finished += [
            Finished(index, each.total_reward, each.length, each.terminated, each.info) for each in episodes
        ]
        if len(self._rows) >= self._every:
            self._flush()

    def end(self) -> None:
        """Nothing more comes: what is kept goes too, and then None."""
        self._flush(in_any_case=True)
        with self._changed:
            self._waiting.append(None)
            self._changed.notify_all()

    def first(self) -> Taken | None:
        """Wait for what is to be sent next; it counts as waiting until it is `sent`."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting))
            return self._waiting[0]

    def sent(self) -> None:
        """The first has been sent."""
        with self._changed:
            self._waiting.popleft()

    def _flush(self, *, in_any_case: bool = False) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        with self._changed:
            held = sum(len(each.records) for each in self._waiting if each is not None)
            if not self.closed and (in_any_case or held + len(rows) <= self._bound):
                self._put(rows)
                return
        self._gap, self.dropped = self._gap + len(rows), self.dropped + len(rows)
        self._finished = [each._replace(step=0) for each in self._finished]
        self._collector.cut()

    def _put(self, rows: list[tuple[Any, Any]]) -> None:
        records, numbers = (np.concatenate(each) for each in zip(*rows, strict=True))
        finished, self._finished = self._finished, []
        self._waiting.append(Taken(records, numbers, finished, state_of(self._collector), self._gap))
        self._gap, self.kept = 0, self.kept + len(rows)
        self._changed.notify_all()
