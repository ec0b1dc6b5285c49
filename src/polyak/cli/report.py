"""`polyak report RUN...`: one self-contained HTML page about one run or many."""

from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.named import Names, runs_named
from polyak.cli.parsing import call


def report(
    run: Names,
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

    print(write_report(runs_named(run, run_dir, "report"), output))


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(report, arguments, "report")
