"""What benchmarks/step.py makes of its timings, and that the environment it steps costs polyak nothing to check."""

import importlib
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from polyak.environments.make import make_environments
from polyak.system.randomness import Streams

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the source distribution has no benchmarks", allow_module_level=True)
with pytest.MonkeyPatch.context() as patched:
    patched.syspath_prepend(BENCHMARKS)
    step = importlib.import_module("step")
    gymnasium.registry.pop("nothing")

COSTS = {"environment": 8.0, "acting": 10.0, "replay": 2.0, "alone": 4.0}


def test_ratios_are_of_neighbours_and_polyaks_own_part_is_what_the_environment_does_not_take() -> None:
    twice = {part: 2 * cost for part, cost in COSTS.items()}
    found = step.summary({"now": [COSTS, twice, COSTS], "before": [twice, twice, twice]})
    assert found["now"] == {**COSTS, "step": 20.0, "polyak": 16.0}
    assert found["before"]["polyak"] == 32.0
    assert found["polyak_ratio"] == {"median": 0.5, "lowest": 0.5, "highest": 1.0}
    assert "polyak_ratio" not in step.summary({"now": [COSTS]})


def test_the_environment_that_costs_nothing_is_one() -> None:
    environments = make_environments(step.Nothing, 2, Streams(0).environment)
    environments.reset()
    taken = environments.step(np.zeros((2, 6), np.float32))
    assert taken.observation.shape == (2, 17)
    assert not taken.ended.any()
