"""What one learner could feed on, projected from what benchmarks/collectors.py measured."""

import json
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parents[1] / "results" / "collectors.json"
COLLECTORS = (10, 100, 1_000)
STEP_SECONDS, LENGTH = 0.01, 10
RECORD_BYTES = 4 * (2 * 17 + 6 + 3) + 4
"""A transition of HalfCheetah's sizes, with the number of its episode."""
POLICY_BYTES = 4 * (17 * 256 + 256 + 256 * 256 + 256 + 256 * 12 + 12)
"""SAC's actor of 256 x 256 there."""
NOT_YET = "Nothing has been measured yet: `python benchmarks/collectors.py` does."


def costs(rows: list[dict[str, Any]]) -> dict[str, float]:
    """For each way, microseconds of the learner's processor that a transition costs, where collectors are most."""
    found: dict[str, float] = {}
    for row in sorted(rows, key=lambda row: row["environments"]):
        if row["steps_a_round"] == LENGTH and row["seconds_a_step"] == STEP_SECONDS and not row["varies"]:
            found[row["way"]] = row["learner_microseconds"]
    return found


def most() -> str:
    """What each way leaves room for: a row a way."""
    if not MEASURED.exists():
        return NOT_YET
    body = [
        [way, f"{cost:.0f} µs", f"{1e6 / cost:,.0f}", f"{RECORD_BYTES / cost:.1f} MB/s"]
        for way, cost in costs(json.loads(MEASURED.read_text(encoding="utf-8"))["rows"]).items()
    ]
    head = ["", "learner's time for a transition (measured)", "at most, transitions a second", "which are"]
    return _table([head, ["---", *["---:"] * 3], *body])


def projected() -> str:
    """What 10, 100 and 1,000 collectors would need: a row for each, a column for each way's share of a processor."""
    if not MEASURED.exists():
        return NOT_YET
    each = costs(json.loads(MEASURED.read_text(encoding="utf-8"))["rows"])
    head = ["collectors", "transitions a second", "rows", f"policies, L = {LENGTH}", "policies, L = 200"]
    body: list[list[str]] = []
    for count in COLLECTORS:
        speed = count / STEP_SECONDS
        sent = [speed / length * POLICY_BYTES / 1e6 for length in (LENGTH, 200)]
        shares = [f"{100 * speed * cost / 1e6:,.0f} %" for cost in each.values()]
        told = [f"{count:,}", f"{speed:,.0f}", f"{speed * RECORD_BYTES / 1e6:.1f} MB/s"]
        body.append([*told, *(f"{rate:,.0f} MB/s" for rate in sent), *shares])
    return _table([[*head, *each], ["---:"] * (len(head) + len(each)), *body])


def _table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
