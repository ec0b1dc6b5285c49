"""Layer sizes, initial weights, and the two directions between named arrays and trees."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.networks import (
    actor_sizes,
    copied,
    critic_sizes,
    flattened,
    forward,
    forward_rows,
    initial_adam,
    initial_network,
    layers_of,
    nested,
)
from polyak.types import Spec

SPEC = Spec((2, 3), (2,), -np.ones(2, np.float32), np.ones(2, np.float32))
NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=5)
TREES = st.recursive(
    st.dictionaries(NAMES, st.integers(), min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, st.integers() | inner, min_size=1, max_size=3),
    max_leaves=12,
)


def test_sizes() -> None:
    assert actor_sizes(SPEC, (32, 16), 4) == (6, 32, 16, 4)
    assert critic_sizes(SPEC, (32,)) == (8, 32, 1)


@pytest.mark.parametrize("sizes", [(7, 1), (3, 256, 256, 2), (100, 50, 40, 30, 1)])
def test_initial_weights_are_uniform_within_their_bound(sizes: tuple[int, ...]) -> None:
    network = initial_network(np.random.default_rng(0), sizes)
    assert list(network) == [f"{layer}/{part}" for layer in range(len(sizes) - 1) for part in ("kernel", "bias")]
    for layer in range(len(sizes) - 1):
        kernel, bias = network[f"{layer}/kernel"], network[f"{layer}/bias"]
        assert kernel.shape == sizes[layer : layer + 2]
        assert bias.shape == (sizes[layer + 1],)
        assert kernel.dtype == bias.dtype == np.float32
        scaled = np.concatenate([kernel.ravel(), bias]).astype(np.float64) * np.sqrt(sizes[layer])
        assert np.abs(scaled).max() <= 1.0 + 1e-6
        assert np.unique(scaled).size > 0.99 * scaled.size
        if scaled.size > 1000:
            assert np.abs(scaled).max() > 0.98
            assert abs(scaled.mean()) < 4.0 / np.sqrt(3.0 * scaled.size)
            assert (scaled**2).mean() == pytest.approx(1.0 / 3.0, abs=4.0 * np.sqrt(4.0 / 45.0 / scaled.size))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("sizes", [(5, 2), (17, 64, 32, 6)])
def test_rows_go_forward_to_the_same_bits(sizes: tuple[int, ...], count: int) -> None:
    generator = np.random.default_rng(0)
    network = initial_network(generator, sizes)
    inputs = generator.standard_normal((count, sizes[0]), dtype=np.float32)
    assert forward_rows(layers_of(network), inputs).tobytes() == forward(network, inputs).tobytes()


def test_initial_weights_follow_the_generator() -> None:
    generator = np.random.default_rng(5)
    first, second = (initial_network(generator, (4, 8, 1)) for _ in range(2))
    again = initial_network(np.random.default_rng(5), (4, 8, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], second[name])


def test_copies_and_moments_are_arrays_of_their_own() -> None:
    network = initial_network(np.random.default_rng(0), (4, 8, 1))
    twin, adam = copied(network), initial_adam(network)
    assert sorted(adam) == sorted(
        ["count", *(f"{moment}/{name}" for moment in ("first", "second") for name in network)]
    )
    for name, value in network.items():
        np.testing.assert_array_equal(twin[name], value)
        assert not np.shares_memory(twin[name], value)
        for moment in (adam[f"first/{name}"], adam[f"second/{name}"]):
            assert (moment.shape, moment.dtype, moment.any()) == (value.shape, np.float32, False)
    assert (adam["count"].shape, adam["count"].dtype, int(adam["count"])) == ((), np.int32, 0)


@given(TREES)
def test_nested_inverts_flattened(tree: dict[str, Any]) -> None:
    flat = flattened(tree)
    assert not any(isinstance(value, dict) for value in flat.values())
    assert nested(flat) == tree


@given(st.dictionaries(st.lists(NAMES, min_size=3, max_size=3).map("/".join), st.integers(), max_size=8))
def test_flattened_inverts_nested(arrays: dict[str, int]) -> None:
    assert flattened(nested(arrays)) == arrays


def test_flattened_takes_names_that_are_paths_already() -> None:
    tree = {"actor": {"0/kernel": 1, "0/bias": 2}, "step": 3}
    assert flattened(tree) == {"actor/0/kernel": 1, "actor/0/bias": 2, "step": 3}
    assert nested(flattened(tree)) == {"actor": {"0": {"kernel": 1, "bias": 2}}, "step": 3}
