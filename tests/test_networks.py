"""Bodies, first weights, the way through them, and the two directions between named arrays and trees."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.networks.forward import forward, forward_of_any
from polyak.networks.layers import Activation, Body, Dense, Norm, body_of, from_json, outputs_of, plain, to_json
from polyak.networks.names import flattened, nested, part
from polyak.networks.weights import first_weights, plain_body, shapes

NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=5)
TREES = st.recursive(
    st.dictionaries(NAMES, st.integers(), min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, st.integers() | inner, min_size=1, max_size=3),
    max_leaves=12,
)


BODIES = [
    body_of(hidden, outputs, network, activation)
    for hidden, outputs, network, activation in (
        ((), 1, "mlp", "relu"),
        ((256, 256), 2, "mlp", "relu"),
        ((5, 4), 3, "layer_norm", "silu"),
        ((7,), 2, "layer_norm", "relu"),
        ((6,), 2, "mlp", "elu"),
        ((6,), 2, "mlp", "tanh"),
    )
]


def test_bodies() -> None:
    assert body_of((8, 4), 2) == (Dense(8), Activation("relu"), Dense(4), Activation("relu"), Dense(2))
    assert body_of((8,), 1, "layer_norm", "elu") == (Dense(8), Norm(), Activation("elu"), Dense(1))
    assert [plain(body) for body in BODIES] == [True, True, False, False, False, False]
    assert [outputs_of(body) for body in BODIES] == [1, 2, 3, 2, 2, 2]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_read_back(body: Body) -> None:
    assert from_json(json.loads(json.dumps(to_json(body)))) == body


NO_BODIES: list[Any] = [
    *(None, [], "dense", [["dense"]], [["dense", 0]], [["dense", True]], [["dense", 2.0]], [["norm", 1e-5]]),
    *([["activation", "gelu"], ["dense", 1]], [["norm", "layer"], ["dense", 1]], [["norm", -1.0], ["dense", 1]]),
    *([["dense", 1, 2]], [[[], 1]], [["dense", 1], ["activation", "relu"]]),
]


@pytest.mark.parametrize("described", NO_BODIES)
def test_what_is_no_body_is_refused(described: Any) -> None:
    with pytest.raises(ValueError, match="is no"):
        from_json(described)


def test_shapes_are_those_of_the_first_weights() -> None:
    for body in BODIES:
        weights = first_weights(np.random.default_rng(0), body, 9)
        assert shapes(body, 9) == {name: value.shape for name, value in weights.items()}
        assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}
    assert list(shapes(BODIES[2], 9)) == [
        *("0/kernel", "0/bias", "1/scale", "1/offset", "2/kernel", "2/bias", "3/scale", "3/offset"),
        *("4/kernel", "4/bias"),
    ]


def test_a_norm_begins_as_one_that_only_normalizes() -> None:
    weights = first_weights(np.random.default_rng(0), BODIES[3], 3)
    assert weights["1/scale"].tolist() == [1.0] * 7
    assert weights["1/offset"].tolist() == [0.0] * 7


def test_a_plain_body_is_told_by_its_arrays() -> None:
    for body in BODIES[:2]:
        assert plain_body(first_weights(np.random.default_rng(0), body, 3)) == body
    for wrong in ({}, {"0/kernel": np.zeros(3)}, {"a": np.zeros((2, 2)), "b": np.zeros(2)}):
        with pytest.raises(ValueError, match="dense layers"):
            plain_body(wrong)


@pytest.mark.parametrize("sizes", [(7, 1), (3, 256, 256, 2), (100, 50, 40, 30, 1)])
def test_first_weights_are_uniform_within_their_bound(sizes: tuple[int, ...]) -> None:
    network = first_weights(np.random.default_rng(0), body_of(sizes[1:-1], sizes[-1]), sizes[0])
    assert list(network) == [f"{layer}/{part}" for layer in range(len(sizes) - 1) for part in ("kernel", "bias")]
    for layer in range(len(sizes) - 1):
        kernel, bias = network[f"{layer}/kernel"], network[f"{layer}/bias"]
        scaled = np.concatenate([kernel.ravel(), bias]).astype(np.float64) * np.sqrt(sizes[layer])
        assert np.abs(scaled).max() <= 1.0 + 1e-6
        assert np.unique(scaled).size > 0.99 * scaled.size
        if scaled.size > 1000:
            assert np.abs(scaled).max() > 0.98
            assert abs(scaled.mean()) < 4.0 / np.sqrt(3.0 * scaled.size)
            assert (scaled**2).mean() == pytest.approx(1.0 / 3.0, abs=4.0 * np.sqrt(4.0 / 45.0 / scaled.size))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("body", BODIES)
def test_rows_go_forward_to_the_same_bits(body: Body, count: int) -> None:
    generator = np.random.default_rng(0)
    network = first_weights(generator, body, 5)
    inputs = generator.standard_normal((count, 5), dtype=np.float32)
    outputs = forward(body, network)(inputs)
    assert outputs.dtype == np.float32
    assert outputs.tobytes() == forward_of_any(body, network)(inputs).tobytes()


def test_each_kind_of_layer_computes_what_it_says() -> None:
    """Beside formulas in float64, far out too."""
    inputs = np.array([[-30.0, -1.0, 0.0, 0.5, 90.0]], np.float32)
    x = inputs.astype(np.float64)
    expected = {
        "relu": np.maximum(x, 0.0),
        "elu": np.where(x > 0.0, x, np.exp(np.minimum(x, 0.0)) - 1.0),
        "silu": x / (1.0 + np.exp(-x)),
        "tanh": np.tanh(x),
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(forward((Activation(kind),), {})(inputs), values, rtol=2e-6, atol=1e-6)
    arrays = {"0/scale": np.full(5, 2.0, np.float32), "0/offset": np.arange(5, dtype=np.float32)}
    normalized = (x - x.mean()) / np.sqrt(x.var() + 0.5)
    np.testing.assert_allclose(
        forward((Norm(0.5),), arrays)(inputs), 2.0 * normalized + np.arange(5), rtol=1e-5, atol=1e-6
    )


def test_first_weights_follow_the_generator() -> None:
    generator, body = np.random.default_rng(5), body_of((8,), 1)
    first, second = (first_weights(generator, body, 4) for _ in range(2))
    again = first_weights(np.random.default_rng(5), body, 4)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], second[name])


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


def test_a_part_is_what_lies_below_its_name() -> None:
    assert part({"actor/0/kernel": 1, "actors/0/kernel": 2, "step": 3}, "actor") == {"0/kernel": 1}
