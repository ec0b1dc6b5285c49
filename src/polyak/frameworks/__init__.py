"""HOW the algorithms are computed: one folder a framework, imported only when it is chosen."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from polyak.algorithm import Algorithm, first_state
from polyak.draws import undrawn
from polyak.errors import UsageError
from polyak.frameworks.execution import Execution, forked
from polyak.settings.shared import Settings
from polyak.types import Batch, Learner, Spec

BACKENDS = {
    "jax": "pip install polyak",
    "torch": 'pip install "polyak[torch]"',
    "tensorflow": 'pip install "polyak[tensorflow]"',
}
"""Each framework that has learners, and the command that installs it."""

_processes: dict[str, int] = {}
"""The process in which each framework's threads run, by its number."""


def require_backend(backend: str) -> None:
    """Check that a framework is known and installed, without importing it.

    Raises:
        UsageError: it is not; the message says what there is, or what to install.
    """
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}: this version of polyak has {', '.join(BACKENDS)}")
    if find_spec(backend) is None:
        raise UsageError(f"backend {backend!r} is not installed: {BACKENDS[backend]}")


def start(backend: str, execution: Execution) -> Execution:
    """Import a framework and settle its device and threads, which come back named.

    Raises:
        UsageError: the framework is unknown or not installed, has no such device, already runs with another number
            of threads, or was in use in a process from which this one has been forked.
    """
    framework = _framework(backend)
    if _processes.get(backend, os.getpid()) != os.getpid():
        raise forked(backend)
    started: Execution = framework.start(execution)
    if backend != "torch" or (started.threads or 1) > 1:  # PyTorch has no threads of its own for one
        _processes[backend] = os.getpid()
    return started


def make_learner(
    backend: str,
    algorithm: Algorithm,
    spec: Spec,
    config: Settings,
    arrays: Mapping[str, Any],
    execution: Execution | None = None,
) -> Learner:
    """A learner that goes on from a state of named arrays, as `first_state` or any framework's `arrays()` gives it.

    Raises:
        UsageError: as for `start`.
    """
    started = start(backend, execution or Execution())
    return _framework(backend).Learner(algorithm, spec, config, arrays, started)


def follow(backend: str, algorithm: Algorithm, spec: Spec, config: Settings, execution: Execution) -> None:
    """Let an algorithm's page compute one update, of zeros, for what it raises; in JAX it is traced and no more."""
    framework = _framework(backend)
    if backend == "jax":
        framework.trace(algorithm, spec, config)
        return
    arrays = first_state(algorithm.state(spec, config), np.random.default_rng(0))
    learner: Learner = framework.Learner(algorithm, spec, config, arrays, replace(execution, fast=False))
    records = np.zeros((1, config.batch_size, spec.layout.width), np.float32)
    learner.update(Batch(records, spec.layout), undrawn(algorithm.draws(spec, config), 1))


class Group(Protocol):
    """Makes the learners of runs that learn together, in one process."""

    exact: bool
    """Whether each run equals its single run bit for bit, and not only to rounding."""

    def learner(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> Learner:
        """As `make_learner`; all learners of a group have the same algorithm, sizes, settings and device."""
        ...

    def launch(self) -> None:
        """Start what all learners have launched; to be called each time that they have."""
        ...


def require_together(backend: str) -> None:
    """Check that runs can learn together in a framework, without importing it.

    Raises:
        UsageError: they cannot.
    """
    if backend != "jax":
        raise UsageError(f"backend is {backend!r}, but runs learn together in jax alone: train each by itself")
    require_backend(backend)


def make_group(backend: str, execution: Execution) -> Group:
    """For runs that learn together, on a device that `start` has settled.

    Raises:
        UsageError: as for `require_together`.
    """
    require_together(backend)
    return _framework(backend).make_group(execution)


def describe(backend: str) -> str:
    """Version, devices and threads of an installed framework, in a line.

    Raises:
        UsageError: as for `start`.
    """
    return _framework(backend).describe(start(backend, Execution()))


def _framework(backend: str) -> Any:
    require_backend(backend)
    return importlib.import_module(f"polyak.frameworks.{backend}")
