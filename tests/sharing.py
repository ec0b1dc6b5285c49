"""Learners that compute the same share, in one test process, what has been traced and compiled for the first of them.

The frameworks cannot: whoever replaces a function of an algorithm's page between two runs must be heeded. Here the key
holds all that a compiled burst is made of, and what the page knows by name, so that a test may replace that too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from polyak import frameworks
from polyak.algorithm import Algorithm
from polyak.frameworks.execution import Execution
from polyak.types import Spec

COMPILED = {"jax": "_burst", "tensorflow": "_run"}
"""Where a learner keeps its compiled burst; PyTorch's compile nothing."""


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """`frameworks.make_learner` gives learners that compute the same one compiled burst."""
    make, kept = frameworks.make_learner, dict[Any, tuple[Any, Any]]()

    def sharing(
        backend: str,
        algorithm: Algorithm,
        spec: Spec,
        config: Any,
        arrays: Mapping[str, Any],
        execution: Execution | None = None,
    ) -> Any:
        learner = make(backend, algorithm, spec, config, arrays, execution)
        started, page = frameworks.start(backend, execution or Execution()), algorithm.pages.get(backend)
        if backend in COMPILED and started.fast and page is not None:
            parts = (page, algorithm.state, algorithm.draws, algorithm.every)
            known = [*parts, *page.__globals__.values()]  # kept with the burst, so that their ids stay theirs
            kinds = tuple((name, value.shape, str(value.dtype)) for name, value in sorted(arrays.items()))
            what = (backend, spec.observation_size, spec.action_size, config, algorithm.metrics, kinds, started)
            burst, _ = kept.setdefault((what, *map(id, known)), (getattr(learner, COMPILED[backend]), known))
            setattr(learner, COMPILED[backend], burst)
        return learner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frameworks, "make_learner", sharing)
        yield
