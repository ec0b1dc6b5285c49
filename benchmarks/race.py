"""The race: seconds from a cold command to a return, each library with its best published settings, one after another.

    make race                                # what is left, into docs/results/race; stopped, it goes on with the next
    make race RACE="--only Pendulum-v1"         # those whose name contains this; --list shows them and runs nothing
    python benchmarks/race.py --minutes 60   # begins none after an hour
    python benchmarks/race_pages.py          # docs/race.md, its picture and README's line, of what there is

It is timed, so it has to run alone, and all of a course on one processor: what another has begun is left out, and said;
it begins anew where its results are removed. A run is a process of its own with as many threads as its library takes by
itself, and every library evaluates alike: ten episodes without noise, in an environment of their own, every so many
steps. A run that does not arrive within its course's steps or seconds has not arrived, and counts as that.
`curves/races.py` has the courses and who runs, `curves/race.toml` the peers' settings.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from bench import processor
from curves.cases import ROOT, Training
from curves.races import GROUP, LIBRARIES, entries
from curves.racing import raced
from curves.runs import Places, state, work
from curves.standings import needless
from curves.store import Store
from peers.processes import require_peers

from polyak.system.locking import locked

OVER = ("done", "needless")
"""What an entry is that does not run any more."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--list", action="store_true", help="show the entries, and run nothing")
    made.add_argument("--only", default="", help="entries whose name contains this")
    made.add_argument("--minutes", type=float, default=float("inf"), help="after which no more are begun")
    made.add_argument("--results", type=Path, default=ROOT / "docs" / "results", help="in which the folder race is")
    made.add_argument("--runs", type=Path, default=ROOT / "runs", help="for what a run leaves while it runs")
    made.add_argument("--peers", default=str(ROOT / ".venv-peers" / "bin" / "python"), help="the peers' Python")
    return made


def main() -> int:
    """Do what the command line says."""
    options = parser().parse_args()
    options.peers = str(Path(options.peers).absolute())  # not resolved: a link would leave its environment
    places = Places(Store(options.results.absolute()), options.runs.absolute(), options.peers)
    chosen = entries(options.only)
    if options.list:
        return show(chosen, places)
    require_peers(options.peers, LIBRARIES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    alone = places.runs / GROUP
    alone.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    chosen = comparable(chosen, places)
    with locked(alone):
        if any(standing(entry, places) not in OVER for entry in chosen):
            read_once(options.peers)
        return 1 if work(chosen, places, raced, until, needless) else 0


def comparable(chosen: Sequence[Training], places: Places) -> list[Training]:
    """The entries of courses that have no results of another processor; of the others it is said, where any is left."""
    here = processor()
    there: dict[str, set[str]] = {}
    for entry in entries():
        found = places.results.read(entry.name)
        if found is not None:
            there.setdefault(entry.case.environment, set()).add(found["processor"])
    kept: list[Training] = []
    for environment, of_it in groupby(chosen, key=lambda entry: entry.case.environment):
        others, left = sorted(there.get(environment, {here}) - {here}), [*of_it]
        if not others:
            kept += left
        elif any(standing(entry, places) not in OVER for entry in left):
            print(
                f"{environment} is left out: it was begun on {', '.join(others)}, and this is {here}", file=sys.stderr
            )
    return kept


def standing(entry: Training, places: Places) -> str:
    """done, running, cut off, left, or needless."""
    now = state(entry, places)
    return "needless" if now != "done" and needless(entry, places.results) else now


def read_once(peers: str) -> None:
    """Import every library once, so that no run is the one that waits for the disk."""
    quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-m", "polyak", "train", "--help"], env=variables, check=False, **quietly)
    subprocess.run([sys.executable, "-c", "import jax.numpy, gymnasium.envs.mujoco"], check=False, **quietly)
    subprocess.run([peers, "-c", "import stable_baselines3, sb3_contrib, sbx, mujoco"], check=False, **quietly)


def show(chosen: Sequence[Training], places: Places) -> int:
    """A line an entry, in the order in which they run."""
    counts = Counter[str]()
    for entry in chosen:
        now = standing(entry, places)
        counts[now] += 1
        result = places.results.read(entry.name) if now == "done" else None
        came = "" if result is None else f"{result['return']:10.1f} after {result['steps']:,} steps"
        if result:
            came += f", {result['seconds']:.1f} s" if result["arrived"] else ": not arrived"
        print(f"{now:8} {entry.name:54} {came}".rstrip())
    print(", ".join(f"{count} {now}" for now, count in counts.items()))
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
