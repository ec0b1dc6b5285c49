"""Tables of what the benchmarks measured, from the files in docs/results."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
WAYS = ("collect", "step", "round")


def speeds(environment: str) -> str:
    """Steps a second: a row for each number of environments, a column for each way and vectorization.

    Raises:
        ValueError: nothing was measured in this environment.
    """
    rows = [row for row in _measured()["rows"] if row["environment"] == environment]
    if not rows:
        raise ValueError(f"docs/results/environments.json has nothing about {environment}")
    found = {(row["envs"], row["way"], row["vectorization"]): f"{row['steps_per_second']:,}" for row in rows}
    columns = sorted({key[1:]: None for key in found}, key=lambda column: WAYS.index(column[0]))
    counts = sorted({count for count, *_ in found})
    body = [[str(count), *(found.get((count, *column), "") for column in columns)] for count in counts]
    table = [["N", *map(": ".join, columns)], ["---:"] * (len(columns) + 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def setting() -> str:
    """What the speeds were measured with, and how far the rounds were apart."""
    measured = _measured()
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    rounds = min(row["rounds"] for row in measured["rows"])
    spreads = sorted((row["highest"] - row["lowest"]) / row["steps_per_second"] for row in measured["rows"])
    return (
        f"`{measured['command']}`, {measured['machine']['cores']} cores, {versions}. Each number is the median of "
        f"{rounds} rounds; highest less lowest is {spreads[len(spreads) // 2]:.0%} of it in the middle of all rows, "
        f"{spreads[-1]:.0%} at most."
    )


def _measured() -> dict[str, Any]:
    return json.loads((RESULTS / "environments.json").read_text(encoding="utf-8"))
