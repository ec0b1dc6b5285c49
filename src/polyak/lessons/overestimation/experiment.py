"""The same biases measured: one step, many steps of Q-learning, and an actor that climbs its critic's error."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from polyak.lessons.common import Measured, Progress, require_count, require_number
from polyak.lessons.overestimation import formulas
from polyak.lessons.overestimation.formulas import RULES, Rule
from polyak.lessons.overestimation.results import Climb, Equal, Learning, Result
from polyak.lessons.quadrature import Array
from polyak.system.randomness import stream

COUNTS = (1, 2, 5, 10, 30, 100)
DIMENSIONS = (1, 2, 6, 17)
CLIMB_STEPS = 300
PART = 1_000
"""Repeats in memory at once."""


def run(
    actions: int = 10,
    gap: float = 0.1,
    sigma: float = 1.0,
    gamma: float = 0.99,
    rate: float = 0.1,
    steps: int = 3_000,
    repeats: int = 100_000,
    runs: int = 400,
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> Result:
    """Measure every bias beside its exact value; takes a few seconds.

    Args:
        actions: how many there are.
        gap: how much less each is worth than the one before; 0 makes them equal.
        sigma: the standard deviation of a critic's error.
        gamma: the discount of the one-state problem.
        rate: the learning rate there.
        steps: how many updates its runs take.
        repeats: how often one step is repeated.
        runs: how many runs learn.
        seed: from which every stream is drawn.
        progress: told the steps of learning done and to do, over all rules.

    Raises:
        UsageError: a number outside its limits.
    """
    require_count("actions", actions, 1, 30)
    require_number("gap", gap, 0.0, 1e3)
    require_number("sigma", sigma, 1e-3, 1e3)
    require_number("gamma", gamma, 0.0, 0.9999)
    require_number("rate", rate, 1e-4, 1.0)
    require_count("steps", steps, 1, 10**6)
    require_count("repeats", repeats, 2, 10**6)
    require_count("runs", runs, 2, 10**5)
    require_count("seed", seed, 0, 2**63)
    values = tuple(-gap * index for index in range(actions))
    equal = tuple(_equal(count, repeats, seed) for count in COUNTS)
    learning: list[Learning] = []
    samples = _samples(values, sigma, repeats, stream(seed, "lesson/overestimation/one-step"))
    for position, rule in enumerate(RULES):
        told = _part(progress, position * steps, len(RULES) * steps)
        one_step = _measured(samples[rule], formulas.bias(rule, values, sigma))
        learning.append(_learning(one_step, rule, values, sigma, gamma, rate, steps, runs, seed, told))
    climbs = tuple(_climb(dimensions, repeats, seed) for dimensions in DIMENSIONS)
    return Result(values, sigma, gamma, rate, steps, repeats, runs, seed, equal, tuple(learning), climbs)


def value_by(rule: Rule, first: Array, second: Array) -> Array:
    """The next state's value by a rule, from what critic 1 and critic 2 say of its actions: twice [..., k] -> [...]."""
    if rule == "maximum":
        return first.max(axis=-1)
    best = first.argmax(axis=-1)[..., None]
    other = np.take_along_axis(second, best, axis=-1)[..., 0]
    return other if rule == "double" else np.minimum(first.max(axis=-1), other)


def _part(progress: Progress | None, before: int, total: int) -> Progress | None:
    if progress is None:
        return None
    whole = progress
    return lambda done, _: whole(before + done, total)


def _measured(samples: Array, exact: float) -> Measured:
    return Measured(float(samples.mean()), exact, float(samples.std(ddof=1)) / math.sqrt(len(samples)))


def _equal(count: int, repeats: int, seed: int) -> Equal:
    samples = _samples((0.0,) * count, 1.0, repeats, stream(seed, f"lesson/overestimation/equal/{count}"))
    return Equal(count, {rule: _measured(samples[rule], formulas.bias_of_equal(rule, count)) for rule in RULES})


def _samples(values: Sequence[float], sigma: float, repeats: int, generator: Generator) -> dict[Rule, Array]:
    """Each rule's value for the same errors, less the best true value: [repeats] each."""
    samples: dict[Rule, Array] = {rule: np.empty(repeats) for rule in RULES}
    for start in range(0, repeats, PART):
        part = slice(start, min(start + PART, repeats))
        first, second = values + sigma * generator.standard_normal((2, part.stop - start, len(values)))
        for rule in RULES:
            samples[rule][part] = value_by(rule, first, second) - max(values)
    return samples


def _learning(
    one_step: Measured,
    rule: Rule,
    rewards: Sequence[float],
    sigma: float,
    gamma: float,
    rate: float,
    steps: int,
    runs: int,
    seed: int,
    progress: Progress | None,
) -> Learning:
    """Tabular Q-learning from the true values, every action updated in every step.

    Both critics learn from one target, as TD3's do, and so hold the same table; what is read of it has an error, new in
    each step and different for each critic, as a function approximator's is.
    """
    generator = stream(seed, f"lesson/overestimation/learning/{rule}")
    r = np.array(rewards)
    true = r + gamma * r.max() / (1.0 - gamma)
    table = np.tile(true, (runs, 1))
    shown = np.unique(np.linspace(0, steps, min(steps, 60) + 1).astype(int))
    simulated, errors = np.zeros(len(shown)), np.zeros(len(shown))
    for step in range(1, steps + 1):
        first, second = table + sigma * generator.standard_normal((2, *table.shape))
        target = r + gamma * value_by(rule, first, second)[:, None]
        table += rate * (target - table)
        position = int(np.searchsorted(shown, step))
        if shown[position] == step:
            off = table[:, 0] - true[0]
            simulated[position], errors[position] = off.mean(), off.std(ddof=1) / math.sqrt(runs)
            if progress is not None:
                progress(step, steps)
    exact = float(formulas.expected_bias(one_step.exact, gamma, rate, steps))
    last = Measured(float(simulated[-1]), exact, float(errors[-1]))
    fixed_point = formulas.fixed_point_bias(one_step.exact, gamma)
    return Learning(rule, one_step, fixed_point, last, shown.astype(float), simulated, errors)


def _climb(dimensions: int, repeats: int, seed: int) -> Climb:
    """Gradient ascent on the error of one critic, x cos(pi a) + y sin(pi a) in each dimension, from random actions."""
    critics = max(2, min(repeats, 2_000))
    generator = stream(seed, f"lesson/overestimation/climb/{dimensions}")
    x, y, other_x, other_y = generator.standard_normal((4, critics, dimensions)) / math.sqrt(dimensions)
    angle = generator.uniform(-math.pi, math.pi, (critics, dimensions))  # pi a
    for _ in range(CLIMB_STEPS):
        angle += 0.5 * math.sqrt(dimensions) * (y * np.cos(angle) - x * np.sin(angle))
    gained = (x * np.cos(angle) + y * np.sin(angle)).sum(axis=1)
    other = (other_x * np.cos(angle) + other_y * np.sin(angle)).sum(axis=1)
    error = math.sqrt(formulas.WAVE_VARIANCE / critics)
    exact = formulas.wave_bias(dimensions)
    return Climb(dimensions, Measured(float(gained.mean()), exact, error), float(np.minimum(gained, other).mean()))
