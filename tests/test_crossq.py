"""CrossQ beyond single updates: SAC where nothing is normalized, the policy's folded statistics, runs that go on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from backends import learner_of
from polyak import Run, UsageError
from polyak.algorithm import actor_in, networks_of
from polyak.algorithms import algorithm
from polyak.networks.layers import body_of
from reference.cases import make_case, play, relative_error
from test_resume import CONFIG
from tiny_cli import TINY
from whole_runs import assert_same, saved, snapshots


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    def run(**options: Any) -> Run:
        return polyak.train("crossq", TINY, **{"run_dir": tmp_path / "runs", **CONFIG, **options})

    return run


@pytest.mark.usefixtures("double")
def test_without_normalization_it_is_sac_whose_targets_are_its_critics() -> None:
    """Twice the gradient is the same step of Adam, but for its epsilon."""
    ours = make_case("crossq", network="mlp", policy_delay=1, adam_beta_1=0.9)
    sizes = {"batch_size": ours.config.batch_size, "hidden_sizes": ours.config.hidden_sizes}
    theirs = make_case("sac", polyak=0.0, alpha_learning_rate=ours.config.alpha_learning_rate, **sizes)
    arrays = dict(ours.arrays)
    arrays |= {f"target_{name}": value for name, value in arrays.items() if name.startswith("critic_")}
    one, other = learner_of(ours, "torch"), learner_of(theirs, "torch", arrays=arrays)
    assert relative_error(play(one, ours, [10])["entropy"], play(other, ours, [10])["entropy"]) < 1e-6
    for name, value in one.arrays().items():
        if not name.startswith("adam_"):
            assert relative_error(value, other.arrays()[name]) < 1e-6, name


# Runs


def test_policies_have_the_statistics_of_their_own_moment(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest and the best, of an earlier epoch: plain files, of what evaluation was by the learner of that time."""
    taken = snapshots(monkeypatch, tmp_path, 21, 41).taken
    run = train(seed=1)
    config = algorithm("crossq").Config(**run.settings["settings"])
    entries = algorithm("crossq").state(run.policy.spec, config)
    learners = [saved(each).learner for each in (*map(Run, taken.values()), run)]
    assert [int(each["statistics_critic_1/2/steps"]) for each in learners] == [16, 36, 56]
    assert [int(each["statistics_actor/2/steps"]) for each in learners] == [5, 12, 18]
    best = int(np.argmax([record["eval/return"] for record in run.metrics]))
    assert best < 2, "else this would show nothing"
    rows = np.random.default_rng(0).standard_normal((5, run.policy.spec.observation_size), dtype=np.float32)
    for policy, learner in ((run.policy, learners[-1]), (run.best_policy, learners[best])):
        for name, value in actor_in(entries, learner).items():
            np.testing.assert_array_equal(policy.parameters[name], value)
        unfolded = np.tanh(networks_of(entries, learner)["actor"](rows)[:, : policy.spec.action_size])
        np.testing.assert_allclose(policy.mean(rows), unfolded, rtol=1e-5, atol=1e-6)
        assert policy.layers == body_of(config.hidden_sizes, 2 * policy.spec.action_size)


def test_q_is_that_of_evaluation(train: Callable[..., Run]) -> None:
    """`Run.q` and `eval/q` ask the critic by its running statistics, whatever else is asked beside."""
    run = train(steps=20)
    observations = np.random.default_rng(1).standard_normal((3, *run.policy.spec.observation_shape), np.float32)
    actions = run.policy.act(observations)
    alone = [run.q(observation, action) for observation, action in zip(observations, actions, strict=True)]
    np.testing.assert_allclose(run.q(observations, actions), alone, rtol=1e-5)


def test_a_run_that_is_over_keeps_its_policy(train: Callable[..., Run]) -> None:
    """What the checkpoint's learner has is compared, and put right, as the policy's file has it: folded."""
    run = train(steps=20, backend="torch")
    file, content = run.policy_file, run.policy_file.read_bytes()
    polyak.resume(run.folder)
    assert file.read_bytes() == content
    file.write_bytes(content[:100])
    polyak.resume(run.folder)
    assert file.read_bytes() == content


@pytest.mark.parametrize("options", [{"checkpoint_every": 7}, {"lag": 1, "checkpoint_every": 7}])
def test_wherever_it_is_killed(
    options: dict[str, Any], train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshots(monkeypatch, tmp_path, 9, 29, 47).taken
    whole = train(**options)
    for folder in list(taken.values()):
        assert_same(polyak.resume(folder), whole)


def test_a_new_run_begins_with_anothers_statistics(train: Callable[..., Run]) -> None:
    first = train(steps=20)
    second = train(steps=5, steps_per_epoch=5, update_after=8, from_run=first.folder)
    before, after = saved(first).learner, saved(second).learner
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    np.testing.assert_array_equal(second.policy.parameters["0/kernel"], first.policy.parameters["0/kernel"])


def test_settings() -> None:
    config = algorithm("crossq").Config()
    assert [config.optimizer(name).beta_1 for name in ("actor", "critic_1", "log_alpha")] == [0.5, 0.5, 0.9]
    assert [config.period(name) for name in ("actor", "critic_1", "log_alpha")] == [3, 1, 3]
    with pytest.raises(UsageError, match=r"^polyak is 0.9, but must be 0, as CrossQ has no target networks$"):
        algorithm("crossq").Config(polyak=0.9)
