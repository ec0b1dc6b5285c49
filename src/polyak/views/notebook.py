"""Runs in a notebook's cell: HTML that replaces itself, in the notebook's own colours; as text where it has no HTML."""

import contextvars
import html
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from polyak.many.sweep import News, Trial
from polyak.run.progress import Progress
from polyak.views.picture import Pace, aligned, closing, facts, head, numbers

SECONDS = 0.5
"""Between two pictures."""
LEFT = "text-align: left; padding: 0 1.5em 0 0; background: none; border: none; vertical-align: top"
RIGHT = LEFT.replace("left;", "right;")
FAINT = "opacity: 0.65; white-space: nowrap"
COLOURS = {"done": "#2f9e77", "failed": "#d1495b", "interrupted": "#b8941f"}

Picture = dict[str, str]
"""The same as HTML and as plain text, by their media types."""


class Cell:
    """A place in the running cell's output that shows `picture()` anew until it is closed, from a thread of its own."""

    def __init__(self, picture: Callable[[], Picture]) -> None:
        from IPython import display

        shown: Any = display.display(picture(), raw=True, display_id=True)
        self._handle, self._picture, self._closed = shown, picture, threading.Event()
        # In this cell's context: a kernel sends what a thread displays to the cell that it belongs to.
        watch = contextvars.copy_context().run
        self._thread = threading.Thread(target=watch, args=(self._watch,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show the last picture, which is what a saved notebook keeps."""
        self._closed.set()
        self._thread.join()
        self._show()

    def _watch(self) -> None:
        while not self._closed.wait(SECONDS):
            self._show()

    def _show(self) -> None:
        self._handle.update(self._picture(), raw=True)


class InCell:
    """One run: what it was asked for, how far it is, its last numbers, how it ended."""

    def __init__(self) -> None:
        self._cell: Cell | None = None

    def started(self, progress: Progress) -> None:
        """Begin to show it."""
        pace = Pace(progress)
        self._cell = Cell(lambda: picture_of(progress, pace))

    def epoch_ended(self, progress: Progress) -> None:
        """Nothing to do: the thread shows it."""

    def ended(self, progress: Progress) -> None:
        """Show how it ended."""
        if self._cell is not None:
            self._cell.close()


class ManyInCell:
    """Many runs: a row for each."""

    def __init__(self, title: str, facts: Mapping[str, str]) -> None:
        self._title, self._facts, self._said = title, facts, list[str]()
        self._cell: Cell | None = None

    def begun(self, trials: Sequence[Trial]) -> None:
        """Begin to show them."""
        self._cell = Cell(lambda: picture_of_many(self._title, self._facts, trials, self._said))

    def news(self, trial: Trial, news: News) -> None:
        """Say how a run failed; the thread shows the rest."""
        from polyak.views.sweep import ending

        if news == "ended" and trial.state == "failed":
            self._said += ending(trial)

    def say(self, text: str) -> None:
        """Show a line below them."""
        self._said.append(text)

    def stopping(self, running: int) -> None:
        """Say what is waited for."""
        from polyak.views.sweep import stopping_text

        self.say(stopping_text(running))

    def closed(self) -> None:
        """Show them for the last time."""
        if self._cell is not None:
            self._cell.close()


def picture_of(progress: Progress, pace: Pace) -> Picture:
    """One run."""
    pace.look()
    ended = bool(progress.outcome or progress.error)
    said = closing(progress) if ended else " · ".join(head(progress, pace))
    told, now = facts(progress), numbers(progress)
    parts = [
        f"<b>{_text(progress.title)}</b>",
        _bar(progress.steps / max(progress.total_steps, 1)),
        f"<div>{_text(said)}</div>",
        _pairs(now),
        f"<details><summary>settings and folder</summary>{_pairs(told)}</details>",
    ]
    lines = [progress.title, *_lines(told), said, *_lines(now)]
    return _picture(parts, lines)


def picture_of_many(title: str, told: Mapping[str, str], trials: Sequence[Trial], said: Sequence[str]) -> Picture:
    """Many runs."""
    from polyak.views.table import cells, counted, finished_share, left_of_all

    overall = " · ".join(filter(None, (f"{finished_share(trials):.0%}", counted(trials), left_of_all(trials))))
    rows = [{"run": trial.job.name} | cells(trial) for trial in trials]
    for row in rows:
        del row["seed"]
    heads = list(rows[0])
    table = [[_cell(name, f"{_style(name)}; {FAINT}") for name in heads]]
    table += [[_cell(row[name], _style(name, row["state"])) for name in heads] for row in rows]
    parts = [
        f"<b>{_text(title)}</b>",
        _bar(finished_share(trials)),
        f"<div>{_text(overall)}</div>",
        _table(table),
        *(f"<div>{_text(line)}</div>" for line in said),
        f"<details><summary>settings</summary>{_pairs(told)}</details>",
    ]
    lines = [title, *_lines(told), *("  ".join(filter(None, row.values())) for row in rows), overall, *said]
    return _picture(parts, lines)


def _picture(parts: Iterable[str], lines: Iterable[str]) -> Picture:
    return {"text/html": f'<div style="max-width: 48em">{"".join(parts)}</div>', "text/plain": "\n".join(lines)}


def _bar(share: float) -> str:
    return f'<progress max="1" value="{share:.4f}" style="width: 100%"></progress>'


def _pairs(pairs: Mapping[str, str]) -> str:
    return _table([_cell(name, f"{LEFT}; {FAINT}"), _cell(value, LEFT)] for name, value in pairs.items())


def _table(rows: Iterable[Iterable[str]]) -> str:
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<table style="margin: 0.3em 0">{body}</table>'


def _lines(pairs: Mapping[str, str]) -> list[str]:
    return [f"  {name}{value}" for name, value in aligned(pairs)]


def _style(column: str, state: str = "") -> str:
    if column == "state":
        return f"{LEFT}; color: {COLOURS[state]}" if state in COLOURS else LEFT
    return LEFT if column == "run" else RIGHT


def _cell(value: str, style: str) -> str:
    return f'<td style="{style}">{_text(value)}</td>'


def _text(value: str) -> str:
    return html.escape(value)
