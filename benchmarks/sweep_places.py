"""Measure a sweep on Ray beside the same sweep in processes of this machine, and how soon a node's death is mended.

    python benchmarks/sweep_places.py                # writes docs/results/sweep-places.json and prints the tables
    python benchmarks/sweep_places.py --quick        # two short runs, one round, into a temporary folder
    python benchmarks/sweep_places.py --table        # the tables anew from what has been measured

sweep: 8 runs of SAC on Pendulum, one thread each, as many at a time as there are cores, in both places alternately, so
that a busy minute slows both. Ray's own start is apart: it is what `--on ray` takes before the first run can begin.
recovery: a run on a simulated cluster of two nodes, whose node is killed once its first epoch is here: seconds until
the command has missed it, and until its next record is here; in between, Ray counts the node as dead (15 seconds).
"""

import argparse
import json
import multiprocessing
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from bench import processor
from replay_memory import machine

from polyak.many import sweep
from polyak.many.cluster import connect
from polyak.many.ray import OnRay, Share
from polyak.system.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs" / "results" / "sweep-places.json"
Jobs = list[sweep.Job]


def jobs(runs: int, steps: int) -> Jobs:
    """Runs of SAC, small enough to end soon, that learn from their first epoch on."""
    options = (
        "--steps",
        str(steps),
        "--steps-per-epoch",
        str(steps // 4),
        "--update-after",
        "500",
        "--start-steps",
        "500",
    )
    return [sweep.Job("sac", "Pendulum-v1", seed, (*options, "--threads", "1"), steps) for seed in range(runs)]


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def swept(asked: Jobs, at_once: int, place: OnRay | None, watcher: sweep.Watcher | None = None) -> None:
    """Train all, into a folder that goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        trials = sweep.run(asked, at_once=at_once, run_dir=folder, place=place, watcher=watcher)
    wrong = [trial.reason for trial in trials if trial.state != "done"]
    if wrong:
        sys.exit(f"a run has failed: {wrong[0]}")


def sweeps(runs: int, steps: int, rounds: int) -> dict[str, Any]:
    """Both places alternately."""
    cores, asked = len(os.sched_getaffinity(0)), jobs(runs, steps)
    seconds = dict[str, list[float]](local=[], ray=[])
    begun = time.perf_counter()
    with connect("ray") as ray:
        start = time.perf_counter() - begun
        place = OnRay(ray, Share(threads=1))
        for number in range(rounds):
            both = {"local": lambda: swept(asked, cores, None), "ray": lambda: swept(asked, len(asked), place)}
            for name in ("local", "ray") if number % 2 == 0 else ("ray", "local"):
                seconds[name].append(timed(both[name]))
                print(f"round {number + 1}  {name:<6}{seconds[name][-1]:6.1f} s", file=sys.stderr, flush=True)
    ratios = [ray / local for ray, local in zip(seconds["ray"], seconds["local"], strict=True)]
    return {
        "runs": runs,
        "steps": steps,
        "at_once": cores,
        "start": start,
        "seconds": seconds,
        "ratio": statistics.median(ratios),
    }


class Killing(sweep.Silent):
    """Kills the node once the first record is here, and times what follows."""

    def __init__(self, nodes: dict[int, Any]) -> None:
        self._nodes, self._killed = nodes, 0.0
        self.again, self.recorded = 0.0, 0.0
        """Seconds after its death."""

    def news(self, trial: sweep.Trial, news: sweep.News) -> None:
        if news != "recorded":
            return
        if not self._killed:
            raylet = next(above.pid for each in training() for above in each.parents() if above.pid in self._nodes)
            self._killed = time.perf_counter()
            os.kill(raylet, signal.SIGKILL)
        elif self.again and not self.recorded:
            self.recorded = time.perf_counter() - self._killed

    def say(self, text: str) -> None:
        self.again = time.perf_counter() - self._killed


def training() -> list[psutil.Process]:
    """The processes of runs."""
    return [each for each in psutil.process_iter(["cmdline"]) if "polyak.cli.child" in (each.info["cmdline"] or [])]


def recoveries(steps: int, rounds: int) -> dict[str, Any]:
    """A node's death, several times, on Ray as it is: with its own times until a node counts as dead."""
    from ray.cluster_utils import Cluster

    size = {"object_store_memory": 100 * 1024**2}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **size})
    found = dict[str, list[float]](again=[], recorded=[])
    try:
        with connect(f"ray:{cluster.address}") as ray:
            for _ in range(rounds):
                nodes = [cluster.add_node(num_cpus=1, **size) for _ in range(2)]
                watcher = Killing({node.all_processes["raylet"][0].process.pid: node for node in nodes})
                swept(jobs(1, steps), 1, OnRay(ray, Share(threads=1), watcher.say), watcher)
                found["again"].append(watcher.again)
                found["recorded"].append(watcher.recorded)
                for node in nodes:
                    cluster.remove_node(node, allow_graceful=False)
    finally:
        cluster.shutdown()
    return found


def table(result: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    sweeps, recovery = result["sweep"], result["recovery"]
    local, ray = (statistics.median(sweeps["seconds"][name]) for name in ("local", "ray"))
    lines = [
        f"| {sweeps['runs']} runs of {sweeps['steps']:,} steps, {sweeps['at_once']} at a time | seconds |",
        "|---|---:|",
    ]
    lines += [f"| processes of this machine | {local:.1f} |", f"| Ray on this machine, once it runs | {ray:.1f} |"]
    lines += [
        f"| Ray's start | {sweeps['start']:.1f} |",
        f"| Ray to processes, median of pairs | {sweeps['ratio']:.2f} |",
    ]
    lines += ["", "| after a node's death | seconds |", "|---|---:|"]
    lines += [f"| its run is missed | {statistics.median(recovery['again']):.1f} |"]
    lines += [f"| its next record is here | {statistics.median(recovery['recorded']):.1f} |"]
    return "\n".join(
        [
            *lines,
            "",
            f"{result['processor']}; Ray {result['ray']}, Python {result['python']}.",
        ]
    )


def alone(part: Callable[..., Any], *sizes: int) -> Any:
    """A part in a process of its own: Ray is started, or joined, once in each."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(part, *sizes).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        print(table(json.loads(RESULT.read_text())))
        return
    output = Path(tempfile.mkdtemp()) / RESULT.name if asked.quick else RESULT
    measured = {
        "sweep": alone(sweeps, *((2, 400, 1) if asked.quick else (8, 2_500, 3))),
        "recovery": alone(recoveries, *((4_000, 1) if asked.quick else (8_000, 3))),
    }
    result = {
        **measured,
        "processor": processor(),
        "machine": machine(),
        "ray": version("ray"),
        "python": platform.python_version(),
    }
    write_atomically(output, (json.dumps(result, indent=1) + "\n").encode())
    print(table(result))
    print(output, file=sys.stderr)


if __name__ == "__main__":
    main()
