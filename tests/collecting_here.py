"""Collectors in the test's own process: the code and contract of everywhere, without the seconds a process takes."""

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from polyak.environments.worker import Fault
from polyak.experience.collecting import Collecting, answered, begun
from polyak.experience.rounds import Answer, Beginning, Lost, Order
from polyak.run import collecting

CONFIG: dict[str, Any] = {
    "steps": 72,
    "steps_per_epoch": 24,
    "start_steps": 10,
    "update_after": 8,
    "update_every": 8,
    "batch_size": 8,
    "replay_size": 60,  # the ring comes round
    "hidden_sizes": (4,),
    "evaluation_episodes": 1,
    "seed": 3,
    "backend": "torch",
    "collectors": 2,
    "envs": 2,
}
"""Of a run with four environments in two collectors."""


class SeatHere:
    """One collector; it works when it is asked for what it owes."""

    def __init__(self, beginning: Beginning, is_lost: Callable[[int], bool]) -> None:
        self.number, self._is_lost = beginning.number, is_lost
        self.collecting, self._answer = begun(pickle.loads(pickle.dumps(beginning)))
        self.orders: list[Order] = []

    def send(self, order: Order) -> None:
        self.orders.append(pickle.loads(pickle.dumps(order)))

    def receive(self) -> Answer:
        if isinstance(self._answer, Fault) or not self.orders:
            return self._answer
        order = self.orders.pop(0)
        if self._is_lost(self.number):
            self.kill()
            raise Lost("it was told to be lost")
        assert isinstance(self.collecting, Collecting)
        return pickle.loads(pickle.dumps(answered(self.collecting, order)))

    def kill(self) -> None:
        if self.collecting is not None:
            self.collecting.close()


class Here:
    """Where they are; the last of those that owe an answer has it first, unless they take turns."""

    name = "this process"

    def __init__(self) -> None:
        self.seats: list[SeatHere] = []
        self.turns = False
        self.loses: set[tuple[int, int]] = set()
        """Which collector is lost in which of its rounds, from 1, those in which it was lost counted."""
        self._rounds = Counter[int]()
        self._asked = 0

    def start(self, beginning: Beginning) -> SeatHere:
        if beginning.memory is None and beginning.number == 0:
            self._rounds.clear()
        self.seats.append(SeatHere(beginning, self._is_lost))
        return self.seats[-1]

    def _is_lost(self, number: int) -> bool:
        self._rounds[number] += 1
        return (number, self._rounds[number]) in self.loses

    def ready(self, seats: Sequence[SeatHere], seconds: float | None) -> list[SeatHere]:
        if self.turns:  # the first twice as often as the second
            self._asked += 1
            return [seats[(0, 1, 0)[self._asked % 3] % len(seats)]]
        return [seats[-1]]

    def end(self, seats: Sequence[SeatHere], seconds: float) -> None:
        for seat in seats:
            seat.kill()


def put_here(patch: pytest.MonkeyPatch) -> Here:
    """Let runs have their collectors in this process."""
    here = Here()
    patch.setattr(collecting, "_place", lambda plan: here)
    return here
