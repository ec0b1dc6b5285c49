"""Produce the learning results of docs/results.md: train, evaluate, record, and publish tables and curves.

    python benchmarks/results.py --jobs 2            # every experiment; what is already there is not run again
    python benchmarks/results.py --only lander --jobs 2

`benchmarks/publish_results.py` makes docs/results.md of it.

Each run is one `polyak train` of its own, with one thread, so that several run side by side without a fight.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "results"
DATA = ROOT / "docs" / "results" / "runs.json"
ALGORITHMS = ("ddpg", "td3", "sac")


@dataclass(frozen=True)
class Experiment:
    """The same training for every algorithm and several seeds."""

    name: str
    environment: str
    seeds: int
    options: tuple[str, ...]
    fresh_episodes: int
    """Episodes of the evaluation after training."""


EXPERIMENTS = (
    Experiment("pendulum-book", "Pendulum-v1", 5, ("--preset", "book"), 100),
    Experiment("pendulum-book-torch", "Pendulum-v1", 3, ("--preset", "book", "--backend", "torch"), 100),
    Experiment("pendulum-book-tensorflow", "Pendulum-v1", 3, ("--preset", "book", "--backend", "tensorflow"), 100),
    Experiment("pendulum-tuned", "Pendulum-v1", 5, ("--stop-at-return", "-200"), 100),
    Experiment(
        "lander", "LunarLanderContinuous-v3", 3, ("--stop-at-return", "220", "--evaluation-episodes", "100"), 100
    ),
)
FRESH_SEED = 1_000  # far from the training seeds


def jobs(only: str | None) -> Iterator[tuple[Experiment, str, int]]:
    """Every training to do, seed by seed, so that a part of them already spans all algorithms."""
    for experiment in EXPERIMENTS:
        if only is None or only in experiment.name:
            for seed in range(experiment.seeds):
                for algorithm in ALGORITHMS:
                    yield experiment, algorithm, seed


def key(experiment: Experiment, algorithm: str, seed: int) -> str:
    """The name of one training in the data."""
    return f"{experiment.name}/{algorithm}/{seed}"


def run_one(experiment: Experiment, algorithm: str, seed: int) -> dict[str, Any]:
    """Train, evaluate on fresh episodes, record a video; what is kept of it.

    Raises:
        RuntimeError: a command failed.
    """
    options = ["--seed", str(seed), *experiment.options, "--threads", "1"]
    command = ["train", algorithm, experiment.environment, *options]
    folder = polyak(*command, "--run-dir", str(RUNS / experiment.name)).strip()
    fresh = ["evaluate", folder, "--episodes", str(experiment.fresh_episodes), "--seed", str(FRESH_SEED), "--json"]
    evaluation = json.loads(polyak(*fresh))
    polyak("record", folder, "--seed", str(FRESH_SEED))
    settings = json.loads((Path(folder) / "settings.json").read_text())
    records = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return {
        "command": " ".join(["polyak", *command]),
        "folder": str(Path(folder).relative_to(ROOT)),
        "versions": settings["versions"],
        "curve": [[r["step"], r["seconds"], round(r["eval/return"], 2)] for r in records if "eval/return" in r],
        "fresh_mean": round(evaluation["mean"], 2),
        "fresh_std": round(evaluation["std"], 2),
        "fresh_episodes": experiment.fresh_episodes,
    }


def polyak(*arguments: str) -> str:
    """Run the command line in a process of its own and return its standard output."""
    program = [sys.executable, "-c", "import sys; from polyak.cli import main; sys.exit(main())"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"polyak {' '.join(arguments)} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def load_data() -> dict[str, Any]:
    """What has been run so far."""
    return json.loads(DATA.read_text()) if DATA.exists() else {}


def run(only: str | None, parallel: int) -> None:
    """Run what is missing, `parallel` at a time; every result is kept as soon as it is there."""
    data = load_data()
    todo = [job for job in jobs(only) if key(*job) not in data]
    print(f"{len(todo)} trainings to do", flush=True)
    DATA.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(parallel) as pool:
        running = {pool.submit(run_one, *job): job for job in todo}
        for done in as_completed(running):
            job = running[done]
            if done.exception():
                print(f"{key(*job)} failed: {done.exception()}", flush=True)
                continue
            result = done.result()
            data = load_data() | {key(*job): result}
            DATA.write_text(json.dumps(dict(sorted(data.items())), indent=1) + "\n")
            step, seconds, last = result["curve"][-1]
            print(
                f"{key(*job)}: {last:.1f} after {step:,} steps, {seconds:.0f} s; fresh {result['fresh_mean']:.1f}",
                flush=True,
            )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="experiments whose name contains this")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    run(arguments.only, arguments.jobs)


if __name__ == "__main__":
    main()
