"""DDPG, TD3 and SAC in JAX."""

import importlib
from collections.abc import Mapping
from typing import Any

from polyak.algorithms.settings import Settings
from polyak.learners.jax.learner import JaxLearner
from polyak.types import Spec


def make(algorithm: str, spec: Spec, config: Settings, arrays: Mapping[str, Any]) -> JaxLearner:
    """The JAX learner of an algorithm, its state given as named arrays."""
    return JaxLearner.from_arrays(importlib.import_module(f"polyak.learners.jax.{algorithm}"), spec, config, arrays)
