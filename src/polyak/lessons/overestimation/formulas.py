"""How far the value of the next action is off, exactly; docs/lessons/overestimation.md derives it.

k actions have true values q [k]; critic i, 1 or 2, sees Q_i = q + sigma z_i with its own standard normal z_i [k].
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from polyak.lessons.quadrature import Array, density, expectation, nodes, normal_cdf

NODES = nodes(481)  # the integrands are entire functions: these are enough for 1e-12
Rule = Literal["maximum", "double", "clipped"]
RULES: dict[Rule, str] = {
    "maximum": "max of critic 1, as Q-learning",
    "double": "critic 2 at critic 1's choice",
    "clipped": "min of both at critic 1's choice, as TD3",
}
"""Each rule for the value of the next state, in words."""


def bias(rule: Rule, values: Sequence[float], sigma: float) -> float:
    """E[the rule's value] - max q, by one-dimensional quadrature: true values [k], in the units of the values."""
    chosen = _chosen(np.asarray(values, np.float64), sigma)  # [k, nodes]
    seen = np.asarray(values)[:, None] + sigma * NODES
    if rule == "maximum":
        value = seen
    elif rule == "double":
        value = np.broadcast_to(np.asarray(values)[:, None], seen.shape)
    else:
        value = np.asarray(values)[:, None] + sigma * minimum_with_normal(NODES)
    return float(expectation(chosen * (value - max(values))).sum())


def bias_of_equal(rule: Rule, k: int) -> float:
    """The same for k actions of equal value and sigma = 1; E[max] is the expected maximum of k standard normals."""
    if rule == "double" or (rule == "maximum" and k == 1):
        return 0.0
    weights = k * normal_cdf(NODES) ** (k - 1)
    if rule == "maximum":
        return float(expectation(weights * NODES))
    return float(expectation(weights * minimum_with_normal(NODES)))


def minimum_with_normal(z: Array) -> Array:
    """E[min(z, Z)], Z ~ N(0, 1), elementwise: z (1 - Phi(z)) - phi(z)."""
    return z * normal_cdf(-z) - density(z)


def choice_probabilities(values: Sequence[float], sigma: float) -> Array:
    """How likely critic 1 finds each action the best: [k] -> [k]."""
    return expectation(_chosen(np.asarray(values, np.float64), sigma))


def fixed_point_bias(one_step: float, gamma: float) -> float:
    """How far Q(a) is off in the end where every target is: gamma b / (1 - gamma).

    With one state and rewards r, targets are r(a) + gamma v, v the rule's value of Q + sigma z. Since Q is r plus a
    constant, v is off by what Q is off and by b, the rule's bias for values r: B = gamma (b + B).
    """
    return gamma * one_step / (1.0 - gamma)


def expected_bias(one_step: float, gamma: float, rate: float, step: ArrayLike) -> Array:
    """The same after so many steps of Q <- Q + rate (target - Q) from the true values: the mean over all runs."""
    return fixed_point_bias(one_step, gamma) * -np.expm1(np.asarray(step) * math.log1p(-rate * (1.0 - gamma)))


def wave_bias(dimensions: int) -> float:
    """What an actor gains by climbing its critic's error, in units of the error's standard deviation: sqrt(pi A / 2).

    The error in each of A dimensions of a periodic action is one wave of random amplitude and phase,
    x cos(pi a) + y sin(pi a), x and y ~ N(0, 1 / A): its crest is a Rayleigh variable of mean sqrt(pi / (2 A)).
    """
    return math.sqrt(math.pi * dimensions / 2.0)


WAVE_VARIANCE = 2.0 - math.pi / 2.0
"""Of that gain over critics: the sum of A crests of variance (2 - pi / 2) / A each."""


def _chosen(values: Array, sigma: float) -> Array:
    """P(action i is critic 1's best | its noise is the node) [k, nodes]: a product over the others."""
    chosen = np.ones((len(values), len(NODES)))
    for i, own in enumerate(values):
        for j, other in enumerate(values):
            if i != j:
                chosen[i] *= normal_cdf((own - other) / sigma + NODES)
    return chosen
