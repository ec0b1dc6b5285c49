"""Both estimators and their exact moments, for every theta; docs/lessons/reparameterization.md derives them.

A term is what one sample adds to an estimate; an estimate is the mean of the terms of n independent samples.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def gradient(theta: float) -> float:
    """The true gradient: J(theta) = E[x^2] = theta^2 + 1, so 2 theta."""
    return 2.0 * theta


def score_function_terms(theta: float, eps: Array) -> Array:
    """The terms of (8.14), (x - theta) x^2 with x = theta + eps; `eps` is standard normal, of any shape."""
    return (theta + eps) ** 2 * eps


def pathwise_terms(theta: float, eps: Array) -> Array:
    """The terms of (8.15), 2 (theta + eps); `eps` is standard normal, of any shape."""
    return 2.0 * (theta + eps)


def score_function_variance(theta: float, n: int = 1) -> float:
    """The variance of the score-function estimate of n samples: (theta^4 + 14 theta^2 + 15) / n."""
    return (theta**4 + 14.0 * theta**2 + 15.0) / n


def pathwise_variance(n: int = 1) -> float:
    """The variance of the pathwise estimate of n samples: 4 / n, whatever theta is."""
    return 4.0 / n


def variance_ratio(theta: float) -> float:
    """How many times more samples the score function needs: (theta^4 + 14 theta^2 + 15) / 4, whatever n is."""
    return score_function_variance(theta) / pathwise_variance()


def score_function_kurtosis(theta: float, n: int = 1) -> float:
    """The excess kurtosis of the score-function estimate of n samples; the pathwise estimate is Gaussian and has 0.

    For one sample the fourth central moment is 3 theta^8 + 300 theta^6 + 5334 theta^4 + 21780 theta^2 + 10395.
    """
    above = 216.0 * theta**6 + 4656.0 * theta**4 + 20520.0 * theta**2 + 9720.0  # fourth moment - 3 variance^2
    return above / score_function_variance(theta) ** 2 / n


def standard_error_of_variance(variance: float, kurtosis: float, repeats: int) -> float:
    """The standard deviation of the sample variance (divisor repeats - 1) of independent estimates.

    Exact: Var(S^2) = variance^2 (2 / (repeats - 1) + kurtosis / repeats), with the excess kurtosis of one estimate.
    """
    return variance * math.sqrt(2.0 / (repeats - 1) + kurtosis / repeats)


def policy_score_function_terms(mu: float, sigma: float, eps: Array) -> tuple[Array, Array]:
    """The terms of the gradients of E[a^2] by mu and by sigma, a = mu + sigma eps, from grad log N(a; mu, sigma)."""
    reward = (mu + sigma * eps) ** 2
    return reward * eps / sigma, reward * (eps**2 - 1.0) / sigma


def policy_pathwise_terms(mu: float, sigma: float, eps: Array) -> tuple[Array, Array]:
    """The same two gradients along the path a = mu + sigma eps (8.16, 8.17): 2 a and 2 a eps."""
    slope = 2.0 * (mu + sigma * eps)
    return slope, slope * eps


def policy_score_function_variance(mu: float, sigma: float) -> float:
    """The variance of one score-function term of the gradient by mu: mu^4 / sigma^2 + 14 mu^2 + 15 sigma^2."""
    return mu**4 / sigma**2 + 14.0 * mu**2 + 15.0 * sigma**2


def policy_pathwise_variance(sigma: float) -> float:
    """The variance of one pathwise term of the gradient by mu: 4 sigma^2."""
    return 4.0 * sigma**2
