"""HOW the algorithms are computed: one folder a framework, imported only when it is chosen."""

import importlib
from importlib.util import find_spec

import numpy as np

from polyak.algorithms import algorithm
from polyak.algorithms.settings import Settings
from polyak.errors import UsageError
from polyak.types import Learner, Spec

BACKENDS = {"jax": "pip install polyak"}
"""Each framework that has learners, and the command that installs it."""


def require_backend(backend: str) -> None:
    """Check that a framework is known and installed, without importing it.

    Raises:
        UsageError: it is not; the message says what there is, or what to install.
    """
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}: this version of polyak has {', '.join(BACKENDS)}")
    if find_spec(backend) is None:
        raise UsageError(f"backend {backend!r} is not installed: {BACKENDS[backend]}")


def make_learner(
    backend: str, algorithm_name: str, spec: Spec, config: Settings, generator: np.random.Generator
) -> Learner:
    """A fresh learner whose initial weights are drawn from `generator` by NumPy, so that every backend starts equal.

    Raises:
        UsageError: unknown algorithm, or a backend that is unknown or not installed.
    """
    require_backend(backend)
    arrays = algorithm(algorithm_name).initial_state(generator, spec, config)
    return importlib.import_module(f"polyak.learners.{backend}").make(algorithm_name.lower(), spec, config, arrays)
