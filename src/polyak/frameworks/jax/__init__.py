"""DDPG, TD3 and SAC in JAX."""

from polyak.frameworks.jax.batched import make_group
from polyak.frameworks.jax.device import describe, start
from polyak.frameworks.jax.learner import JaxLearner as Learner

__all__ = ["Learner", "describe", "make_group", "start"]
