"""Every curve of the lesson, and samples that check the squashed Gaussian's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polyak.lessons.common import Measured, require_count, require_list, require_number
from polyak.lessons.entropy import formulas
from polyak.lessons.quadrature import Array, root
from polyak.system.randomness import stream

MUS = (0.0, 1.0, 2.0)
ALPHAS = (0.05, 0.1, 0.3, 1.0)
SAMPLES = 100_000


@dataclass(frozen=True)
class Squashed:
    """The squashed Gaussian's entropy, in nats, for one mu."""

    mu: float
    entropies: tuple[float, ...]
    """At each of the result's sigmas."""
    widest_sigma: float
    highest: float
    """The entropy at `widest_sigma`."""
    target_sigmas: tuple[float, float]
    """Where the entropy is the target, below and above `widest_sigma`; NaN where it is nowhere."""
    sampled: tuple[Measured, ...]
    """The mean of -ln pi of drawn actions beside the quadrature, at each of the result's `sampled_sigmas`."""


@dataclass(frozen=True, eq=False)
class SoftOptimal:
    """The policy exp(Q / alpha) / Z on two hills."""

    alpha: float
    entropy: float
    value: float
    """E[Q]"""
    second_hill: float
    """The probability of an action above 0, on the side of the lower hill."""
    density: Array = field(repr=False)
    """[N] at the result's actions."""


@dataclass(frozen=True, eq=False)
class Result:
    """The lesson: curves, and what lies on them."""

    target: float
    """SAC's target entropy for one action dimension."""
    seed: int
    sigmas: tuple[float, ...]
    sampled_sigmas: tuple[float, ...]
    squashed: tuple[Squashed, ...]
    actions: Array = field(repr=False)
    """[N] in [-1, 1]"""
    soft: tuple[SoftOptimal, ...]
    target_mu: float
    """The largest |mu| at which any sigma reaches the target entropy; NaN where none does."""
    target_alpha: float
    """The temperature at which the policy on two hills has the target entropy: where a learned one would go."""

    def to_json(self) -> dict[str, Any]:
        """What the tables show."""
        squashed = [
            {
                "mu": each.mu,
                "widest_sigma": each.widest_sigma,
                "highest_entropy": each.highest,
                "target_sigmas": [sigma if math.isfinite(sigma) else None for sigma in each.target_sigmas],
                "sampled": [
                    {"sigma": sigma} | measured.to_json()
                    for sigma, measured in zip(self.sampled_sigmas, each.sampled, strict=True)
                ],
            }
            for each in self.squashed
        ]
        names = ("alpha", "entropy", "value", "second_hill")
        soft = [{name: getattr(each, name) for name in names} for each in self.soft]
        target_mu = self.target_mu if math.isfinite(self.target_mu) else None
        head = {"target": self.target, "seed": self.seed, "target_mu": target_mu, "target_alpha": self.target_alpha}
        return {**head, "squashed": squashed, "soft": soft}


def run(
    mu: Sequence[float] = MUS,
    alpha: Sequence[float] = ALPHAS,
    target: float = -1.0,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Result:
    """Compute the curves; takes about a second.

    Args:
        mu: the squashed Gaussian's mu before the tanh.
        alpha: the temperatures of the policies on two hills.
        target: SAC's target entropy for one action dimension, in nats.
        samples: how many actions are drawn to check each entropy.
        seed: from which they are drawn.

    Raises:
        UsageError: a number outside its limits.
    """
    require_list("mu", mu, 8)
    for each in mu:
        require_number("mu", each, -10.0, 10.0)
    require_list("alpha", alpha, 8)
    for each in alpha:
        require_number("alpha", each, 1e-3, 1e3)
    require_number("target", target, -5.0, 0.65)
    require_count("samples", samples, 2, 10**7)
    require_count("seed", seed, 0, 2**63)
    sigmas = tuple(float(sigma) for sigma in np.exp(np.linspace(math.log(0.01), 2.0, 89)))
    sampled_sigmas = (0.1, 1.0, math.exp(2.0))
    squashed = tuple(_squashed(each, sigmas, sampled_sigmas, target, samples, seed) for each in mu)
    nodes, weights = formulas.actions()
    soft = tuple(_soft(each, nodes, weights) for each in alpha)
    log_alpha = root(lambda log: _soft(math.exp(log), nodes, weights).entropy - target, math.log(1e-6), math.log(1e3))
    mu_limit = formulas.widest_mu(target)
    return Result(target, seed, sigmas, sampled_sigmas, squashed, nodes, soft, mu_limit, math.exp(log_alpha))


def soft_entropy(alpha: float) -> float:
    """The entropy, in nats, of the policy on two hills."""
    return _soft(alpha, *formulas.actions()).entropy


def _squashed(
    mu: float, sigmas: Sequence[float], sampled: Sequence[float], target: float, samples: int, seed: int
) -> Squashed:
    widest = formulas.widest_sigma(mu)
    return Squashed(
        mu,
        tuple(formulas.squashed_entropy(mu, sigma) for sigma in sigmas),
        widest,
        formulas.squashed_entropy(mu, widest),
        formulas.sigmas_of_entropy(mu, target),
        tuple(_sampled(mu, sigma, samples, seed) for sigma in sampled),
    )


def _sampled(mu: float, sigma: float, samples: int, seed: int) -> Measured:
    xi = stream(seed, f"lesson/entropy/{mu!r}/{sigma!r}").standard_normal(samples)
    mean = float(-formulas.log_probability(mu + sigma * xi, mu, sigma).mean())
    return Measured(
        mean, formulas.squashed_entropy(mu, sigma), (formulas.surprise_variance(mu, sigma) / samples) ** 0.5
    )


def _soft(alpha: float, nodes: Array, weights: Array) -> SoftOptimal:
    q = formulas.two_hills(nodes)
    log_density = formulas.soft_optimal_log_density(q, weights, alpha)
    density = np.exp(log_density)
    mass = density * weights
    entropy = -float((mass * log_density).sum())
    return SoftOptimal(alpha, entropy, float((mass * q).sum()), float(mass[nodes > 0].sum()), density)
