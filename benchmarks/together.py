"""Time runs that train together in one process, beside one run alone and beside a process for each.

    python benchmarks/together.py                      # writes docs/results/together.json
    python benchmarks/together.py --rounds 1 --steps 100 --environments Pendulum-v1 --no-write

Environment steps per second, summed over the runs, with an update after every step. Contenders: `alone`, one run with
all physical cores (N runs one after another have its speed); `jobs 2`, two processes of one thread at the same time, as
`--seeds ... --jobs 2`; `together N`. Each is a process that waits until it is asked for a round; rounds go A B C A B C.
A round trains new runs; what counts is the time from when all of them have learned for `--warm-up` steps until the
first of them ends. Start, compilation, evaluation and saving are outside.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gymnasium

import polyak
from polyak.frameworks.execution import Device
from polyak.system.threads import physical_cores

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs" / "results" / "together.json"
START = 256
"""Steps of uniform actions; updates begin after them."""


class Clocked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes the time of each of its steps."""

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(environment)
        self.times: list[float] = []

    def step(self, action: Any) -> Any:
        self.times.append(time.perf_counter())
        return super().step(action)


# A contender


def speed_of_a_round(environment: str, runs: int, threads: int, device: Device, warm_up: int, steps: int) -> float:
    """Train so many runs and give their steps per second, summed."""
    made: list[Clocked] = []

    def make() -> gymnasium.Env[Any, Any]:
        made.append(Clocked(gymnasium.make(environment)))
        return made[-1]

    total = START + warm_up + steps
    with tempfile.TemporaryDirectory() as folder:
        polyak.train_together(
            "sac",
            make,
            seeds=range(runs),
            preset="paper",
            device=device,
            threads=threads,
            run_dir=folder,
            steps=total,
            steps_per_epoch=total,
            start_steps=START,
            update_after=START,
            update_every=1,
            evaluation_episodes=1,
            probe=False,  # whose environments would be counted too
        )
    clocks = [clocked.times for clocked in made[::2]]  # every second one is for evaluation
    begun, ended = max(times[START + warm_up] for times in clocks), min(times[-1] for times in clocks)
    return sum(sum(begun <= now < ended for now in times) for times in clocks) / (ended - begun)


def serve(given: list[str]) -> None:
    """A speed for every line read."""
    environment, runs, threads, device, warm_up, steps = given
    chosen: Device = "cuda" if device == "cuda" else "cpu"
    speed_of_a_round(environment, int(runs), int(threads), chosen, 10, 10)  # compiles
    print("ready", flush=True)
    for _ in sys.stdin:
        print(speed_of_a_round(environment, int(runs), int(threads), chosen, int(warm_up), int(steps)), flush=True)


# The rounds


class Contender:
    """One or more processes of the same kind."""

    def __init__(self, processes: int, given: list[str]) -> None:
        command = [sys.executable, __file__, "--serve", *given]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._processes = [subprocess.Popen(command, **pipes) for _ in range(processes)]
        self._answers()

    def round(self) -> float:
        """Steps per second, summed over the processes, which go at the same time."""
        for process in self._processes:
            print(file=process.stdin, flush=True)
        return sum(map(float, self._answers()))

    def _answers(self) -> list[str]:
        lines = [process.stdout.readline().strip() for process in self._processes if process.stdout]
        if not all(lines):
            raise RuntimeError("a contender ended; what it said is above")
        return lines

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate(timeout=60)


def measured(environment: str, options: argparse.Namespace) -> dict[str, Any]:
    """Each contender's speeds, round by round."""
    cores, rest = str(physical_cores()), [options.device, str(options.warm_up), str(options.steps)]
    contenders = {"alone": Contender(1, [environment, "1", cores, *rest])}
    if options.device == "cpu":
        contenders["jobs 2"] = Contender(2, [environment, "1", "1", *rest])
    for count in options.runs:
        contenders[f"together {count}"] = Contender(1, [environment, str(count), cores, *rest])
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        for _ in range(options.rounds):
            for name, contender in contenders.items():
                speeds[name].append(contender.round())
                print(f"{environment}  {name:<12}{speeds[name][-1]:8.0f} steps/s", file=sys.stderr, flush=True)
    finally:
        for contender in contenders.values():
            contender.close()
    return {
        name: {
            "steps_per_second": round(statistics.median(found), 1),
            "times_alone": round(statistics.median(a / b for a, b in zip(found, speeds["alone"], strict=True)), 2),
            "rounds": [round(speed, 1) for speed in found],
        }
        for name, found in speeds.items()
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=["HalfCheetah-v5", "Pendulum-v1"])
    parser.add_argument("--runs", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--steps", type=int, default=150, help="of each run, in a round")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {physical_cores()} cores",
        "device": options.device,
        "steps_of_a_round": options.steps,
        "environments": {name: measured(name, options) for name in options.environments},
    }
    print(json.dumps(result, indent=1))
    if not options.no_write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:])
    else:
        main()
