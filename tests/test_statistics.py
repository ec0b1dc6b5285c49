"""Layers that keep running statistics: in NumPy and in each framework that trains them, and folded into a policy."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends import Framework, framework, parts_of, plain
from polyak.algorithm import (
    Algorithm,
    Copy,
    Entries,
    Head,
    Net,
    actor_in,
    expected_state,
    first_state,
    networks_of,
    policy_body,
)
from polyak.algorithms.checks import require_parts
from polyak.errors import UsageError
from polyak.frameworks.state import arrays_of, in_evaluation, state_of
from polyak.frameworks.torch import fused
from polyak.networks.folding import folded, folded_body
from polyak.networks.forward import forward
from polyak.networks.layers import Activation, BatchRenorm, Body, Dense, Norm, body_of
from polyak.networks.layers import plain as is_plain
from polyak.networks.names import part
from polyak.networks.weights import shapes
from polyak.settings.shared import Settings
from polyak.types import Arrays, Spec
from reference import crossq as oracle
from reference.cases import assert_agree, relative_error

EXACT = 1e-13
BODY = body_of((6, 4), 2, "batch_renorm")
ENTRIES: Entries = {"actor": Net(5, BODY)}
SPEC = Spec((5,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))


def state_with(calls: int, entries: Entries = ENTRIES) -> Arrays:
    """A state whose running statistics are like no batch's, after so many calls in training."""
    generator = np.random.default_rng(5)
    arrays = first_state(entries, generator)
    for name, value in arrays.items():
        drawn = generator.standard_normal(value.shape)
        if name.endswith("/steps"):
            arrays[name] = np.array(calls, np.int32)
        elif name.endswith("/variance"):
            arrays[name] = np.exp2(3.0 * drawn).astype(np.float32)
        elif name.endswith(("/mean", "/scale", "/offset")):
            arrays[name] = (value + drawn).astype(np.float32)
    return arrays


def rows() -> Any:
    """[B, inputs], one of them nearly constant."""
    drawn = np.random.default_rng(6).standard_normal((16, 5)).astype(np.float32)
    return drawn * np.array([1.0, 30.0, 1.0, 1e-3, 1.0], np.float32) + np.array([0.0, 0.0, 40.0, 1.0, 0.0], np.float32)


def of_the_oracle(arrays: Arrays) -> tuple[Arrays, Arrays]:
    """The actor's weights and its statistics, in float64."""
    precise = {name: value.astype(np.float64) for name, value in arrays.items()}
    return part(precise, "actor"), part(precise, "statistics_actor")


@pytest.fixture(params=["jax", "torch", "torch fused"])
def precise(request: pytest.FixtureRequest, double: None) -> Iterator[Framework]:
    """A framework in float64, each operation by itself; PyTorch's fused ones, too."""
    name, _, fast = request.param.partition(" ")
    with framework(name).precisely():
        if not fast:
            yield framework(name)
            return
        with fused.donated():
            yield framework(name)


def native_state(arrays: Arrays, precise: Framework) -> Any:
    tensors = {name: _double(value, precise) for name, value in sorted(arrays.items()) if name != "step"}
    return state_of(ENTRIES, tensors)


def _double(value: Any, precise: Framework) -> Any:
    return precise.tensor(value if value.dtype == np.int32 else value.astype(np.float64))


@pytest.mark.parametrize("calls", [99_999, 100_000])
def test_training_is_the_oracle(calls: int, precise: Framework) -> None:
    """Outputs, gradients in weights and inputs, running statistics after: at the warm-up's last call, and behind it."""
    arrays, inputs = state_with(calls), rows().astype(np.float64)
    weights, kept = of_the_oracle(arrays)
    found = oracle.through(weights, kept, inputs, training=True)
    r, d = (np.concatenate([getattr(seen, x) for kind, _, seen in found.trace if kind == "norm"]) for x in "rd")
    ends = (1.0 / 3.0, 3.0, 5.0) if calls == 100_000 else (1.0, 1.0, 0.0)
    assert (r.min(), r.max(), np.abs(d).max()) == ends, "all clips are at work, or nothing is corrected"
    gradients, of_inputs = oracle.back(weights, found.trace, found.output)
    parts, net = parts_of(precise), native_state(arrays, precise).actor

    def loss(both: Any) -> Any:
        outputs, after = parts.network_in_training(both[0], both[1], net.statistics)
        return 0.5 * (outputs**2).sum(), (outputs, after)

    differentiated = precise.prepared(lambda both: parts.value_and_gradient(loss, both))
    (_, (outputs, after)), (slopes, slope) = differentiated((net.parameters, precise.tensor(inputs)))
    assert_agree({"y": plain(outputs), "dx": plain(slope)}, {"y": found.output, "dx": of_inputs}, EXACT)
    assert_agree(plain(slopes), gradients, 10 * EXACT)
    assert_agree(plain(after), found.after, EXACT)


def test_evaluation_is_the_oracle_in_every_framework_and_in_numpy(precise: Framework) -> None:
    arrays, inputs = state_with(7), rows().astype(np.float64)
    weights, kept = of_the_oracle(arrays)
    found = oracle.through(weights, kept, inputs, training=False)
    parts, net = parts_of(precise), native_state(arrays, precise).actor
    total = lambda x: (parts.network(in_evaluation(net), x) ** 2).sum()  # noqa: E731
    _, slope = precise.prepared(lambda x: parts.value_and_gradient(total, x))(precise.tensor(inputs))
    expected = oracle.back(weights, found.trace, 2.0 * found.output)[1]
    outputs = precise.prepared(lambda x: parts.network(in_evaluation(net), x))(precise.tensor(inputs))
    assert relative_error(plain(outputs), found.output) < EXACT
    assert relative_error(plain(slope), expected) < EXACT
    assert relative_error(networks_of(ENTRIES, arrays)["actor"](rows()), found.output) < 1e-6


def test_a_network_without_such_layers_is_the_same_in_training(precise: Framework) -> None:
    entries: Entries = {"actor": Net(5, body_of((6,), 2))}
    arrays = {k: _double(v, precise) for k, v in sorted(first_state(entries, np.random.default_rng(1)).items())}
    net, inputs = state_of(entries, arrays).actor, precise.tensor(rows().astype(np.float64))
    outputs, after = parts_of(precise).network_in_training(net.parameters, inputs, net.statistics)
    np.testing.assert_array_equal(plain(outputs), plain(parts_of(precise).network(net.parameters, inputs)))
    assert after == net.statistics == ()
    assert in_evaluation(net) is net.parameters


# State


def test_statistics_are_in_the_state_after_all_else() -> None:
    state, expected = first_state(ENTRIES, np.random.default_rng(0)), expected_state(ENTRIES)
    names = [name for name in state if name.startswith("statistics_")]
    assert names == [f"statistics_actor/{n}/{x}" for n in (0, 2, 4) for x in ("mean", "variance", "steps")]
    assert {name: (x.shape, x.dtype) for name, x in state.items()} == {
        name: (x.shape, x.dtype) for name, x in expected.items()
    }
    assert state["statistics_actor/0/steps"].dtype == np.int32
    assert [float(state[f"statistics_actor/2/{name}"].sum()) for name in ("mean", "variance", "steps")] == [0, 6, 0]
    assert arrays_of(state_of(ENTRIES, state)).keys() == state.keys() - {"step"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"target": Copy("actor")}, "a copy of 'actor', whose layers keep running statistics"),
        ({"critics": Net(5, BODY, copies=2)}, "'critics', an ensemble whose layers keep running statistics"),
        ({"statistics_actor": Net(1, (Dense(1),))}, "'statistics_actor', as the learner names an array of its own"),
        ({"adam_actor": Net(1, (Dense(1),))}, "'adam_actor', as the learner names an array of its own"),
        ({"actor": Net(5, (Activation(), BatchRenorm(), Activation(), Dense(2)))}, "has no dense layer beside it"),
    ],
)
def test_what_cannot_be_is_refused(more: Entries, said: str) -> None:
    what = Algorithm(
        Settings,
        lambda *_: {**ENTRIES, **more},
        lambda *_: {},
        lambda _: Head("squashed_gaussian"),
        lambda *_: rows()[:, 0],
        ("critic_loss",),
        name="own",
    )
    with pytest.raises(UsageError, match=said):
        require_parts(what, SPEC, Settings())
    require_parts(replace(what, state=lambda *_: ENTRIES), SPEC, Settings())


# Folded


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        (Dense(6), BatchRenorm(), Activation(), Norm(), Dense(3), BatchRenorm()),
        (BatchRenorm(), Dense(6), BatchRenorm(), Activation("silu"), BatchRenorm(0.1), Dense(2)),
    ],
    ids=["before the dense layers", "behind them", "on both sides"],
)
def test_folded_layers_compute_the_same(body: Body) -> None:
    entries: Entries = {"actor": Net(5, body)}
    state = state_with(0, entries)
    acting = actor_in(entries, state)
    assert {name: value.shape for name, value in acting.items()} == shapes(policy_body(entries), 5)
    assert {value.dtype for value in acting.values()} == {np.dtype(np.float32)}
    expected = networks_of(entries, state)["actor"](rows())
    assert relative_error(forward(policy_body(entries), acting)(rows()), expected) < 2e-6
    assert not any(isinstance(layer, BatchRenorm) for layer in policy_body(entries))


def test_a_network_without_such_layers_is_folded_into_itself() -> None:
    body = body_of((6,), 2, "layer_norm")
    arrays = first_state({"actor": Net(5, body)}, np.random.default_rng(0))
    assert folded_body(body) == body
    assert folded(body, arrays) is arrays
    assert is_plain(folded_body(BODY)), "so that a policy's file is of the form that it always was"
