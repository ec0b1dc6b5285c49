"""HOW the algorithms are computed: one folder a framework, imported only when it is chosen."""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from polyak.algorithms.settings import Settings
from polyak.errors import UsageError
from polyak.learners.edge import Execution
from polyak.types import Learner, Spec

BACKENDS = {
    "jax": "pip install polyak",
    "torch": 'pip install "polyak[torch]"',
    "tensorflow": 'pip install "polyak[tensorflow]"',
}
"""Each framework that has learners, and the command that installs it."""


MOST_THREADS = 1_024
"""More than any machine has cores for; beyond, a framework fails to make them and says so badly, or not at all."""


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
        UsageError: the framework is unknown or not installed, has no such device, or already runs with another number
            of threads.
    """
    if execution.threads is not None and not 1 <= execution.threads <= MOST_THREADS:
        raise UsageError(f"threads is {execution.threads}, but must be at least 1 and at most {MOST_THREADS:,}")
    return _framework(backend).start(execution)


def make_learner(
    backend: str,
    algorithm: str,
    spec: Spec,
    config: Settings,
    arrays: Mapping[str, Any],
    execution: Execution | None = None,
) -> Learner:
    """A learner that goes on from a state of named arrays, as `initial_state` or any framework's `arrays()` gives it.

    Raises:
        UsageError: as for `start`.
    """
    started = start(backend, execution or Execution())
    return _framework(backend).Learner(algorithm, spec, config, arrays, started)


def describe(backend: str) -> str:
    """Version, devices and threads of an installed framework, in a line.

    Raises:
        UsageError: as for `start`.
    """
    return _framework(backend).describe(start(backend, Execution()))


def _framework(backend: str) -> Any:
    require_backend(backend)
    return importlib.import_module(f"polyak.learners.{backend}")
