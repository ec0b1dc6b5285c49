"""A run in a terminal: a live picture where a person watches, plain lines where a file or a pipe does."""

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from polyak.run.progress import Progress
from polyak.views.picture import SHOWN, STOPPING, Pace, aligned, closing, facts, head, numbers
from polyak.views.redrawn import Redrawn

BAR = 64
"""Columns of the bar, where there are as many: the same at each drawing."""
NAMES = 18
"""Columns of the numbers' names."""


class PlainView:
    """One line an evaluation."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace: Pace | None = None

    def started(self, progress: Progress) -> None:
        """Print what is worth knowing at the start."""
        self._pace = Pace(progress, lambda: progress.seconds)  # which pass from record to record
        self._print(progress.title)
        for name, fact in aligned(facts(progress)):
            self._print(f"  {name}{fact}")

    def epoch_ended(self, progress: Progress) -> None:
        """Print the record."""
        record, pace = progress.record, self._pace or Pace(progress, lambda: progress.seconds)
        pace.look()
        parts = [f"{progress.unit.removesuffix('s')} {progress.steps:>9,}/{progress.total_steps:,}"]
        parts += [f"{label} {record[name]:.4g}" for name, label in SHOWN if name in record and "length" not in name]
        parts += [f"{record['speed/steps_per_second']:.0f} {progress.unit}/s", pace.left]
        self._print("  ".join(filter(None, parts)))

    def stopping(self, progress: Progress, running: int) -> None:
        """Say what follows."""
        where = f" {progress.evaluating()}" if progress.evaluating else ""
        self._print(f"{STOPPING}{f'; it is evaluating{where}' if where else ''}")

    def ended(self, progress: Progress) -> None:
        """Print how it ended."""
        self._print(closing(progress))

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class LiveView:
    """Progress, speed, time left, returns and losses."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._redrawn: Redrawn | None = None

    def started(self, progress: Progress) -> None:
        """Print what is worth knowing at the start and begin to draw."""
        self._console.print(Text(progress.title, style="bold"), soft_wrap=True)
        for name, fact in aligned(facts(progress)):
            self._console.print(Text.assemble((f"  {name}", "dim"), fact), soft_wrap=True)
        pace = Pace(progress)
        self._redrawn = Redrawn(self._console, lambda columns, _: draw(progress, pace, columns))
        self._redrawn.start()

    def epoch_ended(self, progress: Progress) -> None:
        """Draw what has been measured."""
        if self._redrawn is not None:
            self._redrawn.redraw()

    def ended(self, progress: Progress) -> None:
        """Draw once more, stop, and print how it ended."""
        if self._redrawn is not None:
            self._redrawn.stop()
        self._console.print(Text(closing(progress)), soft_wrap=True)


def draw(progress: Progress, pace: Pace, columns: int) -> RenderableType:
    """The picture of a run: no frame, no columns filled up, so that a terminal that is narrowed breaks few lines."""
    pace.look()
    bar = Table.grid()  # a bar by itself ends no line
    bar.add_row(ProgressBar(total=progress.total_steps, completed=progress.steps, width=min(columns, BAR)))
    heads = (Text(line) for line in _filled(head(progress, pace), columns))
    return Group("", *heads, bar, *(_row(name, value) for name, value in numbers(progress).items()))


def _row(name: str, value: str) -> Text:
    return Text.assemble((f"{name:<{NAMES}}", "dim"), value, no_wrap=True, overflow="ellipsis")


def _filled(parts: Sequence[str], width: int) -> list[str]:
    """The parts in lines, each of which takes as many as it has room for."""
    lines = parts[:1]
    for part in parts[1:]:
        longer = f"{lines[-1]}  {part}"
        lines = [*lines[:-1], longer] if len(longer) <= width else [*lines, part]
    return list(lines)
