"""Time as tests have it: a clock and an alarm that they drive, so that nothing depends on how busy the machine is."""

import signal
from typing import Any

import pytest

READERS = ("run.ledger", "views.picture", "experience.reenactment", "system.stopwatch", "many.sweep.trial")
"""The modules of polyak that read a clock."""


class Clock:
    """Stands in for the module `time`: it stands still until the test says what something took."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now


class Alarm:
    """Stands in for the system's timer: a limit has passed when the test says so, never because something took long."""

    def __init__(self) -> None:
        self.set_to: tuple[float, float] = (0.0, 0.0)
        """Seconds until it rings, and between two times; 0 while none is set."""
        self._real: Any = signal.setitimer
        self._due = False

    def set(self, which: int, seconds: float, interval: float = 0.0) -> None:
        self.set_to = (seconds, interval)
        if seconds and self._due:
            self._due = False
            self._real(which, 0.01)  # the system's, because the process is about to wait for what never comes

    def ring(self) -> None:
        """The limit of what runs has passed."""
        assert self.set_to[0] > 0, "no limit has been set"
        signal.raise_signal(signal.SIGALRM)

    def ring_in_the_next(self) -> None:
        """The limit of what comes next will have passed, in the middle of it: it never ends by itself."""
        self._due = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Whatever polyak measures is measured by this one."""
    made = Clock()
    for name in READERS:
        monkeypatch.setattr(f"polyak.{name}.time", made)
    return made


@pytest.fixture
def alarm(monkeypatch: pytest.MonkeyPatch) -> Alarm:
    """Limits of time are kept by this one."""
    made = Alarm()
    monkeypatch.setattr(signal, "setitimer", made.set)
    return made
