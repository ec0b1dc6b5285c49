"""PyTorch's learner: the state's memory stays its own, whatever a page does; layers and optimizers on both paths."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from backends import learner_of
from polyak.algorithm import Algorithm, Copy, Head, Net, Normal, Parameter, Variable, first_state
from polyak.errors import TrainingError
from polyak.frameworks import make_learner
from polyak.frameworks.execution import Execution
from polyak.frameworks.state import leaves
from polyak.frameworks.torch import parts
from polyak.networks.layers import body_of
from polyak.settings.shared import Optimizer, Settings
from polyak.types import Batch, Spec
from reference.cases import assert_agree, make_case

SPEC = Spec((3,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))
TO_ROUNDING = 1e-12  # of a few updates in float64


def regression(state: Any, batch: Any, config: Any) -> tuple[Any, dict[str, Any]]:
    """A step of the critic toward the reward."""

    def loss(critic: Any) -> Any:
        return torch.mean((parts.network(critic, batch.observation)[:, 0] - batch.reward) ** 2)

    value, gradient = parts.value_and_gradient(loss, state.critic.parameters)
    return state.replace(critic=parts.step(state.critic, gradient, config.optimizer("critic"))), {"critic_loss": value}


def copying(state: Any, batch: Any, draws: Any, due: Mapping[str, bool], config: Any) -> tuple[Any, dict[str, Any]]:
    """Hard copies before a step and after it, in a chain and exchanged, and new tensors for variables."""
    state = state.replace(before=state.critic.parameters)
    state, measured = regression(state, batch, config)
    state = state.replace(newer=state.critic.parameters, older=state.newer, one=state.other, other=state.one)
    largest = torch.maximum(state.largest, measured["critic_loss"])
    return state.replace(largest=largest, other=parts.averaged(state.other, state.critic.parameters, 0.5)), measured


def toy(page: Any, config: Settings, spec: Spec = SPEC) -> Algorithm:
    copies = {name: Copy("critic") for name in ("before", "newer", "older", "one", "other")}
    critic = Net(3, body_of(config.hidden_sizes, 1, config.network, config.activation))
    state = {"actor": Net(3, body_of((2,), 1)), "critic": critic, **copies, "largest": Variable(0.0)}
    return Algorithm(
        Config=Settings,
        state=lambda spec, config: state | {"temperature": Parameter(0.0)},
        draws=lambda spec, config: {"noise": Normal((config.batch_size, 2, 2))},
        head=lambda config: Head("deterministic"),
        value=lambda networks, observation, action, config: observation[:, 0],
        metrics=("critic_loss", "never"),
        every=lambda config: {"late": 3},
        pages={"torch": page},
        name="toy",
    )


def played(page: Any, *bursts: int, fast: bool = True, **settings: Any) -> tuple[Any, Any]:
    """A learner in float64 after bursts of these lengths, and what the last one measured."""
    config = Settings(**{"hidden_sizes": (4, 5), "batch_size": 8, "steps": 1_010, **settings})
    algorithm, generator = toy(page, config), np.random.default_rng(0)
    arrays = first_state(algorithm.state(SPEC, config), generator)
    for name in ("one/0/kernel", "older/0/kernel"):
        arrays[name] = arrays[name] + generator.standard_normal(arrays[name].shape)
    precise = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in arrays.items()}
    learner = make_learner("torch", algorithm, SPEC, config, precise, Execution("cpu", 1, fast))
    for updates in bursts:
        records = generator.standard_normal((updates, 8, SPEC.layout.width))
        noise = {"noise": generator.standard_normal((updates, 8, 2, 2))}
        metrics = learner.update(Batch(records, SPEC.layout), noise)
    return learner, metrics


def test_copies_of_a_page_stay_where_they_are_and_do_not_move_with_the_original() -> None:
    fast, measured = played(copying, 2, 3)
    plain, expected = played(copying, 2, 3, fast=False)
    arrays = fast.arrays()
    assert_agree(arrays, plain.arrays(), TO_ROUNDING)
    np.testing.assert_allclose(measured.values, expected.values, rtol=TO_ROUNDING)
    assert not np.array_equal(arrays["before/0/kernel"], arrays["critic/0/kernel"]), "it is from before the step"
    assert np.array_equal(arrays["older/0/kernel"], arrays["before/0/kernel"]), "the newer one, an update later"


def test_a_page_that_copies_leaves_the_memory_of_the_state_in_its_place() -> None:
    learner, _ = played(copying, 1)
    places = [tensor.data_ptr() for tensor in leaves(learner._state)]
    records = np.zeros((2, 8, SPEC.layout.width))
    learner.update(Batch(records, SPEC.layout), {"noise": np.zeros((2, 8, 2, 2))})
    assert [tensor.data_ptr() for tensor in leaves(learner._state)] == places
    assert len(set(places)) == len(places), "each has its own"


def test_an_entry_of_other_shapes_is_refused() -> None:
    def page(state: Any, *rest: Any) -> Any:
        return state.replace(largest=state.critic.parameters.arrays["0"]["bias"]), {}

    with pytest.raises(TrainingError, match=r"largest.*\[\(4,\)\].*\[\(\)\]"):
        played(page, 1)


def test_a_page_is_told_what_is_due_and_gets_its_draws_in_their_shape() -> None:
    told: list[tuple[bool, tuple[int, ...]]] = []

    def page(state: Any, batch: Any, draws: Any, due: Any, config: Any) -> Any:
        told.append((due["late"], tuple(draws["noise"].shape)))
        return parts.when(due["late"], lambda state: (state, {"never": batch.reward[0]}), state)

    _, metrics = played(page, 2, 3)
    assert told == [(False, (8, 2, 2))] * 2 + [(True, (8, 2, 2))] + [(False, (8, 2, 2))] * 2
    assert np.isnan(metrics.values).tolist() == [[True, False], [True, True], [True, True]]


# Layers and the optimizer


SETTINGS = [
    {"network": "layer_norm", "activation": "silu", "weight_decay": 0.1, "learning_rate_schedule": "cosine"},
    {"network": "layer_norm", "learning_rate_schedule": "linear", "learning_rate_end": 0.2},
    {"activation": "tanh", "adam_beta_1": 0.0, "adam_beta_2": 0.9, "weight_decay": 0.01},
    {"activation": "elu", "learning_rate_schedule": "linear", "weight_decay": 0.1},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_fast_is_plain_for_every_layer_and_optimizer(settings: dict[str, Any]) -> None:
    """Past the horizon of eleven updates too."""

    def page(state: Any, batch: Any, draws: Any, due: Any, config: Any) -> Any:
        return regression(state, batch, config)

    fast, plain = (played(page, 7, 6, fast=fast, **settings)[0].arrays() for fast in (True, False))
    assert_agree(fast, plain, TO_ROUNDING)


def test_the_rate_falls_from_the_first_step_to_its_end() -> None:
    counts = torch.tensor([0, 5, 10, 12], dtype=torch.int32)
    for schedule, middle in (("linear", 0.6), ("cosine", 0.6)):
        rates = parts.rate_after(counts, Optimizer(2.0, schedule=schedule, end=0.2, horizon=10))
        np.testing.assert_allclose(rates, 2.0 * np.array([1.0, middle, 0.2, 0.2]), rtol=1e-15)
    assert isinstance(rates, torch.Tensor), "a number of the host's would be frozen into a CUDA graph"


def test_weights_that_are_said_to_be_one_are_not_looked_at() -> None:
    """Whatever the column holds; and they count where they are not."""
    case = make_case("td3", updates=2).cast(np.float32)
    given, draws = case.burst(0, 2)
    records = given.records.copy()
    records[..., given.layout.weight] = 1.0
    ends = []
    for batch in (dataclasses.replace(given, weighted=False), dataclasses.replace(given, records=records), given):
        learner = learner_of(case, "torch")
        learner.update(batch, draws)
        ends.append(learner.arrays()["critic_1/0/kernel"])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])
