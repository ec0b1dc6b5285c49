"""TD3 with behaviour cloning (TD3+BC): every framework against the oracle, plausible mistakes, and TD3 itself at 0."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import backends
from backends import Framework, gradients_of, learner_of, module_of, parts_of, updated
from reference import common as oracle
from reference import td3 as oracle_td3
from reference.cases import Case, assert_agree, make_case, solve

EXACT, UPDATES = 1e-13, 1e-12
SMALL: dict[str, Any] = {"batch_size": 8, "update_after": 8, "hidden_sizes": (6, 5)}


def of_both_signs(case: Case) -> Case:
    """The first critic shifted so that what it expects of the policy is above zero in some rows, below it in others."""
    arrays, observation = dict(case.arrays), case.batch(1).observation
    action = oracle_td3.mu(oracle.part(arrays, "actor"), observation)[0]
    q = oracle.q_value(oracle.part(arrays, "critic_1"), observation, action)[0]
    arrays["critic_1/2/bias"] = (arrays["critic_1/2/bias"] - np.median(q)).astype(np.float32).astype(np.float64)
    return dataclasses.replace(case, arrays=arrays)


CASE = of_both_signs(make_case("td3", updates=4, **SMALL, behaviour_cloning=2.5))

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(params=backends.NAMES)
def precise(request: pytest.FixtureRequest) -> Iterator[Framework]:
    """A framework, each operation by itself."""
    framework = backends.framework(request.param)
    with framework.precisely():
        yield framework


def ends() -> dict[str, Any]:
    """The oracle's state, without the count of updates, which is the learner's."""
    return {path: value for path, value in solve(CASE)[0][-1].items() if path != "step"}


def test_the_loss_and_its_gradient(precise: Framework) -> None:
    actor, critic = (oracle.part(CASE.arrays, name) for name in ("actor", "critic_1"))
    batch = CASE.batch(0)
    given = actor, critic, batch.observation, batch.action, 2.5
    values, gradients = gradients_of(precise, module_of(CASE, precise).cloning_loss, *given)
    loss, expected, action = oracle_td3.cloning_loss(*given)
    assert_agree(dict(zip(("loss", "action"), values, strict=True)), {"loss": loss, "action": action}, EXACT)
    assert_agree(gradients, expected, EXACT)


def test_the_oracle_s_gradient_is_that_of_differences() -> None:
    """The scale of Q is a constant in it: of the loss with the scale as it was."""
    actor, critic = (oracle.part(CASE.arrays, name) for name in ("actor", "critic_1"))
    batch, path, step = CASE.batch(0), "1/bias", 1e-6
    _, gradients, action = oracle_td3.cloning_loss(actor, critic, batch.observation, batch.action, 2.5)
    scale = 2.5 / np.mean(np.abs(oracle.q_value(critic, batch.observation, action)[0]))

    def loss(moved: float) -> float:
        bias = actor[path].copy()
        bias[0] += moved
        shown = oracle_td3.mu({**actor, path: bias}, batch.observation)[0]
        q = oracle.q_value(critic, batch.observation, shown)[0]
        return float(np.mean((shown - batch.action) ** 2) - scale * np.mean(q))

    assert abs((loss(step) - loss(-step)) / (2 * step) - gradients[path][0]) < 1e-8


def test_updates(precise: Framework) -> None:
    assert_agree(updated(CASE, precise), ends(), UPDATES)


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_compiled_and_fused_updates(name: str) -> None:
    learner = learner_of(CASE, name)
    learner.update(*CASE.burst(0, 4))
    assert_agree(learner.arrays(), solve(CASE)[0][-1], UPDATES)


def test_without_the_term_it_is_td3_bit_for_bit(precise: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one operation of it is computed."""
    case, module = make_case("td3", updates=2, **SMALL), module_of(CASE, precise)

    def never(*given: Any) -> Any:
        raise AssertionError(given)

    monkeypatch.setattr(module, "cloning_loss", never)
    before = updated(case, precise)
    assert_agree(before, {path: value for path, value in solve(case)[0][-1].items() if path != "step"}, UPDATES)


def gradient_through_the_scale(module: Any, parts: Any) -> dict[str, Any]:
    mean = getattr(getattr(parts, "jnp", None), "mean", None) or getattr(getattr(parts, "torch", None), "mean", None)
    mean = mean or parts.tf.reduce_mean
    return {"scale_of": lambda q, alpha: alpha / mean(abs(q))}


def size_of_the_mean(module: Any, parts: Any) -> dict[str, Any]:
    """alpha over |mean Q|, not over mean |Q|."""
    right = module.scale_of
    mean: Any = parts.tf.reduce_mean if hasattr(parts, "tf") else lambda q: q.mean()
    return {"scale_of": lambda q, alpha: right(mean(q), alpha)}


def no_scale(module: Any, parts: Any) -> dict[str, Any]:
    return {"scale_of": lambda q, alpha: alpha}


def sum_over_an_action_s_numbers(module: Any, parts: Any) -> dict[str, Any]:
    right = module.cloning_loss

    def summed(actor: Any, critic: Any, observation: Any, recorded: Any, alpha: float) -> Any:
        loss, action = right(actor, critic, observation, recorded, alpha / recorded.shape[1])
        return loss * recorded.shape[1], action

    return {"cloning_loss": summed}


def actions_of_other_rows(module: Any, parts: Any) -> dict[str, Any]:
    right = module.cloning_loss
    rows = [*range(1, 8), 0]

    def turned(actor: Any, critic: Any, observation: Any, recorded: Any, alpha: float) -> Any:
        other = parts.tf.gather(recorded, rows) if hasattr(parts, "tf") else recorded[np.array(rows)]
        return right(actor, critic, observation, other, alpha)

    return {"cloning_loss": turned}


BROKEN: list[Callable[[Any, Any], dict[str, Any]]] = [
    gradient_through_the_scale,
    size_of_the_mean,
    no_scale,
    sum_over_an_action_s_numbers,
    actions_of_other_rows,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_copies_are_caught(broken: Any, precise: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(CASE, precise)
    for attribute, replacement in broken(module, parts_of(precise)).items():
        monkeypatch.setattr(module, attribute, replacement)
    with pytest.raises(AssertionError, match="relative"):
        assert_agree(updated(CASE, precise), ends(), UPDATES)
