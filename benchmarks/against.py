"""Time training with this checkout against another: environment steps a second on HalfCheetah-v5, default networks.

    python benchmarks/against.py --beside ../before/src    # writes docs/results/against.json

Each checkout trains in a process of its own, which waits within a step of its environment until it is asked for the
next round (`peers/clock.py`), so that start and compilation are outside. Rounds go A B A B, so that a busy minute slows
both; what counts is the ratio of neighbours. There is an update a step: after each one, or 50 after 50.
"""

import argparse
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import processor
from peers.cases import RHYTHMS, Case, ratios, spread, summary
from peers.processes import ROOT, Process, trainer

ALGORITHMS, BACKENDS = ("sac", "td3"), ("jax", "torch")
LEAST = 0.98
"""The median ratio of this checkout's speed to the other's that counts as the same speed."""


def require_own(source: Path) -> dict[str, str]:
    """The environment variable by which a process imports the polyak of this folder; checked by doing it once."""
    extra = {"PYTHONPATH": str(source.resolve())}
    command = [sys.executable, "-c", "import polyak; print(polyak.__file__)"]
    found = subprocess.run(command, env=os.environ | extra, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(found).resolve().is_relative_to(source.resolve()):
        raise SystemExit(f"{source} was asked for, but {found} is imported")
    return extra


def measured(case: Case, backend: str, sources: dict[str, dict[str, str]], options: argparse.Namespace) -> Any:
    """Train with both checkouts in turns, and compare."""
    job, steps = case.job(options.threads) | {"options": {"backend": backend}}, case.aligned(options.steps)
    speeds: dict[str, list[float]] = {who: [] for who in sources}
    processes: dict[str, Process] = {}
    try:
        for who, extra in sources.items():
            processes[who] = trainer("polyak", job, "", extra, backend=backend)
        for process in processes.values():
            process.answer()
        for _, (who, process) in itertools.product(range(options.rounds), processes.items()):
            speeds[who].append(steps / float(process.ask(case.quota(steps))[0]))
    finally:
        for process in processes.values():
            process.close()
    return {
        "case": f"{case.algorithm} {backend} {case.rhythm}",
        "steps_per_second": {who: summary(rounds) for who, rounds in speeds.items()},
        "ratio": ratios(speeds["now"], speeds["before"]),
        "rounds": {who: [round(speed, 2) for speed in rounds] for who, rounds in speeds.items()},
    }


def main() -> int:
    """Measure, print, write; 1 where a median ratio is below what counts as the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, required=True, help="the src folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=600, help="environment steps, and so updates, of a round")
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by neighbours")
    parser.add_argument("--only", default="", help="words that a case's name must have")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "against.json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the checkouts' processes are ended too
    sources = {"now": require_own(ROOT / "src"), "before": require_own(options.beside)}
    begun, results = time.monotonic(), list[Any]()
    for backend, algorithm, rhythm in itertools.product(BACKENDS, ALGORITHMS, RHYTHMS):
        if all(word in f"{algorithm} {backend} {rhythm}" for word in options.only.split()):
            results.append(measured(Case(algorithm, "HalfCheetah-v5", rhythm, 1), backend, sources, options))
            print(told(results[-1]), flush=True)
    print(f"{time.monotonic() - begun:.0f} s")
    options.output.write_text(json.dumps(described(options, results), indent=1) + "\n")
    return int(any(result["ratio"]["median"] < LEAST for result in results))


def told(result: Any) -> str:
    """A case in a line."""
    now, before = (spread(result["steps_per_second"][who]) for who in ("now", "before"))
    return f"{result['case']:22} {now} steps/s, before {before}; ratio {spread(result['ratio'])}"


def described(options: argparse.Namespace, results: list[Any]) -> dict[str, Any]:
    """The results, and what they were measured with."""
    packages = ("gymnasium", "jax", "jaxlib", "mujoco", "numpy", "torch")
    return {
        "command": f"python benchmarks/against.py --rounds {options.rounds} --steps {options.steps} --beside ...",
        "processor": processor(),
        "platform": platform.platform(),
        "threads": options.threads,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "cases": results,
    }


if __name__ == "__main__":
    sys.exit(main())
