"""Every framework's learners against the NumPy oracle: each function, whole updates, and broken copies."""

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

import backends
from backends import (
    ALGORITHMS,
    Framework,
    batch_of,
    frameworks_of,
    gradients_of,
    in_each,
    learner_of,
    module_of,
    native,
    parts_of,
    plain,
    state_of,
    update_of,
    updated,
)
from backends.broken import BROKEN, BROKEN_PARTS, Break, improving, nothing
from polyak import frameworks
from polyak.algorithm import ERROR, STEP, first_state
from polyak.errors import UsageError
from polyak.frameworks.execution import Carriage, Execution
from polyak.frameworks.state import Weights, mapped
from polyak.networks.layers import Dense
from polyak.types import Learner
from reference import common as oracle
from reference import ddpg as oracle_ddpg
from reference import sac as oracle_sac
from reference import td3 as oracle_td3
from reference.cases import (
    Case,
    assert_agree,
    errors_of,
    make_case,
    play,
    relative_error,
    solve,
    warmed_up,
    wide_policy,
)

OTHERS = tuple(name for name in ALGORITHMS if name != "crossq")
"""Where one algorithm would do: CrossQ's updates take JAX longest to compile."""
EXACT = 1e-13  # one function in float64; reached: 2e-15, the rounding of sums of some tens of terms
ONE_UPDATE = 1e-12  # reached: 2e-15. Another processor sums in another order, and Adam magnifies in small gradients
TEN_UPDATES = 1e-11  # reached: 3e-15

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(params=backends.NAMES)
def framework(request: pytest.FixtureRequest) -> Framework:
    return backends.framework(request.param)


@pytest.fixture
def precise(framework: Framework) -> Iterator[Framework]:
    """Each operation by itself, so that a function replaced in a module is used."""
    with framework.precisely():
        yield framework


# Each function, in float64


@in_each(OTHERS)
def test_target(name: str, precise: Framework) -> None:
    case = make_case(name)
    noise = [next(iter(case.noise.values()))[0]] if case.noise else []
    module, given = module_of(case, precise), [native(value, precise) for value in noise]
    config = [case.config] if name in ("td3", "tqc") else []
    target = precise.prepared(lambda state, batch: module.target(state, batch, *given, *config))
    actual = plain(target(state_of(case, precise), batch_of(case, precise)))
    expected = importlib.import_module(f"reference.{name}").target(case.arrays, case.batch(0), *noise, *config)
    assert relative_error(actual, expected) < EXACT
    ended = case.batch(0).discount == 0.0
    assert 0 < ended.sum() < len(ended)
    rewards = case.batch(0).reward[ended]
    np.testing.assert_array_equal(actual[ended].T, np.broadcast_to(rewards, actual[ended].T.shape))


def test_smoothed_target_action(precise: Framework) -> None:
    case = make_case("td3", target_noise=0.6, target_noise_clip=0.5)
    noise = case.noise["target_action"][0]
    module = module_of(case, precise)
    smoothed = precise.prepared(lambda *tensors: module.smoothed_target_action(*tensors, case.config))
    actual = plain(smoothed(state_of(case, precise), batch_of(case, precise), native(noise, precise)))
    expected = oracle_td3.smoothed_target_action(case.arrays, case.batch(0), noise, case.config)
    assert relative_error(actual, expected) < EXACT
    assert np.max(np.abs(actual)) == 1.0, "the action's clip is at work"
    assert 0.1 < np.mean(np.abs(0.6 * noise) > 0.5) < 0.9, "the noise's clip is at work"


def test_critic_loss_of_one(precise: Framework) -> None:
    case = make_case("ddpg")
    critic, y = oracle.part(case.arrays, "critic"), case.batch(1).reward
    function = module_of(case, precise).critic_loss
    (loss, q), gradients = gradients_of(precise, function, critic, batch_of(case, precise), y, case.config)
    expected_loss, expected, expected_q = oracle.critic_loss(critic, case.batch(0), y, case.config)
    assert_agree({"loss": loss, "q": q}, {"loss": expected_loss, "q": expected_q}, EXACT)
    assert_agree(gradients, expected, EXACT)


@pytest.mark.parametrize("name", ["td3", "sac", "sac lap"])
def test_critic_loss_of_two(name: str, precise: Framework) -> None:
    case = make_case("sac", prioritized="lap") if name == "sac lap" else make_case(name)
    critics, y = tuple(oracle.part(case.arrays, f"critic_{i}") for i in (1, 2)), case.batch(1).reward
    function = module_of(case, precise).critic_loss
    (loss, q), both = gradients_of(precise, function, critics, batch_of(case, precise), y, case.config)
    (loss_1, expected_1, q_1), (loss_2, expected_2, q_2) = (
        oracle.critic_loss(c, case.batch(0), y, case.config) for c in critics
    )
    assert_agree({"loss": loss, "1": q[0], "2": q[1]}, {"loss": loss_1 + loss_2, "1": q_1, "2": q_2}, EXACT)
    if name == "sac lap":
        assert 0.1 < np.mean(np.abs(q_1 - y) > 1.0) < 0.9, "both parts of the loss are at work"
    assert_agree(both[0], expected_1, EXACT)
    assert_agree(both[1], expected_2, EXACT)


@pytest.mark.parametrize(("name", "critic_name"), [("ddpg", "critic"), ("td3", "critic_1")])
def test_deterministic_actor_loss(name: str, critic_name: str, precise: Framework) -> None:
    case = make_case(name)
    actor, critic = oracle.part(case.arrays, "actor"), oracle.part(case.arrays, critic_name)
    observation, function = case.batch(0).observation, module_of(case, precise).actor_loss
    values, gradients = gradients_of(precise, function, actor, critic, observation)
    expected_loss, expected, expected_action = oracle_ddpg.actor_loss(actor, critic, observation)
    actual_values = dict(zip(("loss", "action"), values, strict=True))
    assert_agree(actual_values, {"loss": expected_loss, "action": expected_action}, EXACT)
    assert_agree(gradients, expected, EXACT)


def test_sample_action(precise: Framework) -> None:
    case = make_case("sac")
    actor, observation, noise = wide_policy(case), case.batch(0).observation, case.noise["action"][0]
    sample = precise.prepared(module_of(case, precise).sample_action)
    action, log_probability = plain(sample(*(native(x, precise) for x in (actor, observation, noise))))
    expected = oracle_sac.sample_action(actor, observation, noise)
    assert relative_error(action, expected.action) < EXACT
    assert relative_error(log_probability, expected.log_probability) < EXACT


def test_sac_actor_loss_with_clamped_log_sigma(precise: Framework) -> None:
    case = make_case("sac")
    actor, observation, noise = wide_policy(case), case.batch(0).observation, case.noise["action"][0]
    critics = tuple(oracle.part(case.arrays, f"critic_{i}") for i in (1, 2))
    module = module_of(case, precise)
    q = partial(module.minimum, *native(critics, precise))
    (loss, (log_probability, action)), gradients = gradients_of(
        precise, module.actor_loss, actor, q, 0.3, observation, noise
    )
    expected_loss, expected, expected_log, expected_action = oracle_sac.actor_loss(
        actor, *critics, 0.3, observation, noise
    )
    actual_values = {"loss": loss, "log": log_probability, "action": action}
    assert_agree(actual_values, {"loss": expected_loss, "log": expected_log, "action": expected_action}, EXACT)
    assert_agree(gradients, expected, EXACT)
    assert gradients["2/bias"][3] == 0.0, "no gradient below the clamp"


def test_temperature_loss(precise: Framework) -> None:
    function = module_of(make_case("sac"), precise).temperature_loss
    actual = gradients_of(precise, function, np.array(-0.7), np.array(1.3), -3.0)
    assert relative_error(np.array(actual), np.array(oracle_sac.temperature_loss(np.array(-0.7), 1.3, -3.0))) < EXACT


def test_sample_action_far_out_in_float32(framework: Framework) -> None:
    """Where tanh(u) rounds to one, the log-probability and its gradient stay finite and right."""
    actor = {"0/kernel": np.zeros((1, 2), np.float32), "0/bias": np.array([40.0, -5.0], np.float32)}
    noise, module = np.array([[0.5]], np.float32), module_of(make_case("sac"), framework)
    logarithm = lambda *arguments: module.sample_action(*arguments)[1][0]  # noqa: E731
    arguments = (actor, np.zeros((1, 1), np.float32), noise)
    value, gradient = gradients_of(framework, logarithm, *arguments)
    expected = oracle_sac.sample_action(actor, np.zeros((1, 1)), noise.astype(np.float64)).log_probability[0]
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient["0/bias"], [2.0, 2.0 * np.exp(-5.0) * 0.5 - 1.0], rtol=1e-6)


@in_each(ALGORITHMS)
def test_unpacked_columns_are_the_batch_and_the_noise_of_the_edge(name: str, framework: Framework) -> None:
    case = make_case(name, observation_size=4, action_size=2)
    edge, noise = case.burst(0, 1)
    carriage = Carriage(case.what.draws(case.spec, case.config), case.spec.layout)
    records, more = carriage.packed(edge, noise)
    batch = parts_of(framework).Batch.unpacked(native(records[0], framework), case.spec.layout)
    for field in batch._fields:
        np.testing.assert_array_equal(plain(getattr(batch, field)), getattr(edge, field)[0])
    for given, value in noise.items():
        np.testing.assert_array_equal(records[..., carriage.columns[given][0]], value)
    assert records.shape[-1] == 4 + 2 + 1 + 4 + 2 + 2 * len(noise)
    assert more is None


def test_jax_multiplies_in_full_precision() -> None:
    """On a GPU the default would be TF32, which no test on a CPU could see."""
    import jax

    parameters = Weights({"0": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}}, (Dense(3),))
    program = jax.make_jaxpr(parts_of(backends.framework("jax")).network)(parameters, np.ones((4, 2)))
    (product,) = (each for each in program.eqns if each.primitive.name == "dot_general")
    assert str(product.params["precision"]).count("HIGHEST") == 2


# Whole updates

SHORT = {"steps": 40, "update_after": 31, "update_every": 2}  # of ten updates, so that ten go through a schedule
OTHER_PARTS = {
    "ddpg tanh decay": {"activation": "tanh", "weight_decay": 0.1, "adam_beta_1": 0.0},
    "td3 elu linear betas": {
        "activation": "elu",
        "learning_rate_schedule": "linear",
        "learning_rate_end": 0.2,
        "policy_delay": 3,
        "adam_beta_1": 0.5,
        "adam_beta_2": 0.99,
        "target_noise": 0.6,
        **SHORT,
    },
    "sac layer norm silu cosine decay": {
        "network": "layer_norm",
        "activation": "silu",
        "learning_rate_schedule": "cosine",
        "weight_decay": 0.1,
        "alpha": 0.3,
        **SHORT,
    },
}
"""Layers and steps that are not the default, together, because each is compiled anew."""

UPDATES = {
    **{name: make_case(name.partition(" ")[0], **settings) for name, settings in OTHER_PARTS.items()},
    "ddpg": make_case("ddpg"),
    "ddpg one action": make_case("ddpg", action_size=1, hidden_sizes=(8,), discount=0.9, polyak=0.9),
    "td3": make_case("td3"),
    "td3 delay 3": make_case("td3", action_size=1, hidden_sizes=(16, 12, 8), policy_delay=3, target_noise=0.6),
    "crossq": warmed_up(make_case("crossq"), 99_995),
    "sac": make_case("sac"),
    "sac fixed alpha": make_case("sac", action_size=1, hidden_sizes=(8,), learn_alpha=False, alpha=0.2),
    "tqc": make_case("tqc"),
    "sac target entropy": make_case("sac", alpha=0.3, target_entropy=0.5, alpha_learning_rate=1e-2, prioritized="lap"),
}
AS_WRITTEN = ("ddpg one action", "td3 delay 3", "sac target entropy", "ddpg tanh decay")
"""Settings that change numbers and not a page's course: TensorFlow, which compiles slowest, does not compile these."""


@in_each(UPDATES)
def test_one_and_ten_updates(name: str, framework: Framework) -> None:
    case, fast = UPDATES[name], framework.name != "tensorflow" or name not in AS_WRITTEN
    states, expected = solve(case)
    learner, rows, errors = learner_of(case, framework.name, fast=fast), [], errors_of(case)
    for index, state in enumerate(states):
        metrics, _, found = learner.launch(*case.burst(index, index + 1))()
        rows.append(metrics.values[0])
        assert relative_error(found, errors[index : index + 1]) < TEN_UPDATES
        assert_agree(learner.arrays(), state, ONE_UPDATE if index == 0 else TEN_UPDATES)
    assert_agree(dict(zip(metrics.names, np.array(rows).T, strict=True)), expected, TEN_UPDATES)


@pytest.mark.parametrize("bursts", [(1, 1, 1, 1, 1, 1), (3, 3)])
def test_td3_delay_goes_on_across_calls(bursts: tuple[int, ...], framework: Framework) -> None:
    case = make_case("td3", updates=6)
    states, expected = solve(case)
    learner, done = learner_of(case, framework.name), 0
    for burst in bursts:
        metrics = learner.update(*case.burst(done, done + burst))
        actor_loss = metrics.values[:, metrics.names.index("actor_loss")]
        np.testing.assert_array_equal(
            np.isnan(actor_loss), [step % 2 == 1 for step in range(done + 1, done + burst + 1)]
        )
        assert relative_error(actor_loss, expected["actor_loss"][done : done + burst]) < ONE_UPDATE
        done += burst
        assert_agree(learner.arrays(), states[done - 1], TEN_UPDATES)
        assert learner.arrays()["adam_actor/count"] == done // 2


IN_A_LOOP = [*((name, "torch") for name in OTHERS), ("sac", "jax"), ("sac", "tensorflow")]
"""The loop over updates is the same for every page: SAC's is compiled in it, and TD3's by the test before."""


@pytest.mark.parametrize(("name", "framework"), IN_A_LOOP, indirect=["framework"])
def test_fifty_bursts_of_one_are_one_burst_of_fifty(name: str, framework: Framework) -> None:
    case = make_case(name, updates=50)
    one, fifty = learner_of(case, framework.name), learner_of(case, framework.name)
    assert_agree(play(one, case, [1] * 50), play(fifty, case, [50]), TEN_UPDATES)
    assert_agree(one.arrays(), fifty.arrays(), TEN_UPDATES)


def test_what_a_burst_brought_stays_though_others_follow(framework: Framework) -> None:
    """Three launched before the first is waited for."""
    case = make_case("ddpg")
    ahead, waiting = learner_of(case, framework.name), learner_of(case, framework.name)
    launched = [ahead.launch(*case.burst(index, index + 1)) for index in range(3)]
    for index, learned in enumerate(launched):
        brought, at_once = learned(), waiting.launch(*case.burst(index, index + 1))()
        np.testing.assert_array_equal(brought.metrics.values, at_once.metrics.values)
        np.testing.assert_array_equal(brought.errors, at_once.errors)
        assert_same_bits(brought.actor, waiting.actor())


@in_each(ALGORITHMS)
def test_a_learner_made_from_arrays_goes_on_bit_for_bit(name: str, framework: Framework) -> None:
    """After three updates, so that TD3 stands between two delayed steps."""
    case = make_case(name)
    whole = learner_of(case, framework.name)
    play(whole, case, [1, 1, 1])
    resumed = learner_of(case, framework.name, arrays=whole.arrays())
    assert_same_bits(resumed.arrays(), whole.arrays())
    for index in range(3, 6):
        ends = [learner.update(*case.burst(index, index + 1)).values for learner in (whole, resumed)]
        np.testing.assert_array_equal(ends[0], ends[1])
    assert_same_bits(resumed.arrays(), whole.arrays())


def assert_same_bits(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert sorted(actual) == sorted(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def test_only_copies_cross_the_edge(framework: Framework) -> None:
    case = make_case("ddpg").cast(np.float32)
    given = {name: value.copy() for name, value in case.arrays.items()}
    learner: Learner = learner_of(case, framework.name, arrays=given)
    actor, arrays = learner.actor(), learner.arrays()
    assert_same_bits(arrays, case.arrays)
    assert_same_bits(actor, oracle.part(case.arrays, "actor"))
    for value in [*actor.values(), *arrays.values(), *given.values()]:
        value[...] = 7
    assert_same_bits(learner.arrays(), case.arrays)
    before = learner.actor()
    play(learner, case, [1])
    assert_same_bits(before, oracle.part(case.arrays, "actor"))
    assert not np.array_equal(learner.actor()["0/kernel"], before["0/kernel"])


# One pure update, a function of it replaced

TWO_UPDATES = {
    "ddpg": make_case("ddpg", updates=2),
    "td3": make_case("td3", updates=2, target_noise=0.6),
    "sac": make_case("sac", updates=2, alpha=0.3),
    "tqc": make_case("tqc", updates=2, alpha=0.3),
    "crossq": warmed_up(make_case("crossq", updates=2, policy_delay=1, alpha=0.3)),
}


def without_step(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """A state as a page has it: the count of updates is the learner's."""
    return {name: value for name, value in arrays.items() if name != STEP}


def solved(case: Case) -> dict[str, Any]:
    """The oracle's state after all updates."""
    return without_step(solve(case)[0][-1])


def break_in(case: Case, framework: Framework, broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(case, framework)
    for attribute, replacement in broken(module, framework).items():
        monkeypatch.setattr(module if hasattr(module, attribute) else parts_of(framework), attribute, replacement)


def no_delay(name: str) -> dict[str, Any]:
    """Settings with which the first update has an actor step."""
    return {"policy_delay": 1} if name in ("td3", "crossq") else {}


@in_each(OTHERS)
def test_saturated_actions_are_counted_on_both_sides(name: str, precise: Framework) -> None:
    """An actor whose three components are near 1, inside, and near -1 for every observation."""
    case = make_case(name, updates=1, **no_delay(name))
    last = len(oracle.part(case.arrays, "actor")) // 2 - 1
    shift = np.array([6.0, 0.0, -6.0, -3.0, -3.0, -3.0])
    bias = f"actor/{last}/bias"
    shift = shift[: len(case.arrays[bias])]
    case = dataclasses.replace(case, arrays=case.arrays | {bias: case.arrays[bias] + shift})
    _, measured = update_of(case, precise)(state_of(case, precise), 0)
    metrics = {name: np.array([value]) for name, value in plain(dict(measured)).items() if name != ERROR}
    assert metrics["saturated"][0] == pytest.approx(2 / 3)
    assert_agree(metrics, solve(case)[1], 1e-12)


@in_each(ALGORITHMS)
def test_the_actor_step_leaves_the_critics_alone(
    name: str, precise: Framework, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the actor's loss a million times as large, everything of the critics keeps its bits."""
    case = make_case(name, updates=1, **no_delay(name))
    module = improving(module_of(case, precise))
    loss, one = module.actor_loss, updated(case, precise)
    monkeypatch.setattr(module, "actor_loss", lambda *rest: mapped(lambda value: 1e6 * value, loss(*rest)))
    other = updated(case, precise)
    changed = [path for path in one if not np.array_equal(one[path], other[path])]
    assert "adam_actor/first/1/kernel" in changed
    assert not [path for path in changed if "critic" in path]


@in_each(TWO_UPDATES)
def test_an_update_is_a_pure_function(name: str, precise: Framework) -> None:
    """The state that was given keeps its bits, and the same arguments give the same bits again."""
    case = TWO_UPDATES[name]
    state, update = state_of(case, precise), update_of(case, precise)
    ends = [update(state, 0) for _ in range(2)]
    assert_same_bits(plain(state), plain(state_of(case, precise)))
    assert_same_bits(plain(ends[0][0]), plain(ends[1][0]))
    assert_same_bits(plain(dict(ends[0][1])), plain(dict(ends[1][1])))


@in_each(TWO_UPDATES)
def test_the_unbroken_copy_passes(name: str, precise: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    case = TWO_UPDATES[name]
    break_in(case, precise, nothing, monkeypatch)
    assert_agree(updated(case, precise), without_step(solve(case)[0][-1]), ONE_UPDATE)


COPIES = [(name, broken, each) for name, copies in BROKEN.items() for broken in copies for each in frameworks_of(name)]


@pytest.mark.parametrize(("name", "broken", "framework"), COPIES, indirect=["framework"])
def test_broken_copies_are_caught(
    name: str, broken: Break, precise: Framework, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_in(TWO_UPDATES[name], precise, broken, monkeypatch)
    with pytest.raises(AssertionError, match="relative"):
        assert_agree(updated(TWO_UPDATES[name], precise), without_step(solve(TWO_UPDATES[name])[0][-1]), ONE_UPDATE)


@pytest.mark.parametrize("broken", BROKEN_PARTS)
def test_broken_layers_and_steps_are_caught(broken: Break, precise: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few updates of each case of other layers and steps, two of each network; at least one is off."""
    counts = {"ddpg": 2, "td3": 6, "sac": 2}
    names = [(name.partition(" ")[0], given) for name, given in OTHER_PARTS.items()]
    cases = [make_case(name, updates=counts[name], **given) for name, given in names]
    for case in cases:
        break_in(case, precise, broken, monkeypatch)
    ours, theirs = ([each(case) for case in cases] for each in (lambda case: updated(case, precise), solved))
    errors = [relative_error(one[name], other[name]) for one, other in zip(ours, theirs, strict=True) for name in other]
    assert max(errors) > 1e3 * ONE_UPDATE


# The door


def test_make_learner_starts_from_the_arrays_it_is_given(framework: Framework) -> None:
    case = make_case("sac")
    arrays = first_state(case.what.state(case.spec, case.config), np.random.default_rng(3))
    learner = learner_of(case, framework.name, arrays=arrays)
    assert_same_bits(learner.arrays(), arrays)


@pytest.mark.parametrize(
    ("backend", "command"),
    [
        ("jax", "pip install polyak"),
        ("torch", r'pip install "polyak\[torch\]"'),
        ("tensorflow", r'pip install "polyak\[tensorflow\]"'),
    ],
)
def test_a_framework_that_is_not_installed_is_told_with_its_extra(
    backend: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frameworks, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=f"backend '{backend}' is not installed: {command}$"):
        frameworks.start(backend, Execution())


@pytest.mark.parametrize("backend", backends.NAMES)
def test_a_gpu_that_is_not_there_is_told(backend: str) -> None:
    if frameworks.start(backend, Execution("auto")).device == "cuda":
        pytest.skip("it is there")
    with pytest.raises(UsageError, match=r"device is 'cuda', but .* sees no NVIDIA GPU.*--device cpu"):
        frameworks.start(backend, Execution("cuda"))


def test_unknown_backend() -> None:
    case = make_case("ddpg")
    with pytest.raises(UsageError, match=r"'caffe'.* jax, torch, tensorflow"):
        frameworks.make_learner("caffe", case.what, case.spec, case.config, case.arrays)
