"""Environment steps a second against the number of environments: sync, async and EnvPool.

    python benchmarks/environments.py            # writes docs/results/environments.json and environments.svg
    python benchmarks/environments.py --quick    # fewer counts, shorter timings; writes only where --output says

Three ways, each with SAC at its default settings, whose policy acts for all N environments at once:

- collect: acting, environments and replay alone;
- step: also one update for each environment step, in bursts of the first multiple of N from 50 on;
- round: also one update for each round of N steps (updates_per_step = 1 / N).

All contenders of an environment live side by side; a timing lasts `--seconds`; rounds go A B C A B C ..., so that a
busy minute slows all of them. Evaluation, records and checkpoints are left out, and EnvPool where it is not installed.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polyak import frameworks
from polyak.algorithm import drawn, first_state
from polyak.algorithms import algorithm, sac, with_page
from polyak.environments.make import make_environments
from polyak.experience.batches import sample_batch
from polyak.experience.collector import Collector
from polyak.experience.replay import Replay
from polyak.frameworks.execution import Execution
from polyak.policies.policy import policy_of
from polyak.system.randomness import Streams
from polyak.system.threads import one_numpy_thread, physical_cores

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "results" / "environments.json"
ENVIRONMENTS = ("Pendulum-v1", "HalfCheetah-v5")
COUNTS = (1, 2, 4, 8, 16, 32, 64)
QUICK_COUNTS = (1, 8)
COLOURS = {"sync": "#1f77b4", "async": "#d62728", "envpool": "#2ca02c"}
WAYS = {"collect": "collecting alone", "step": "an update a step", "round": "an update a round"}
BURST, BATCH, DISCOUNT = 50, 256, 0.99
FULL = 1_000
"""Transitions in replay before anything is timed."""


class Learning:
    """The learner and the replay that all contenders of an environment share."""

    def __init__(self, name: str, backend: str, streams: Streams) -> None:
        config, alone = sac.Config(), make_environments(name, 1, streams.environment)
        spec = alone.spec
        alone.close()
        what = with_page(algorithm("sac"), backend)
        state = first_state(what.state(spec, config), streams.weights)
        self.replay = Replay(200_000, spec.observation_size, spec.action_size)
        self._learner = frameworks.make_learner(backend, what, spec, config, state, Execution())
        self._streams, self._draws = streams, what.draws(spec, config)
        self.policy = policy_of(what, config, spec, self._learner.actor(), {})

    def update(self, updates: int) -> None:
        """What the loop does in a burst."""
        batches = sample_batch(self.replay, self._streams.replay, updates, BATCH, DISCOUNT)
        noise = drawn(self._draws, self._streams.learner, updates)
        learned = self._learner.launch(batches, noise)()
        self.policy = dataclasses.replace(self.policy, parameters=learned.actor)


class Contender:
    """N environments of one vectorization."""

    def __init__(self, name: str, vectorization: Any, count: int, learning: Learning) -> None:
        streams = Streams(count)
        begun = time.perf_counter()
        self.environments = make_environments(name, count, streams.environment, vectorization=vectorization)
        self._collector = Collector(self.environments, streams.warm_up, streams.exploration)
        self._collector.begin()
        self.seconds_to_start = time.perf_counter() - begun
        self.vectorization, self.count, self._learning = vectorization, count, learning

    def burst(self, way: str) -> int:
        """Steps in all environments and the updates that are due then; the number of steps."""
        rounds = 1 if way == "round" else math.ceil(BURST / self.count)
        for _ in range(rounds):
            self._learning.replay.add(self._collector.step(self._learning.policy))
        self._collector.finished()
        if way != "collect":
            self._learning.update(rounds * self.count if way == "step" else 1)
        return rounds * self.count

    def speed(self, way: str, seconds: float) -> float:
        """Environment steps a second, over at least so many seconds and one burst."""
        steps, begun = 0, time.perf_counter()
        while True:
            steps += self.burst(way)
            passed = time.perf_counter() - begun
            if passed >= seconds:
                return steps / passed


def vectorizations() -> list[str]:
    """Those that are installed."""
    return [name for name in COLOURS if name != "envpool" or find_spec("envpool")]


def measure(
    name: str, counts: tuple[int, ...], rounds: int, seconds: float, backend: str
) -> Iterator[list[dict[str, Any]]]:
    """One environment's rows after each round; the first round, in which everything is compiled, is not counted."""
    learning = Learning(name, backend, Streams(0))
    times: dict[tuple[int, int], list[float]] = {}
    with ExitStack() as stack, one_numpy_thread():
        contenders: list[Contender] = []
        for count in counts:
            for vectorization in vectorizations():
                contenders.append(Contender(name, vectorization, count, learning))
                stack.callback(contenders[-1].environments.close)
        while learning.replay.size < FULL:
            contenders[0].burst("collect")
        for number in range(rounds + 1):
            for index, contender in enumerate(contenders):
                for way in WAYS:
                    if number == 0:
                        contender.burst(way)
                    else:
                        times.setdefault((index, way), []).append(contender.speed(way, seconds))
            if number:
                yield [row(name, contenders[index], way, speeds) for (index, way), speeds in times.items()]


def row(name: str, contender: Contender, way: str, speeds: list[float]) -> dict[str, Any]:
    """One contender's speeds, in steps a second."""
    return {
        "environment": name,
        "vectorization": contender.vectorization,
        "envs": contender.count,
        "way": way,
        "steps_per_second": round(statistics.median(speeds)),
        "lowest": round(min(speeds)),
        "highest": round(max(speeds)),
        "rounds": len(speeds),
        "seconds_to_start": round(contender.seconds_to_start, 3),
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Median and range against N: a row an environment, a column a way."""
    from matplotlib import rcParams  # here, because worker processes import this file
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    names = list(dict.fromkeys(each["environment"] for each in rows))
    rcParams["svg.hashsalt"] = "polyak"  # equal numbers make an equal file
    figure = Figure(figsize=(11, 3.2 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(WAYS), squeeze=False)
    for (name, way), axes in zip(((name, way) for name in names for way in WAYS), grid.flat, strict=True):
        for vectorization, colour in COLOURS.items():
            curve = [
                each
                for each in rows
                if (each["environment"], each["way"], each["vectorization"]) == (name, way, vectorization)
            ]
            counts = [each["envs"] for each in curve]
            axes.plot(counts, [each["steps_per_second"] for each in curve], ".-", color=colour, label=vectorization)
            low, high = ([each[end] for each in curve] for end in ("lowest", "highest"))
            axes.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set(xscale="log", yscale="log", title=f"{name}, {WAYS[way]}", xlabel="environments")
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    for axes in grid[:, 0]:
        axes.set_ylabel("environment steps / s")
    grid[0, 0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=ENVIRONMENTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one timing")
    parser.add_argument("--backend", choices=("jax", "torch", "tensorflow"), default="jax")
    parser.add_argument("--quick", action="store_true", help=f"N in {QUICK_COUNTS}, 0.1 s a timing")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    counts, seconds = (QUICK_COUNTS, 0.1) if options.quick else (COUNTS, options.seconds)
    output = options.output or (None if options.quick else OUTPUT)
    done: list[dict[str, Any]] = []
    for name in options.environments:
        rows: list[dict[str, Any]] = []
        for rows in measure(name, counts, options.rounds, seconds, options.backend):
            if output:
                output.write_text(json.dumps(described(options, counts, seconds, done + rows), indent=1) + "\n")
        done += rows
        for each in rows:
            print(*(f"{value:>14}" for value in each.values()), flush=True)
    if output:
        draw(done, output.with_suffix(".svg"))


def described(
    options: argparse.Namespace, counts: tuple[int, ...], seconds: float, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The rows, and what they were measured with."""
    packages = ["gymnasium", "numpy", options.backend, *(["envpool"] if "envpool" in vectorizations() else [])]
    return {
        "command": f"python benchmarks/environments.py --rounds {options.rounds} --seconds {seconds:g}",
        "backend": options.backend,
        "machine": {"platform": platform.platform(), "cores": physical_cores(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "envs": list(counts),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
