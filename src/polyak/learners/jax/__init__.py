"""DDPG, TD3 and SAC in JAX."""

from polyak.learners.jax.batched import make_group
from polyak.learners.jax.device import describe, start
from polyak.learners.jax.learner import JaxLearner as Learner

__all__ = ["Learner", "describe", "make_group", "start"]
