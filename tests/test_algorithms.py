"""Settings refused at the door, noise as data, and the initial state of each algorithm."""

import importlib
import math
from dataclasses import replace
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from polyak.algorithm import Head, drawn, due, expected_state, first_state
from polyak.algorithms import NAMES, algorithm, crossq, ddpg, redq, sac, td3, tqc
from polyak.errors import UsageError
from polyak.types import Spec

MODULES = [ddpg, td3, sac, tqc, redq, crossq]
SPEC = Spec((2, 3), (2,), np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
NAN, INFINITY = math.nan, math.inf

SHARED_NONSENSE: list[tuple[str, list[Any], str]] = [
    ("steps", [-1], "at least 0"),
    ("start_steps", [-1], "at least 0"),
    ("update_after", [0, 255], "at least batch_size (256)"),
    ("update_every", [0, -50], "at least 1"),
    ("updates_per_step", [0.0, -1.0], "above 0"),
    ("steps_per_epoch", [0], "at least 1"),
    ("evaluation_episodes", [0], "at least 1"),
    ("max_episode_steps", [0, -1], "at least 1, or None"),
    ("replay_size", [0], "at least 1"),
    ("batch_size", [0], "at least 1"),
    ("batch_size", [1_000_001], "at most replay_size (1000000)"),
    ("discount", [-0.01, 1.01], "in [0, 1]"),
    ("actor_learning_rate", [0.0, -1e-3], "above 0"),
    ("critic_learning_rate", [0.0, -1e-3], "above 0"),
    ("hidden_sizes", [(), (256, 0), (-1,)], "one or more widths of at least 1"),
    ("critic_hidden_sizes", [(), (256, 0)], "one or more widths of at least 1, or None"),
    ("exploration_correlation", [-0.1, 1.0], "in [0, 1)"),
    ("exploration_hold", [0, 1_001], "at least 1 and at most 1,000"),
    ("exploration_spread", [(0.1,), (0.4, 0.1), (-0.1, 0.1), (0.0, 0.0), (0.1, 0.2, 0.3)], "two numbers, LOW and HIGH"),
    ("exploration_spread", [(0.1, NAN), (0.1, INFINITY), 0.1, ("a", "b")], "a tuple of finite numbers"),
    ("action_repeat", [0, 1_001], "at least 1 and at most 1,000"),
    ("adam_beta_1", [-0.1, 1.0], "in [0, 1)"),
    ("adam_beta_2", [-0.1, 1.0], "in [0, 1)"),
    ("weight_decay", [-1e-4], "at least 0"),
    ("learning_rate_end", [-0.1, 1.1], "in [0, 1]"),
    ("learning_rate_schedule", ["step"], "constant, linear, cosine"),
    ("network", ["cnn"], "mlp, layer_norm"),
    ("activation", ["gelu"], "relu, elu, silu, tanh"),
    ("discount", [NAN, INFINITY], "finite"),
    ("updates_per_step", [NAN, INFINITY], "finite"),
    ("actor_learning_rate", [NAN], "finite"),
]
RHO: tuple[str, list[Any], str] = ("polyak", [-0.1, 1.0, 2.0], "in [0, 1)")
OWN_NONSENSE: dict[ModuleType, list[tuple[str, list[Any], str]]] = {
    ddpg: [RHO, ("exploration_noise", [-0.1], "at least 0"), ("exploration_noise", [NAN], "finite")],
    td3: [
        RHO,
        ("exploration_noise", [-0.1], "at least 0"),
        ("target_noise", [-0.2], "at least 0"),
        ("target_noise_clip", [-0.5], "at least 0"),
        ("target_noise_clip", [INFINITY], "finite"),
        ("policy_delay", [0, -2], "at least 1"),
    ],
    sac: [
        RHO,
        ("alpha", [0.0, -0.2], "above 0"),
        ("alpha", [INFINITY], "finite"),
        ("alpha_learning_rate", [0.0], "above 0"),
        ("target_entropy", [NAN, -INFINITY], "finite"),
    ],
    crossq: [("policy_delay", [0], "at least 1"), ("polyak", [-0.1, 0.995], "0, as CrossQ has no target networks")],
    tqc: [
        RHO,
        ("critics", [0], "at least 1"),
        ("quantiles", [0], "at least 1"),
        ("dropped_quantiles", [-1], "at least 0"),
        ("dropped_quantiles", [25, 30], "below quantiles (25)"),
    ],
    redq: [
        RHO,
        ("critics", [0], "at least 1"),
        ("subset", [0], "at least 1"),
        ("subset", [11], "at most critics (10)"),
        ("policy_delay", [0], "at least 1"),
        ("dropout", [-0.1, 1.0], "in [0, 1)"),
    ],
}


def rows(nonsense: list[tuple[str, list[Any], str]]) -> list[tuple[str, Any, str]]:
    return [(name, value, limit) for name, values, limit in nonsense for value in values]


@pytest.mark.parametrize(
    ("module", "name", "value", "limit"),
    [(module, *row) for module in MODULES for row in rows(SHARED_NONSENSE + OWN_NONSENSE[module])],
)
def test_nonsense_is_refused_by_setting_value_and_limit(module: ModuleType, name: str, value: Any, limit: str) -> None:
    with pytest.raises(UsageError) as refusal:
        module.Config(**{name: value})
    assert str(refusal.value).startswith(f"{name} is {value!r}, but must be {limit}")


@pytest.mark.parametrize(
    ("module", "name", "value", "kind"),
    [
        (ddpg, "batch_size", 2.5, "a whole number"),
        (ddpg, "steps", 1e6, "a whole number"),
        (ddpg, "steps", True, "a whole number"),
        (ddpg, "discount", "0.9", "a number"),
        (ddpg, "discount", None, "a number"),
        (ddpg, "hidden_sizes", 256, "a tuple of whole numbers"),
        (ddpg, "hidden_sizes", (8.5,), "a tuple of whole numbers"),
        (td3, "policy_delay", 1.5, "a whole number"),
        (sac, "learn_alpha", 1, "True or False"),
    ],
)
def test_values_of_another_kind_are_refused(module: ModuleType, name: str, value: Any, kind: str) -> None:
    with pytest.raises(UsageError) as refusal:
        module.Config(**{name: value})
    assert str(refusal.value) == f"{name} is {value!r}, but must be {kind}"


def test_hidden_sizes_may_be_a_list() -> None:
    assert ddpg.Config(hidden_sizes=[8, 4]).hidden_sizes == (8, 4)  # pyright: ignore[reportArgumentType]


LIMITS: dict[str, list[Any]] = {
    "steps": [1],
    "start_steps": [0],
    "update_after": [256],
    "max_episode_steps": [None, 1],
    "batch_size": [1, 1_000],
    "discount": [0.0, 1.0],
    "polyak": [0.0],
    "hidden_sizes": [(1,), (400, 300, 200)],
    "critic_hidden_sizes": [None, (1,)],
    "exploration_correlation": [0.0, 0.99],
    "exploration_hold": [1, 1_000],
    "exploration_spread": [None, (0.0, 0.1), (0.4, 0.4)],
    "action_repeat": [1, 1_000],
}
OWN_LIMITS: dict[ModuleType, dict[str, list[Any]]] = {
    ddpg: {"exploration_noise": [0.0]},
    td3: {"exploration_noise": [0.0], "target_noise": [0.0], "target_noise_clip": [0.0], "policy_delay": [1]},
    sac: {"learn_alpha": [False], "alpha": [1e-9], "target_entropy": [None, 0.0, -7.5, 2.0], "log_sigma": ["tanh"]},
    tqc: {"critics": [1], "quantiles": [3], "dropped_quantiles": [0, 24]},
    redq: {"critics": [2], "subset": [1, 10], "policy_delay": [1], "dropout": [0.0, 0.99], "critic_network": [None]},
    crossq: {"policy_delay": [1], "network": ["mlp", "layer_norm", "batch_renorm"]},
}


@pytest.mark.parametrize("module", MODULES)
def test_values_at_the_limits_are_taken(module: ModuleType) -> None:
    for name, values in (LIMITS | OWN_LIMITS[module]).items():
        for value in values:
            assert getattr(module.Config(**{name: value}), name) == value


@pytest.mark.parametrize("module", MODULES)
def test_settings_are_frozen_and_named(module: ModuleType) -> None:
    config = module.Config()
    with pytest.raises(AttributeError):
        config.discount = 0.5
    with pytest.raises(TypeError):
        module.Config(1_000)
    with pytest.raises(TypeError, match="gamma"):
        module.Config(gamma=0.99)


def test_algorithms_by_name() -> None:
    assert set(NAMES) >= {"ddpg", "redq", "sac", "td3", "tqc"}
    for module in MODULES:
        name = module.__name__.rpartition(".")[2]
        assert algorithm(name.upper()) == replace(module.ALGORITHM, name=name)
    with pytest.raises(UsageError, match=r"'ppo': polyak has .*ddpg, .*sac, .*\(.*off-policy\)\. One of your own"):
        algorithm("ppo")
    with pytest.raises(UsageError, match=r"Did you mean 'sac'\?"):
        algorithm("sca")


def test_heads() -> None:
    heads = [module.ALGORITHM.head(module.Config()) for module in MODULES]
    assert heads == [Head("deterministic", 0.1), Head("deterministic", 0.1), *[Head("squashed_gaussian")] * 4]


OF_SAC = ["next_action", "action"]
DRAWS = {ddpg: [], td3: ["target_action"], sac: OF_SAC, tqc: OF_SAC, crossq: OF_SAC}
"""Of those that draw nothing else."""


@pytest.mark.parametrize("module", DRAWS)
def test_draws_are_standard_normal_and_follow_the_stream(module: ModuleType) -> None:
    draws = module.ALGORITHM.draws(SPEC, module.Config(batch_size=100))
    generator = np.random.default_rng(1)
    one, two = (drawn(draws, generator, 50) for _ in range(2))
    again = drawn(draws, np.random.default_rng(1), 50)
    assert list(one) == DRAWS[module]
    for name, value in one.items():
        assert (value.shape, value.dtype) == ((50, 100, 2), np.float32)
        np.testing.assert_array_equal(value, again[name])
        assert abs(value.mean()) < 4 / math.sqrt(value.size)
        assert abs((value.astype(np.float64) ** 2).mean() - 1.0) < 4 * math.sqrt(2 / value.size)
        assert np.unique(value).size > 0.99 * value.size, "a number of its own for each update, sample and dimension"
    found = [each[name].ravel() for each in (one, two) for name in each]
    for index, value in enumerate(found):
        for other in found[:index]:
            assert abs(np.corrcoef(value, other)[0, 1]) < 4 / math.sqrt(value.size)


def test_what_is_due_counts_over_the_run() -> None:
    flags = due({"actor": 3, "other": 1}, 4, 5)
    assert {name: value.tolist() for name, value in flags.items()} == {
        "actor": [False, True, False, False, True],
        "other": [True] * 5,
    }
    assert due({}, 4, 5) == {}


def test_horizons_are_the_steps_that_each_network_takes() -> None:
    config = td3.Config(steps=10_000, update_after=1_000, policy_delay=3)
    assert config.updates == 9_001
    assert config.optimizer("critic_1").horizon == 9_001
    assert config.optimizer("actor").horizon == 3_000
    assert td3.Config(steps=300, update_after=1_000).optimizer("actor").horizon == 1
    assert sac.Config(steps=10_050, update_every=50, updates_per_step=0.5).updates == 4_550
    assert sac.Config(alpha_learning_rate=1e-2).optimizer("log_alpha").rate == 1e-2


# observation 6, action 2, hidden (5, 4)
ACTOR = [(6, 5), (5,), (5, 4), (4,), (4, 2), (2,)]
SAC_ACTOR = [(6, 5), (5,), (5, 4), (4,), (4, 4), (4,)]
CRITIC = [(8, 5), (5,), (5, 4), (4,), (4, 1), (1,)]
PARAMETERS = ["0/kernel", "0/bias", "1/kernel", "1/bias", "2/kernel", "2/bias"]
NORMALIZED_CRITIC = [(8,), (8,), (8, 5), (5,), (5,), (5,), (5, 4), (4,), (4,), (4,), (4, 1), (1,)]
NORMALIZED = [f"{n}/{x}" for n in range(6) for x in (("kernel", "bias") if n % 2 else ("scale", "offset"))]
NETWORKS = {
    ddpg: {"actor": ACTOR, "critic": CRITIC},
    td3: {"actor": ACTOR, "critic_1": CRITIC, "critic_2": CRITIC},
    sac: {"actor": SAC_ACTOR, "critic_1": CRITIC, "critic_2": CRITIC},
    redq: {"actor": SAC_ACTOR, "critics": [(10, *shape) for shape in CRITIC]},
    crossq: {
        "actor": [(6,), (6,), (6, 5), (5,), (5,), (5,), (5, 4), (4,), (4,), (4,), (4, 4), (4,)],
        "critic_1": NORMALIZED_CRITIC,
        "critic_2": NORMALIZED_CRITIC,
    },
    tqc: {"actor": SAC_ACTOR, "critics": [(2, 8, 5), (2, 5), (2, 5, 4), (2, 4), (2, 4, 25), (2, 25)]},
}
TARGETS = {
    ddpg: ["actor", "critic"],
    td3: ["actor", "critic_1", "critic_2"],
    sac: ["critic_1", "critic_2"],
    tqc: ["critics"],
    redq: ["critics"],
    crossq: [],
}


def expected_shapes(module: ModuleType) -> dict[str, tuple[int, ...]]:
    """Every name of the state and its shape, written out from the design."""
    shapes: dict[str, tuple[int, ...]] = {"step": ()}
    for network, sizes in NETWORKS[module].items():
        prefixes = [network, f"adam_{network}/first", f"adam_{network}/second"]
        prefixes += [f"target_{network}"] if network in TARGETS[module] else []
        parameters = NORMALIZED if module is crossq else PARAMETERS
        shapes |= {
            f"{prefix}/{path}": size for prefix in prefixes for path, size in zip(parameters, sizes, strict=True)
        }
        for path, size in zip(parameters, sizes, strict=True):
            kept = [f"statistics_{network}/{path[0]}/{each}" for each in ("mean", "variance", "steps")]
            shapes |= dict(zip(kept, (size, size, ()), strict=True)) if path.endswith("scale") else {}
        shapes[f"adam_{network}/count"] = ()
    if module not in (ddpg, td3):
        shapes |= dict.fromkeys(["log_alpha", *(f"adam_log_alpha/{x}" for x in ("count", "first", "second"))], ())
    return shapes


def first(module: ModuleType, seed: int = 0, **settings: Any) -> dict[str, Any]:
    config = module.Config(hidden_sizes=(5, 4), **settings)
    return first_state(module.state(SPEC, config), np.random.default_rng(seed))


@pytest.mark.parametrize("module", MODULES)
def test_first_state(module: ModuleType) -> None:
    state = first(module)
    assert {name: value.shape for name, value in state.items()} == expected_shapes(module)
    for name, value in state.items():
        integer = name == "step" or name.endswith(("/count", "/steps"))
        assert value.dtype == (np.int32 if integer else np.float32), name
        assert not (value.any() and (integer or name.startswith("adam_"))), f"{name} starts at zero"
    for network in TARGETS[module]:
        for path in PARAMETERS:
            np.testing.assert_array_equal(state[f"target_{network}/{path}"], state[f"{network}/{path}"])
    expected = expected_state(module.state(SPEC, module.Config(hidden_sizes=(5, 4))))
    assert {name: (value.shape, value.dtype) for name, value in expected.items()} == {
        name: (value.shape, value.dtype) for name, value in state.items()
    }
    arrays = sorted(state.values(), key=lambda value: value.ctypes.data)
    assert not any(np.shares_memory(one, other) for one, other in pairwise(arrays)), "nothing is aliased"


@pytest.mark.parametrize("module", MODULES)
def test_first_state_follows_the_stream_and_has_no_equal_networks(module: ModuleType) -> None:
    one, again, other = (first(module, seed) for seed in (0, 0, 1))
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])
    for network in NETWORKS[module]:
        assert not np.array_equal(one[f"{network}/1/kernel"], other[f"{network}/1/kernel"])
    if "critic_2" in NETWORKS[module]:
        assert not np.array_equal(one["critic_1/1/kernel"], one["critic_2/1/kernel"])


def test_critics_may_have_other_widths_than_the_actor() -> None:
    state = first(sac, critic_hidden_sizes=(7,))
    assert (state["actor/0/kernel"].shape, state["critic_2/0/kernel"].shape) == ((6, 5), (8, 7))
    assert state["target_critic_1/1/kernel"].shape == (7, 1)


def test_first_temperature() -> None:
    state = first(sac, alpha=0.2)
    assert np.exp(state["log_alpha"]) == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize("module", MODULES)
def test_each_module_lists_its_deviations(module: ModuleType) -> None:
    assert "Deviations" in (importlib.import_module(module.__name__).__doc__ or "")
