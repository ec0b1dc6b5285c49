"""Time an environment step and a gradient step of SAC right after one another, and after something else was done.

    python benchmarks/waiting.py                   # HalfCheetah-v5, JAX; prints a Markdown table

A step that follows another finds what it needs in the caches. How much longer it takes after an update, after a loop
that touches nothing, sleep, or 8 MB of memory written tells whose doing a slow step is.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import gymnasium
import learners
import numpy as np
from learners import BURST, OBSERVATION

from polyak.algorithm import drawn, first_state
from polyak.algorithms import algorithm, sac, with_page
from polyak.frameworks import make_learner
from polyak.frameworks.execution import Execution
from polyak.system.threads import physical_cores
from polyak.types import Batch, Spec

PAUSE = 0.003
"""Seconds; about what an update takes."""


def updates_of(updates: int, threads: int) -> Callable[[], object]:
    """So many updates of SAC in one call, waited for, always the same batches."""
    generator, actions = np.random.default_rng(0), learners.ACTION
    high = np.ones(actions, np.float32)
    spec, config = Spec((OBSERVATION,), (actions,), -high, high), sac.Config()
    what = with_page(algorithm("sac"), "jax")
    first = first_state(what.state(spec, config), generator)
    learner = make_learner("jax", what, spec, config, first, Execution("cpu", threads))
    shape = (updates, config.batch_size, spec.layout.width)
    batches = Batch(generator.standard_normal(shape, dtype=np.float32), spec.layout)
    noise = drawn(what.draws(spec, config), generator, updates)
    return lambda: learner.update(batches, noise)


def loop() -> None:
    """Nothing, for a while."""
    end = time.perf_counter() + PAUSE
    while time.perf_counter() < end:
        pass


def seconds(what: Callable[[], object]) -> float:
    """How long it took."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--threads", type=int, default=physical_cores())
    options = parser.parse_args()
    environment = gymnasium.make("HalfCheetah-v5")
    environment.reset(seed=0)
    action, memory = np.zeros(learners.ACTION, np.float32), np.zeros(8 << 20, np.uint8)
    single, burst = updates_of(1, options.threads), updates_of(BURST, options.threads)

    def step() -> None:
        if environment.step(action)[3]:
            environment.reset()

    before: dict[str, Callable[[], object]] = {
        "another environment step": step,
        f"an empty loop of {1e3 * PAUSE:g} ms": loop,
        f"sleep of {1e3 * PAUSE:g} ms": lambda: time.sleep(PAUSE),
        "8 MB written": lambda: np.add(memory, 1, out=memory),
        "an update": single,
    }
    steps: dict[str, list[float]] = defaultdict(list)
    updates: dict[str, list[float]] = defaultdict(list)
    for warm in (single, burst):
        warm()
    for _ in range(options.rounds):
        for name, done in before.items():
            for timed, found in ((step, steps), (single, updates)):
                step()
                done()
                found[name].append(seconds(timed))
    in_a_burst = statistics.median(seconds(burst) for _ in range(9)) / BURST
    print("| after | an environment step, µs | an update, ms |\n|---|---:|---:|")
    for name in before:
        print(f"| {name} | {1e6 * statistics.median(steps[name]):.0f} | {1e3 * statistics.median(updates[name]):.2f} |")
    print(f"\nAn update in a burst of {BURST}: {1e3 * in_a_burst:.2f} ms. Medians of {options.rounds}.")


if __name__ == "__main__":
    main()
