"""The time that a control loop keeps to."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

SWITCHING = 0.0005
"""Seconds for which a thread may keep Python's lock from the loop; by default 5 ms, a quarter of a period at 50 Hz."""


class Clock(Protocol):
    """What tells the time, and waits for it."""

    def now(self) -> float:
        """Seconds, which never go back."""
        ...

    def wait_until(self, moment: float) -> None:
        """Come back then, or at once if that is past."""
        ...


class Monotonic(Clock):
    """The system's."""

    def now(self) -> float:
        """Seconds since the machine began."""
        return time.monotonic()

    def wait_until(self, moment: float) -> None:
        """Sleep."""
        time.sleep(max(moment - time.monotonic(), 0.0))


@contextmanager
def switching_soon() -> Generator[None]:
    """Let Python's threads give its lock away sooner than they do."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCHING)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
