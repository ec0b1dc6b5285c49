"""What is learned within a budget of seconds, from the curves of docs/results/successors.json.

`python docs/_hooks/per_second.py 120 300 600` prints the table; `--results FILE` reads another file of such curves.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CURVES = Path(__file__).parents[1] / "results" / "successors.json"


def table(*budgets: str, results: Path = CURVES) -> str:
    """A row for each environment and algorithm: the return of the last evaluation within each budget, seed by seed.

    The last column is the median of the return over the seconds at which the last of these was known. In a cell, a
    seed whose first evaluation came later is missing.

    Raises:
        ValueError: a budget is no number of seconds, or there is none.
    """
    seconds = sorted(float(each) for each in budgets)
    if not seconds:
        raise ValueError("per_second takes at least one budget of seconds")
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in json.loads(results.read_text(encoding="utf-8"))["runs"]:
        runs.setdefault((run["environment"], run["algorithm"]), []).append(run)
    head = ["environment", "algorithm", *(f"after {each:g} s" for each in seconds), "return a second, then"]
    lines = [head, ["---"] * 2 + ["---:"] * (len(seconds) + 1)]
    for (environment, algorithm), alike in sorted(runs.items()):
        found = [[_within(run["curve"], budget) for run in alike] for budget in seconds]
        cells = [", ".join(f"{point[2]:,.0f}" for point in points if point) for points in found]
        rates = [point[2] / point[1] for point in found[-1] if point]
        lines.append([environment, algorithm, *cells, f"{statistics.median(rates):.2f}" if rates else ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _within(curve: Sequence[Sequence[float]], budget: float) -> Sequence[float] | None:
    """The last point [step, seconds, return] that is not later."""
    return next((point for point in reversed(curve) if point[1] <= budget), None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("budgets", nargs="+", help="seconds")
    parser.add_argument("--results", type=Path, default=CURVES)
    options = parser.parse_args()
    sys.stdout.write(f"{table(*options.budgets, results=options.results)}\n")
