"""A sweep at a glance: one row a run, and a line for all."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from polyak.many.sweep.trial import Trial
from polyak.views.picture import readable_time

STYLES = {"waiting": "dim", "running": "", "done": "green", "failed": "red", "interrupted": "yellow"}
FIRST = ("running", "failed", "interrupted", "done", "waiting")
"""Which runs are shown where a terminal has no room for all."""
ROOM = {"state": 7, "steps": 7, "": 4, "last eval": 9, "best eval": 9, "steps/s": 7, "left": 11}
"""Columns that are kept for what is still to come, so that nothing jumps sideways."""
COUNTED = ("done", "running", "failed", "interrupted", "waiting")
DROPPED = ("steps", "best eval", "steps/s", "last eval")
"""What is not told where a terminal is too narrow for all, the first first."""
NAME = 24
"""Columns for a run's name, if runs need more than their seed to be told apart; it alone may be cut off."""


def draw(trials: Sequence[Trial], size: tuple[int, int]) -> RenderableType:
    """The table and the line for all, within so many columns and lines."""
    columns, lines = size
    shown = _shown(trials, lines - 5)  # without the head, the line for all, that for the rest, and one to spare
    parts: list[RenderableType] = [_table(shown, columns)]
    if len(shown) < len(trials):
        chosen = set(map(id, shown))
        rest = counted([trial for trial in trials if id(trial) not in chosen])
        parts.append(Text(f"... and {rest}", style="dim"))
    overall = Table.grid(padding=(0, 2))
    share = finished_share(trials)
    said = "  ".join(filter(None, (f"{share:.0%}", counted(trials), left_of_all(trials))))
    overall.add_row(ProgressBar(total=1.0, completed=share, width=20), Text(said))
    return Group(*parts, overall)


def _shown(trials: Sequence[Trial], rows: int) -> Sequence[Trial]:
    """As many as there is room for, those that matter most, in their order."""
    if len(trials) <= rows:
        return trials
    order = sorted(range(len(trials)), key=lambda i: (FIRST.index(trials[i].state), i))
    return [trials[i] for i in sorted(order[: max(rows, 1)])]


def _table(trials: Sequence[Trial], columns: int) -> Table:
    longest = max(len(trial.job.variant) for trial in trials)
    rows = [cells(trial) for trial in trials]
    widths = {head: max(ROOM.get(head, 0), len(head), *(len(row[head]) for row in rows)) for head in rows[0]}
    for head in DROPPED:
        if sum(widths.values()) + 2 * len(widths) + min(longest, NAME) > columns:
            del widths[head]
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    if longest:
        room = max(12, columns - sum(widths.values()) - 2 * len(widths))
        table.add_column("run", no_wrap=True, overflow="ellipsis", max_width=room)
    for head, width in widths.items():
        table.add_column(head, no_wrap=True, min_width=width, justify="left" if head == "state" else "right")
    for trial, row in zip(trials, rows, strict=True):
        name = [Text(trial.job.variant)] if longest else []
        table.add_row(*name, *(row[head] for head in widths), style=STYLES[trial.state])
    return table


def cells(trial: Trial) -> dict[str, str]:
    """What the table says of a run, by column; empty where nothing is known yet."""
    speed, left = trial.record.get("speed/steps_per_second"), trial.seconds_left()
    return {
        "seed": str(trial.job.seed),
        "state": trial.state,
        "steps": f"{trial.steps:,}" if trial.run else "",
        "": f"{trial.steps / trial.total_steps:.0%}" if trial.run and trial.total_steps else "",
        "last eval": "" if trial.evaluated is None else f"{trial.evaluated:.1f}",
        "best eval": "" if trial.best is None else f"{trial.best[1]:.1f}",
        "steps/s": "" if speed is None else f"{speed:.0f}",
        "left": readable_time(left) if left is not None and trial.state == "running" else "",
    }


def counted(trials: Sequence[Trial]) -> str:
    """`1 done, 2 running`."""
    counts = Counter(trial.state for trial in trials)
    return ", ".join(f"{counts[state]} {state}" for state in COUNTED if counts[state])


def finished_share(trials: Sequence[Trial]) -> float:
    """Of all steps, those behind us, in [0, 1]; a run that is done or has failed has none left."""
    total = sum(trial.total_steps for trial in trials)
    behind = sum(trial.total_steps if trial.state in ("done", "failed") else trial.steps for trial in trials)
    return behind / total if total else 0.0


def left_of_all(trials: Sequence[Trial]) -> str:
    """The time until the last run ends, as estimated from those that have records; empty where none has."""
    running = [trial for trial in trials if trial.state == "running"]
    seconds = sum(trial.record.get("seconds", 0.0) for trial in trials)
    steps = sum(trial.steps for trial in trials)
    if not running or not seconds or not steps:
        return ""
    ahead = [seconds / steps * trial.total_steps for trial in trials if trial.state == "waiting"]
    lefts = [trial.seconds_left() for trial in running]
    ahead += [seconds / steps * trial.total_steps for trial, left in zip(running, lefts, strict=True) if left is None]
    known = [left for left in lefts if left is not None]
    return f"{readable_time(max(sum(known + ahead) / len(running), *known, 0.0))} left"
