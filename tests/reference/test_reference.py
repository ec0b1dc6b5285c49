"""The oracle itself: gradients against central finite differences, density and Adam against their definitions."""

from collections.abc import Callable

import numpy as np
import pytest

from backends import ALGORITHMS
from reference import common, ddpg, sac, td3, tqc
from reference.cases import assert_agree, make_case, relative_error, solve, wide_policy
from reference.common import Array, Arrays, part


def assert_gradients(loss: Callable[[Arrays], float], parameters: Arrays, gradients: Arrays) -> None:
    """`gradients` are the central finite differences of `loss`."""
    step = 1e-6
    numeric = {name: np.zeros_like(value) for name, value in parameters.items()}
    for name, value in parameters.items():
        for index in np.ndindex(value.shape):
            shift = np.zeros_like(value)
            shift[index] = step
            up, down = (loss(parameters | {name: value + sign * shift}) for sign in (1.0, -1.0))
            numeric[name][index] = (up - down) / (2.0 * step)
    assert_agree(
        gradients, numeric, 1e-7
    )  # rounding of the loss over the step: about 1e-16 / 1e-6, over gradients of 1e-2
    assert all(np.any(gradient != 0.0) for gradient in gradients.values())


def test_critic_gradients() -> None:
    case = make_case("td3")
    critic, batch = part(case.arrays, "critic_1"), case.batch(0)
    y = td3.target(case.arrays, batch, case.noise["target_action"][0], case.config)
    assert_gradients(lambda c: common.critic_loss(c, batch, y)[0], critic, common.critic_loss(critic, batch, y)[1])


@pytest.mark.parametrize("activation", ["relu", "elu", "silu", "tanh"])
def test_gradients_through_norms_and_activations(activation: str) -> None:
    case = make_case("ddpg", hidden_sizes=(6, 5), network="layer_norm", activation=activation)
    critic, batch, y = part(case.arrays, "critic", case.config), case.batch(0), case.batch(1).reward
    _, gradients, _ = common.critic_loss(critic, batch, y)

    def loss(changed: Arrays) -> float:
        network = common.Network(changed)
        network.activation = activation
        return common.critic_loss(network, batch, y)[0]

    assert_gradients(loss, critic, gradients)


def test_deterministic_actor_gradients() -> None:
    case = make_case("ddpg")
    actor, critic, observation = part(case.arrays, "actor"), part(case.arrays, "critic"), case.batch(0).observation
    _, gradients, _ = ddpg.actor_loss(actor, critic, observation)
    assert_gradients(lambda a: ddpg.actor_loss(a, critic, observation)[0], actor, gradients)


def test_sac_actor_gradients_through_both_critics_and_the_clamp() -> None:
    case = make_case("sac")
    actor, observation, xi = wide_policy(case), case.batch(0).observation, case.noise["action"][0]
    sample = sac.sample_action(actor, observation, xi)
    assert not sample.inside[:, 0].any()
    assert sample.inside[:, 1].all()
    assert 0 < sample.inside[:, 2].sum() < len(xi)
    critics = [part(case.arrays, name) for name in ("critic_1", "critic_2")]
    values = [common.q_value(critic, observation, sample.action)[0] for critic in critics]
    assert 0 < np.sum(values[0] < values[1]) < len(xi), "each critic is the minimum somewhere"
    _, gradients, _, _ = sac.actor_loss(actor, *critics, 0.3, observation, xi)
    assert_gradients(lambda a: sac.actor_loss(a, *critics, 0.3, observation, xi)[0], actor, gradients)


def test_quantile_gradients_through_every_atom_of_every_critic() -> None:
    case = make_case("tqc")
    critics, batch = part(case.arrays, "critics"), case.batch(0)
    y = tqc.target(case.arrays, batch, case.noise["next_action"][0], case.config)
    u = y[:, None, :] - tqc.atoms(tqc.members(critics)[0], batch.observation, batch.action)[0][:, :, None]
    for regime in (u < -1.0, (u > -1.0) & (u < 0.0), (u > 0.0) & (u < 1.0), u > 1.0):
        assert np.mean(regime) > 0.05
    _, gradients, _ = tqc.critic_loss(critics, batch, y)
    assert_gradients(lambda c: tqc.critic_loss(common.Network(c), batch, y)[0], critics, gradients)


def test_tqc_actor_gradients() -> None:
    case = make_case("tqc")
    actor, critics = wide_policy(case), part(case.arrays, "critics")
    observation, xi = case.batch(0).observation, case.noise["action"][0]
    _, gradients, _, _ = tqc.actor_loss(actor, critics, 0.3, observation, xi)
    assert_gradients(lambda a: tqc.actor_loss(a, critics, 0.3, observation, xi)[0], actor, gradients)


def test_temperature_gradient() -> None:
    _, gradient = sac.temperature_loss(np.array(-0.7), 1.3, -3.0)
    up, down = (sac.temperature_loss(np.array(-0.7 + step), 1.3, -3.0)[0] for step in (1e-6, -1e-6))
    assert gradient == pytest.approx((up - down) / 2e-6, rel=1e-8)


def test_squashed_gaussian_density_integrates_to_one() -> None:
    xi = np.linspace(-9.0, 9.0, 20_001)[:, None]
    actor = {"0/kernel": np.zeros((1, 2)), "0/bias": np.array([0.4, -0.3])}
    sample = sac.sample_action(actor, np.zeros_like(xi), xi)
    assert np.trapezoid(np.exp(sample.log_probability), sample.action[:, 0]) == pytest.approx(1.0, abs=1e-6)


def test_adam_first_steps_by_hand() -> None:
    """The first step is learning_rate g / (|g| + epsilon); with a constant gradient so is every later one."""
    gradient: Array = np.array([1e-8, -2.0, 0.0])
    state: Arrays = {
        "x": np.zeros(3),
        "adam_x/count": np.array(0),
        "adam_x/first": np.zeros(3),
        "adam_x/second": np.zeros(3),
    }
    for count in (1, 2, 3):
        state = state | common.adam_step(state, "x", {"": gradient}, 0.1)
        np.testing.assert_allclose(state["x"], -0.1 * count * np.array([0.5, -1.0, 0.0]), rtol=1e-7)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_oracle_keeps_names_shapes_and_its_input(name: str) -> None:
    case = make_case(name, updates=3)
    before = {path: value.copy() for path, value in case.arrays.items()}
    states, _ = solve(case)
    assert {path: value.shape for path, value in states[-1].items()} == {path: x.shape for path, x in before.items()}
    assert_agree(case.arrays, before, 0.0)
    assert not [path for path in before if np.array_equal(states[-1][path], before[path])], (
        "three updates move everything"
    )


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.5], [3.0, 4.0], 0.1),
        ([0.0], [0.0], 0.0),
        ([1e-100], [0.0], np.inf),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.nan], [1.0], np.inf),
        ([1.0], [np.nan], np.inf),
        ([1.0], [1.0, 1.0], np.inf),
    ],
)
def test_relative_error(actual: list[float], expected: list[float], error: float) -> None:
    assert relative_error(np.array(actual), np.array(expected)) == error


def test_assert_agree_sees_missing_names() -> None:
    with pytest.raises(AssertionError):
        assert_agree({"a": 1.0}, {"a": 1.0, "b": 1.0}, 1.0)
