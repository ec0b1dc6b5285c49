"""How far a recording is: what it tells those who watch it, and the terminal views of that."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

FIRST_LINE, EVERY = 1.0, 5.0
"""Seconds until the first plain line, and between two: a recording of a moment prints none."""


@dataclass
class Filming:
    """A recording's state for watchers, who only read it."""

    path: Path
    episodes: int
    steps: int | None = None
    """After so many steps of all episodes together it ends, if not before."""
    ended: int = 0
    """Episodes."""
    step: int = 0
    """Of the running episode."""
    taken: int = 0
    """Steps of all episodes."""
    frames: int = 0
    total: float = 0.0
    """Of the running episode's rewards so far."""
    begins: list[int] = field(default_factory=list[int])
    """The frame with which each episode began."""
    label: str = ""
    """Of several that are to be side by side, what this one is called."""

    def line(self) -> str:
        """How far it is, in a line."""
        episode = min(self.ended + 1, self.episodes)
        what = f"recording {self.label}, " if self.label else "recording "
        if self.steps is not None:
            return f"{what}step {self.taken:,} of {self.steps:,}  episode {episode:,}  {self.frames:,} frames"
        return f"{what}episode {episode} of {self.episodes}  step {self.step:,}  {self.frames:,} frames"

    def enough(self) -> bool:
        """Whether all steps that were asked for have been taken."""
        return self.steps is not None and self.taken >= self.steps


class FilmObserver(Protocol):
    """Watches a recording."""

    def started(self, filming: Filming) -> None:
        """The environment is made; nothing has been drawn yet."""

    def stepped(self, filming: Filming) -> None:
        """A step has been taken and drawn."""

    def ended(self, filming: Filming) -> None:
        """Called once, whatever ended it; of several runs, each is a recording of its own."""


class Unwatched(FilmObserver):
    """Watches nothing."""


def make_film_view(stream: TextIO | None = None, *, plain: bool = False) -> FilmObserver:
    """A live line where `stream` (standard error by default) is a terminal and `plain` is not asked for, else lines."""
    chosen: TextIO = stream or sys.stderr
    return LiveFilm(chosen) if chosen.isatty() and not plain else PlainFilm(chosen)


class PlainFilm(Unwatched):
    """A line every few seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._next = 0.0

    def started(self, filming: Filming) -> None:
        """Look at the clock."""
        self._next = self._clock() + FIRST_LINE

    def stepped(self, filming: Filming) -> None:
        """Print how far it is, where it is time."""
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            print(filming.line(), file=self._stream, flush=True)


class LiveFilm(Unwatched):
    """One line, redrawn a few times a second by a thread of rich's, and gone at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._live: Live | None = None

    def started(self, filming: Filming) -> None:
        """Begin to draw."""
        self._live = Live(
            get_renderable=lambda: Text(filming.line()), console=self._console, refresh_per_second=4, transient=True
        )
        self._live.start()

    def ended(self, filming: Filming) -> None:
        """Stop."""
        if self._live is not None:
            self._live.stop()
