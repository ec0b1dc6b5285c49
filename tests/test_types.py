"""Spec: the map between normalized actions and environment units. Batch: the columns of its records."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.types import Batch, Layout, Spec

bounds = st.floats(-1e6, 1e6, width=32)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Boxes of one to four dimensions, each at least a thousandth of its own distance from 0 wide."""
    low = draw(st.lists(bounds, min_size=1, max_size=4))
    widths = [draw(st.floats(1e-3, 10.0)) * max(1.0, abs(value)) for value in low]
    low_array = np.array(low, np.float32)
    return Spec((1,), (len(low),), low_array, (low_array + np.array(widths)).astype(np.float32))


def test_each_dimension_is_mapped_by_its_own_bounds(spec: Spec) -> None:
    normalized = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [0.5, -0.5]], np.float32)
    expected = np.array([[-1.0, 0.0], [1.0, 0.25], [3.0, 0.5], [2.0, 0.125]], np.float32)
    np.testing.assert_array_equal(spec.to_environment(normalized), expected)
    np.testing.assert_array_equal(spec.to_normalized(expected), normalized)
    np.testing.assert_array_equal(spec.action_half_range, [2.0, 0.25])


@given(specs(), st.lists(st.floats(-1.0, 1.0, width=32), min_size=4, max_size=4))
def test_actions_stay_in_the_box_and_come_back(spec: Spec, values: list[float]) -> None:
    action = np.array(values[: spec.action_size], np.float32)
    given_to_environment = spec.to_environment(action)
    assert given_to_environment.dtype == np.float32
    assert (given_to_environment >= spec.action_low).all()
    assert (given_to_environment <= spec.action_high).all()
    back = spec.to_normalized(given_to_environment)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, action, atol=1e-3)  # float32 far from 0 in a narrow box


@given(specs())
def test_the_edges_of_the_box_are_reached(spec: Spec) -> None:
    ones = np.ones(spec.action_size, np.float32)
    np.testing.assert_array_equal(spec.to_environment(-ones), spec.action_low)
    rounding = 2 * np.spacing(np.maximum(np.abs(spec.action_low), np.abs(spec.action_high)))
    assert (np.abs(spec.to_environment(ones) - spec.action_high) <= rounding).all()


@given(specs(), st.lists(st.floats(-1.0, 1.0, width=32), min_size=4, max_size=4), st.sampled_from([1, 3]))
def test_a_map_for_so_many_actions_gives_the_same_bits(spec: Spec, values: list[float], count: int) -> None:
    action = np.resize(np.array(values, np.float32), (count, spec.action_size))
    mapped = spec.map_of(count)(action)
    assert mapped.tobytes() == spec.to_environment(action).tobytes()
    assert mapped[0].tobytes() == spec.to_environment(action[0]).tobytes()


@pytest.mark.parametrize("beyond", [1.5, -1.5, np.inf])
def test_normalized_actions_beyond_the_range_are_clipped_to_the_box(spec: Spec, beyond: float) -> None:
    edge = spec.action_high if beyond > 0 else spec.action_low
    np.testing.assert_array_equal(spec.to_environment(np.full(2, beyond, np.float32)), edge)
    np.testing.assert_array_equal(spec.to_normalized(np.full(2, 100 * beyond, np.float32)), np.full(2, np.sign(beyond)))


@pytest.mark.parametrize(("shape", "size"), [((), 1), ((3,), 3), ((2, 3), 6)])
def test_sizes_are_those_of_the_flattened_shapes(shape: tuple[int, ...], size: int) -> None:
    edge = np.ones(size, np.float32)
    spec = Spec(shape, shape, -edge, edge)
    assert (spec.observation_size, spec.action_size) == (size, size)


def test_the_columns_of_a_batch_are_views_of_its_records() -> None:
    records = np.arange(2 * 4 * 11, dtype=np.float32).reshape(2, 4, 11)
    batch = Batch(records, Layout(observation_size=3, action_size=2))
    columns = {"observation": [0, 1, 2], "action": [3, 4], "reward": 5, "next_observation": [6, 7, 8]}
    columns |= {"discount": 9, "weight": 10}
    assert batch.layout.width == 11
    for name, places in columns.items():
        np.testing.assert_array_equal(getattr(batch, name), records[..., places], err_msg=name)
        assert np.shares_memory(getattr(batch, name), records)
