"""An ensemble, a network with a first axis of N, is its members: their weights, outputs, gradients and steps."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends import Framework, native_network, parts_of, plain
from polyak.algorithm import Algorithm, Copy, Head, Net, Normal, expected_state, first_state, networks_of
from polyak.errors import UsageError
from polyak.frameworks import make_learner, start
from polyak.frameworks.execution import Execution
from polyak.frameworks.jax.batched import Stacked
from polyak.frameworks.torch import device, fused
from polyak.networks.forward import forward
from polyak.networks.layers import Body, body_of
from polyak.networks.weights import first_weights, shapes
from polyak.run.learned import expected_learner
from polyak.settings.shared import Settings
from polyak.types import Arrays, Batch, Learner, Spec
from reference.cases import assert_agree, relative_error

MEMBERS = 3
EXACT = 1e-13  # a network in float64
UPDATES = 1e-12  # three steps in float64
WAYS = [("jax", True), ("torch", False), ("torch", True), ("tensorflow", False)]
SPEC = Spec((3,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))
BODIES = {"plain": body_of((7, 6), 2), "layer norm": body_of((7, 6), 2, "layer_norm", "silu")}


def member(arrays: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {name: value[index] for name, value in arrays.items()}


def weights_of(body: Body) -> Arrays:
    """Of an ensemble, in float64, its norms' scales and offsets not as they begin."""
    generator = np.random.default_rng(1)
    arrays = first_weights(generator, body, 4, MEMBERS)
    return {name: value + 0.1 * generator.standard_normal(value.shape) for name, value in arrays.items()}


# In NumPy


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_members_are_drawn_one_after_another(body: Body) -> None:
    one, other = np.random.default_rng(2), np.random.default_rng(2)
    ensemble = first_weights(one, body, 4, MEMBERS)
    assert shapes(body, 4, MEMBERS) == {name: value.shape for name, value in ensemble.items()}
    for index in range(MEMBERS):
        for name, value in first_weights(other, body, 4).items():
            np.testing.assert_array_equal(ensemble[name][index], value)
    assert one.random() == other.random()


def test_a_state_has_them_with_one_count_and_copies() -> None:
    entries = {"actor": Net(3, BODIES["plain"]), "critics": Net(4, BODIES["plain"], 1), "lagged": Copy("critics")}
    state, expected = first_state(entries, np.random.default_rng(0)), expected_state(entries)
    assert {name: (x.shape, x.dtype) for name, x in state.items()} == {
        name: (x.shape, x.dtype) for name, x in expected.items()
    }
    assert state["adam_critics/count"].shape == ()
    assert state["adam_critics/second/1/kernel"].shape == state["lagged/1/kernel"].shape == (1, 7, 6)
    np.testing.assert_array_equal(state["lagged/1/kernel"], state["critics/1/kernel"])
    assert networks_of(entries, state)["lagged"](np.ones((5, 4), np.float32)).shape == (1, 5, 2)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("axes", [(5,), (MEMBERS, 5)])
def test_numpy_s_way_through_one_is_that_through_each(body: Body, axes: tuple[int, ...]) -> None:
    arrays, inputs = weights_of(body), np.random.default_rng(0).standard_normal((*axes, 4))
    outputs = forward(body, arrays)(inputs)
    each = np.broadcast_to(inputs, (MEMBERS, 5, 4))
    expected = np.stack([forward(body, member(arrays, index))(each[index]) for index in range(MEMBERS)])
    assert relative_error(outputs, expected) < EXACT


def test_what_a_learner_s_file_cannot_hold_counts_every_member() -> None:
    toy, config = regressing("numpy", together=True), Settings(hidden_sizes=(4,), batch_size=8)
    numbers = 3 * 1 + 1 + MEMBERS * (3 * 4 + 4 + 4 + 1)
    needed = 12 * numbers
    with pytest.raises(UsageError, match=rf"need {needed} bytes, but the learner's file has {needed - 1}"):
        expected_learner(toy, SPEC, config, needed - 1)
    assert expected_learner(toy, SPEC, config, needed)["critics/0/kernel"].shape == (MEMBERS, 3, 4)


# In each framework


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("axes", [(5,), (MEMBERS, 5)], ids=["shared", "each"])
@pytest.mark.parametrize(("name", "fast"), WAYS)
def test_outputs_and_gradients_are_those_of_each(name: str, fast: bool, axes: tuple[int, ...], body: Body) -> None:
    arrays, inputs = weights_of(body), np.random.default_rng(0).standard_normal((*axes, 4))
    with fused.donated() if (name, fast) == ("torch", True) else nullcontext():
        outputs, gradient, slope = through(backends.framework(name), body, arrays, inputs)
        each = np.broadcast_to(inputs, (MEMBERS, 5, 4))
        found = [through(backends.framework(name), body, member(arrays, i), each[i]) for i in range(MEMBERS)]
    assert relative_error(outputs, np.stack([one for one, _, _ in found])) < EXACT
    expected = {name: np.stack([one[name] for _, one, _ in found]) / MEMBERS for name in arrays}
    assert_agree(gradient, expected, EXACT)  # of a mean over all members
    slopes = np.stack([one for _, _, one in found]) / MEMBERS
    assert relative_error(slope, slopes if inputs.ndim > 2 else slopes.sum(axis=0)) < EXACT


def through(framework: Framework, body: Body, arrays: Arrays, inputs: Any) -> tuple[Any, Any, Any]:
    """A network's outputs z, and the gradients of the mean of (z (z + 2))^2 in the weights and in the inputs."""
    parts = parts_of(framework)

    def loss(both: tuple[Any, Any]) -> tuple[Any, Any]:
        outputs = parts.network(*both)
        return parts.regression(outputs * (outputs + 2.0), 0.0 * outputs + 1.0, Settings()), outputs

    both = native_network(arrays, body, framework), framework.tensor(inputs)
    differentiated = framework.prepared(lambda both: parts.value_and_gradient(loss, both))
    (_, outputs), (gradient, slope) = differentiated(both)
    return plain(outputs), plain(gradient), plain(slope)


def regressing(name: str, *, together: bool) -> Algorithm:
    """Critics that each step toward the reward, and their slow copies: an ensemble, or as many networks."""
    names = ["critics"] if together else [f"critic_{index}" for index in range(MEMBERS)]

    def state(spec: Spec, config: Settings) -> dict[str, Any]:
        body = body_of(config.hidden_sizes, 1, config.network, config.activation)
        critics = {each: Net(3, body, MEMBERS if together else None) for each in names}
        return {"actor": Net(3, body_of((), 1)), **critics, **{f"slow_{each}": Copy(each) for each in names}}

    def update(state: Any, batch: Any, draws: Any, due: Any, config: Any) -> Any:
        parts = parts_of(backends.framework(name))

        def loss(critics: Any, batch: Any) -> Any:
            errors = [parts.network(each, batch.observation)[..., 0] - batch.reward for each in critics]
            return (MEMBERS if together else 1) * sum(parts.regression(error, batch.weight, config) for error in errors)

        value, gradients = parts.value_and_gradient(
            loss, tuple(getattr(state, each).parameters for each in names), batch
        )
        for each, gradient in zip(names, gradients, strict=True):
            state = state.replace(**{each: parts.step(getattr(state, each), gradient, config.optimizer("critic"))})
            slow = parts.averaged(getattr(state, f"slow_{each}"), getattr(state, each).parameters, config.polyak)
            state = state.replace(**{f"slow_{each}": slow})
        return state, {"critic_loss": value}

    return Algorithm(
        Config=Settings,
        state=state,
        draws=lambda spec, config: {"noise": Normal((config.batch_size, 1))},
        head=lambda config: Head("deterministic"),
        value=lambda networks, observation, action, config: networks["critics"](observation)[0, :, 0],
        metrics=("critic_loss",),
        pages={name: update},
        name="regressing",
    )


SETTINGS: dict[str, Any] = {
    "hidden_sizes": (6,),
    "network": "layer_norm",
    "activation": "elu",
    "batch_size": 8,
    "weight_decay": 0.1,
    "learning_rate_schedule": "linear",
    "polyak": 0.7,
    "steps": 1_010,
}
CONFIG = Settings(**SETTINGS)


def played(learner: Learner) -> Arrays:
    """The state after three updates in two bursts."""
    generator = np.random.default_rng(5)
    for updates in (1, 2):
        batch = Batch(generator.standard_normal((updates, 8, SPEC.layout.width)), SPEC.layout)
        learner.update(batch, {"noise": generator.standard_normal((updates, 8, 1))})
    return learner.arrays()


def beginning(toy: Algorithm, seed: int = 3) -> Arrays:
    arrays = first_state(toy.state(SPEC, CONFIG), np.random.default_rng(seed))
    return {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in arrays.items()}


def assert_members(together: Arrays, apart: Arrays) -> None:
    """The arrays of an ensemble are those of as many networks; its count is that of each."""
    for name, value in together.items():
        for index in range(MEMBERS):
            expected = apart[name.replace("critics", f"critic_{index}")]
            ours = value[index] if "critics" in name and value.ndim else value
            assert relative_error(ours, expected) < UPDATES, name


def apart(seed: int = 3) -> Arrays:
    """After three updates of as many networks, in PyTorch, without anything fast."""
    toy = regressing("torch", together=False)
    return played(make_learner("torch", toy, SPEC, CONFIG, beginning(toy, seed), Execution("cpu", None, fast=False)))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("name", "fast"), WAYS)
def test_updates_of_one_are_those_of_as_many_networks(name: str, fast: bool) -> None:
    toy = regressing(name, together=True)
    assert_members(played(make_learner(name, toy, SPEC, CONFIG, beginning(toy), Execution("cpu", None, fast))), apart())


@pytest.mark.usefixtures("double")
def test_runs_in_one_call_have_theirs_apart() -> None:
    """`jax.vmap` puts its axis before the ensemble's, and hides it."""
    toy, execution = regressing("jax", together=True), start("jax", Execution("cpu"))
    group = Stacked()
    seats = [group.learner(toy, SPEC, CONFIG, beginning(toy, seed), execution) for seed in (3, 4)]
    generators = [np.random.default_rng(5) for _ in seats]
    for updates in (1, 2):
        for seat, generator in zip(seats, generators, strict=True):
            batch = Batch(generator.standard_normal((updates, 8, SPEC.layout.width)), SPEC.layout)
            seat.launch(batch, {"noise": generator.standard_normal((updates, 8, 1))})
        group.launch()
    for seed, seat in zip((3, 4), seats, strict=True):
        assert_members(seat.arrays(), apart(seed))


# PyTorch's kernels


def test_pytorch_s_fast_updates_stay_in_place() -> None:
    toy = regressing("torch", together=True)
    learner: Any = make_learner("torch", toy, SPEC, CONFIG, beginning(toy), Execution("cpu"))
    before = [tensor.data_ptr() for tensor in fused.leaves(learner._state)]
    played(learner)
    assert [tensor.data_ptr() for tensor in fused.leaves(learner._state)] == before


@pytest.mark.parametrize("axes", [(7,), (2, 7)])
def test_the_fused_ensemble_has_the_gradients_that_autograd_has(axes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, 3, 5), (2, 5), (2, 5, 2), (2, 2)]
    flat = [torch.randn(*size, generator=generator, dtype=torch.float64, requires_grad=True) for size in sizes]
    inputs = torch.randn(*axes, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(fused._Network.apply, (inputs, *flat))


@pytest.mark.skipif(fused._ONEDNN_LINEAR is None, reason="this PyTorch has no oneDNN")
def test_large_products_of_members_go_through_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = fused._ONEDNN_LINEAR
    monkeypatch.setattr(fused, "_ONEDNN_LINEAR", lambda *rest: (calls.append(1), real(*rest))[1])
    monkeypatch.setattr(device, "ONEDNN_IS_FASTER", True)
    generator = torch.Generator().manual_seed(0)
    rows, inner, columns = 256, 256, 128
    sizes = ((rows, inner), (2, rows, inner), (2, inner, columns), (2, columns), (2, rows, columns))
    shared, x, w, b, g = (torch.randn(*size, generator=generator) for size in sizes)
    for actual, expected in (
        (fused._linear(x, w, b, relu=False), x.double() @ w.double() + b.double()[:, None]),
        (fused._linear(shared, w, b, relu=True), torch.relu(shared.double() @ w.double() + b.double()[:, None])),
        (fused._transposed(g, w), g.double() @ w.double().mT),
        (fused._outer(x, g), x.double().mT @ g.double()),
        (fused._outer(shared, g), shared.double().T @ g.double()),
    ):
        assert torch.allclose(actual.double(), expected, rtol=1e-4, atol=2e-4)
    assert len(calls) == 10
