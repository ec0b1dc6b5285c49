"""What is told of the seeds with which TD3 learns nothing, in either library."""

import json

from curves.cases import OURS, PEER
from curves.numbers import done
from curves.store import Store

ALGORITHM, ENVIRONMENT, STEPS, FILE = "td3", "InvertedDoublePendulum-v5", 15_000, "saturation.json"
NOTHING = 100.0
"""Whoever has learned anything has a higher return after `STEPS`."""


def seeds(store: Store, library: str) -> dict[int, float]:
    """The return after `STEPS` of each seed, of those that were asked for this alone and of those of the comparison."""
    path = store.folder / FILE
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    asked = {int(row["seed"]): float(row["return"]) for row in rows if row["library"] == library}
    return asked | compared(store, library, ALGORITHM)


def compared(store: Store, library: str, algorithm: str) -> dict[int, float]:
    """The return after `STEPS` of each seed of the comparison."""
    found: dict[int, float] = {}
    for each in done(store, "equal"):
        if (each.case.library, each.case.algorithm, each.case.environment) == (library, algorithm, ENVIRONMENT):
            points = ((number, *point) for number, result in each.results.items() for point in result["curve"])
            found |= {number: value for number, step, _, value in points if step == STEPS}
    return found


def luck(store: Store) -> str:
    """A paragraph, where each library has a seed that learned nothing."""
    told, others = list[str](), list[str]()
    for library in (OURS, PEER):
        found = seeds(store, library)
        lost = sorted(seed for seed, value in found.items() if value < NOTHING)
        if not lost:
            return ""
        told.append(f"{len(lost)} of {len(found)} seeds of {library}'s ({', '.join(map(str, lost))})")
        ddpg = compared(store, library, "ddpg").values()
        others.append(f"{sum(value < NOTHING for value in ddpg)} of {len(ddpg)} of {library}'s")
    return f"""

Some seeds of TD3 learn nothing on InvertedDoublePendulum, in both libraries: their first updates drive the actor to
the action's bounds, where its gradient is 0, and it stays there. After {STEPS:,} steps
{told[0]} and
{told[1]}
have a return below {NOTHING:g}, all others one in the hundreds (`python benchmarks/saturation.py`, and the curves
above); of DDPG's seeds {" and ".join(others)}.
It is these settings' luck; TD3's row above has one such seed, polyak's."""
