"""`polyak runs [DIR]`: a table of runs."""

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polyak.errors import UsageError
from polyak.runs import Run, best_evaluation, find_runs


def list_runs(directory: Annotated[Path, tyro.conf.Positional] = Path("runs")) -> None:
    """List the runs below a folder.

    Args:
        directory: where the runs are.
    """
    table = Table("environment", "algorithm", "backend", "preset", "seed", "steps", "last eval", "best eval")
    table.add_column("folder", overflow="fold")
    found = 0
    for run in find_runs(directory):
        try:
            table.add_row(*map(escape, _row(run, directory)))
        except (UsageError, KeyError):  # some other program's settings.json, or a broken run: say so and go on
            folder = escape(str(run.folder.relative_to(directory)))
            table.add_row("?", "", "", "", "", "", "", "", f"{folder} (cannot be read)")
        found += 1
    if not found:
        print(f"no runs in {directory}: polyak train sac Pendulum-v1 makes one")
        return
    console = Console()
    Console(width=None if console.is_terminal else 1_000).print(table)  # a file has no edge to wrap at


def _row(run: Run, directory: Path) -> tuple[str, ...]:
    settings, records = run.settings, run.metrics
    evaluated = [record["eval/return"] for record in records if "eval/return" in record]
    best = best_evaluation(records)
    return (
        str(settings["environment"]),
        str(settings["algorithm"]),
        str(settings["backend"]),
        str(settings["preset"]),
        str(settings["seed"]),
        f"{int(records[-1]['step']) if records else 0:,} of {settings['settings']['steps']:,}",
        f"{evaluated[-1]:.1f}" if evaluated else "",
        f"{best[1]:.1f} at {best[0]:,}" if best else "",
        str(run.folder.relative_to(directory)),
    )


def main(arguments: list[str]) -> None:
    """Parse and run."""
    tyro.cli(list_runs, args=arguments, prog="polyak runs")
