"""Hindsight: other goals, their rewards and ends, against what an environment says of each row alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import polyak
from polyak import UsageError
from polyak.algorithms import sac
from polyak.environments.additions import Additions
from polyak.environments.goals import Goals
from polyak.environments.make import make_environment
from polyak.errors import TrainingError
from polyak.experience.batches import Batches, sample_batch
from polyak.experience.choosers import Chosen
from polyak.experience.hindsight import Hindsight
from polyak.experience.links import NO_EPISODE, Futures
from polyak.experience.replay import Replay
from polyak.policies.player import Player
from polyak.policies.policy import Policy
from polyak.types import Spec, Transitions
from tiny_cli import SMALL, call_cli, untrained_run

POINTS = "tiny_goals:Points-v0"
GOALS = Additions(hindsight=True)

# Where the future of a transition is


def brute_future(episodes: list[int], number: int, oldest: int) -> list[int]:
    """The numbers of the same episode that are held and no earlier."""
    if episodes[number] == NO_EPISODE:
        return [number]
    return [each for each in range(max(number, oldest), len(episodes)) if episodes[each] == episodes[number]]


def story(seed: int, steps: int, environments: int) -> Iterator[tuple[int, bool]]:
    """Episodes and ends, in order: environments take turns, but for some that come out of order."""
    generator = np.random.default_rng(seed)
    numbers, regular = [*range(environments)], seed % 2 == 0
    for step in range(steps):
        which = step % environments if regular else int(generator.integers(environments))
        ended = bool(generator.random() < 0.25)
        yield numbers[which], ended
        if ended or generator.random() < 0.05:  # given up, without a flag
            numbers[which] += environments


def added(replay: Replay, episode: int, ended: bool, number: int) -> None:
    """Transition number n goes from n to n + 0.5 in the plane's x, with the episode's number for a goal."""
    size, actions = replay.layout.observation_size, replay.layout.action_size
    before, after = np.full((2, 1, size), float(episode), np.float32)
    before[0, 0], after[0, 0] = number, number + 0.5
    before[0, -1], after[0, -1] = number % 5, (number + 1) % 5
    row = Transitions(
        observation=before,
        action=np.zeros((1, actions), np.float32),
        reward=np.full(1, -1.0, np.float32),
        next_observation=after,
        terminated=np.array([ended and number % 2 == 0]),
        truncated=np.array([ended and number % 2 == 1]),
        episode=np.array([episode], np.int32),
    )
    replay.add(row)


@pytest.mark.parametrize("environments", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_each_transitions_future_is_that_of_its_episode_as_far_as_it_is_held(seed: int, environments: int) -> None:
    """Over a ring of twelve: running episodes, such that are partly overwritten, given up, or longer than the ring."""
    replay, episodes = Replay(12, 3, 1), list[int]()
    early = seed < 2  # known from the first transition on, or made of what is held
    for number, (episode, ended) in enumerate(story(seed, 70, environments)):
        added(replay, episode, ended, number)
        episodes.append(episode)
        if not early and number % 7:
            continue
        if not early:
            replay.restore(
                replay.oldest, replay.records(replay.oldest, number + 1), replay.episodes(replay.oldest, number + 1)
            )
        held = np.arange(replay.oldest, replay.added)
        futures = [brute_future(episodes, each, replay.oldest) for each in held]
        assert replay.followers(held).tolist() == [len(future) - 1 for future in futures]
        pairs = [(each, later) for each, future in zip(held, futures, strict=True) for later in range(len(future))]
        found = replay.later(np.array([each for each, _ in pairs]), np.array([later for _, later in pairs]))
        assert found.tolist() == [number for future in futures for number in future]


def test_an_episode_that_fills_the_ring_and_those_without_a_number_have_a_future_of_their_own() -> None:
    futures = Futures(3)
    for number in range(8):
        futures.append(number, np.array([5]), np.array([False]))
    assert futures.count(np.arange(5, 8)).tolist() == [2, 1, 0]
    futures.append(8, np.array([NO_EPISODE, NO_EPISODE, 7]), np.zeros(3, np.bool_))
    assert futures.count(np.arange(8, 11)).tolist() == [0, 0, 0]


# What they would have been


class Line:
    """Goals on a line: one within 0.5 is reached, which is worth 1 and ends the episode."""

    def outcomes(self, achieved: Any, desired: Any) -> Any:
        assert achieved.shape == desired.shape
        near = np.abs(achieved - desired)[:, 0] <= 0.5
        return near.astype(np.float32), near


def line_spec() -> Spec:
    parts = ["dict", [[key, ["array", [1], "float32"]] for key in ("observation", "desired_goal", "achieved_goal")]]
    return Spec((3,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32), parts, goal_size=1)


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_row_is_what_brute_force_makes_of_it(seed: int, n_step: int) -> None:
    replay, episodes, hindsight = Replay(12, 3, 1), list[int](), Hindsight(Line(), line_spec(), 4)
    for number, (episode, ended) in enumerate(story(seed, 31, 2)):
        added(replay, episode, ended, number)
        episodes.append(episode)
    held = np.arange(replay.oldest, replay.added)
    numbers = np.tile(held, (200, 1))
    chosen = Chosen(numbers, np.float32(1))
    batch = hindsight.batch(replay, chosen, np.random.default_rng(7), 0.5, n_step)
    assert batch.layout == line_spec().seen.layout
    futures = {number: brute_future(episodes, number, replay.oldest) for number in held.tolist()}
    goals = {number: {float((each + 1) % 5) for each in future} for number, future in futures.items()}
    found: dict[int, set[float]] = {number: set() for number in goals}
    for row, number in zip(batch.records.reshape(-1, batch.layout.width), numbers.reshape(-1).tolist(), strict=True):
        plain = brute_row(replay, futures[number], n_step, None, float(episodes[number])).tolist()
        if row.tolist() != plain:
            goal = float(row[1])
            assert row.tolist() == brute_row(replay, futures[number], n_step, goal, goal).tolist()
            found[number].add(goal)
    assert all(each <= goals[number] for number, each in found.items())
    assert all(each >= goals[number] - {float(episodes[number])} for number, each in found.items())  # each is drawn


def test_goals_are_drawn_uniformly_for_k_of_k_and_one() -> None:
    replay, hindsight = Replay(12, 3, 1), Hindsight(Line(), line_spec(), 4)
    for number in range(10):
        added(replay, 9, False, number)  # a goal that none achieves
    batch = hindsight.batch(replay, Chosen(np.full((1, 4_000), 7), np.float32(1)), np.random.default_rng(0), 0.9, 1)
    goals, counts = np.unique(batch.observation[..., 1], return_counts=True)
    assert goals.tolist() == [0.0, 3.0, 4.0, 9.0]
    np.testing.assert_allclose(counts / 4_000, [0.8 / 3, 0.8 / 3, 0.8 / 3, 0.2], atol=0.03)


def brute_row(replay: Replay, future: list[int], n_step: int, other: float | None, goal: float) -> Any:
    """The row of the first of `future`, of its own goal or of another: observation, goal, action, reward, ..."""
    first, total, power = replay.records(future[0], future[0] + 1)[0], 0.0, 1.0
    for number in future[:n_step]:
        record = replay.records(number, number + 1)[0]
        reward, terminated = record[4], record[8] != 0
        if other is not None:
            own_reached = abs(record[7] - record[6]) <= 0.5
            near = abs(record[7] - np.float32(other)) <= 0.5
            reward, terminated = np.float32(near), near or (terminated and not own_reached)
        total, power = total + power * float(reward), power * 0.5
        if terminated:
            break
    discount = 0.0 if terminated else power
    return np.array([first[0], goal, first[3], total, record[5], goal, discount, 1.0], np.float32)


def test_without_other_goals_it_is_the_plain_sampler() -> None:
    replay, hindsight = Replay(12, 3, 1), Hindsight(Line(), line_spec(), 0)
    for number, (episode, ended) in enumerate(story(0, 31, 2)):
        added(replay, episode, ended, number)
    for n_step in (1, 4):
        plain = sample_batch(replay, np.random.default_rng(3), 5, 16, 0.9, n_step)
        ours = Batches(replay, 0.9, n_step, hindsight=hindsight).sample(np.random.default_rng(3), 5, 16)
        for name in ("action", "reward", "discount", "weight"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name))
        for name in ("observation", "next_observation"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name)[..., :2])


def test_an_episode_that_fell_has_ended_whatever_was_meant() -> None:
    """A termination that its own goal does not explain stays; one that it explains goes with the goal."""
    hindsight, replay = Hindsight(Line(), line_spec(), 10**9), Replay(4, 3, 1)
    for number, (goal, achieved) in enumerate([(0.0, 3.0), (3.0, 3.0)]):
        row = np.array([[0.0, goal, 9.0]], np.float32)
        after = np.array([[0.0, goal, achieved]], np.float32)
        flags = np.array([True]), np.array([False]), np.array([number], np.int32)
        replay.add(Transitions(row, row[:, :1], row[:, 0], after, *flags))

    class Far(Line):
        def outcomes(self, achieved: Any, desired: Any) -> Any:
            reward, ended = super().outcomes(achieved, desired)
            told = desired[:, 0] == achieved[:, 0]
            return (reward, ended) if not told.all() or len(told) == 1 else (reward, np.zeros_like(ended))

    hindsight._goals = Far()
    batch = hindsight.batch(replay, Chosen(np.array([[0, 1]]), np.float32(1)), np.random.default_rng(0), 0.9, 1)
    assert batch.discount.tolist() == [[0.0, np.float32(0.9)]]


# What environments say of goals


def goals_of(environment: Any, ends: Any = "environment", **settings: Any) -> Goals:
    made = make_environment(environment, additions=Additions(settings, hindsight=True))
    return Goals(made, str(environment), ends)


def require_as_each_row_says(goals: Goals, generator: np.random.Generator) -> None:
    made, size = goals._made, int(np.prod(goals._shape))
    achieved = generator.standard_normal((40, size), np.float32)
    desired = achieved + generator.choice([0.0, 0.02, 0.3, 2.0], (40, 1)).astype(np.float32)
    rewards, ended = goals.outcomes(achieved, desired)
    inner = made.unwrapped
    for index in range(40):
        pair = [each[index].astype(goals._type).reshape(goals._shape) for each in (achieved, desired)]
        assert rewards[index] == np.float32(inner.compute_reward(*pair, {}))
        assert ended[index] == bool(inner.compute_terminated(*pair, {}))
    made.close()


@pytest.mark.parametrize(
    ("name", "apart"),
    [
        ("tiny_goals:Points-v0", ["compute_terminated"]),
        ("tiny_goals:PointsAtOnce-v0", []),
        ("gymnasium_robotics:FetchReach-v4", ["compute_terminated"]),
        ("gymnasium_robotics:PointMaze_UMaze-v3", ["compute_terminated"]),
    ],
)
def test_rewards_and_ends_are_those_that_the_environment_says_of_each_row(name: str, apart: list[str]) -> None:
    """A function that does something else with a batch, such as the mazes' norm of all of it, is asked row by row."""
    if name.startswith("gymnasium_robotics"):
        pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed")
    goals = goals_of(name)
    assert goals.rows_apart == apart
    require_as_each_row_says(goals, np.random.default_rng(0))


def test_rewards_of_parking_are_asked_all_at_once_and_a_crash_is_no_goal() -> None:
    pytest.importorskip("highway_env", reason="highway-env is not installed")
    with pytest.raises(UsageError, match=r"parking-v0' has no compute_terminated.*--goal-ends never .*reward"):
        goals_of("highway_env:parking-v0")
    with pytest.raises(UsageError, match=r"gives other rewards than one for a goal that is reached.*choose never"):
        goals_of("highway_env:parking-v0", "reward")
    goals = goals_of("highway_env:parking-v0", "never")
    assert goals.rows_apart == []
    achieved, desired = np.random.default_rng(0).standard_normal((2, 20, 6), np.float32)
    rewards, ended = goals.outcomes(achieved, desired)
    expected = [goals._made.unwrapped.compute_reward(*pair, {}) for pair in zip(achieved, desired, strict=True)]
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)
    assert not ended.any()
    goals._made.close()


def test_where_nothing_says_that_a_goal_ends_an_episode_it_must_be_said() -> None:
    """As in panda-gym, which has no compute_terminated, and whose episodes end at their goal."""
    name = "tiny_goals:PointsWithoutEnd-v0"
    with pytest.raises(UsageError, match=f"'{name}' has no compute_terminated, so that nothing says whether"):
        goals_of(name)
    achieved, desired = np.zeros((3, 2), np.float32), np.array([[0, 0], [0.4, 0], [1, 0]], np.float32)
    for ends, expected in (("never", [False] * 3), ("reward", [True, True, False])):
        rewards, ended = goals_of(name, ends).outcomes(achieved, desired)
        assert (rewards.tolist(), ended.tolist()) == ([0, 0, -1], expected)
    with pytest.raises(UsageError, match=r"PointsDense-v0' gives other rewards than one for a goal that is reached"):
        goals_of("tiny_goals:PointsDense-v0", "reward")


def test_functions_of_goals_that_fail_are_told_at_the_door_and_while_running() -> None:
    with pytest.raises(UsageError, match="compute_reward, asked with an empty info, raised KeyError: 'fuel'"):
        goals_of("tiny_goals:PointsNeedy-v0")
    goals = goals_of(POINTS)
    for value, told in ((np.nan, "gave a number that is not finite"), ("many", "asked with an empty info, raised")):
        goals._reward._function = lambda achieved, desired, info, value=value: [value] * len(achieved)
        with pytest.raises(TrainingError, match=told):
            goals.outcomes(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))


def test_more_in_a_steps_reward_than_compute_reward_says_is_told() -> None:
    assert goals_of(POINTS).more == ""
    assert goals_of("tiny_goals:PointsDense-v0").more.startswith("a step gave -")


class Other(gymnasium.Env[Any, Any]):
    def __init__(self, **parts: Any) -> None:
        box = spaces.Box(-1, 1, (2,))
        self.observation_space = spaces.Dict({"observation": box, "achieved_goal": box, "desired_goal": box, **parts})
        self.action_space = spaces.Box(-1, 1, (2,))


def SideBySide(count: int) -> Any:  # noqa: N802 - as the class that it makes
    return gymnasium.vector.SyncVectorEnv([Other] * count)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ("Pendulum-v1", "'Pendulum-v1' has no achieved_goal: it observes Box"),
        (lambda: SideBySide(2), "is a whole VectorEnv"),
        (
            lambda: Other(achieved_goal=spaces.Discrete(3)),
            "has the achieved_goal Discrete.3., which is no Box of floats",
        ),
        (lambda: Other(achieved_goal=spaces.Box(-1, 1, (3,))), r"achieves goals of shape \(3,\), but desires some of"),
        (Other, "has no compute_reward"),
    ],
    ids=["none", "vector", "discrete", "shapes", "no-reward"],
)
def test_what_has_no_goals_is_refused_with_the_reason(environment: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        untrained_run(tmp_path, environment, hindsight=True)
    assert [*tmp_path.iterdir()] == []


def test_the_command_line_says_it_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = call_cli("train", "sac", "Pendulum-v1", "--hindsight", "--steps", "10")
    assert code == 2
    assert errors.startswith("polyak: environment 'Pendulum-v1' has no achieved_goal: it observes Box(")
    assert errors.endswith("leave --hindsight out\n")
    assert len(errors.splitlines()) == 1


def test_rewards_of_several_steps_in_one_cannot_be_asked_for_anew() -> None:
    with pytest.raises(UsageError, match="action_repeat is 2, but must be 1 with hindsight"):
        sac.Config(hindsight=True, action_repeat=2)


# Whole runs

SEEN = ["dict", [["observation", ["array", [3], "float32"]], ["desired_goal", ["array", [2], "float64"]]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    return untrained_run(tmp_path_factory.mktemp("goals"), POINTS, "sac", hindsight=True)


def test_a_policy_sees_observation_and_desired_goal_and_takes_the_environments_own_dictionary(run: polyak.Run) -> None:
    policy = run.policy
    assert policy.spec.observation_parts == SEEN
    assert (policy.spec.observation_size, policy.spec.goal_size) == (5, 0)
    shown = {"achieved_goal": np.array([8.0, 9.0]), "desired_goal": np.array([1.0, 2.0]), "observation": np.ones(3)}
    acted = policy.act(shown)
    np.testing.assert_array_equal(acted, policy.act({key: shown[key] for key in ("observation", "desired_goal")}))
    np.testing.assert_array_equal(acted, policy.act(np.array([1, 1, 1, 1, 2], np.float32)))
    many = policy.act({key: np.stack([value, value]) for key, value in shown.items()})
    np.testing.assert_allclose(many, [acted, acted], rtol=1e-6)
    with pytest.raises(UsageError, match="has no 'desired_goal'"):
        policy.act({"observation": np.ones(3)})


def test_such_a_policy_is_evaluated_recorded_and_asked_for_values(run: polyak.Run, tmp_path: Path) -> None:
    measured = run.metrics[-1]
    assert {"eval/return", "eval/q", "eval/success_rate"} <= measured.keys()
    ours = run.evaluate(episodes=3)
    assert ours.successes
    by_file = Player(Policy.load(run.policy_file), POINTS).evaluate(3)
    assert by_file.returns == ours.returns
    assert by_file.successes == ours.successes
    assert run.record(output=tmp_path / "goals.mp4").exists()
    shown, _ = gymnasium.make(POINTS).reset(seed=0)
    assert run.q(shown, np.zeros(2, np.float32)).shape == ()


def test_replay_holds_all_three_parts_and_the_learner_two(run: polyak.Run) -> None:
    manifest = polyak.load(run.folder).settings["spaces"]
    assert [key for key, _ in manifest["observation_parts"][1]] == ["observation", "desired_goal", "achieved_goal"]
    assert manifest["goal_size"] == 2
    assert Spec.from_json(manifest).seen.observation_parts == SEEN
    for wrong in (3, -1, 2.0, True, "2"):
        with pytest.raises((ValueError, UsageError)):
            Spec.from_json({**manifest, "goal_size": wrong})


def test_a_run_goes_on_from_it_with_the_same_goals(run: polyak.Run, tmp_path: Path) -> None:
    again = untrained_run(tmp_path, POINTS, "sac", from_run=run.folder)
    assert again.settings["settings"]["hindsight"] is True
    with pytest.raises(UsageError, match=r"has 7 numbers in an observation.*was trained on 5"):
        untrained_run(tmp_path, POINTS, "sac", from_run=run.folder, hindsight=False)


NORMALIZED = {"normalize_observations": True, "normalize_rewards": True}


@pytest.mark.parametrize(
    "options", [{}, {"envs": 2}, {"collectors": 2, "update_every": 8}, {"n_step": 2, **NORMALIZED}]
)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(options: dict[str, Any], tmp_path: Path) -> None:
    settings = {**SMALL, "hindsight": True, "backend": "torch", "seed": 1, "probe": False, **options}
    whole = polyak.train("sac", POINTS, run_dir=tmp_path / "whole", **settings)
    half = polyak.train("sac", POINTS, run_dir=tmp_path / "half", **{**settings, "steps": 24})
    half = polyak.resume(half, steps=40)
    assert half.policy_file.read_bytes() == whole.policy_file.read_bytes()
    assert np.isfinite(whole.metrics[-1]["learner/critic_loss"])
