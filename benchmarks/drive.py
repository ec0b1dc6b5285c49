"""How well a control loop keeps to 50 Hz, alone and while SAC learns on the other core; and how fast it learns then.

    python benchmarks/drive.py                     # writes docs/results/drive.json; about 9 minutes on a quiet machine
    python benchmarks/drive.py --quick             # a glance; writes only where --output says

Pendulum-v1, a step every 20 ms by the system clock, SAC in JAX (256 x 256, batch 256), four updates a step so
that the learner has as much to do as a core can. Three contenders take turns, A B C A B C ...:

- loop: a policy that stays as it is;
- loop, learning: the same with `learn=True`, the learner in a process of its own with one thread;
- learning: a run of the same settings without a loop, as fast as it goes, with one thread.

Of the loops: how late steps began. Of the learners: updates for each second spent in updates, of all records but the
first, in which JAX compiles.
"""

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polyak
from polyak.deploy.drive.report import Drive
from polyak.run.folder import Run
from polyak.system.threads import physical_cores, processor

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "results" / "drive.json"
RATE, LATE = 50.0, 0.005
"""Steps a second; seconds that a step may be late."""
EPOCH = 300
SETTINGS: dict[str, Any] = {
    "steps": 2 * EPOCH,
    "steps_per_epoch": EPOCH,
    "start_steps": EPOCH,
    "update_after": EPOCH,
    "update_every": 1,
    "updates_per_step": 4,
    "batch_size": 256,
    "hidden_sizes": (256, 256),
}
HOW: dict[str, Any] = {"evaluate_in": "never", "probe": False, "threads": 1, "progress": False}


def speed(run: Run) -> float | None:
    """Updates for each second spent in updates, without the first record that has any; None where there is no other."""
    updates = [record["learner/updates"] for record in run.metrics]
    pairs = zip(run.metrics, [0.0, *updates[:-1]], strict=True)
    worked = [(record["learner/updates"] - before, record["time/learner"]) for record, before in pairs]
    later = [each for each in worked if each[0] > 0][1:]
    return sum(count for count, _ in later) / sum(seconds for _, seconds in later) if later else None


def of_loop(drive: Drive) -> dict[str, Any]:
    """A row."""
    told = drive.to_json()
    row = {name: told[name] for name in ("steps", "overruns", "late", "lateness")}
    return {**row, "within": drive.lateness.within(LATE)}


def contenders(base: Run, folder: Path, steps: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Each by its name, as a row of its numbers."""

    def learning_loop() -> dict[str, Any]:
        drive = polyak.drive(base, rate=RATE, steps=steps, learn=True, run_dir=folder)
        learned = drive.learning or {}
        row = of_loop(drive) | {name: learned[name] for name in ("updates", "dropped", "lost")}
        return row | {"updates_per_second": speed(polyak.load(learned["folder"]))}

    def learner() -> dict[str, Any]:
        run = polyak.train("sac", "Pendulum-v1", from_run=base, run_dir=folder, steps=steps, **HOW)
        return {"updates_per_second": speed(run)}

    return {
        "loop": lambda: of_loop(polyak.drive(base, rate=RATE, steps=steps)),
        "loop, learning": learning_loop,
        "learning": learner,
    }


def row_of(way: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of the rounds, and all of them."""
    row: dict[str, Any] = {"way": way, "rounds": rounds}
    if "lateness" in rounds[0]:
        for name in ("p50", "p99", "worst"):
            row[name] = statistics.median(each["lateness"][name] for each in rounds)
        row["within"] = statistics.median(each["within"] for each in rounds)
        row["late"], row["overruns"] = (sum(each[name] for each in rounds) for name in ("late", "overruns"))
    speeds = [each["updates_per_second"] for each in rounds if each.get("updates_per_second")]
    return row | ({"updates_per_second": statistics.median(speeds)} if speeds else {})


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each loop")
    parser.add_argument("--quick", action="store_true", help="one round of 12 seconds")
    parser.add_argument("--output", type=Path, help=f"by default {OUTPUT.name} in docs/results, unless --quick")
    arguments = parser.parse_args()
    rounds, seconds = (1, 12.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    output = arguments.output or (None if arguments.quick else OUTPUT)
    with tempfile.TemporaryDirectory() as folder:
        base = polyak.train("sac", "Pendulum-v1", run_dir=folder, **SETTINGS, **HOW)
        ways = contenders(base, Path(folder), int(seconds * RATE))
        got: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, measure in ways.items():
                got[way].append(measure())
                print(f"{way:<16}{json.dumps(got[way][-1])}", flush=True)
    setting = {
        "processor": processor(),
        "cores": physical_cores(),
        "python": platform.python_version(),
        "jax": version("jax"),
        "rounds": rounds,
        "seconds": seconds,
        "rate": RATE,
        "late": LATE,
    }
    if output is not None:
        rows = [row_of(way, each) for way, each in got.items()]
        output.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
