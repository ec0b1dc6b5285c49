"""The terminal view of a run: live where a person watches, plain lines where a file or a pipe does."""

import sys
import time
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from polyak.run.progress import Observer, Progress

SHOWN = (
    ("train/return", "train return"),
    ("train/length", "train length"),
    ("eval/return", "eval return"),
    ("eval/length", "eval length"),
    ("learner/critic_loss", "critic loss"),
    ("learner/actor_loss", "actor loss"),
    ("learner/q", "Q"),
    ("learner/alpha", "alpha"),
    ("learner/entropy", "entropy"),
)


def make_view(stream: TextIO | None = None, *, plain: bool = False) -> Observer:
    """A live view where `stream` (standard error by default) is a terminal and `plain` is not asked for, else lines."""
    chosen: TextIO = stream or sys.stderr
    return LiveView(chosen) if chosen.isatty() and not plain else PlainView(chosen)


class PlainView:
    """One line an evaluation."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def started(self, progress: Progress) -> None:
        """Print what is worth knowing at the start."""
        self._print(progress.title)
        for name, fact in {**progress.facts, "folder": str(progress.folder)}.items():
            self._print(f"  {name:<13}{fact}")

    def epoch_ended(self, progress: Progress) -> None:
        """Print the record."""
        record = progress.record
        parts = [f"step {progress.steps:>9,}/{progress.total_steps:,}"]
        parts += [f"{label} {record[name]:.4g}" for name, label in SHOWN if name in record and "length" not in name]
        parts += [f"{record['speed/steps_per_second']:.0f} steps/s", f"{readable_time(_left(progress))} left"]
        self._print("  ".join(parts))

    def ended(self, progress: Progress) -> None:
        """Print how it ended."""
        self._print(_closing(progress))

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class LiveView:
    """Progress, speed, time left, returns and losses, redrawn a few times a second by a thread of rich's."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._live: Live | None = None

    def started(self, progress: Progress) -> None:
        """Print what is worth knowing at the start and begin to draw."""
        self._console.print(Text(progress.title, style="bold"))
        for name, fact in {**progress.facts, "folder": str(progress.folder)}.items():
            self._console.print(Text.assemble((f"  {name:<13}", "dim"), fact), soft_wrap=True)
        self._begun, self._first_step = time.monotonic(), progress.steps
        self._live = Live(
            get_renderable=lambda: self._draw(progress), console=self._console, refresh_per_second=4, transient=False
        )
        self._live.start()

    def epoch_ended(self, progress: Progress) -> None:
        """Nothing to do: the thread draws."""

    def ended(self, progress: Progress) -> None:
        """Draw once more, stop, and print how it ended."""
        if self._live is not None:
            self._live.stop()
        self._console.print(Text(_closing(progress)), soft_wrap=True)

    def _draw(self, progress: Progress) -> RenderableType:
        seconds = time.monotonic() - self._begun
        speed = (progress.steps - self._first_step) / max(seconds, 1e-9)
        left = (progress.total_steps - progress.steps) / max(speed, 1e-9)
        state = "evaluating" if progress.evaluating else f"{speed:.0f} steps/s"
        head = Table.grid(padding=(0, 2))
        head.add_row(
            f"{progress.steps:,} of {progress.total_steps:,} steps",
            state,
            f"{readable_time(left)} left" if progress.steps > self._first_step else "",
            f"{progress.updates:,} updates",
        )
        numbers = Table.grid(padding=(0, 2))
        numbers.add_column(style="dim")
        numbers.add_column()
        recent = "  ".join(f"{episode.total_reward:.1f}" for episode in list(progress.episodes)[-6:])
        numbers.add_row("last episodes", Text(recent or "none finished yet"))
        for name, label in SHOWN:
            if name in progress.record:
                numbers.add_row(label, f"{progress.record[name]:.4g}")
        if progress.best is not None:
            numbers.add_row("best eval return", f"{progress.best[1]:.4g} at step {progress.best[0]:,}")
        bar = Table.grid()
        bar.add_row(ProgressBar(total=progress.total_steps, completed=progress.steps, width=60))
        return Panel(Group(head, bar, numbers), title=Text(progress.title), title_align="left", expand=False)


def readable_time(seconds: float) -> str:
    """`3700` as `1 h 01 min`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _left(progress: Progress) -> float:
    return (progress.total_steps - progress.steps) * progress.seconds / max(progress.steps, 1)


def _closing(progress: Progress) -> str:
    best = f"; best evaluation {progress.best[1]:.1f} at step {progress.best[0]:,}" if progress.best else ""
    return f"{progress.outcome or 'ended'}{best}"
