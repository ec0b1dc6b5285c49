"""How far an evaluation is, in one line: redrawn in a terminal, printed every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from polyak.views.choice import can_be_drawn_on

FIRST_LINE, EVERY = 1.0, 5.0
"""Seconds until the first line, and between two: an evaluation of a moment prints none."""
Watched = Callable[[Callable[[], str]], None]


@contextmanager
def evaluation_shown(stream: TextIO | None = None, *, plain: bool = False) -> Generator[Watched]:
    """Give what an evaluation calls before each of its steps, with what tells how far it is."""
    chosen: TextIO = stream or sys.stderr
    if plain or not can_be_drawn_on(chosen):
        yield _Lines(chosen)
        return
    line = _Line()
    with Live(
        get_renderable=lambda: Text(line.text), console=Console(file=chosen), refresh_per_second=4, transient=True
    ):
        yield line


class _Line:
    """What is redrawn by a thread of rich's."""

    def __init__(self) -> None:
        self._moment: Callable[[], str] | None = None

    def __call__(self, moment: Callable[[], str]) -> None:
        self._moment = moment

    @property
    def text(self) -> str:
        return f"evaluating {self._moment()}" if self._moment else "evaluating"


class _Lines:
    """A line now and then."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._next = clock() + FIRST_LINE

    def __call__(self, moment: Callable[[], str]) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            print(f"evaluating {moment()}", file=self._stream, flush=True)
