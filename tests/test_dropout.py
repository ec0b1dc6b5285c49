"""Dropped units: in every framework that drops some against the oracle, and plausible mistakes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import backends
from backends import Framework, native_network, parts_of, plain
from polyak.frameworks.torch import fused
from polyak.networks.forward import forward
from polyak.networks.layers import (
    Activation,
    Body,
    Dense,
    Dropout,
    Norm,
    body_of,
    from_json,
    to_json,
    units_dropped,
)
from polyak.networks.layers import (
    plain as is_plain,
)
from polyak.networks.weights import first_weights, shapes
from reference import common as oracle
from reference.cases import assert_agree, relative_error

EXACT = 1e-13  # a network in float64
MEMBERS, B, P = 3, 4, 0.3
HIDDEN = (7, 6)
BODIES = {kind: body_of(HIDDEN, 2, kind, "relu", P) for kind in ("mlp", "layer_norm")}

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(params=[("jax", False), ("torch", False), ("torch", True)], ids=["jax", "torch", "torch fast"])
def precise(request: pytest.FixtureRequest) -> Iterator[Framework]:
    """A framework, each operation by itself or as a fast learner has it."""
    name, fast = request.param
    framework = backends.framework(name)
    with fused.donated() if fast else framework.precisely():
        yield framework


class Problem:
    """An ensemble, inputs that its members share, and which units each drops; and the oracle's answer."""

    def __init__(self, body: Body) -> None:
        generator = np.random.default_rng(2)
        self.body = body
        self.arrays = {
            name: value + 0.2 * generator.standard_normal(value.shape)
            for name, value in first_weights(generator, body, 4, MEMBERS).items()
        }
        self.inputs = generator.standard_normal((B, 4))
        self.dropped = generator.random((MEMBERS, B, sum(HIDDEN))) < P
        self.upstream = generator.standard_normal((B, 2))

    def member(self, index: int) -> oracle.Network:
        """One network, as the oracle has it."""
        network = oracle.Network({name: value[index] for name, value in self.arrays.items()})
        numbers = [name.removesuffix("/kernel") for name in network if name.endswith("/kernel")]
        dropped = np.split(self.dropped[index], np.cumsum(HIDDEN)[:-1], axis=1)
        network.kept = {
            number: np.where(each, 0.0, 1.0 / (1.0 - P)) for number, each in zip(numbers, dropped, strict=False)
        }
        return network

    def expected(self) -> tuple[Any, Any]:
        """Outputs [N, B, 2], and the gradient of the sum of outputs times `upstream`."""
        found = [oracle.forward(self.member(index), self.inputs) for index in range(MEMBERS)]
        gradients = [oracle.backward(self.member(i), found[i][1], self.upstream)[0] for i in range(MEMBERS)]
        stacked = {name: np.stack([each[name] for each in gradients]) for name in gradients[0]}
        return np.stack([outputs for outputs, _ in found]), stacked

    def actual(self, framework: Framework) -> tuple[Any, Any]:
        parts, upstream = parts_of(framework), framework.tensor(self.upstream)
        given = framework.tensor(self.inputs), framework.tensor(self.dropped)

        def loss(weights: Any) -> Any:
            outputs = parts.network(weights, *given)
            return (outputs * upstream).sum(), outputs

        differentiated = framework.prepared(lambda weights: parts.value_and_gradient(loss, weights))
        (_, outputs), gradient = differentiated(native_network(self.arrays, self.body, framework))
        return plain(outputs), plain(gradient)


def test_where_units_are_dropped() -> None:
    drop, relu = Dropout(0.1), Activation("relu")
    assert body_of((8,), 1, "mlp", "relu", 0.1) == (Dense(8), drop, relu, Dense(1))
    norms = Dense(8), drop, Norm(), relu, Dense(4), drop, Norm(), relu, Dense(1)
    assert body_of((8, 4), 1, "layer_norm", "relu", 0.1) == norms
    assert units_dropped(norms) == 12
    assert units_dropped(body_of((8, 4), 1, "layer_norm")) == 0
    assert shapes(norms, 3) == shapes(body_of((8, 4), 1, "layer_norm"), 3)
    assert not is_plain(body_of((8,), 1, "mlp", "relu", 0.1))


def test_a_file_tells_them() -> None:
    body = BODIES["layer_norm"]
    assert from_json(to_json(body)) == body
    for wrong in (0.0, 1.0, 1, "0.5"):
        with pytest.raises(ValueError, match="is no layer"):
            from_json([["dropout", wrong], ["dense", 1]])


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_network_with_dropped_units(body: Body, precise: Framework) -> None:
    problem = Problem(body)
    (outputs, gradient), (expected, slopes) = problem.actual(precise), problem.expected()
    assert relative_error(outputs, expected) < EXACT
    assert_agree(gradient, slopes, EXACT)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_nothing_is_dropped_where_nothing_is_told(body: Body, precise: Framework) -> None:
    """As in NumPy, which never drops any."""
    problem = Problem(body)
    weights = native_network(problem.arrays, body, precise)
    found = plain(precise.prepared(parts_of(precise).network)(weights, precise.tensor(problem.inputs)))
    without = tuple(layer for layer in body if not isinstance(layer, Dropout))
    acted = forward(without, problem.arrays)(problem.inputs)
    assert relative_error(acted, found) < 1e-6  # the norm's epsilon is of float32 there
    np.testing.assert_array_equal(forward(body, problem.arrays)(problem.inputs), acted)


def unscaled(right: Any) -> Any:
    def without(hidden: Any, dropped: Any, probability: float) -> Any:
        kept, left = right(hidden, dropped, probability)
        return kept * (1.0 - probability), left

    return without


def of_the_first_layer_in_both(right: Any) -> Any:
    return lambda hidden, dropped, probability: (right(hidden, dropped, probability)[0], dropped)


def kept_instead(right: Any) -> Any:
    return lambda hidden, dropped, probability: right(hidden, ~dropped, probability)


def of_one_member_in_all(right: Any) -> Any:
    return lambda hidden, dropped, probability: right(hidden, dropped[:1] | (dropped & False), probability)


@pytest.mark.parametrize("wrong", [unscaled, of_the_first_layer_in_both, kept_instead, of_one_member_in_all])
def test_broken_copies_are_caught(
    wrong: Callable[[Any], Any], precise: Framework, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, problem = parts_of(precise), Problem(BODIES["mlp"])
    monkeypatch.setattr(parts, "without", wrong(parts.without))
    assert relative_error(problem.actual(precise)[0], problem.expected()[0]) > 1e-3


def test_dropout_after_the_norm_is_another_network(precise: Framework) -> None:
    problem = Problem(BODIES["layer_norm"])
    expected = problem.expected()[0]
    relu = Activation("relu")
    problem.body = Dense(7), Norm(), Dropout(P), relu, Dense(6), Norm(), Dropout(P), relu, Dense(2)
    assert relative_error(problem.actual(precise)[0], expected) > 1e-3
