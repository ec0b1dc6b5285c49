"""The learning results, as a queue: the next training that is not done, again and again, until it is stopped.

    python benchmarks/learning.py --list                # what is done, running, cut off and left
    python benchmarks/learning.py --jobs 2              # two at a time, at low priority; `kill` its process to stop it
    python benchmarks/learning.py --only equal/sac      # those whose name contains this
    python benchmarks/learning.py --part successors --jobs 48 --results found --runs kept  # where there are many cores
    python benchmarks/learning_pages.py                 # docs/results.md and its pictures of what there is

Each training has one thread, and its result is a file of docs/results/learning, written when it is done. A stop loses
little: polyak's runs are saved and go on bit for bit, Stable-Baselines3's from their last evaluation, with an episode
and random numbers that begin anew (`pieces` in the result says how often). Several queues may run at once.
`curves/cases.py` has the trainings and their order.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from curves.cases import GROUPS, ROOT, Training, trainings
from curves.runs import Places, state, work
from curves.store import Store
from peers.processes import require_peers

LOWEST = 19
"""The priority, as `nice` counts it."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--list", action="store_true", help="show the queue, and run nothing")
    made.add_argument("--only", default="", help="trainings whose name contains this")
    made.add_argument("--part", default="", choices=GROUPS, help="a part of the queue, by its name")
    made.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    made.add_argument(
        "--results", type=Path, default=ROOT / "docs" / "results" / "learning", help="the results' folder"
    )
    made.add_argument("--runs", type=Path, default=ROOT / "runs" / "learning", help="the runs' folder")
    made.add_argument("--peers", default=str(ROOT / ".venv-peers" / "bin" / "python"), help="the peers' Python")
    return made


def give_way() -> None:
    """Take the lowest priority, beside whatever else the machine does.

    Where Linux shares the processors between sessions first (autogroup), a process's own priority counts within its
    session alone, and the session has one as well.
    """
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST)
    with contextlib.suppress(OSError):  # no Linux, or one without
        Path("/proc/self/autogroup").write_text(str(LOWEST))


def main() -> int:
    """Do what the command line says."""
    options = parser().parse_args()
    places = Places(Store(options.results), options.runs, options.peers)
    chosen = trainings(options.only, options.part)
    if options.list:
        return show(chosen, places)
    require_peers(options.peers, sorted({training.case.library for training in chosen}))
    give_way()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.jobs > 1:
        return side_by_side(options.jobs)
    print(f"process {os.getpid()}: takes one training after the other", flush=True)
    return 1 if work(chosen, places) else 0


def side_by_side(jobs: int) -> int:
    """As many processes, each of which takes the next training; ended when this one is."""
    print(f"process {os.getpid()}: `kill {os.getpid()}` stops the queue", flush=True)
    command = [sys.executable, __file__, *sys.argv[1:], "--jobs", "1"]
    workers = [subprocess.Popen(command) for _ in range(jobs)]
    try:
        return max(worker.wait() for worker in workers)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def show(chosen: Sequence[Training], places: Places) -> int:
    """A line a training, in the order in which they are run."""
    counts = Counter[str]()
    for training in chosen:
        now = state(training, places)
        counts[now] += 1
        result = places.results.read(training.name) if now == "done" else None
        last = f"{result['curve'][-1][2]:10.1f} after {result['curve'][-1][0]:,} steps" if result else ""
        print(f"{now:8} {training.name:48} {last}".rstrip())
    print(", ".join(f"{count} {now}" for now, count in counts.items()))
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
