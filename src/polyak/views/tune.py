"""A search in a terminal: a live picture where a person watches, plain lines where a file or a pipe does."""

import sys
from collections import deque
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from polyak.many.tune.candidate import Candidate
from polyak.many.tune.driver import News, Progress, Watcher
from polyak.views.choice import can_be_drawn_on
from polyak.views.picture import aligned, readable_time
from polyak.views.redrawn import Redrawn

SHOWN = 5
"""Trials that ended last, which the picture has too."""
STYLES = {"running": "", "done": "green", "failed": "red", "diverged": "red", "pruned": "dim", "unfinished": "yellow"}


def make_view_of_search(
    title: str, facts: Mapping[str, str], stream: TextIO | None = None, *, plain: bool = False
) -> Watcher:
    """The view of a search on `stream`, standard error by default; in lines where `plain` asks for them."""
    chosen = stream or sys.stderr
    return (LiveSearch if can_be_drawn_on(chosen) and not plain else PlainSearch)(title, facts, chosen)


class PlainSearch(Watcher):
    """One line an event."""

    def __init__(self, title: str, facts: Mapping[str, str], stream: TextIO) -> None:
        self._title, self._facts, self._stream = title, facts, stream
        self._progress: Progress | None = None

    def begun(self, progress: Progress) -> None:
        """Print what is worth knowing at the start."""
        self._progress = progress
        self.said(self._title)
        for name, fact in aligned(self._facts):
            self.said(f"  {name}{fact}")
        if progress.counted:
            self.said(f"  {aligned({'so far': ''})[0][0]}{_overall(progress)}")

    def news(self, candidate: Candidate, news: News) -> None:
        """Print what has happened."""
        if news == "asked":
            self.said(f"trial {candidate.number}  {settings_text(candidate)}")
        elif news == "reported":
            step, score = list(candidate.reported.items())[-1]
            self.said(f"trial {candidate.number}  step {step:,}  score {score:.4g}")
        elif news == "ended" and self._progress is not None:
            self.said(f"trial {candidate.number}  {ended_text(candidate)}  ({_overall(self._progress)})")

    def said(self, text: str) -> None:
        """Print it."""
        print(text, file=self._stream, flush=True)

    def stopping(self, running: int, why: str) -> None:
        """Say what is waited for."""
        self.said(stopping_text(running, why))

    def closed(self) -> None:
        """Nothing to do: every line stands."""


class LiveSearch(Watcher):
    """The trials that run, those that ended last, and a line for all."""

    def __init__(self, title: str, facts: Mapping[str, str], stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._title, self._facts = title, facts
        self._ended = deque[Candidate](maxlen=SHOWN)
        self._redrawn: Redrawn | None = None

    def begun(self, progress: Progress) -> None:
        """Print what is worth knowing at the start and begin to draw."""
        self._console.print(Text(self._title, style="bold"), soft_wrap=True)
        for name, fact in aligned(self._facts):
            self._console.print(Text.assemble((f"  {name}", "dim"), fact), soft_wrap=True)
        self._redrawn = Redrawn(self._console, lambda columns, lines: draw(progress, list(self._ended), columns, lines))
        self._redrawn.start()

    def news(self, candidate: Candidate, news: News) -> None:
        """Keep a trial that has ended in the picture, and say above it why one failed; the thread draws the rest."""
        if news == "ended":
            self._ended.append(candidate)
            if candidate.state in ("failed", "diverged"):
                self.said(f"trial {candidate.number}  {ended_text(candidate)}")

    def said(self, text: str) -> None:
        """Print a line above the picture."""
        self._console.print(Text(text), soft_wrap=True)

    def stopping(self, running: int, why: str) -> None:
        """Say what is waited for."""
        self.said(stopping_text(running, why))

    def closed(self) -> None:
        """Draw once more and stop."""
        if self._redrawn is not None:
            self._redrawn.stop()


def draw(progress: Progress, ended: list[Candidate], columns: int, lines: int) -> RenderableType:
    """The picture, within so many columns and lines."""
    room = max(1, lines - 4)
    candidates = [*ended, *progress.running][-room:]
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for head in ("trial", "state", "", "score"):
        table.add_column(head, no_wrap=True, justify="left" if head == "state" else "right")
    table.add_column("settings", no_wrap=True, overflow="ellipsis", max_width=max(12, columns - 36))
    for each in candidates:
        table.add_row(
            str(each.number),
            each.state,
            f"{each.steps / (progress.search.config.length * len(each.seeded)):.0%}",
            score_text(each),
            settings_text(each),
            style=STYLES[each.state],
        )
    overall = Table.grid(padding=(0, 2))
    share = min(progress.finished / progress.search.trials, 1.0)
    overall.add_row(ProgressBar(total=1.0, completed=share, width=20), Text(_overall(progress)))
    return Group(table, overall)


def _overall(progress: Progress) -> str:
    best = f"best {progress.best[1]:.4g} (trial {progress.best[0]})" if progress.best else ""
    left = progress.seconds_left()
    told = f"{readable_time(left)} left" if left is not None and not progress.is_whole else ""
    return ", ".join(filter(None, (f"{progress.finished} of {progress.search.trials} trials", best, told)))


def score_text(candidate: Candidate) -> str:
    """Its score, or the last one that it had on the way; empty where there is none."""
    if candidate.state == "diverged":
        return ""
    known = candidate.score if candidate.score is not None else next(reversed(candidate.reported.values()), None)
    return "" if known is None else f"{known:.4g}"


def settings_text(candidate: Candidate) -> str:
    """What was drawn, in a line."""
    return "  ".join(f"{name} {_value(value)}" for name, value in candidate.drawn.items())


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def ended_text(candidate: Candidate) -> str:
    """How a trial ended, in a line."""
    if candidate.state == "done":
        return f"done: score {candidate.score:.4g}"
    return candidate.reason if candidate.state == "pruned" else f"{candidate.state}: {candidate.reason}"


def stopping_text(running: int, why: str) -> str:
    """What follows a first Ctrl-C, or the end of the time."""
    killing = "; a second Ctrl-C kills" if why == "interrupted" else ""
    return f"{why}: {running} run{'s' * (running != 1)} will save and end{killing}"
