"""Learners that compute the same share, in one test process, what has been traced and compiled for the first of them.

The frameworks cannot: whoever replaces a function of an algorithm's page between two runs must be heeded. Here the key
holds all that a compiled burst is made of, and what the page knows by name, so that a test may replace that too.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from polyak import frameworks
from polyak.frameworks.execution import Execution
from polyak.types import Spec

COMPILED = {"jax": "_burst", "tensorflow": "_run"}
"""Where a learner keeps its compiled burst; PyTorch's compile nothing."""


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """`frameworks.make_learner` gives learners that compute the same one compiled burst."""
    make, kept = frameworks.make_learner, dict[Any, tuple[Any, Any]]()

    def sharing(
        backend: str, algorithm: Any, spec: Spec, config: Any, arrays: Mapping[str, Any], execution: Any = None
    ) -> Any:
        learner = make(backend, algorithm, spec, config, arrays, execution)
        started = frameworks.start(backend, execution or Execution())
        page = sys.modules.get(f"polyak.algorithms.{getattr(algorithm, 'name', algorithm)}.with_{backend}")
        if backend in COMPILED and started.fast and page is not None:
            known = [algorithm, *vars(page).values()]  # kept with the burst, so that their ids stay theirs
            kinds = tuple((name, value.shape, str(value.dtype)) for name, value in sorted(arrays.items()))
            key = (backend, spec.observation_size, spec.action_size, config, kinds, started, *map(id, known))
            burst, _ = kept.setdefault(key, (getattr(learner, COMPILED[backend]), known))
            setattr(learner, COMPILED[backend], burst)
        return learner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frameworks, "make_learner", sharing)
        yield
