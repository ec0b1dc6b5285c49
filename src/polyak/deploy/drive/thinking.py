"""A policy that computes beside the control loop, which waits for it until the deadline and no longer."""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from polyak.deploy.drive.clock import Clock
from polyak.system.signals import start_deaf
from polyak.types import Float

Computation = Callable[[], Float]


class Thinking(Protocol):
    """Where actions are computed."""

    def ask(self, computation: Computation) -> None:
        """Begin; what was asked before, and is not answered yet, is of no use any more."""
        ...

    def answer(self, until: float) -> Float | None:
        """What was asked last gives, or None where it has not by then.

        Raises:
            Exception: what the computation raised.
        """
        ...

    def close(self) -> None:
        """Nothing more is asked."""
        ...


class Thread(Thinking):
    """A thread, so that a computation which takes too long holds nothing up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._newest: Computation | None = None
        self._waiting: Computation | None = None
        """The same, as long as it has not begun."""
        self._outcome: tuple[Any] | None = None
        self._open = True
        start_deaf(threading.Thread(target=self._think, name="polyak-policy", daemon=True))

    def ask(self, computation: Computation) -> None:
        """Begin as soon as the one before is done."""
        with self._changed:
            self._newest = self._waiting = computation
            self._outcome = None
            self._changed.notify_all()

    def answer(self, until: float) -> Float | None:
        """Wait; see `Thinking`."""
        with self._changed:
            while self._outcome is None and (left := until - self._clock.now()) > 0:
                self._changed.wait(left)
            given = self._outcome
        if given is not None and isinstance(given[0], Exception):
            raise given[0]
        return None if given is None else given[0]

    def close(self) -> None:
        """Let the thread end, once it has nothing in hand."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def _think(self) -> None:
        while (computation := self._next()) is not None:
            outcome = _outcome(computation)
            with self._changed:
                if self._newest is computation:
                    self._outcome = (outcome,)
                    self._changed.notify_all()

    def _next(self) -> Computation | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or not self._open)
            computation, self._waiting = self._waiting, None
            return computation if self._open else None


def _outcome(computation: Computation) -> Any:
    """What it gives or raises."""
    try:
        return computation()
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        return error
