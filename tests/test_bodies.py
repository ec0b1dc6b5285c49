"""Layers and optimizers beyond the defaults: every framework against the oracle, and plausible mistakes in each."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from backends import Framework, module_of, native_network, parts_of, plain, updated
from polyak.frameworks.state import Trained, Weights, mapped
from polyak.networks.forward import forward
from polyak.networks.layers import ActivationKind, BatchRenorm, Dense, body_of
from polyak.policies.policy import Policy
from polyak.types import Spec
from reference import common as oracle
from reference.cases import assert_agree, make_case, relative_error, solve

EXACT, UPDATES = 1e-13, 1e-12  # a function, and some updates, in float64
SMALL: dict[str, Any] = {"batch_size": 4, "update_after": 4, "hidden_sizes": (6, 5)}
CASES = {
    "sac": make_case(
        "sac",
        updates=3,
        **SMALL,
        network="layer_norm",
        activation="silu",
        weight_decay=0.1,
        steps=8,
        learning_rate_schedule="cosine",
        learning_rate_end=0.1,
    ),
    "td3": make_case(
        "td3",
        updates=4,
        **SMALL,
        activation="elu",
        adam_beta_1=0.5,
        adam_beta_2=0.9,
        steps=7,
        learning_rate_schedule="linear",
    ),
}
"""The learning rates fall over 5 and 4 updates of the run, TD3's actor's over 2 steps."""

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(params=backends.NAMES)
def precise(request: pytest.FixtureRequest) -> Iterator[Framework]:
    """A framework, each operation by itself."""
    framework = backends.framework(request.param)
    with framework.precisely():
        yield framework


def ends(name: str) -> dict[str, Any]:
    """The oracle's state after a case, without the count of updates, which is the learner's."""
    return {path: value for path, value in solve(CASES[name])[0][-1].items() if path != "step"}


@pytest.mark.parametrize("name", CASES)
def test_updates(name: str, precise: Framework) -> None:
    assert_agree(updated(CASES[name], precise), ends(name), UPDATES)


@pytest.mark.parametrize("activation", ["relu", "elu", "silu", "tanh"])
def test_a_network_in_numpy_and_in_every_framework(activation: ActivationKind, precise: Framework) -> None:
    case = make_case("ddpg", updates=1, **SMALL, network="layer_norm", activation=activation)
    actor, inputs = oracle.part(case.arrays, "actor", case.config), 3.0 * case.batch(0).observation
    body = body_of((6, 5), 3, "layer_norm", activation)
    expected, trace = oracle.forward(actor, inputs)
    weights = native_network(actor, body, precise)
    total: Callable[..., Any] = lambda weights: parts_of(precise).network(weights, precise.tensor(inputs)).sum()  # noqa: E731
    if precise.name == "tensorflow":
        total = lambda weights: parts_of(precise).tf.reduce_sum(parts_of(precise).network(weights, inputs))  # noqa: E731
    network = precise.prepared(parts_of(precise).network)
    assert relative_error(plain(network(weights, precise.tensor(inputs))), expected) < EXACT
    differentiated = precise.prepared(lambda weights: parts_of(precise).value_and_gradient(total, weights))
    _, gradient = differentiated(weights)
    assert_agree(plain(gradient), oracle.backward(actor, trace, np.ones_like(expected))[0], EXACT)
    acted = forward(body, {name: value.astype(np.float32) for name, value in actor.items()})(inputs.astype(np.float32))
    assert relative_error(acted, expected) < 1e-6


def test_tensorflow_says_that_it_has_no_running_statistics() -> None:
    weights = Weights({}, (BatchRenorm(), Dense(1)))
    with pytest.raises(NotImplementedError, match="keep running statistics"):
        parts_of(backends.framework("tensorflow")).network(weights, np.zeros((1, 2)))


def test_a_policy_of_such_a_network_is_read_back(tmp_path: Any) -> None:
    case = make_case("ddpg", updates=1, **SMALL, network="layer_norm", activation="silu").cast(np.float32)
    actor = dict(oracle.part(case.arrays, "actor"))
    spec = Spec((5,), (3,), -np.ones(3, np.float32), np.ones(3, np.float32))
    policy = Policy(actor, spec, "deterministic", body=body_of((6, 5), 3, "layer_norm", "silu"))
    policy.save(tmp_path / "policy.safetensors")
    read = Policy.load(tmp_path / "policy.safetensors")
    observation = case.batch(0).observation.astype(np.float32)
    assert read.body == policy.body
    assert read.act(observation).tobytes() == policy.act(observation).tobytes()


# Broken copies, besides those of tests/test_learners.py: functions of the parts, or of the page, each with one mistake


def stepping(module: Any, change: Callable[[Callable[..., Trained], Trained, Any, Any], Trained]) -> dict[str, Any]:
    right = module.step
    return {"step": lambda net, gradient, optimizer: change(right, net, gradient, optimizer)}


def decay_through_the_moments(module: Any, parts: Any) -> dict[str, Any]:
    def change(right: Any, net: Trained, gradient: Any, optimizer: Any) -> Trained:
        pulled = mapped(lambda g, x: g + optimizer.decay * x, gradient, net.parameters)
        return right(net, pulled, replace(optimizer, decay=0.0))

    return stepping(module, change)


def schedule_after_the_step(module: Any, parts: Any) -> dict[str, Any]:
    right = parts.rate_after
    return {"rate_after": lambda count, optimizer: right(count + 1, optimizer)}


def correction_of_the_usual_betas(module: Any, parts: Any) -> dict[str, Any]:
    right = parts.correction
    return {"correction": lambda beta, count: right(0.9 if beta == 0.5 else 0.999, count)}


def epsilon_of_the_norm_outside_the_root(module: Any, parts: Any) -> dict[str, Any]:
    right = parts.normalized

    def outside(rows: Any, epsilon: float) -> Any:
        first = right(rows, 0.0)
        spread = (rows[:, :1] - rows[:, 1:2]) / (first[:, :1] - first[:, 1:2])
        return first * spread / (spread + epsilon)

    return {"normalized": outside}


def silu_of_a_gelu(module: Any, parts: Any) -> dict[str, Any]:
    right = parts.ACTIVATIONS["silu"]
    return {"ACTIVATIONS": {**parts.ACTIVATIONS, "silu": lambda x: right(1.702 * x) / 1.702}}


def elu_of_the_slope_one_below_zero(module: Any, parts: Any) -> dict[str, Any]:
    """The right values; the derivative of the identity."""
    right = parts.ACTIVATIONS["elu"]
    still = {"jnp": lambda: parts.jax.lax.stop_gradient, "torch": lambda: lambda x: x.detach()}
    stop = next((find() for name, find in still.items() if hasattr(parts, name)), None) or parts.tf.stop_gradient
    return {"ACTIVATIONS": {**parts.ACTIVATIONS, "elu": lambda x: x + stop(right(x) - x)}}


BROKEN: dict[str, list[Callable[[Any, Any], dict[str, Any]]]] = {
    "sac": [
        decay_through_the_moments,
        schedule_after_the_step,
        epsilon_of_the_norm_outside_the_root,
        silu_of_a_gelu,
    ],
    "td3": [
        correction_of_the_usual_betas,
        elu_of_the_slope_one_below_zero,
    ],
}


@pytest.mark.parametrize(("name", "broken"), [(name, each) for name, copies in BROKEN.items() for each in copies])
def test_broken_copies_are_caught(name: str, broken: Any, precise: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    case, parts = CASES[name], parts_of(precise)
    module = module_of(case, precise)
    for attribute, replacement in broken(module, parts).items():
        monkeypatch.setattr(module if hasattr(module, attribute) else parts, attribute, replacement)
    with pytest.raises(AssertionError, match="relative"):
        assert_agree(updated(case, precise), ends(name), UPDATES)
