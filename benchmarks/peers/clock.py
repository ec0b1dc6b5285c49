"""An environment that keeps the time of whatever library trains in it: rounds of steps, asked for on standard input.

Needs the standard library and Gymnasium only, so that it serves in every library's own process. A round ends when the
environment is asked for one step more than it has, and no thread of the process is at work any more: a library that
learns in the background while it steps pays for that within the round, not while another one is timed.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import gymnasium


def peak_memory() -> int:
    """Bytes of this process's largest resident memory.

    On Linux not `ru_maxrss`, which begins with the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


WINDOW, BUSY = 0.01, 0.2
"""Seconds for which a process is watched, and the share of one core that counts as work."""


def settled(
    now: Callable[[], float] = time.perf_counter,
    used: Callable[[], float] = time.process_time,
    wait: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until the process's other threads are idle; the time since which they are, to a hundredth of a second."""
    while True:
        since, before = now(), used()
        wait(WINDOW)
        if used() - before < BUSY * WINDOW:
            return since


class Meter:
    """Counts the steps of the environment that is stepped first, among however many a library makes of `Clock`.

    When `quota` steps are used up, `clock SECONDS PEAK_BYTES` is written; the next line read says how many steps the
    next round has, whose time begins then. The end of the input ends the process.
    """

    def __init__(
        self,
        quota: int,
        asked: TextIO,
        answers: TextIO,
        now: Callable[[], float] = time.perf_counter,
        end: Callable[[], float] = settled,
    ) -> None:
        self._left, self._asked, self._answers, self._now, self._end = quota, asked, answers, now, end
        self._clocked: Any = None
        self._started = now()

    def tick(self, environment: Any) -> None:
        """Count a step that `environment` is asked for."""
        if self._clocked is None:
            self._clocked = environment
        if environment is not self._clocked:
            return
        if self._left == 0:
            self._report()
        self._left -= 1

    def _report(self) -> None:
        print(f"clock {self._end() - self._started:.9f} {peak_memory()}", file=self._answers, flush=True)
        line = self._asked.readline()
        if not line:
            os._exit(0)  # nothing is left to say, and no library should catch it
        self._left = int(line)
        self._started = self._now()


class Clock(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Tells a `Meter` of every step before it is taken."""

    def __init__(self, environment: Any, meter: Meter) -> None:
        super().__init__(environment)
        self._meter = meter

    def step(self, action: Any) -> Any:
        """Count, then step."""
        self._meter.tick(self)
        return self.env.step(action)
