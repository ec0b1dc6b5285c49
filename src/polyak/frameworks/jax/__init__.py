"""Learners in JAX."""

from polyak.frameworks.jax.batched import make_group
from polyak.frameworks.jax.device import describe, start
from polyak.frameworks.jax.learner import JaxLearner as Learner
from polyak.frameworks.jax.learner import trace

__all__ = ["Learner", "describe", "make_group", "start", "trace"]
