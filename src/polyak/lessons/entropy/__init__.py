"""Lesson 2: the entropy (8.18) of a coin, a Gaussian and SAC's squashed Gaussian, and exploration (8.19)."""

from polyak.lessons.entropy.computation import ALPHAS, MUS, Result, run, soft_entropy
from polyak.lessons.entropy.formulas import (
    coin_entropy,
    gaussian_entropy,
    log_jacobian,
    log_probability,
    settled_sigma,
    sigmas_of_entropy,
    soft_optimal_log_density,
    squashed_entropy,
    widest_mu,
    widest_sigma,
)
from polyak.lessons.entropy.page import page, tables

__all__ = [
    "ALPHAS",
    "MUS",
    "Result",
    "coin_entropy",
    "gaussian_entropy",
    "log_jacobian",
    "log_probability",
    "page",
    "run",
    "settled_sigma",
    "sigmas_of_entropy",
    "soft_entropy",
    "soft_optimal_log_density",
    "squashed_entropy",
    "tables",
    "widest_mu",
    "widest_sigma",
]
