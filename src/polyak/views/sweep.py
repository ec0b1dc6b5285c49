"""The terminal view of a sweep: a live table where a person watches, plain lines where a file or a pipe does."""

import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from polyak.many.sweep.trial import News, Trial
from polyak.views.table import cells, draw


def make_view(
    title: str, facts: Mapping[str, str], stream: TextIO | None = None, *, plain: bool = False
) -> "PlainView | LiveView":
    """A live view where `stream` (standard error by default) is a terminal and `plain` is not asked for, else lines."""
    chosen: TextIO = stream or sys.stderr
    return (LiveView if chosen.isatty() and not plain else PlainView)(title, facts, chosen)


class PlainView:
    """One line an event."""

    def __init__(self, title: str, facts: Mapping[str, str], stream: TextIO) -> None:
        self._title, self._facts, self._stream = title, facts, stream

    def begun(self, trials: Sequence[Trial]) -> None:
        """Print what is worth knowing at the start."""
        self._print(self._title)
        for name, fact in aligned(self._facts):
            self._print(f"  {name}{fact}")

    def news(self, trial: Trial, news: News) -> None:
        """Print what has happened."""
        if news == "started":
            self._print(f"{trial.job.name}  started  {trial.run.folder if trial.run else ''}")
        elif news == "recorded":
            self._print(f"{trial.job.name}  {_recorded(trial)}")
        else:
            for line in ending(trial):
                self._print(line)

    def stopping(self, running: int) -> None:
        """Say what is waited for."""
        self._print(stopping_text(running))

    def closed(self) -> None:
        """Nothing to do: every line stands."""

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class LiveView:
    """One row a run and a line for all, redrawn a few times a second by a thread of rich's."""

    def __init__(self, title: str, facts: Mapping[str, str], stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._title, self._facts = title, facts
        self._live: Live | None = None

    def begun(self, trials: Sequence[Trial]) -> None:
        """Print what is worth knowing at the start and begin to draw."""
        self._console.print(Text(self._title, style="bold"))
        for name, fact in aligned(self._facts):
            self._console.print(Text.assemble((f"  {name}", "dim"), fact), soft_wrap=True)
        self._live = Live(
            get_renderable=lambda: draw(trials, self._console.size), console=self._console, refresh_per_second=4
        )
        self._live.start()

    def news(self, trial: Trial, news: News) -> None:
        """Say above the table how a run failed; the thread draws the rest."""
        if news == "ended" and trial.state == "failed":
            for line in ending(trial):
                self.say(line)

    def stopping(self, running: int) -> None:
        """Say what is waited for."""
        self.say(stopping_text(running))

    def closed(self) -> None:
        """Draw once more and stop."""
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(Text(text), soft_wrap=True)


def aligned(facts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names filled up to the same width, and what is said under each."""
    width = max([11, *map(len, facts)]) + 2
    return [(f"{name:<{width}}", fact) for name, fact in facts.items()]


def ending(trial: Trial) -> list[str]:
    """How a run ended, in a line, and the end of its log where it failed."""
    if trial.state == "failed":
        where = [f"  log: {trial.log}"] if trial.log else []
        after = f" after {trial.steps:,} steps" if trial.steps else ""
        return [f"{trial.job.name}  failed{after}: {trial.reason}", *(f"  | {line}" for line in trial.tail), *where]
    best = f"; best evaluation {trial.best[1]:.1f} at step {trial.best[0]:,}" if trial.best else ""
    return [f"{trial.job.name}  {trial.state} after {trial.steps:,} steps{best}"]


def stopping_text(running: int) -> str:
    """What follows a first Ctrl-C."""
    return f"interrupted: {running} run{'s' * (running != 1)} will save and end; a second Ctrl-C kills"


def _recorded(trial: Trial) -> str:
    known = cells(trial)
    parts = [f"step {trial.steps:>9,}/{trial.total_steps:,}"]
    parts += [f"eval return {known['last eval']}", f"best {known['best eval']}"] if known["last eval"] else []
    parts += [f"{known['steps/s']} steps/s"] if known["steps/s"] else []
    parts += [f"{known['left']} left"] if known["left"] else []
    return "  ".join(parts)
