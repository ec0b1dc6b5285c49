"""`polyak runs [DIR]`: a table of runs."""

from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.parsing import call
from polyak.errors import UsageError
from polyak.run.folder import Run
from polyak.run.metrics import best_evaluation
from polyak.run.runs import find_runs

HEAD = ("steps", "last eval", "best eval", "preset", "folder")


def list_runs(directory: Annotated[Path, tyro.conf.Positional] = Path("runs")) -> None:
    """List the runs below a folder; the last column is what the other commands take.

    Args:
        directory: where the runs are.
    """
    rows = [_row(run) for run in find_runs(directory)]
    if not rows:
        print(f"no runs in {directory}: polyak train sac Pendulum-v1 makes one")
        return
    rows.insert(0, HEAD)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # by hand: a library would fold or cut folders on a narrow terminal
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(run: Run) -> tuple[str, ...]:
    try:
        settings, records = run.settings, run.metrics
    except UsageError:  # some other program's settings.json, or a broken run: say so and go on
        return "?", "", "", "", f"{run.folder} (cannot be read)"
    evaluated = [record["eval/return"] for record in records if "eval/return" in record]
    best = best_evaluation(records)
    return (
        f"{int(records[-1]['step']) if records else 0:,} of {settings['settings']['steps']:,}",
        f"{evaluated[-1]:.1f}" if evaluated else "",
        f"{best[1]:.1f} at {best[0]:,}" if best else "",
        str(settings["preset"]),
        str(run.folder),
    )


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(list_runs, arguments, "runs")
