"""TQC: its equations at any sizes, its run, its door, and an update of Stable-Baselines3 Contrib."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyak
from backends import framework, gradients_of, learner_of, module_of, native, parts_of, plain, state_of
from polyak import UsageError
from polyak.algorithm import networks_of
from polyak.frameworks.torch import fused
from reference import tqc as oracle
from reference.cases import assert_agree, make_case, play, relative_error
from reference.common import part
from tiny_cli import SMALL, TINY, call_cli, untrained_run
from whole_runs import assert_same, snapshots

EXACT = 1e-13  # a function in float64
TORCH = framework("torch")
TRAINED: dict[str, Any] = {**SMALL, "backend": "torch", "quantiles": 3, "dropped_quantiles": 1, "critics": 2}


# The equations, for any numbers of critics, quantiles and dropped ones


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, int]:
    quantiles = draw(st.integers(1, 7))
    dropped = draw(st.integers(0, quantiles - 1))
    return {"critics": draw(st.integers(1, 4)), "quantiles": quantiles, "dropped_quantiles": dropped}


@given(sizes())
def test_target_and_loss_of_any_sizes(given: dict[str, int]) -> None:
    case = make_case("tqc", updates=1, batch_size=5, hidden_sizes=(4,), **given)
    module, noise, batch = module_of(case, TORCH), case.noise["next_action"][0], case.batch(0)
    tensors = parts_of(TORCH).Batch(*native(tuple(batch), TORCH))
    y = plain(module.target(state_of(case, TORCH), tensors, native(noise, TORCH), case.config))
    expected = oracle.target(case.arrays, batch, noise, case.config)
    assert y.shape == (5, given["critics"] * (given["quantiles"] - given["dropped_quantiles"]))
    assert relative_error(y, expected) < EXACT
    critics = part(case.arrays, "critics")
    (loss, theta), gradients = gradients_of(TORCH, module.critic_loss, dict(critics), tensors, y)
    expected_loss, expected_gradients, expected_q = oracle.critic_loss(critics, batch, expected)
    assert_agree({"loss": loss, "q": theta.mean(axis=2)}, {"loss": expected_loss, "q": expected_q}, EXACT)
    assert_agree(gradients, expected_gradients, EXACT)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(0, 5))
def test_pytorch_s_fused_quantile_loss_is_the_plain_one(critics: int, quantiles: int, targets: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    arguments = (2.0 * generator.standard_normal((4, targets)), generator.uniform(0.5, 2.0, 4))
    theta = 2.0 * generator.standard_normal((critics, 4, quantiles))
    theta[0, 0, 0] = arguments[0][0, 0]  # u = 0
    regression = parts_of(TORCH).quantile_regression
    one = gradients_of(TORCH, regression, theta, *arguments)
    with fused.donated():
        other = gradients_of(TORCH, regression, theta, *arguments)
    assert relative_error(one[0], other[0]) < EXACT
    assert relative_error(one[1], other[1]) < EXACT
    rows, slope = oracle.quantile_huber(theta[0], arguments[0])
    if critics == 1:
        assert one[0] == pytest.approx(np.mean(arguments[1] * rows), rel=1e-12)
        np.testing.assert_allclose(one[1][0], slope * arguments[1][:, None] / 4, rtol=1e-12, atol=1e-17)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_the_smallest_are_those_of_a_sort(name: str) -> None:
    """Equal ones among them, and infinite ones that a run which diverges has."""
    pooled = np.random.default_rng(0).standard_normal((6, 12)).round(1)
    pooled[0, 3], pooled[1, 5] = np.inf, -np.inf
    smallest = module_of(make_case("tqc", updates=1), framework(name)).smallest
    np.testing.assert_array_equal(plain(smallest(framework(name).tensor(pooled), 9)), np.sort(pooled, axis=-1)[:, :9])


def test_what_an_action_is_worth_is_the_mean_of_all_atoms() -> None:
    case = make_case("tqc", updates=1)
    batch, critics = case.batch(0), part(case.arrays, "critics")
    networks = networks_of(case.what.state(case.spec, case.config), case.arrays)
    q = case.what.value(networks, batch.observation, batch.action, case.config)
    atoms = [oracle.atoms(each, batch.observation, batch.action)[0] for each in oracle.members(critics)]
    np.testing.assert_allclose(q, np.mean(atoms, axis=(0, 2)), rtol=1e-12)


# A run


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other widths for the critics than for the actor."""
    taken = snapshots(monkeypatch, tmp_path, 33).taken
    whole = polyak.train("tqc", TINY, run_dir=tmp_path, critic_hidden_sizes=(5, 4), checkpoint_every=7, **TRAINED)
    assert_same(polyak.resume(taken[33]), whole)
    assert 0 < abs(whole.metrics[-1]["eval/q"]) < np.inf


def test_a_learner_goes_on_in_another_run_and_framework(tmp_path: Path) -> None:
    run = polyak.train("tqc", TINY, run_dir=tmp_path, **TRAINED)
    later = untrained_run(tmp_path, algorithm="tqc", from_run=run)
    assert later.settings["settings"]["critics"] == 2
    for name, value in (("critics", 3), ("quantiles", 4), ("critic_hidden_sizes", (5,)), ("hidden_sizes", (9,))):
        with pytest.raises(
            UsageError, match=rf"^{name} is \(?{str(value).strip('()')}.* goes on in networks of its own"
        ):
            polyak.train("tqc", TINY, run_dir=tmp_path, from_run=run, **{name: value})


# The door


def test_tensorflow_is_refused_in_a_line_before_anything_is_made(tmp_path: Path) -> None:
    said = "tqc has pages for jax, torch, not for tensorflow: take --backend jax"
    with pytest.raises(UsageError, match=f"^{said}$"):
        polyak.train("tqc", TINY, backend="tensorflow", run_dir=tmp_path)
    for words in (
        ("train", "tqc", TINY, "--backend", "tensorflow"),
        ("train", "tqc", TINY, "--backend", "tensorflow", "--seeds", "0-1"),
        ("compare", "sac", "tqc", "--environments", TINY, "--backends", "jax", "tensorflow"),
    ):
        code, output, errors = call_cli(*words, "--run-dir", str(tmp_path / "runs"))
        assert (code, output, errors) == (2, "", f"polyak: {said}\n")
    assert not (tmp_path / "runs").exists()


def test_help_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        "Train TQC on Acrobot-v1. Preset in force: defaults. It is in jax and torch."
        in call_cli("train", "tqc", "Acrobot-v1", "--help")[1]
    )
    assert "It is in" not in call_cli("train", "sac", "Acrobot-v1", "--help")[1]


# Beside Stable-Baselines3 Contrib


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_an_update_is_that_of_stable_baselines3_contrib(name: str) -> None:
    """At a temperature of 1, where the slope of its loss is that of ours; tests/data/contrib/make.py made it."""
    kept = dict(np.load(Path(__file__).parent / "data" / "contrib" / "tqc.npz"))
    rows = {key: kept[key] for key in ("observations", "actions", "rewards", "next_observations", "dones")}
    sizes: dict[str, Any] = {"critics": 3, "quantiles": 4, "dropped_quantiles": 1, "hidden_sizes": (6, 5)}
    rates = dict.fromkeys(("actor_learning_rate", "critic_learning_rate"), 3e-4)
    case = make_case("tqc", updates=1, batch_size=8, observation_size=3, action_size=2, **sizes, **rates)
    discount, ones = case.config.discount * (1.0 - rows["dones"]), np.ones((8, 1))
    columns = (rows["observations"], rows["actions"], rows["rewards"], rows["next_observations"], discount, ones)
    arrays = {path: kept.get(f"before/{path}", np.zeros_like(value)) for path, value in case.arrays.items()}
    noise = {each: kept[each][None] for each in case.noise}
    case = dataclasses.replace(case, arrays=arrays, records=np.concatenate(columns, axis=1)[None], noise=noise)
    learner = learner_of(case, name)
    metrics = play(learner, case, [1])
    after = {path.removeprefix("after/"): value for path, value in kept.items() if path.startswith("after/")}
    assert_agree({path: learner.arrays()[path] for path in after}, after, 1e-12)
    assert metrics["critic_loss"][0] == pytest.approx(float(kept["critic_loss"]), rel=1e-12)
    assert metrics["actor_loss"][0] == pytest.approx(float(kept["actor_loss"]), rel=1e-12)
    assert not np.array_equal(after["critics/0/kernel"], kept["before/critics/0/kernel"])
