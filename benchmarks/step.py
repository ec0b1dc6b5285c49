"""Time what one step of polyak costs when nothing is learned, by parts, beside another checkout.

    python benchmarks/step.py --beside ../before/src    # writes docs/results/step.json
    python benchmarks/step.py --quick                   # this checkout alone, one round; writes nothing

A timing is a whole run of SAC whose updates never come due: default networks, a policy that acts from the first step,
default time limit. `time/environment`, `time/acting` and `time/replay` of its record, divided by its steps, are the
parts. `alone` is the environment stepped by a bare loop in the same process. Each checkout is a process of its own that
stays; they take turns, A B A B, so that a busy minute slows both, and a ratio is of two neighbours.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "docs" / "results" / "step.json"
PARTS = ("environment", "acting", "replay")
CASES = (("nothing", 1), ("nothing", 8), ("Pendulum-v1", 1), ("Pendulum-v1", 8), ("HalfCheetah-v5", 1))


class Nothing(gymnasium.Env[Any, Any]):
    """Costs nothing: always the same observation [17], six actions, no end but the time limit's."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (17,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32)
        self._shown = np.zeros(17, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin."""
        return self._shown, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on."""
        return self._shown, 0.0, False, False, {}


gymnasium.register("nothing", entry_point=Nothing, max_episode_steps=1000)


# In a checkout's process


def serve() -> None:
    """Answer each line, a case and its number of steps, with what a step cost."""
    import polyak
    from polyak import algorithms

    algorithms.algorithm("sac")  # imported before anything is timed
    print(polyak.__file__, flush=True)
    for line in sys.stdin:
        name, envs, steps = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            run = polyak.train(
                "sac",
                name,
                preset="paper",
                envs=envs,
                backend="torch",
                threads=1,
                run_dir=folder,
                steps=steps,
                steps_per_epoch=steps,
                start_steps=0,
                update_after=2 * steps,
                replay_size=steps,
                evaluation_episodes=1,
            )
            record = run.metrics[-1]
        costs = {part: 1e6 * record[f"time/{part}"] / steps for part in PARTS}
        print(json.dumps({**costs, "alone": alone(name, steps)}), flush=True)


def alone(name: str, steps: int) -> float:
    """Microseconds of the environment's own step."""
    environment = gymnasium.make(name, disable_env_checker=True)
    environment.reset(seed=0)
    action = np.zeros(environment.action_space.shape, np.float32)
    begun = time.perf_counter()
    for _ in range(steps):
        if environment.step(action)[3]:
            environment.reset()
    return 1e6 * (time.perf_counter() - begun) / steps


# In the process that compares


class Checkout:
    """A process that runs the polyak of one checkout."""

    def __init__(self, source: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(source.resolve())}
        command = [sys.executable, __file__, "--serve"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        found = Path(self._answer()).resolve()
        if not found.is_relative_to(source.resolve()):
            raise SystemExit(f"{source} was asked for, but {found} was imported")

    def costs(self, name: str, envs: int, steps: int) -> dict[str, float]:
        """Microseconds an environment step, of each part."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, envs, steps]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a checkout's process ended with {self._process.wait()}")
        return line.strip()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def total(costs: dict[str, float]) -> float:
    """What a step costs, the environment's own included."""
    return sum(costs[part] for part in PARTS)


def own(costs: dict[str, float]) -> float:
    """What polyak adds to the environment's own step."""
    return total(costs) - costs["alone"]


def summary(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians, in microseconds, of each checkout; and of the ratios of neighbours."""
    found: dict[str, Any] = {}
    for who, costs in rounds.items():
        rows = [{**each, "step": total(each), "polyak": own(each)} for each in costs]
        found[who] = {part: round(statistics.median(row[part] for row in rows), 1) for part in rows[0]}
    if "before" in rounds:
        pairs = list(zip(rounds["now"], rounds["before"], strict=True))
        for what, of in (("step", total), ("polyak", own)):
            ratios = [of(now) / of(before) for now, before in pairs]
            found[f"{what}_ratio"] = {
                "median": round(statistics.median(ratios), 3),
                "lowest": round(min(ratios), 3),
                "highest": round(max(ratios), 3),
            }
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="the src folder of another checkout")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=6000, help="of one timing")
    parser.add_argument("--quick", action="store_true", help="one round of 1,000 steps")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    rounds, steps = (1, 1000) if options.quick else (options.rounds, options.steps)
    checkouts = {"now": Checkout(ROOT / "src")} | ({"before": Checkout(options.beside)} if options.beside else {})
    cases = [case for case in CASES if not case[0].startswith("HalfCheetah") or find_spec("mujoco")]
    measured: dict[tuple[str, int], dict[str, list[dict[str, float]]]] = {
        case: {who: [] for who in checkouts} for case in cases
    }
    for number in range(rounds + 1):
        for case in cases:
            for who, checkout in checkouts.items():
                costs = checkout.costs(*case, steps if number else 500)
                if number:  # the first warms up
                    measured[case][who].append(costs)
    for checkout in checkouts.values():
        checkout.close()
    results = [{"environment": name, "envs": envs, **summary(measured[name, envs])} for name, envs in cases]
    for result in results:
        print(json.dumps(result))
    output = options.output or (OUTPUT if options.beside and not options.quick else None)
    if output is not None:
        output.write_text(json.dumps(described(rounds, steps, results), indent=1) + "\n")


def described(rounds: int, steps: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    """The results, and what they were measured with."""
    return {
        "command": f"python benchmarks/step.py --rounds {rounds} --steps {steps} --beside ...",
        "processor": processor(),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("gymnasium", "numpy")}},
        "rounds": rounds,
        "steps": steps,
        "cases": results,
    }


def processor() -> str:
    """As the system calls it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
