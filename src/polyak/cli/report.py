"""`polyak report RUN`: one self-contained HTML page about a run."""

from pathlib import Path
from typing import Annotated

import tyro

from polyak import runs


def report(
    run: Annotated[Path, tyro.conf.Positional],
    *,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> None:
    """Write one self-contained HTML page about a run (curves, evaluations, settings, video) and print its path.

    Args:
        run: the run's folder.
        output: the page's path; by default report.html in the run's folder.
    """
    from polyak.report.page import write_report  # matplotlib takes half a second to import

    print(write_report(runs.load(run), output))


def main(arguments: list[str]) -> None:
    """Parse and run."""
    tyro.cli(report, args=arguments, prog="polyak report")
