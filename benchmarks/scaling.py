"""Measure how costs grow: with what replay holds, with the observation, with the batch and with the networks' width.

    python benchmarks/scaling.py                    # all four; writes docs/results/scaling.json and scaling-*.svg
    python benchmarks/scaling.py --only replay observation --rounds 3
    python benchmarks/scaling.py --quick            # small sizes, few rounds, into a temporary folder
    python benchmarks/scaling.py --table            # Markdown tables and charts anew from what has been measured

replay: an environment step of SAC in JAX (act, step the environment, add, sample, one update) and its parts, while
replay of 1,000,000 transitions holds 1,000 to 1,000,000; and by how much resident memory grew when they were added.
observation: the same with a full replay, for observations of 3 to 400 numbers.
batch, width: milliseconds an update of SAC in JAX and PyTorch, in bursts and single, against the matrix products alone
at the same sizes (see `learners.py`).

The environment is made up and costs next to nothing; so are the transitions, which replay is filled with directly.
All sizes are alive at the same time, JAX and PyTorch each in a process of its own, and rounds go through all of them,
so that a busy minute slows all; that takes up to 8 GB. A replay for which memory is short is left out and said to be.
A section is written after each of its rounds.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import learners
import numpy as np
from learners import ACTION, OBSERVATION, Round, Sizes
from replay_memory import machine, resident_memory
from scaling_pages import CONTENDERS, LIMITS, PARTS, STEPS, draw, framework_of, show

from polyak.algorithm import drawn, first_state
from polyak.algorithms import algorithm, sac, with_page
from polyak.environments.make import make_environments
from polyak.errors import UsageError
from polyak.experience.batches import sample_batch
from polyak.experience.collector import Collector
from polyak.experience.replay import Replay, memory_needed
from polyak.frameworks import make_learner
from polyak.frameworks.execution import Execution
from polyak.policies.policy import policy_of
from polyak.system.files import write_atomically
from polyak.system.randomness import Streams
from polyak.system.threads import one_numpy_thread, physical_cores
from polyak.types import Layout

ROOT = Path(__file__).resolve().parent.parent
CAPACITY = 1_000_000
FULL: dict[str, tuple[int, ...]] = {
    "replay": (1_000, 10_000, 100_000, 300_000, CAPACITY),
    "observation": (3, 17, 50, 100, 200, 400),
    "batch": (256, 512, 1024, 2048, 4096, 8192, 16384),
    "width": (256, 512, 1024),
}
QUICK: dict[str, tuple[int, ...]] = {
    "replay": (1_000, 10_000),
    "observation": (3, 50),
    "batch": (256, 512),
    "width": (64, 128),
}
BURSTS = (50, 20, 10, 4, 2)
PORTION = 10
"""Environment steps at one size before the next one's turn."""

Question = dict[str, Any]
Answer = dict[str, Any]


# A process that measures what it is asked to


class Worker:
    """A process that answers questions, one line of JSON each."""

    def __init__(self, threads: int, script: str = __file__) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, script, "--serve"], stdin=pipe, stdout=pipe, text=True, env=learners.variables(threads)
        )

    def ask(self, **question: Any) -> Answer:
        """The answer.

        Raises:
            UsageError: polyak refused, for want of memory or of a device.
            RuntimeError: the process has ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries may print too
                answer = json.loads(line)
                if "refused" in answer:
                    raise UsageError(answer["refused"])
                return answer
        raise RuntimeError(f"the process that was asked {question} ended with status {self._process.wait()}")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def serve(answer: Callable[[Question], Answer]) -> None:
    """Answer the questions on standard input until it is closed."""
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except UsageError as error:
            reply = {"refused": str(error)}
        print(json.dumps(reply), flush=True)


def answered(question: Question) -> Answer:
    """What a worker is asked: memory, the parts of an environment step, or the time of an update."""
    if question["what"] == "memory":
        return fill(question["observation"], question["transitions"], question["capacity"])
    if question["what"] == "steps":
        replay = REPLAYS[question["observation"], question["transitions"]]
        return stepper(question["observation"]).milliseconds(replay, question["transitions"], question["steps"])
    burst, sizes = question["burst"], Sizes(hidden=tuple(question["hidden"]))
    return {"milliseconds": milliseconds(*contender(question["contender"], question["batch"], burst, sizes), burst)}


def milliseconds(run: Round, portion: int, updates: int) -> float:
    """Of an update, over so many or as many as a second is enough for, a portion after another."""
    done, started = 0, time.perf_counter()
    while True:
        run(portion)
        done, taken = done + portion, time.perf_counter() - started
        if done >= updates or taken > 1.0:
            return taken / done * 1e3


# Environment steps


REPLAYS: dict[tuple[int, int], Replay] = {}
"""By the observation's size and the transitions held."""


class MadeUp(gymnasium.Env[Any, Any]):
    """Shows rows of a table, in episodes of 1,000 steps, whatever is done."""

    def __init__(self, observation: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observation,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION,), np.float32)
        self._table = np.random.default_rng(0).standard_normal((1_001, observation), dtype=np.float32)
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return self._table[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        return self._table[self._step], float(action[0]), False, self._step == 1_000, {}


def fill(observation: int, transitions: int, capacity: int) -> Answer:
    """Make a replay and fill it with made-up transitions; by how much resident memory grew for each of them."""
    portion = min(1_000, transitions)
    layout = Layout(observation, ACTION)
    rows = np.random.default_rng(0).standard_normal((portion, layout.width), dtype=np.float32)
    rows[:, layout.terminated :] = 0.0
    episodes = np.arange(portion, dtype=np.int32) // 1_000
    before = resident_memory()
    replay = REPLAYS[observation, transitions] = Replay(capacity, observation, ACTION)
    while replay.added < transitions:
        left = transitions - replay.added
        replay.restore(replay.added, rows[:left], episodes[:left])
    return {"bytes": (resident_memory() - before) / transitions}


class Stepper:
    """What an environment step of a run consists of: `Loop._collect`, then an update as in `_launch` and `_learn`."""

    def __init__(self, observation: int) -> None:
        self._streams, self._config = Streams(0), sac.Config()
        environments = make_environments(functools.partial(MadeUp, observation), 1, self._streams.environment)
        self._collector = Collector(environments, self._streams.warm_up, self._streams.exploration)
        self._collector.begin()
        spec, what = environments.spec, with_page(algorithm("sac"), "jax")
        weights = first_state(what.state(spec, self._config), self._streams.weights)
        execution = Execution("cpu", int(os.environ["OMP_NUM_THREADS"]))
        self._learner = make_learner("jax", what, spec, self._config, weights, execution)
        self._draws = what.draws(spec, self._config)
        self._policy = policy_of(what, self._config, spec, self._learner.actor(), {})

    def milliseconds(self, replay: Replay, held: int, count: int) -> Answer:
        """Medians over so many steps, of each part and of the whole; replay begins with `held` transitions."""
        replay.size = replay.added = held
        with one_numpy_thread():
            steps = [self._step(replay) for _ in range(count)]
        found = {part: 1e3 * statistics.median(step[part] for step in steps) for part in PARTS}
        return found | {"step": 1e3 * statistics.median(sum(step.values()) for step in steps)}

    def _step(self, replay: Replay) -> dict[str, float]:
        """Seconds of each part."""
        seconds: dict[str, float] = defaultdict(float)
        last = time.perf_counter()

        def lap(part: str) -> None:
            nonlocal last
            now = time.perf_counter()
            seconds[part] += now - last
            last = now

        transitions = self._collector.step(self._policy, lap)
        replay.add(transitions)
        lap("add")
        batches = sample_batch(replay, self._streams.replay, 1, self._config.batch_size, self._config.discount)
        lap("sample")
        noise = drawn(self._draws, self._streams.learner, 1)
        self._policy = replace(self._policy, parameters=self._learner.launch(batches, noise)().actor)
        if not self._policy.finite():
            raise RuntimeError("the made-up training diverged")
        lap("update")
        return seconds


stepper = functools.cache(Stepper)


def steps_section(name: str, options: argparse.Namespace) -> Iterable[list[Answer]]:
    """The rows of `replay` or `observation` after each round."""
    worker = Worker(options.threads)
    try:
        rows = [filled(worker, name, size, options) for size in options.sizes[name]]
        here = [row for row in rows if "bytes" in row]
        for row in here:
            worker.ask(what="steps", **point(row), steps=PORTION)  # compiles
        rounds: list[list[Answer]] = [[] for _ in here]
        for _ in range(options.rounds):
            portions = [
                [worker.ask(what="steps", **point(row), steps=PORTION) for row in here]
                for _ in range(0, options.steps, PORTION)
            ]
            for found, of_one in zip(rounds, zip(*portions, strict=True), strict=True):
                found.append({part: statistics.median(each[part] for each in of_one) for part in ("step", *PARTS)})
            for row, found in zip(here, rounds, strict=True):
                row.update(steps_summary(found, rounds[0]))
            yield rows
    finally:
        worker.close()


def filled(worker: Worker, name: str, size: int, options: argparse.Namespace) -> Answer:
    """The row of a replay that a worker has filled, with its memory; or why there is none."""
    observation, transitions = (OBSERVATION, size) if name == "replay" else (size, options.held)
    row: Answer = {
        "observation": observation,
        "transitions": transitions,
        "theoretical_bytes": memory_needed(1, observation, ACTION),
        "gigaflop": round(operations(256, Sizes(observation)) / 1e9, 4),
    }
    try:
        grown = worker.ask(what="memory", **point(row), capacity=options.capacity)["bytes"]
    except UsageError as error:
        return row | {"absent": str(error)}
    return row | {"bytes": round(grown, 1)}


def point(row: Answer) -> Question:
    """Which replay of a worker's."""
    return {name: row[name] for name in ("observation", "transitions")}


def steps_summary(rounds: list[Answer], first: list[Answer]) -> Answer:
    """Medians over rounds; the whole step also as times that at the first size, round by round."""
    whole = [each["step"] for each in rounds]
    ratios = [each["step"] / at_first["step"] for each, at_first in zip(rounds, first, strict=True)]
    return {
        "milliseconds": {part: round(statistics.median(r[part] for r in rounds), 5) for part in ("step", *PARTS)},
        "lowest": round(min(whole), 4),
        "highest": round(max(whole), 4),
        "times_the_first": round(statistics.median(ratios), 3),
    }


# Updates


def operations(batch: int, sizes: Sizes) -> int:
    """Floating-point operations of the matrix products of an update of SAC."""
    return sum(2 * rows * inner * columns for _, rows, inner, columns in learners.products("sac", batch, sizes))


def burst_of(batch: int, sizes: Sizes) -> int:
    """Updates in a burst: fewer where each takes long; 50 up to twice the default update."""
    affordable = 100 * operations(256, learners.HALF_CHEETAH) / operations(batch, sizes)
    return next((burst for burst in BURSTS if burst <= affordable), BURSTS[-1])


@functools.cache
def contender(name: str, batch: int, burst: int, sizes: Sizes) -> tuple[Round, int]:
    """One that is timed, compiled, and how many updates it does at once."""
    kind, which = name.split()
    if kind == "products":
        portion = max(3, min(10, burst)) if which == "jax" else 1
        run = learners.limit(which, "sac", batch, sizes, repeats=portion - 1)
    else:
        portion = burst if which == "bursts" else 1
        run = learners.learner(kind, portion, "sac", batch, sizes)
    run(portion)
    return run, portion


def updates_section(name: str, options: argparse.Namespace) -> Iterable[list[Answer]]:
    """The rows of `batch` or `width` after each round."""
    present = [each for each in CONTENDERS if find_spec(framework_of(each))]
    workers = {framework_of(each): Worker(options.threads) for each in present}
    times: dict[int, dict[str, list[float]]] = {size: defaultdict(list) for size in options.sizes[name]}
    try:
        for number in range(options.rounds + 1):
            for size, each in [(size, each) for size in times for each in present]:
                batch, sizes = (size, Sizes()) if name == "batch" else (256, Sizes(hidden=(size, size)))
                burst = burst_of(batch, sizes)
                question = {"contender": each, "batch": batch, "hidden": sizes.hidden, "burst": burst}
                taken = workers[framework_of(each)].ask(what="updates", **question)["milliseconds"]
                if number:  # the first round has warmed caches and memory
                    times[size][each].append(taken)
            if number:
                yield [updates_summary(name, size, times[size]) for size in times]
    finally:
        for worker in workers.values():
            worker.close()


def updates_summary(name: str, size: int, times: dict[str, list[float]]) -> Answer:
    """Medians in milliseconds an update, and the fraction of the limit that each reaches, as the median over rounds."""
    batch, sizes = (size, Sizes()) if name == "batch" else (256, Sizes(hidden=(size, size)))
    best = min((each for each in LIMITS if each in times), key=lambda each: statistics.median(times[each]))
    return {
        "batch": batch,
        "hidden": sizes.hidden,
        "burst": burst_of(batch, sizes),
        "gigaflop": round(operations(batch, sizes) / 1e9, 4),
        "limit": best,
        "contenders": fractions(times, times[best]),
    }


def fractions(times: dict[str, list[float]], limit: list[float]) -> dict[str, Answer]:
    """Of each contender: median, spread, and the median over rounds of the limit's time over its own."""
    return {
        name: {
            "milliseconds": round(statistics.median(values), 4),
            "lowest": round(min(values), 4),
            "highest": round(max(values), 4),
            "fraction_of_limit": round(statistics.median(a / b for a, b in zip(limit, values, strict=True)), 3),
        }
        for name, values in times.items()
    }


# The command line


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of everything that takes part and is installed."""
    found = {package: version(package) for package in packages if find_spec(package)}
    return {"python": platform.python_version(), **found}


def measure(options: argparse.Namespace) -> None:
    """Section by section, written after each round."""
    results: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    for name in options.only:
        started = time.perf_counter()
        rows_after_each = (steps_section if name in STEPS else updates_section)(name, options)
        for number, rows in enumerate(rows_after_each, 1):
            results[name] = {
                "command": command(name, options),
                "rounds": number,
                "threads": options.threads,
                "seconds": round(time.perf_counter() - started, 1),
                "machine": machine(),
                "versions": versions(("polyak", "numpy", "jax", "torch")),
                "rows": rows,
            }
            write_atomically(options.output, (json.dumps(results, indent=1) + "\n").encode())
            print(f"{name}: round {number} of {options.rounds}", file=sys.stderr, flush=True)
    show_and_draw(results, options.output)


def command(name: str, options: argparse.Namespace) -> str:
    """What measures a section again."""
    steps = f" --steps {options.steps}" if name in STEPS else ""
    return f"python benchmarks/scaling.py --only {name} --rounds {options.rounds}{steps}{' --quick' * options.quick}"


def show_and_draw(results: dict[str, Any], output: Path) -> None:
    """Tables on standard output, charts beside the results."""
    show(results)
    for name in filter(results.get, FULL):
        draw(name, results[name]["rows"], output.with_name(f"{output.stem}-{name}.svg"))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FULL, default=list(FULL))
    parser.add_argument("--rounds", type=int, help="of each section; 7, quick: 2")
    parser.add_argument("--steps", type=int, help="of the environment in a round at each size; 100, quick: 20")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--output", type=Path, help="docs/results/scaling.json; quick: in a temporary folder")
    parser.add_argument("--table", action="store_true", help="measure nothing: tables and charts from the results")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(answered)
        return
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.steps = options.steps or (20 if options.quick else 100)
    options.sizes = QUICK if options.quick else FULL
    options.held = options.capacity = max(options.sizes["replay"]) if options.quick else CAPACITY
    usual = Path(tempfile.mkdtemp()) if options.quick else ROOT / "docs" / "results"
    options.output = options.output or usual / "scaling.json"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if options.rounds < 1 or options.steps < 1:
        parser.error(f"--rounds {options.rounds} and --steps {options.steps} must be at least 1")
    if not options.table:
        measure(options)
    elif options.output.exists():
        show_and_draw(json.loads(options.output.read_text()), options.output)
    else:
        parser.error(f"{options.output} is not there yet: measure first")
    print(f"\n{options.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
