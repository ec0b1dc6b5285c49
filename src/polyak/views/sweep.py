"""Many runs in a terminal: a live table where a person watches, plain lines where a file or a pipe does."""

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from polyak.many.sweep.trial import News, Trial
from polyak.views.picture import aligned
from polyak.views.redrawn import Redrawn
from polyak.views.table import cells, draw


class PlainView:
    """One line an event."""

    def __init__(self, title: str, facts: Mapping[str, str], stream: TextIO) -> None:
        self._title, self._facts, self._stream = title, facts, stream

    def begun(self, trials: Sequence[Trial]) -> None:
        """Print what is worth knowing at the start."""
        self.say(self._title)
        for name, fact in aligned(self._facts):
            self.say(f"  {name}{fact}")

    def news(self, trial: Trial, news: News) -> None:
        """Print what has happened."""
        if news == "started":
            self.say(f"{trial.job.name}  started  {trial.run.folder if trial.run else ''}")
        elif news == "recorded":
            self.say(f"{trial.job.name}  {_recorded(trial)}")
        else:
            for line in ending(trial):
                self.say(line)

    def stopping(self, running: int) -> None:
        """Say what is waited for."""
        self.say(stopping_text(running))

    def closed(self) -> None:
        """Nothing to do: every line stands."""

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._stream, flush=True)


class LiveView:
    """One row a run and a line for all."""

    def __init__(self, title: str, facts: Mapping[str, str], stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._title, self._facts = title, facts
        self._redrawn: Redrawn | None = None

    def begun(self, trials: Sequence[Trial]) -> None:
        """Print what is worth knowing at the start and begin to draw."""
        self._console.print(Text(self._title, style="bold"), soft_wrap=True)
        for name, fact in aligned(self._facts):
            self._console.print(Text.assemble((f"  {name}", "dim"), fact), soft_wrap=True)
        self._redrawn = Redrawn(self._console, lambda columns, lines: draw(trials, (columns, lines)))
        self._redrawn.start()

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
        if self._redrawn is not None:
            self._redrawn.stop()

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(Text(text), soft_wrap=True)


def ending(trial: Trial) -> list[str]:
    """How a run ended, in a line, and the end of its log where it failed."""
    if trial.state == "failed":
        where = [f"  log: {trial.log}"] if trial.log else []
        after = f" after {trial.steps:,} steps" if trial.steps else ""
        return [f"{trial.job.name}  failed{after}: {trial.reason}", *(f"  | {line}" for line in trial.tail), *where]
    best = f"; best evaluation {trial.best[1]:.1f} at step {trial.best[0]:,}" if trial.best else ""
    if trial.record.get("learner/updates") == 0:
        best = "; nothing was learned: there was no gradient step"
    return [f"{trial.job.name}  {trial.state} after {trial.steps:,} steps{best}"]


def stopping_text(running: int) -> str:
    """What follows a first Ctrl-C."""
    return f"interrupted: {running} run{'s' * (running != 1)} will save and end; a second Ctrl-C kills"


def _recorded(trial: Trial) -> str:
    known = cells(trial)
    parts = [f"step {trial.steps:>9,}/{trial.total_steps:,}"]
    parts += [f"eval return {known['last eval']}", f"best {known['best eval']}"] if known["last eval"] else []
    parts += [f"{known['steps/s']} steps/s"] if known["steps/s"] else []
    parts += [f"{known['left']} left"] if known["left"] and trial.steps < trial.total_steps else []
    return "  ".join(parts)
