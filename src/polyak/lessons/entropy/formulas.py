"""Entropies, in nats, exact or to rounding; docs/lessons/entropy.md explains them."""

import math

import numpy as np

from polyak.algorithm import LOG_SIGMA_HIGH, LOG_SIGMA_LOW
from polyak.lessons.quadrature import Array, expectation, maximum, nodes, root


def coin_entropy(p: Array) -> Array:
    """(8.18) for a coin with P(heads) = p: -[p ln p + (1 - p) ln(1 - p)], elementwise; 0 at both ends."""
    p = np.asarray(p, np.float64)
    inside = np.where((p > 0.0) & (p < 1.0), p, 0.5)
    return np.where(inside == p, -(inside * np.log(inside) + (1.0 - inside) * np.log1p(-inside)), 0.0)


def gaussian_entropy(sigma: float) -> float:
    """Of N(mu, sigma^2): ln(2 pi e sigma^2) / 2, whatever mu is; without bound in sigma."""
    return 0.5 * math.log(2.0 * math.pi * math.e) + math.log(sigma)


def log_jacobian(u: Array) -> Array:
    """ln(1 - tanh(u)^2) = 2 (ln 2 - u - softplus(-2u)), stable for every u, elementwise (SAC's change of variables)."""
    return 2.0 * (math.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))


def log_probability(u: Array, mu: float, sigma: float) -> Array:
    """Ln pi(tanh(u)) of the squashed Gaussian, as SAC computes it, elementwise; u is the action before the tanh."""
    log_normal = -0.5 * ((u - mu) / sigma) ** 2 - math.log(sigma) - 0.5 * math.log(2.0 * math.pi)
    return log_normal - log_jacobian(u)


def squashed_entropy(mu: float, sigma: float) -> float:
    """Of tanh(mu + sigma xi), xi ~ N(0, 1): ln(2 pi e sigma^2) / 2 + E[ln(1 - tanh(u)^2)], by quadrature.

    Never above ln 2, the entropy of the uniform distribution on [-1, 1]. Rounding is the only error for sigma up to 50.
    """
    return gaussian_entropy(sigma) + float(expectation(log_jacobian(mu + sigma * nodes())))


def surprise_variance(mu: float, sigma: float) -> float:
    """The variance of -ln pi(a), a ~ pi: how far a sampled entropy is off, for one sample."""
    surprise = -log_probability(mu + sigma * nodes(), mu, sigma)
    return float(expectation((surprise - squashed_entropy(mu, sigma)) ** 2))


def widest_sigma(mu: float) -> float:
    """The sigma of the largest entropy for this mu, within SAC's limits."""
    return math.exp(maximum(lambda log: squashed_entropy(mu, math.exp(log)), -5.0, LOG_SIGMA_HIGH))


def sigmas_of_entropy(mu: float, entropy: float) -> tuple[float, float]:
    """The two sigmas of this entropy, below and above the widest one; NaN where SAC's limits have none."""
    top = math.log(widest_sigma(mu))

    def above(log: float) -> float:
        return squashed_entropy(mu, math.exp(log)) - entropy

    found = [math.nan, math.nan]
    if above(top) > 0:
        for side, end in enumerate((LOG_SIGMA_LOW, LOG_SIGMA_HIGH)):
            if above(end) < 0:
                found[side] = math.exp(root(above, *sorted((end, top))))
    return found[0], found[1]


def widest_mu(entropy: float) -> float:
    """The largest |mu| at which some sigma has at least this entropy; NaN where there is none below 10."""

    def above(mu: float) -> float:
        return squashed_entropy(mu, widest_sigma(mu)) - entropy

    return root(above, 0.0, 10.0) if above(0.0) >= 0.0 > above(10.0) else math.nan


def interval_of_entropy(entropy: float) -> float:
    """The part of [-1, 1] on which a uniform distribution has this entropy: exp(entropy) / 2."""
    return math.exp(entropy) / 2.0


def two_hills(a: Array) -> Array:
    """The lesson's Q(a), elementwise: a hill of height 1 at -0.5 and one of height 0.9 at 0.5."""
    return np.exp(-(((a + 0.5) / 0.2) ** 2)) + 0.9 * np.exp(-(((a - 0.5) / 0.2) ** 2))


def actions() -> tuple[Array, Array]:
    """Nodes in [-1, 1] and their weights, [4000] each: Gauss and Legendre's rule on 400 intervals."""
    points, weights = np.polynomial.legendre.leggauss(10)
    edges = np.linspace(-1.0, 1.0, 401)
    middle, half = (edges[1:] + edges[:-1]) / 2.0, (edges[1:] - edges[:-1]) / 2.0
    return (middle[:, None] + half[:, None] * points).ravel(), (half[:, None] * weights).ravel()


def soft_optimal_log_density(q: Array, weights: Array, alpha: float) -> Array:
    """Ln pi of the policy that maximizes E[Q] + alpha H, pi = exp(Q / alpha) / Z: Q at nodes [N] -> [N] (8.19).

    The maximum itself is alpha ln Z, the soft value of (8.23).
    """
    scaled = q / alpha
    top = scaled.max()
    return scaled - top - math.log(float((np.exp(scaled - top) * weights).sum()))


def settled_sigma(alpha: float) -> float:
    """The sigma that SAC's actor would settle at with mu = 0 on one hill, Q(a) = -a^2: it maximizes E[Q] + alpha H.

    About sqrt(alpha / 2) for a small alpha: without entropy the policy becomes deterministic.
    """

    def objective(log: float) -> float:
        sigma = math.exp(log)
        return alpha * squashed_entropy(0.0, sigma) - float(expectation(np.tanh(sigma * nodes()) ** 2))

    return math.exp(maximum(objective, -12.0, LOG_SIGMA_HIGH))
