"""The JAX learners against the NumPy oracle: every function, whole updates in both precisions, and broken copies."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from polyak import types
from polyak.algorithms.sac import initial_state
from polyak.errors import UsageError
from polyak.learners import make_learner
from polyak.learners.jax import common, ddpg, make, sac, td3
from polyak.networks import flattened, nested
from reference import common as oracle
from reference import ddpg as oracle_ddpg
from reference import sac as oracle_sac
from reference import td3 as oracle_td3
from reference.broken_jax import BROKEN, Break, nothing
from reference.cases import Case, assert_agree, make_case, play, relative_error, solve, wide_policy

NAMES = ("ddpg", "td3", "sac")
EXACT = 1e-13  # one function in float64; reached: 2e-15, the rounding of sums of some tens of terms
ONE_UPDATE = 1e-12  # reached: 2e-15. Another processor sums in another order, and Adam magnifies in small gradients
TEN_UPDATES = 1e-11  # reached: 3e-15
FLOAT32 = 5e-5  # reached: 8e-6, most of it from 1 - 0.999**count in float32


@pytest.fixture(scope="module", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Learners of the same shapes compile once, not once a test."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("jax")),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture
def float64() -> Iterator[None]:
    """JAX computes in float64 within the test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def eager(float64: None) -> Iterator[None]:
    """In float64 and without compiling, so that a function replaced in a module is used."""
    with jax.disable_jit():
        yield


def module_of(case: Case) -> ModuleType:
    return importlib.import_module(f"polyak.learners.jax.{case.algorithm}")


def tree(arrays: Mapping[str, Any]) -> Any:
    """Named NumPy arrays as JAX's nested dictionaries."""
    return jax.tree.map(jnp.array, nested(arrays))


def state_of(case: Case) -> Any:
    return module_of(case).State(**tree(case.arrays))


def batch_of(case: Case, index: int = 0) -> common.Batch:
    return common.Batch(*map(jnp.array, case.batch(index)))


def learner_of(case: Case) -> types.Learner:
    return make(case.algorithm, case.spec, case.config, case.arrays)


def value_and_gradients(function: Callable[..., Any], parameters: Any, *rest: Any, aux: bool = True) -> tuple[Any, Any]:
    """Value (with its companion, where the function has one) and gradients as named arrays."""
    value, gradients = jax.value_and_grad(function, has_aux=aux)(parameters, *rest)
    return value, flattened(gradients)


# Each function, in float64


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", NAMES)
def test_target(name: str) -> None:
    case = make_case(name)
    noise = [next(iter(case.noise.values()))[0]] if case.noise else []
    actual = module_of(case).target(state_of(case), batch_of(case), *noise, case.config)
    expected = importlib.import_module(f"reference.{name}").target(case.arrays, case.batch(0), *noise, case.config)
    assert relative_error(actual, expected) < EXACT
    ended = case.batch(0).terminated == 1.0
    np.testing.assert_array_equal(np.asarray(actual)[ended], case.batch(0).reward[ended])


@pytest.mark.usefixtures("eager")
def test_smoothed_target_action() -> None:
    case = make_case("td3", target_noise=0.6, target_noise_clip=0.5)
    noise = case.noise["target_action"][0]
    actual = np.asarray(td3.smoothed_target_action(state_of(case), batch_of(case), noise, case.config))
    expected = oracle_td3.smoothed_target_action(case.arrays, case.batch(0), noise, case.config)
    assert relative_error(actual, expected) < EXACT
    assert np.max(np.abs(actual)) == 1.0, "the action's clip is at work"
    assert 0.1 < np.mean(np.abs(0.6 * noise) > 0.5) < 0.9, "the noise's clip is at work"


@pytest.mark.usefixtures("eager")
def test_critic_loss_of_one() -> None:
    case = make_case("ddpg")
    critic, y = oracle.part(case.arrays, "critic"), case.batch(1).reward
    (loss, q), gradients = value_and_gradients(ddpg.critic_loss, tree(critic), batch_of(case), y)
    expected_loss, expected, expected_q = oracle.critic_loss(critic, case.batch(0), y)
    assert_agree({"loss": loss, "q": q}, {"loss": expected_loss, "q": expected_q}, EXACT)
    assert_agree(gradients, expected, EXACT)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("module", [td3, sac])
def test_critic_loss_of_two(module: ModuleType) -> None:
    case = make_case("td3")
    critics, y = [oracle.part(case.arrays, f"critic_{i}") for i in (1, 2)], case.batch(1).reward
    (loss, q), both = jax.value_and_grad(module.critic_loss, has_aux=True)(tuple(map(tree, critics)), batch_of(case), y)
    (loss_1, expected_1, expected_q), (loss_2, expected_2, _) = (
        oracle.critic_loss(c, case.batch(0), y) for c in critics
    )
    assert_agree({"loss": loss, "q": q}, {"loss": loss_1 + loss_2, "q": expected_q}, EXACT)
    assert_agree(flattened(both[0]), expected_1, EXACT)
    assert_agree(flattened(both[1]), expected_2, EXACT)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("module", "name", "critic_name"), [(ddpg, "ddpg", "critic"), (td3, "td3", "critic_1")])
def test_deterministic_actor_loss(module: ModuleType, name: str, critic_name: str) -> None:
    case = make_case(name)
    actor, critic = oracle.part(case.arrays, "actor"), oracle.part(case.arrays, critic_name)
    observation = case.batch(0).observation
    loss, gradients = value_and_gradients(module.actor_loss, tree(actor), tree(critic), observation, aux=False)
    expected_loss, expected = oracle_ddpg.actor_loss(actor, critic, observation)
    assert relative_error(loss, expected_loss) < EXACT
    assert_agree(gradients, expected, EXACT)


@pytest.mark.usefixtures("eager")
def test_sample_action() -> None:
    case = make_case("sac")
    actor, observation, noise = wide_policy(case), case.batch(0).observation, case.noise["action"][0]
    action, log_probability = sac.sample_action(tree(actor), observation, noise)
    expected = oracle_sac.sample_action(actor, observation, noise)
    assert relative_error(action, expected.action) < EXACT
    assert relative_error(log_probability, expected.log_probability) < EXACT


@pytest.mark.usefixtures("eager")
def test_sac_actor_loss_with_clamped_log_sigma() -> None:
    case = make_case("sac")
    actor, observation, noise = wide_policy(case), case.batch(0).observation, case.noise["action"][0]
    critics = [oracle.part(case.arrays, f"critic_{i}") for i in (1, 2)]
    arguments = (tree(actor), tuple(map(tree, critics)), 0.3, observation, noise)
    (loss, log_probability), gradients = value_and_gradients(sac.actor_loss, *arguments)
    expected_loss, expected, expected_log = oracle_sac.actor_loss(actor, *critics, 0.3, observation, noise)
    assert_agree({"loss": loss, "log": log_probability}, {"loss": expected_loss, "log": expected_log}, EXACT)
    assert_agree(gradients, expected, EXACT)
    assert gradients["2/bias"][3] == 0.0, "no gradient below the clamp"


@pytest.mark.usefixtures("eager")
def test_temperature_loss() -> None:
    actual = jax.value_and_grad(sac.temperature_loss)(-0.7, 1.3, -3.0)
    assert relative_error(np.array(actual), np.array(oracle_sac.temperature_loss(np.array(-0.7), 1.3, -3.0))) < EXACT


def test_sample_action_far_out_in_float32() -> None:
    """Where tanh(u) rounds to one, the log-probability and its gradient stay finite and right."""
    actor = {"0/kernel": np.zeros((1, 2), np.float32), "0/bias": np.array([40.0, -5.0], np.float32)}
    noise = np.array([[0.5]], np.float32)
    logarithm = lambda actor: sac.sample_action(actor, np.zeros((1, 1), np.float32), noise)[1][0]  # noqa: E731
    value, gradient = jax.value_and_grad(logarithm)(tree(actor))
    expected = oracle_sac.sample_action(actor, np.zeros((1, 1)), noise.astype(np.float64)).log_probability[0]
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient["0"]["bias"], [2.0, 2.0 * np.exp(-5.0) * 0.5 - 1.0], rtol=1e-6)


def test_unpacked_batch_is_the_batch_of_the_edge() -> None:
    case = make_case("ddpg", observation_size=4, action_size=2)
    edge, _ = case.burst(0, 1)
    batch = common.Batch.unpacked(jnp.array(edge.records[0]), 4, 2)
    for field in batch._fields:
        np.testing.assert_array_equal(getattr(batch, field), getattr(edge, field)[0].astype(np.float32))


# Whole updates

UPDATES = {
    "ddpg": make_case("ddpg"),
    "ddpg one action": make_case("ddpg", action_size=1, hidden_sizes=(8,), discount=0.9, polyak=0.9),
    "td3": make_case("td3"),
    "td3 delay 3": make_case("td3", action_size=1, hidden_sizes=(16, 12, 8), policy_delay=3, target_noise=0.6),
    "sac": make_case("sac"),
    "sac fixed alpha": make_case("sac", action_size=1, hidden_sizes=(8,), learn_alpha=False, alpha=0.2),
    "sac target entropy": make_case("sac", alpha=0.3, target_entropy=0.5, alpha_learning_rate=1e-2),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", UPDATES.values(), ids=UPDATES)
def test_one_and_ten_updates(case: Case) -> None:
    states, expected = solve(case)
    learner, rows = learner_of(case), []
    for index, state in enumerate(states):
        metrics = learner.update(*case.burst(index, index + 1))
        rows.append(metrics.values[0])
        assert_agree(learner.arrays(), state, ONE_UPDATE if index == 0 else TEN_UPDATES)
    assert_agree(dict(zip(metrics.names, np.array(rows).T, strict=True)), expected, TEN_UPDATES)


WIDE = make_case("sac", updates=3, hidden_sizes=(256, 256), batch_size=100)


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [*((make_case(name), FLOAT32) for name in NAMES), (WIDE, 1e-3)],
    ids=[*NAMES, "sac of full width"],
)
def test_updates_in_float32(case: Case, tolerance: float) -> None:
    """Narrow networks agree to rounding; in wide ones single ReLUs switch, and Adam magnifies small gradients."""
    states, expected = solve(case)
    learner = learner_of(case.cast(np.float32))
    metrics = play(learner, case.cast(np.float32), [len(states)])
    arrays = learner.arrays()
    assert {value.dtype for value in arrays.values()} == {np.dtype(np.float32), np.dtype(np.int32)}
    assert_agree(metrics, expected, FLOAT32)
    assert_agree(arrays, states[-1], tolerance)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("bursts", [(1, 1, 1, 1, 1, 1), (3, 3)])
def test_td3_delay_goes_on_across_calls(bursts: tuple[int, ...]) -> None:
    case = make_case("td3", updates=6)
    states, expected = solve(case)
    learner, done = learner_of(case), 0
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


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NAMES)
def test_fifty_bursts_of_one_are_one_burst_of_fifty(name: str) -> None:
    case = make_case(name, updates=50)
    one, fifty = learner_of(case), learner_of(case)
    assert_agree(play(one, case, [1] * 50), play(fifty, case, [50]), TEN_UPDATES)
    assert_agree(one.arrays(), fifty.arrays(), TEN_UPDATES)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NAMES)
def test_a_learner_made_from_arrays_goes_on_bit_for_bit(name: str) -> None:
    """After three updates, so that TD3 stands between two delayed steps."""
    case = make_case(name)
    whole = learner_of(case)
    play(whole, case, [1, 1, 1])
    resumed = make(name, case.spec, case.config, whole.arrays())
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


def test_only_copies_cross_the_edge() -> None:
    case = make_case("ddpg").cast(np.float32)
    given = {name: value.copy() for name, value in case.arrays.items()}
    learner = make("ddpg", case.spec, case.config, given)
    actor, arrays = learner.actor(), learner.arrays()
    assert_same_bits(arrays, case.arrays)
    assert_same_bits(actor, oracle.part(case.arrays, "actor"))
    for value in [*actor.values(), *arrays.values(), *given.values()]:
        value[...] = 7
    assert_same_bits(learner.arrays(), case.arrays)
    before = learner.actor()
    play(learner, case, [10])
    assert_same_bits(before, oracle.part(case.arrays, "actor"))
    assert not np.array_equal(learner.actor()["0/kernel"], before["0/kernel"])


# One pure update, a function of it replaced

TWO_UPDATES = {
    "ddpg": make_case("ddpg", updates=2),
    "td3": make_case("td3", updates=2, target_noise=0.6),
    "sac": make_case("sac", updates=2, alpha=0.3),
}


def updated(case: Case, broken: Break, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The state after the case's updates by a module broken in this way."""
    module = module_of(case)
    for attribute, replacement in broken(module).items():
        monkeypatch.setattr(module, attribute, replacement)
    state = state_of(case)
    for index in range(len(case.records)):
        noise = {name: jnp.array(value[index]) for name, value in case.noise.items()}
        state, _ = module.update(state, batch_of(case, index), noise, case.config)
    return flattened(state._asdict())


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", NAMES)
def test_the_actor_step_leaves_the_critics_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the actor's loss a million times as large, everything of the critics keeps its bits."""
    case = make_case(name, updates=1, **({"policy_delay": 1} if name == "td3" else {}))
    loss = module_of(case).actor_loss
    louder = lambda *rest: jax.tree.map(lambda value: 1e6 * value, loss(*rest))  # noqa: E731
    one = updated(case, nothing, monkeypatch)
    other = updated(case, lambda module: {"actor_loss": louder}, monkeypatch)
    changed = [path for path in one if not np.array_equal(one[path], other[path])]
    assert "adam_actor/first/0/kernel" in changed
    assert not [path for path in changed if "critic" in path]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("case", TWO_UPDATES.values(), ids=TWO_UPDATES)
def test_the_unbroken_copy_passes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_agree(updated(case, nothing, monkeypatch), solve(case)[0][-1], ONE_UPDATE)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("name", "broken"), [(name, broken) for name, copies in BROKEN.items() for broken in copies])
def test_broken_copies_are_caught(name: str, broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="relative"):
        assert_agree(updated(TWO_UPDATES[name], broken, monkeypatch), solve(TWO_UPDATES[name])[0][-1], ONE_UPDATE)


# The door


def test_make_learner_starts_from_the_initial_state_of_the_algorithm() -> None:
    case = make_case("sac")
    learner = make_learner("jax", "SAC", case.spec, case.config, np.random.default_rng(3))
    assert_same_bits(learner.arrays(), initial_state(np.random.default_rng(3), case.spec, case.config))


def test_unknown_backend_and_algorithm() -> None:
    case = make_case("ddpg")
    with pytest.raises(UsageError, match=r"'caffe'.* jax"):
        make_learner("caffe", "ddpg", case.spec, case.config, np.random.default_rng(0))
    with pytest.raises(UsageError, match=r"ddgp.* Did you mean 'ddpg'"):
        make_learner("jax", "ddgp", case.spec, case.config, np.random.default_rng(0))
