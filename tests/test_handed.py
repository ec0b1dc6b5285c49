"""An environment that is there already: trained in, left open, and made a second time from its spec."""

from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import ClipReward, TimeLimit, TransformReward

import polyak
from polyak import UsageError
from polyak.environments.distinct import is_in_use
from polyak.environments.make import make_environments
from tiny import Numbers
from tiny_cli import TINY, Tiny, untrained_run
from whole_runs import assert_same

SHORT: dict[str, Any] = {"steps": 12, "steps_per_epoch": 12, "backend": "torch"}


class Unrecorded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Its spec does not tell how it was made."""


@pytest.fixture
def made() -> Any:
    """One with an argument, a wrapper of Gymnasium's, and a time limit."""
    return ClipReward(gymnasium.make("tiny_cli:Tiny-v0", length=9, max_episode_steps=4), -0.5, 0.5)


def test_it_is_trained_in_and_left_open_and_its_second_is_like_it(made: Any, tmp_path: Path) -> None:
    run = untrained_run(tmp_path, made, **SHORT)
    callable_one = lambda: ClipReward(Tiny(length=4), -0.5, 0.5)  # noqa: E731
    assert_same(run, untrained_run(tmp_path, callable_one, **SHORT))
    assert made.unwrapped.taken >= 12  # nobody else's
    assert not made.unwrapped.closed
    assert not is_in_use(made)
    assert run.settings["environment"] == "Tiny-v0"
    assert run.settings["environment_is_callable"]
    made.reset(seed=1)


def test_evaluate_record_and_resume_take_it(made: Any, tmp_path: Path) -> None:
    run = untrained_run(tmp_path, made, **SHORT)
    before = made.unwrapped.taken
    assert run.evaluate(2, environment=made).lengths == (4, 4)
    assert made.unwrapped.taken == before + 8  # in it
    assert run.film(1, environment=made, output=tmp_path / "one.mp4").evaluation.lengths == (4,)
    assert made.unwrapped.taken == before + 8  # in another, which is drawn
    assert polyak.Player(run.policy_file, made).evaluate(1).lengths == (4,)
    whole = untrained_run(tmp_path, made, **{**SHORT, "steps": 22})
    assert_same(polyak.resume(run.folder, steps=22, environment=made), whole)
    assert not made.unwrapped.closed
    with pytest.raises(UsageError, match=r"was trained on what Python made \(Tiny-v0\)"):
        run.evaluate(1)


def test_a_vector_too(tmp_path: Path) -> None:
    vector = gymnasium.make_vec("tiny_cli:Tiny-v0", 2, vectorization_mode="sync")
    run = untrained_run(tmp_path, vector, **SHORT)
    assert run.settings["envs"] == 2
    assert len(run.metrics) == 1
    assert not vector.closed
    own = SyncVectorEnv([Tiny] * 2)
    with pytest.raises(UsageError, match="no second one is made of SyncVectorEnv, which has no spec: give what makes"):
        untrained_run(tmp_path, own, **SHORT)
    untrained_run(tmp_path, own, evaluate_in="never", **SHORT)
    assert not own.closed


def test_several_runs_at_once_have_one_each(made: Any, tmp_path: Path) -> None:
    runs = polyak.train_together("ddpg", made, seeds=[0, 1], run_dir=tmp_path, **{**SHORT, "backend": "jax"}, **QUIET)
    assert [run.metrics[-1]["step"] for run in runs] == [12, 12]


QUIET: dict[str, Any] = {"update_after": 1_000, "start_steps": 12, "hidden_sizes": (4,), "batch_size": 8, "threads": 1}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Tiny, r"of Tiny, which has no spec: give what makes a new one .*, as lambda: Tiny\(\.\.\.\)\. polyak makes"),
        (
            lambda: Unrecorded(gymnasium.make("tiny_cli:Tiny-v0")),
            r"raised ValueError: Unrecorded .*, as lambda: Unrecorded\(gymnasium\.make\('Tiny-v0', \.\.\.\)\)",
        ),
        (
            lambda: TimeLimit(TransformReward(gymnasium.make("tiny_cli:Tiny-v0"), abs), 3),
            "by its spec it is TransformReward<TimeLimit<.*but it is TimeLimit<TransformReward",
        ),
    ],
)
def test_what_to_pass_where_no_second_one_can_be_made_is_said(make: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        untrained_run(tmp_path, make(), **SHORT)
    assert "--evaluate-in) training" in str(raised.value)
    assert not list(tmp_path.iterdir())
    run = untrained_run(tmp_path, make(), evaluate_in="training", **SHORT)
    with pytest.raises(UsageError, match="or make it with render_mode='rgb_array' at once"):
        run.record(environment=make())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"envs": 2}, "envs is 2, but the environment is one that is there already"),
        ({"vectorization": "async"}, "vectorization is async, but the environment is one that is there already"),
        ({"fresh_environments": True}, "fresh_environments is True, but"),
        ({"evaluate_in": "process"}, "evaluate_in is process, but"),
        ({"max_episode_steps": 5}, "max_episode_steps is 5, but .* ends its episodes after 4 steps: set it there"),
        ({"environment_settings": {"length": 2}}, "environment_settings is .*, but the environment is no id"),
    ],
)
def test_what_one_cannot_do_is_refused(options: Any, said: str, made: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        untrained_run(tmp_path, made, **{**SHORT, **options})
    assert not list(tmp_path.iterdir())
    assert not made.unwrapped.closed


def test_an_id_goes_on_with_its_id_and_a_setting_is_not_changed_in_it(made: Any, tmp_path: Path) -> None:
    run = untrained_run(tmp_path, TINY, **SHORT)
    with pytest.raises(UsageError, match=r"goes on with it, not with an object \(Tiny-v0\)"):
        polyak.resume(run.folder, steps=24, environment=made)
    with pytest.raises(UsageError, match="cannot be changed"):
        make_environments(made, 1, Numbers).set("length", 3)


def test_the_preset_is_that_of_its_id(tmp_path: Path) -> None:
    pendulum = gymnasium.make("Pendulum-v1")
    assert untrained_run(tmp_path, pendulum, **SHORT, start_steps=12).settings["preset"] == "Pendulum-v1"


@pytest.mark.parametrize("environment", [5, None, "", [gymnasium]])
def test_what_is_none_is_refused(environment: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="but must be an id, or a callable that makes one, or an env"):
        untrained_run(tmp_path, environment, **SHORT)
