"""`polyak report RUN...`: one self-contained HTML page about one run or many."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.named import run_named
from polyak.cli.parsing import call
from polyak.errors import UsageError
from polyak.run.folder import Run
from polyak.run.runs import find_runs, load


def report(
    run: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")],
    *,
    run_dir: Path = Path("runs"),
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> None:
    """Write one self-contained HTML page about one run or many, and print its path.

    Runs that differ in their seed alone are one group: learning curves with 95 % intervals over seeds, an evaluation
    table, the probability of improvement between groups, the critic's estimates beside the returns really obtained,
    losses, where the time went, settings with their differences, versions, videos.

    Args:
        run: folders of runs, or folders that hold runs, such as runs/Pendulum-v1; or latest.
        run_dir: where latest, the run begun last, is looked for.
        output: the page's path; by default report.html in the folder of a single run, or here for several.
    """
    from polyak.report.page import write_report

    print(write_report(list(_found(run, run_dir)), output))


def _found(names: Sequence[str], run_dir: Path) -> Iterator[Run]:
    """Each folder's run, or all runs below it.

    Raises:
        UsageError: no folder was named, or one holds no run.
    """
    if not names:
        raise UsageError("report needs a run: polyak report RUN..., or a folder that holds runs, such as runs/")
    for name in names:
        named = run_named(name, run_dir)
        folder = named.folder
        below = [] if (folder / "settings.json").exists() or not folder.is_dir() else list(find_runs(folder))
        for run in below or [named]:
            yield load(run)  # says what is wrong with it


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(report, arguments, "report")
