"""Repeated actions: rewards summed, no step after an end, the last observation and info; and who counts what."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import polyak
from polyak import Player, Policy, Run, TrainingError, UsageError
from polyak.environments.additions import Additions
from polyak.environments.make import make_environments
from polyak.parts import make_environments as made_as_part
from tiny import Broken, Numbers
from tiny_cli import TINY, Lucky, Tiny, call_cli, untrained_run
from whole_runs import saved

TWICE, THRICE = Additions(action_repeat=2), Additions(action_repeat=3)


def by_hand(seed: int, action: float, repeat: int) -> tuple[list[Any], list[float]]:
    """What a Tiny shows before each action, and after the last; and the summed rewards."""
    environment = Tiny()
    observation, _ = environment.reset(seed=seed)
    shown, rewards, ended = [observation], list[float](), False
    while not ended:
        total = 0.0
        for _ in range(repeat):
            observation, reward, terminated, truncated, _ = environment.step([action])
            total += reward
            ended = terminated or truncated
            if ended:
                break
        shown.append(observation)
        rewards.append(total)
    return shown, rewards


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.SAME_STEP])
def test_rewards_are_summed_until_the_end_and_the_last_observation_is_kept(vectorization: Any, mode: Any) -> None:
    """Five steps of the environment are two actions of two, and one that its end cuts short."""
    how: dict[str, Any] = {"vectorization": vectorization, "autoreset": mode, "additions": TWICE}
    environments = make_environments(Tiny, 2, Numbers, **how)
    try:
        environments.reset()
        steps = [environments.step(np.array([[0.0], [0.5]], np.float32)) for _ in range(3)]
    finally:
        environments.close()
    for index, action in enumerate((1.0, 2.0)):  # of -1 to 3
        shown, rewards = by_hand(1_000 * index, action, 2)
        np.testing.assert_array_equal([step.next_observation[index] for step in steps], shown[1:])
        np.testing.assert_array_equal([step.reward[index] for step in steps], np.float32(rewards))
        assert [bool(step.truncated[index]) for step in steps] == [False, False, True]
    assert environments.steps == 6


def test_the_info_is_that_of_the_last_step() -> None:
    environments = make_environments(lambda: Lucky(length=5), 1, Numbers, additions=THRICE)
    environments.reset()
    environments.step(np.zeros((1, 1), np.float32))
    step = environments.step(np.zeros((1, 1), np.float32))
    assert step.infos[0]["steps"] == 5


@pytest.mark.parametrize("wrong", ["observation", "reward"])
def test_what_is_wrong_within_a_repetition_is_a_fault_of_that_step(wrong: str) -> None:
    """In the second of three steps; a reward is in the sum, an observation nobody sees is none of its business."""
    environments = make_environments(lambda: Broken(2, **{wrong: float("nan")}), 1, Numbers, additions=THRICE)
    environments.reset()
    action = np.zeros((1, 2), np.float32)
    if wrong == "observation":
        assert np.isfinite(environments.step(action).observation).all()
        return
    with pytest.raises(TrainingError, match="environment 0 returned a non-finite reward after 0 environment steps"):
        environments.step(action)


def test_an_environment_that_raises_within_a_repetition_is_named() -> None:
    environments = make_environments(lambda: Broken(2, error=RuntimeError("oh")), 1, Numbers, additions=THRICE)
    environments.reset()
    with pytest.raises(TrainingError, match="RuntimeError"):
        environments.step(np.zeros((1, 2), np.float32))


def test_an_answer_of_the_old_interface_is_named_too() -> None:
    class Old(Tiny):
        def step(self, action: Any) -> Any:
            return super().step(action)[:4]

    environments = make_environments(Old, 1, Numbers, additions=TWICE)
    environments.reset()
    with pytest.raises(TrainingError, match="from step 4 values"):
        environments.step(np.zeros((1, 1), np.float32))


def test_the_time_limit_is_in_the_environments_own_steps() -> None:
    how: dict[str, Any] = {"max_episode_steps": 8, "additions": THRICE}
    environments = make_environments(lambda: Tiny(length=100), 1, Numbers, **how)
    environments.reset()
    ends = [bool(environments.step(np.zeros((1, 1), np.float32)).truncated[0]) for _ in range(3)]
    assert ends == [False, False, True]


def test_settings_that_change_make_it_again_with_its_repetition() -> None:
    made: list[Tiny] = []

    def make(length: int = 4) -> Tiny:
        made.append(Tiny(length=length))
        return made[-1]

    environments = make_environments(make, 1, Numbers, additions=TWICE)
    environments.reset()
    environments.set("length", 6)
    ends = [bool(environments.step(np.zeros((1, 1), np.float32)).truncated[0]) for _ in range(5)]
    assert ends == [False, True, False, False, True]
    assert [each.taken for each in made] == [4, 6]


# Where it cannot be


def test_vectors_of_somebody_elses_cannot_repeat() -> None:
    told = "action_repeat is 2, but a VectorEnv steps all its environments by itself: repeat actions within each"
    with pytest.raises(UsageError, match=told):
        make_environments(lambda: SyncVectorEnv([Tiny]), 1, Numbers, additions=TWICE)


def test_envpool_cannot_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", SimpleNamespace())
    with pytest.raises(UsageError, match="action_repeat is 2, but EnvPool steps all its environments by itself"):
        make_environments("Pendulum-v1", 1, Numbers, vectorization="envpool", additions=TWICE)


# A run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Episodes of five of the environment's own steps, and so of two actions."""
    return untrained_run(tmp_path_factory.mktemp("runs"), action_repeat=3)


def test_all_of_a_runs_steps_are_actions(run: Run) -> None:
    records = run.metrics
    assert [record["step"] for record in records] == [20, 40]
    assert records[-1]["train/length"] == 2
    assert records[-1]["eval/length"] == 2
    replay = saved(run).replay
    assert replay.added == 40
    rows = replay.gathered(np.arange(40))
    observation, following = rows[:, replay.layout.observation], rows[:, replay.layout.next_observation]
    np.testing.assert_array_equal(observation[:, 1], [0, 3] * 20)
    np.testing.assert_array_equal(following[:, 1], [3, 5] * 20)
    np.testing.assert_array_equal(rows[:, replay.layout.truncated], [0, 1] * 20)


def test_what_it_means_is_said_at_the_start(tmp_path: Path) -> None:
    asked = ("--steps", "20", "--update-after", "1000", "--steps-per-epoch", "20", "--evaluation-episodes", "1")
    code, _, said = call_cli(
        "train", "ddpg", TINY, "--action-repeat", "4", *asked, "--run-dir", str(tmp_path), "--plain"
    )
    assert code == 0
    [line] = [line for line in said.splitlines() if "action repeat" in line]
    assert "4: each action is taken for 4 of the environment's own steps, their rewards summed, and is one step" in line
    assert "20 steps are up to 80 of its own; updates, discount (0.99) and lengths go by actions" in line
    assert "its own time limit by its own steps" in line


def test_its_policy_is_evaluated_as_it_was_trained_also_by_its_file_alone(run: Run) -> None:
    expected = run.evaluate(2, seed=3)
    assert expected.lengths == (2, 2)
    assert run.policy.made_for["action_repeat"] == 3
    assert Player(run.policy_file, TINY).evaluate(2, seed=3) == expected
    assert Player(run.policy_file, TINY, action_repeat=1).evaluate(2, seed=3).lengths == (5, 5)
    code, out, _ = call_cli("evaluate", str(run.policy_file), "--environment", TINY, "--episodes", "1")
    assert code == 0
    assert "length      2" in out
    assert run.evaluate(1, environment=lambda: Tiny(length=7)).lengths == (3,)  # another environment, the same policy


@pytest.mark.parametrize("said", [0, "3", 10**6])
def test_nonsense_in_a_policys_file_is_refused(said: Any, run: Run) -> None:
    policy = run.policy
    marked = Policy(policy.parameters, policy.spec, policy.kind, made_for={**policy.made_for, "action_repeat": said})
    with pytest.raises(UsageError, match="the policy's action_repeat is"):
        Player(marked, TINY).evaluate(1)


def test_a_run_without_it_marks_nothing(tmp_path: Path) -> None:
    assert "action_repeat" not in untrained_run(tmp_path).policy.made_for


def test_a_video_shows_every_step_of_the_environment(run: Run, tmp_path: Path) -> None:
    import av

    made = run.film(2, seed=3, output=tmp_path / "film.mp4")
    with av.open(str(made.path)) as container:
        frames = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(container.streams.video[0])]
    assert [round((float(mean) - 20) / 40) for mean in frames] == [0, 1, 2, 3, 4, 5] * 2
    assert made.evaluation == run.evaluate(2, seed=3)


def test_who_watches_sees_every_step_at_the_environments_rate(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from polyak.policies.watching import watch

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "pygame", SimpleNamespace(display=SimpleNamespace(get_init=lambda: False)))
    seen: list[Any] = []

    def note(*told: Any) -> None:
        seen.append(told)

    viewer: Any = SimpleNamespace(stepped=note, episode_ended=note)

    class Human(Tiny):
        metadata = {"render_modes": ["human"], "render_fps": 10}  # noqa: RUF012

    def make(render_mode: str | None = None) -> Any:
        return Human(render_mode=render_mode)

    result = watch(run.policy, make, 1, seed=3, viewer=viewer, additions=THRICE, sleep=lambda _: None)
    assert [(steps, seconds) for _, _, steps, seconds in seen] == [(n, pytest.approx(n / 10)) for n in range(1, 6)]
    assert result == run.evaluate(1, seed=3)


def test_a_callback_evaluates_elsewhere_with_the_same_repetition(tmp_path: Path) -> None:
    elsewhere = polyak.callbacks.EvaluateElsewhere(TINY, {"length": 9}, episodes=1)
    run = untrained_run(tmp_path, action_repeat=3, callbacks=[elsewhere])
    assert run.metrics[-1]["elsewhere/length"] == 3


def test_as_a_part_of_a_loop_of_ones_own() -> None:
    environments = made_as_part(TINY, action_repeat=5)
    environments.reset()
    assert environments.step(np.zeros((1, 1), np.float32)).truncated.all()
    with pytest.raises(UsageError, match="action_repeat is 0"):
        made_as_part(TINY, action_repeat=0)
