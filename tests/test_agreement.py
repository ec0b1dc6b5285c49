"""The three frameworks compute the same thing, in both precisions, and each goes on where another stopped."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from backends import ALGORITHMS, NAMES, frameworks_of, learner_of, updated
from backends import framework as framework_named
from backends.broken import minimum_replaced_by_mean, noise_dropped
from backends.broken import targets_moved_before_the_critic_step as targets_moved_early
from reference.cases import Case, assert_agree, make_case, play, relative_error, solve
from test_learners import UPDATES

CASES = {name: UPDATES[name] for name in (*ALGORITHMS, "sac fixed alpha")}
ONE_UPDATE, TEN_UPDATES = 1e-12, 1e-11  # float64; reached: 2e-15 both
ONE_UPDATE_32 = 2e-6  # float32, every array; reached: 5e-7, four roundings of 1.2e-7
NORMALIZED_32 = 2e-5  # where each column's mean is subtracted from it; reached: 4e-6
WIDE_UPDATE_32 = 5e-6  # at 256 units; reached: 2.1e-6, in sums of 256 terms
HUNDRED_UPDATES_32 = 1e-4
"""Float32, every network as a whole. Reached: 5e-7 as long as every ReLU and minimum goes the same way. A value near
zero that rounds to the other side moves a weight by up to a learning rate: one such switch was seen to cost 3e-5."""


def trajectory(name: str, case: Case) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The state after one update, after all, and the metrics.

    One update a call, so that each framework compiles once; longer bursts are the same (tests/test_learners.py).
    """
    learner = learner_of(case, name)
    metrics = [learner.update(*case.burst(0, 1))]
    one = learner.arrays()
    metrics += [learner.update(*case.burst(index, index + 1)) for index in range(1, len(case.records))]
    values = np.concatenate([each.values for each in metrics])
    return one, learner.arrays(), dict(zip(metrics[0].names, values.T, strict=True))


def networks(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Every network of a state as one vector."""
    names = {name.split("/")[0] for name in arrays if "kernel" in name and not name.startswith("adam")}
    parts = {name: [arrays[path].ravel() for path in sorted(arrays) if path.startswith(f"{name}/")] for name in names}
    return {name: np.concatenate(vectors) for name, vectors in parts.items()}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_in_float64(case: Case) -> None:
    ends = {name: trajectory(name, case) for name in frameworks_of(case.algorithm)}
    for one, other in combinations(ends, 2):
        assert_agree(ends[one][0], ends[other][0], ONE_UPDATE)
        assert_agree(ends[one][1], ends[other][1], TEN_UPDATES)
        assert_agree(ends[one][2], ends[other][2], TEN_UPDATES)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_in_float32(name: str) -> None:
    case = make_case(name, updates=100)
    states, expected = solve(case)
    one_update = NORMALIZED_32 if name == "crossq" else ONE_UPDATE_32
    ends = {each: trajectory(each, case.cast(np.float32)) for each in frameworks_of(name)}
    for one, all_, metrics in ends.values():
        assert {value.dtype for value in all_.values()} == {np.dtype(np.float32), np.dtype(np.int32)}
        assert_agree(one, states[0], one_update)
        assert_agree(networks(all_), networks(states[-1]), HUNDRED_UPDATES_32)
        assert_agree(metrics, expected, HUNDRED_UPDATES_32)
    for one, other in combinations(ends, 2):
        assert_agree(ends[one][0], ends[other][0], one_update)
        assert_agree(networks(ends[one][1]), networks(ends[other][1]), HUNDRED_UPDATES_32)


@pytest.mark.parametrize("broken", [noise_dropped, minimum_replaced_by_mean, targets_moved_early])
@pytest.mark.parametrize("name", ["torch", "tensorflow"])
def test_float32_tolerance_catches_a_broken_copy(name: str, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of them; Adam's epsilon hat is seen in float64 alone, where tests/test_learners.py has all of them.

    What is tried is the tolerance. (In JAX each operation would be compiled once more for it.)
    """
    case = make_case("sac", updates=4, alpha=0.3, polyak=0.5).cast(np.float32)
    framework, module = framework_named(name), __import__(f"polyak.algorithms.sac.with_{name}", fromlist=["update"])
    right = solve(case.cast(np.float64))[0][-1]
    with framework.precisely():
        assert_agree(networks(updated(case, framework)), networks(right), HUNDRED_UPDATES_32)
        for attribute, replacement in broken(module, framework).items():
            monkeypatch.setattr(module, attribute, replacement)
        with pytest.raises(AssertionError, match="relative"):
            assert_agree(networks(updated(case, framework)), networks(right), HUNDRED_UPDATES_32)


@pytest.mark.parametrize("name", NAMES)
def test_in_float32_at_full_width(name: str) -> None:
    """Where PyTorch and XLA multiply through their libraries; no ReLU is within rounding of its corner."""
    case = make_case("sac", updates=1, hidden_sizes=(256, 256), batch_size=256, observation_size=20)
    states, expected = solve(case)
    learner = learner_of(case.cast(np.float32), name)
    metrics = play(learner, case.cast(np.float32), [1])
    assert_agree(learner.arrays(), states[0], WIDE_UPDATE_32)
    assert_agree(metrics, expected, WIDE_UPDATE_32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_framework_goes_on_where_another_stopped(algorithm: str) -> None:
    """Three updates each, handed around: the end is that of nine updates in one."""
    case, names = make_case(algorithm, updates=9), frameworks_of(algorithm)
    states, _ = solve(case)
    arrays: Mapping[str, Any] = case.arrays
    for turn, name in enumerate(names[turn % len(names)] for turn in range(3)):
        learner = learner_of(case, name, arrays=dict(arrays))
        for index in range(3 * turn, 3 * turn + 3):
            learner.update(*case.burst(index, index + 1))
        arrays = learner.arrays()
        assert {key: (value.shape, value.dtype) for key, value in arrays.items()} == {
            key: (value.shape, value.dtype) for key, value in case.arrays.items()
        }
    assert_agree(arrays, states[-1], TEN_UPDATES)
    assert relative_error(arrays["step"], np.array(9)) == 0.0
