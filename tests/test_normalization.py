"""Observations and rewards on a common scale: what is counted when, what batches are normalized by, where that goes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

import polyak
from collecting_here import put_here
from polyak import Policy, Run, UsageError, parts
from polyak.experience.batches import Batches, accumulated, batches_of
from polyak.experience.choosers import Uniform
from polyak.experience.collecting import Collecting
from polyak.experience.moments import BOUND, CLIP, EPSILON, Moments, Statistics, normalizer_of
from polyak.experience.replay import Replay
from polyak.policies.normalizer import Normalizer
from polyak.run.evaluating import Evaluations
from polyak.run.loop import Loop
from polyak.types import Arrays, Spec, Transitions
from tiny_cli import SMALL, TINY, Uneven
from whole_runs import assert_same, bits, saved, snapshots

BOTH: dict[str, Any] = {"normalize_observations": True, "normalize_rewards": True}
UNEVEN = "tiny_cli:Uneven-v0"


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    def run(algorithm: str = "sac", environment: Any = UNEVEN, **options: Any) -> Run:
        settings = {"run_dir": tmp_path / "runs", "backend": "torch", "probe": False, **SMALL, **BOTH, **options}
        return polyak.train(algorithm, environment, **settings)

    return run


# Moments


NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5), max_size=8), st.integers(0, 8))
def test_moments_are_those_of_all_vectors_however_they_come(chunks: list[Any], stop: int) -> None:
    moments = Moments(2)
    for number, chunk in enumerate(chunks):
        if number == stop:
            again = Moments(2)
            again.restore(dict(moments.state()))
            moments = again
        moments.add(np.array(chunk, np.float32).reshape(-1, 2))
    rows = np.array([row for chunk in chunks for row in chunk], np.float64).reshape(-1, 2)
    assert moments.count == len(rows)
    if len(rows):
        np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-9, atol=1e-3)


def test_a_small_spread_far_from_zero_is_not_lost() -> None:
    """As it is where squares are summed: 1e4 squared is 1e8, and the variance 1e-4."""
    rows = np.float32(1e4) + np.random.default_rng(0).normal(size=(5_000, 1)).astype(np.float32) * np.float32(0.01)
    moments = Moments(1)
    for row in rows:
        moments.add(row[np.newaxis])
    np.testing.assert_allclose(moments.variance, rows.astype(np.float64).var(axis=0), rtol=1e-9)


# What is counted: each frame that environments emit, once


class Frames(Uneven):
    """Keeps every frame that it emits and the discounted return after every step, as they come."""

    made: list["Frames"] = []  # noqa: RUF012 - reset by the test that reads it

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.frames, self.returns = list[Any](), list[float]()
        self.made.append(self)

    def reset(self, **how: Any) -> Any:
        observation, info = super().reset(**how)
        self.frames.append(observation.copy())
        self.returned = 0.0
        return observation, info

    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        self.frames.append(observation.copy())
        self.returned = float(np.float32(reward)) + 0.9 * self.returned
        self.returns.append(self.returned)
        return observation, reward, *rest


def shown(environments: int) -> tuple[Any, Any]:
    """All frames of those that train, less the one after which nothing has come yet; and all returns."""
    training = Frames.made[:environments]
    frames = [frame for each in training for frame in (each.frames if each._time else each.frames[:-1])]
    return np.array(frames, np.float64), np.array([value for each in training for value in each.returns])


def assert_counts(statistics: Statistics, frames: Any, returns: Any) -> None:
    observed, returned = statistics._observed, statistics._returned
    assert observed is not None
    assert returned is not None
    assert (observed.count, returned.count) == (len(frames), len(returns))
    np.testing.assert_allclose(observed.mean, frames.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(observed.variance, frames.var(axis=0), rtol=1e-10)
    np.testing.assert_allclose(returned.variance, returns.var(), rtol=1e-10)
    assert statistics._largest == pytest.approx(np.abs(returns).max(), rel=1e-12)


def vector(mode: AutoresetMode) -> Callable[[], SyncVectorEnv]:
    return lambda: SyncVectorEnv([Frames] * 3, autoreset_mode=mode)


@pytest.mark.parametrize(
    ("environment", "envs"),
    [
        (Frames, 1),
        (Frames, 4),
        (vector(AutoresetMode.NEXT_STEP), 1),
        (vector(AutoresetMode.SAME_STEP), 1),
        (vector(AutoresetMode.DISABLED), 1),
    ],
    ids=["one", "four", "next step", "same step", "disabled"],
)
def test_every_frame_counts_once_whatever_the_number_of_updates(environment: Any, envs: int) -> None:
    """Final observations included; those of a reset once, also where the reset is a step; sampling changes nothing."""
    Frames.made = []
    environments = parts.make_environments(environment, envs)
    config = parts.make_config("sac", discount=0.9, replay_size=20, batch_size=4, update_after=4, **BOTH)
    collector = parts.make_collector(environments, config)
    batches = parts.make_batches(
        environments.spec, config, parts.make_replay(environments.spec, config), environments.count
    )
    for _ in range(50):
        batches.add(collector.step(None))
        batches.sample(np.random.default_rng(0), 3, 4)
    statistics = batches._statistics
    assert statistics is not None
    count = environments.count + (environment is not Frames)  # a vector is made once to be asked what it is
    assert_counts(statistics, *shown(count if environment is Frames else environments.count))
    environments.close()


EPISODES = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=3, max_size=3),
        st.lists(st.sampled_from([False, False, True]), min_size=3, max_size=3),
        st.lists(NUMBERS, min_size=3, max_size=3),
        st.booleans(),
    ),
    max_size=20,
)


def rows_of(spec: Spec, rows: list[tuple[int, float, float]]) -> Transitions:
    """Of episode, place and reward: a point that moves by 1 each step."""
    number, place, reward = (np.array(column) for column in zip(*rows, strict=True))
    nothing = np.zeros(len(rows), np.bool_)
    at = place.astype(np.float32)[:, np.newaxis]
    values = np.zeros((len(rows), spec.action_size), np.float32), reward.astype(np.float32)
    return Transitions(at, *values, at + 1, nothing, nothing, number.astype(np.int32))


POINT = Spec((1,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))


@given(st.integers(1, 3), EPISODES, st.integers(1, 4))
def test_statistics_are_those_of_the_frames_whatever_ends_or_is_given_up(
    envs: int, steps: list[Any], together: int
) -> None:
    """By brute force: an environment's steps, one after another; rows come one by one, or several steps in a round.

    An episode that is given up ends without a flag and its environment begins another; statistics may be restored at
    any time.
    """
    statistics = Statistics(1, envs, 0.5, observations=True, rewards=True)
    number, place, total = list(range(envs)), [100.0 * index for index in range(envs)], [0.0] * envs
    frames, returns, waiting = list[float](), list[float](), list[tuple[int, float, float]]()
    for count, (present, ended, rewards, resumes) in enumerate(steps):
        for index in [each for each in range(envs) if present[each]]:
            if total[index] == 0.0:
                frames.append(np.float32(place[index]))
            waiting.append((number[index], place[index], rewards[index]))
            place[index] += 1
            frames.append(np.float32(place[index]))
            total[index] = float(np.float32(rewards[index])) + 0.5 * total[index]
            returns.append(total[index])
            if ended[index]:
                number[index], place[index], total[index] = number[index] + envs, place[index] - 7, 0.0
            elif total[index] == 0.0:
                total[index] = 1e-300  # it runs
        if waiting and count % together == 0:
            statistics.add(rows_of(POINT, waiting))
            waiting = []
        if resumes:
            again = Statistics(1, envs, 0.5, observations=True, rewards=True)
            again.restore(dict(statistics.state()))
            statistics = again
    if waiting:
        statistics.add(rows_of(POINT, waiting))
    if frames:
        observed, returned = statistics._observed, statistics._returned
        assert observed is not None
        assert returned is not None
        assert (observed.count, returned.count) == (len(frames), len(returns))
        np.testing.assert_allclose(observed.mean, np.mean(frames, dtype=np.float64), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(observed.variance, np.var(frames, dtype=np.float64), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(returned.variance, np.var(returns), rtol=1e-9, atol=1e-3)
        assert statistics._largest == pytest.approx(max(map(abs, returns)))


def test_demonstrations_count_once_whatever_the_order_of_their_rows() -> None:
    """Two episodes in turns, as several environments leave them, one that was given up, and a row without a number."""
    rows = [
        (0, 1.0, 2.0),
        (3, 50.0, 1.0),
        (0, 2.0, 4.0),
        (3, 51.0, 1.0),
        (0, 3.0, 8.0),
        (7, 9.0, -1.0),
        (-1, 70.0, 5.0),
    ]
    recorded = Replay(10, 1, 1)
    recorded.add(rows_of(POINT, rows))
    config = parts.make_config("ddpg", discount=0.5, batch_size=4, update_after=4, replay_size=10, **BOTH)
    batches = batches_of(config, POINT, 2, Replay(10, 1, 1), recorded)
    statistics = batches._statistics
    assert statistics is not None
    for _ in range(2):
        batches.begin()
    assert statistics._observed is not None
    assert statistics._returned is not None
    frames = [1, 2, 3, 4, 50, 51, 52, 9, 10, 70, 71] * 2
    returns = [2.0, 5.0, 10.5, 1.0, 1.5, -1.0, 5.0] * 2
    assert statistics._observed.count == len(frames)
    assert statistics._observed.mean == pytest.approx(np.mean(frames))
    assert statistics._observed.variance == pytest.approx(np.var(frames))
    assert statistics._returned.variance == pytest.approx(np.var(returns))
    assert statistics._largest == 10.5
    batches.add(rows_of(POINT, [(7, 5.0, 1.0)]))  # an episode of the run's own, of the number of a recorded one
    assert statistics._observed.count == len(frames) + 2


def test_goals_that_were_meant_and_achieved_share_a_scale() -> None:
    """Shown are a place, a goal that never changes, and what was achieved, which must not be seen at the clip."""
    statistics = Statistics(2, 1, 0.9, observations=True, rewards=False, goals=1)
    frames = np.float32([[place, 5.0, place / 10] for place in range(40)])
    for step in range(39):
        made = rows_of(POINT, [(0, 0.0, 0.0)])
        statistics.add(made._replace(observation=frames[step : step + 1], next_observation=frames[step + 1 : step + 2]))
    assert statistics._observed is not None
    seen = normalizer_of(statistics._observed, statistics._goals)
    goals = np.append(frames[:, 1], frames[:, 2]).astype(np.float64)
    np.testing.assert_allclose(seen.mean, [frames[:, 0].mean(), goals.mean()], rtol=1e-6)
    np.testing.assert_allclose(1 / seen.scale, [frames[:, 0].std(), goals.std()], rtol=1e-6)
    again = Statistics(2, 1, 0.9, observations=True, rewards=False, goals=1)
    again.restore(statistics.state())
    assert bits(again.state()) == bits(statistics.state())


def test_what_is_learned_offline_is_normalized_by_its_data(train: Callable[..., Run]) -> None:
    shown = np.random.default_rng(0).normal(size=(21, 2)).astype(np.float32) * np.float32([1e-3, 1e3])
    flags = np.arange(20) % 5 == 4
    given = {"observation": shown[:-1], "action": np.zeros((20, 1)), "reward": np.ones(20) * 30}
    given |= {"next_observation": shown[1:], "terminated": flags, "truncated": flags & False}
    run = train("td3", TINY, demonstrations=given, steps=0, offline_updates=8, steps_per_epoch=4)
    normalizer = run.policy.normalizer
    assert normalizer is not None
    starts = shown[[0, 5, 10, 15]]
    frames = np.concatenate([starts, shown[1:]]).astype(np.float64)
    np.testing.assert_allclose(normalizer.mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(normalizer.scale, 1 / np.sqrt(frames.var(axis=0) + EPSILON), rtol=1e-6)
    assert_same(
        polyak.resume(run.folder, steps=12),
        train("td3", TINY, demonstrations=given, steps=0, offline_updates=12, steps_per_epoch=4),
    )


def test_what_is_remembered_of_running_episodes_is_bounded() -> None:
    statistics = Statistics(1, 2, 0.5, observations=True, rewards=True)
    for number in range(0, 2_000, 2):  # none of them ends; each is given up
        statistics.add(rows_of(POINT, [(number, 0.0, 1.0), (number + 1, 0.0, 1.0)]))
    assert sum(value.nbytes for value in statistics.state().values()) < 200
    assert len(statistics._episodes) == len(statistics._returns) == 2


# What batches are normalized by


def filled(count: int = 30, seed: int = 0, **settings: Any) -> Batches:
    """One environment's transitions, in episodes of 7, observed as 1000 + N(0, 1e-3) and N(0, 1e3), with rewards."""
    generator = np.random.default_rng(seed)
    spec = Spec((2,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))
    config = parts.make_config("ddpg", batch_size=8, update_after=8, replay_size=100, **settings)
    batches = batches_of(config, spec, 1, Replay(config.replay_size, 2, 1))
    frames = (generator.normal(size=(count + 1, 2)) * [1e-3, 1e3] + [1000, 0]).astype(np.float32)
    for step in range(count):
        rows = [frames[step : step + 1], np.zeros((1, 1), np.float32), np.float32(generator.normal(size=1) * 40 + 100)]
        over = np.array([step % 7 == 6])
        batches.add(Transitions(*rows, frames[step + 1 : step + 2], over, ~over & False, np.int32([step // 7])))
    return batches


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_batch_is_the_raw_one_normalized_by_what_was_known_when_it_was_drawn(n_step: int) -> None:
    batches = filled(n_step=n_step, **BOTH)
    ring = batches.replay
    records = ring.records(0, ring.added).copy()
    batch = batches.sample(np.random.default_rng(3), 2, 8)
    raw = accumulated(ring, Uniform().choose(ring, np.random.default_rng(3), 2, 8), 0.99, n_step)
    snapshot = batch.snapshot
    assert snapshot is not None
    assert snapshot.normalizer is not None
    for column in ("observation", "next_observation"):
        np.testing.assert_array_equal(getattr(batch, column), snapshot.normalizer(getattr(raw, column)))
        assert np.abs(getattr(batch, column)).max() < 5
    np.testing.assert_array_equal(batch.reward, raw.reward / np.float32(snapshot.reward_scale))
    for column in ("action", "discount", "weight"):
        np.testing.assert_array_equal(getattr(batch, column), getattr(raw, column))
    np.testing.assert_array_equal(ring.records(0, ring.added), records)  # replay is raw
    np.testing.assert_allclose(snapshot.normalizer.mean, [1000, 0], atol=1000)
    np.testing.assert_allclose(1 / snapshot.normalizer.scale, [1e-3, 1e3], rtol=0.5)


def test_a_snapshot_is_the_moments_of_then_in_float32() -> None:
    batches = filled(20, **BOTH)
    first = batches.sample(np.random.default_rng(0), 1, 8).snapshot
    assert first is not None
    assert first.normalizer is not None
    statistics = batches._statistics
    assert statistics is not None
    assert statistics._observed is not None
    np.testing.assert_array_equal(first.normalizer.mean, statistics._observed.mean.astype(np.float32))
    expected = 1 / np.sqrt(statistics._observed.variance + EPSILON)
    np.testing.assert_array_equal(first.normalizer.scale, expected.astype(np.float32))
    kept = first.normalizer.mean.copy(), first.normalizer.scale.copy()
    batches.add(
        rows_of(Spec((1,), (1,), *2 * [np.ones(1, np.float32)]), [(9, 5.0, 3.0)])._replace(
            observation=np.float32([[1, 2]]), next_observation=np.float32([[3, 4]])
        )
    )
    assert batches.sample(np.random.default_rng(0), 1, 8).snapshot is not first
    np.testing.assert_array_equal((first.normalizer.mean, first.normalizer.scale), kept)


@pytest.mark.parametrize("which", ["normalize_observations", "normalize_rewards"])
def test_one_may_be_normalized_without_the_other(which: str) -> None:
    batch, raw = (filled(**told).sample(np.random.default_rng(0), 1, 8) for told in ({which: True}, {}))
    changed = {"normalize_observations": ["observation", "next_observation"], "normalize_rewards": ["reward"]}[which]
    for column in ("observation", "action", "reward", "next_observation", "discount", "weight"):
        assert np.array_equal(getattr(batch, column), getattr(raw, column)) == (column not in changed), column
    assert raw.snapshot is None


def test_an_input_that_moves_for_the_first_time_is_bounded() -> None:
    """A sensor that showed 0.3 and its rounding for a thousand frames: its noise stays small, its jump is CLIP."""
    statistics = Statistics(1, 1, 0.9, observations=True, rewards=False)
    noise = np.float32(0.3) + np.float32(3e-8) * np.random.default_rng(0).integers(-1, 2, 1_000)
    for value in noise.astype(np.float32):
        statistics.add(rows_of(POINT, [(0, value, 0.0)])._replace(next_observation=np.array([[value]])))
    assert statistics._observed is not None
    seen = normalizer_of(statistics._observed)
    assert np.abs(seen(noise.astype(np.float32)[:, np.newaxis])).max() < 0.01
    np.testing.assert_array_equal(seen(np.float32([[0.4], [1e30], [-3e38]])).ravel(), [CLIP, CLIP, -CLIP])


def test_rewards_are_divided_by_the_spread_of_the_return_or_by_a_part_of_the_largest() -> None:
    statistics = Statistics(1, 1, 0.9, observations=False, rewards=True)
    assert statistics._reward_scale() <= 1e-4 * 1.001  # nothing was rewarded: there is nothing to divide
    totals = list[float]()
    for step in range(300):
        reward = 100.0 if step == 200 else 0.0
        totals.append(reward + 0.9 * (totals[-1] if totals else 0.0))
        statistics.add(rows_of(POINT, [(0, 0.0, reward)]))
        expected = max(np.sqrt(np.var(totals) + EPSILON), max(totals) / BOUND)
        assert statistics._reward_scale() == pytest.approx(expected, rel=1e-9)
    assert statistics._reward_scale() == 20.0  # one reward among zeros is 5 units, not the hundred that it deviates by


def test_a_step_that_brings_nothing_changes_nothing() -> None:
    """As where the only environment of a vector is reset by a step."""
    batches = filled(**BOTH)
    before = bits(batches.state()[1])
    rows = np.zeros((0, batches.replay.layout.width), np.float32)
    batches.add(batches.replay.layout.unpacked(rows, np.zeros(0, np.int32)))
    assert bits(batches.state()[1]) == before


def test_no_mean_is_taken_from_rewards() -> None:
    batch = filled(normalize_rewards=True).sample(np.random.default_rng(0), 4, 8)
    assert (batch.reward > 0).mean() > 0.9


# Where the snapshot goes


def normalizers(run: Run) -> tuple[Normalizer, Normalizer]:
    """Of the latest and of the best policy."""
    latest, best = run.policy.normalizer, run.best_policy.normalizer
    assert latest is not None
    assert best is not None
    return latest, best


def test_each_policy_has_the_snapshot_of_its_own_moment(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best one that of its evaluation, which is not the last here; and it acts as it did then, from its file."""
    made = list[Policy]()

    def evaluated(self: Evaluations, signals: Any) -> Any:
        made.append(self.updates.policy)
        before = self.updates.batches.state()[1]
        result = evaluate(self, signals)
        assert bits(self.updates.batches.state()[1]) == bits(before)  # an evaluation changes nothing
        assert result is not None
        return dataclasses.replace(result, returns=(-float(len(made)),))

    evaluate = Evaluations.evaluated
    monkeypatch.setattr(Evaluations, "evaluated", evaluated)
    run = train()
    latest, best = normalizers(run)
    assert len(made) == 2
    assert best.same(made[0].normalizer)
    assert latest.same(made[1].normalizer)
    assert not latest.same(best)
    observation = np.float32([[0.3, 2.0], [-5.0, 7.0]])
    np.testing.assert_array_equal(Policy.load(run.best_policy_file).act(observation), made[0].act(observation))
    kept = saved(run)
    assert kept.best == run.best_policy_file.read_bytes()
    assert bits({"mean": latest.mean, "scale": latest.scale}) == bits(
        {name: kept.batches[f"statistics/{name}"] for name in ("mean", "scale")}
    )


@pytest.mark.parametrize("lag", [0, 1])
def test_a_policy_acts_with_the_snapshot_of_the_burst_that_it_came_from(
    lag: int, train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, acted = list[Any](), list[Any]()
    sample, collect = Batches.sample, Loop._collect

    def sampling(self: Batches, *how: Any) -> Any:
        batch = sample(self, *how)
        taken.append(batch.snapshot)
        return batch

    def collecting(self: Loop) -> None:
        if self._acting is not None:
            acted.append((len(taken), self._acting.normalizer))
        collect(self)

    monkeypatch.setattr(Batches, "sample", sampling)
    monkeypatch.setattr(Loop, "_collect", collecting)
    train(lag=lag)
    ends = (4, 9)  # bursts at which an epoch ends, which waits for all
    late = [(bursts, normalizer) for bursts, normalizer in acted if bursts > lag and bursts not in ends]
    assert len(late) > 20
    for bursts, normalizer in late:
        assert normalizer is taken[bursts - 1 - lag].normalizer


def test_q_is_told_in_rewards_of_raw_observations(train: Callable[..., Run]) -> None:
    run = train(steps=60)
    kept, observation, action = saved(run), np.float32([[0.5, 2.0], [-1.0, 4.0]]), np.float32([[0.5], [-0.25]])
    normalizer, scale = run.policy.normalizer, float(kept.batches["statistics/reward_scale"])
    assert normalizer is not None
    seen = np.concatenate([normalizer(observation), (action + 1) / 2 - 1], axis=1)  # of a box from -1 to 3
    of = {name.removeprefix("critic_1/"): value for name, value in kept.learner.items()}
    hidden = np.maximum(seen @ of["0/kernel"] + of["0/bias"], 0)
    expected = (hidden @ of["1/kernel"] + of["1/bias"])[:, 0] * scale
    np.testing.assert_allclose(run.q(observation, action), expected, rtol=1e-4)
    assert run.metrics[-1]["learner/reward_scale"] == scale
    assert scale != pytest.approx(1.0, rel=1e-3)


def test_an_evaluation_expects_in_rewards_too(train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    first = list[Any]()
    critic = Evaluations._critic

    def watched(self: Evaluations, policy: Policy) -> Any:
        value = critic(self, policy)
        return lambda observation: first.append(observation) or value(observation)

    monkeypatch.setattr(Evaluations, "_critic", watched)
    run = train(evaluation_episodes=1, steps_per_epoch=40, max_episode_steps=3)
    expected = run.q(first[0], run.policy.act(first[0]))
    assert run.metrics[-1]["eval/q"] == pytest.approx(float(np.mean(expected)), rel=1e-4)


def test_a_run_that_is_gone_on_from_gives_its_scales_with_its_weights(train: Callable[..., Run]) -> None:
    earlier = train()
    kept = saved(earlier).batches
    later = train(from_run=earlier.folder, steps=12, update_after=100, steps_per_epoch=100, envs=3)
    begun = saved(later).batches
    normalizer = later.policy.normalizer
    assert normalizer is not None
    assert normalizer.same(earlier.policy.normalizer)
    assert begun["statistics/reward_scale"] == kept["statistics/reward_scale"]
    counted = int(begun["statistics/observations/count"]) - int(kept["statistics/observations/count"])
    assert 12 < counted <= 12 + 12  # its frames besides, as those of new episodes
    assert int(begun["statistics/rewards/count"]) - int(kept["statistics/rewards/count"]) == 12


@pytest.mark.parametrize("which", BOTH)
def test_weights_go_on_on_the_scale_that_they_know_or_are_refused(which: str, train: Callable[..., Run]) -> None:
    earlier = train(steps=8, update_after=100)
    with pytest.raises(UsageError, match=f"{which} is False, but the run that is gone on from, .*, has True"):
        train(from_run=earlier.folder, **{which: False})
    raw = train(steps=8, update_after=100, **dict.fromkeys(BOTH, False))
    with pytest.raises(UsageError, match=f"{which} is True, but the run that is gone on from, .*, has False"):
        train(from_run=raw.folder, **{**dict.fromkeys(BOTH, False), which: True})


# Exact resume, and damage


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({"checkpoint_every": 7, "replay_size": 20}, (9, 22, 33)),
        ({"checkpoint_every": 6, "envs": 3, "n_step": 3}, (5, 9)),
        ({"checkpoint_every": 3, "lag": 1, "update_every": 1}, (10, 30)),
        ({"checkpoint_every": 5, "normalize_rewards": False, "lag": 1}, (12, 24)),
        ({"checkpoint_every": 5, "normalize_observations": False}, (12, 24)),
    ],
    ids=str,
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    options: dict[str, Any],
    at: tuple[int, ...],
    train: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = snapshots(monkeypatch, tmp_path, *at).taken
    whole = train("ddpg", **options)
    assert sorted(taken) == sorted(at)
    for number in at:
        assert_same(polyak.resume(taken[number]), whole)


def test_collectors_get_the_snapshot_with_the_policy_and_it_matters_not_who_collects(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two with two environments each, or four with one; also where one is lost, and where the run is killed."""
    here = put_here(monkeypatch)
    options = {"update_every": 8, "steps": 64, "steps_per_epoch": 32, "checkpoint_every": 8}
    others = [train(collectors=each, envs=4 // each, start_steps=64, **options) for each in (2, 4)]  # at random
    one, two = (bits(saved(run).batches) for run in others)
    assert one == two
    acted, taken = list[Any](), list[Any]()
    answered, sample = Collecting.answered, Batches.sample

    def answering(self: Collecting, order: Any) -> Any:
        answer = answered(self, order)
        if not order.uniform and self._policy is not None:
            acted.append(self._policy.normalizer)
        return answer

    def sampling(self: Batches, *how: Any) -> Any:
        batch = sample(self, *how)
        taken.append(batch.snapshot)
        return batch

    with monkeypatch.context() as patch:
        patch.setattr(Collecting, "answered", answering)
        patch.setattr(Batches, "sample", sampling)
        whole = train(collectors=2, envs=2, **options)
    seen = [number for number, each in enumerate(taken) if any(each.normalizer.same(one) for one in acted)]
    assert len(seen) >= 3
    assert all(one is not None for one in acted)
    normalizers(whole)
    here.loses = {(1, 4)}
    kept = snapshots(monkeypatch, tmp_path, 5).taken
    assert_same(train(collectors=2, envs=2, **options), whole)
    assert_same(polyak.resume(kept[5]), whole)


def test_runs_that_train_together_are_those_that_train_alone(tmp_path: Path) -> None:
    settings = {**SMALL, **BOTH, "probe": False}
    together = polyak.train_together(
        "ddpg", TINY, seeds=[0, 1], run_dir=tmp_path / "together", backend="jax", device="cpu", **settings
    )
    alone = polyak.train("ddpg", TINY, seed=1, run_dir=tmp_path / "alone", backend="jax", device="cpu", **settings)
    assert_same(together[1], alone)
    assert not normalizers(together[0])[0].same(alone.policy.normalizer)


WRONG: dict[str, Callable[[Arrays], Any]] = {
    "no count": lambda arrays: arrays.pop("statistics/observations/count"),
    "no mean": lambda arrays: arrays.pop("statistics/mean"),
    "no returns": lambda arrays: arrays.pop("statistics/returns"),
    "an array too many": lambda arrays: arrays.update({"statistics/more": np.zeros(1)}),
    "one of something else": lambda arrays: arrays.update({"priorities": np.zeros(1)}),
    "a negative count": lambda arrays: arrays.update({"statistics/rewards/count": np.array(-1)}),
    "a count beyond all": lambda arrays: arrays.update({"statistics/rewards/count": np.array(2**62)}),
    "a mean beyond float32": lambda arrays: arrays.update({"statistics/observations/mean": np.full(2, 1e39)}),
    "a spread beyond float32": lambda arrays: arrays.update({"statistics/observations/deviations": np.full(2, 1e300)}),
    "squares below 0": lambda arrays: arrays.update({"statistics/observations/deviations": -np.ones(2)}),
    "a mean that is NaN": lambda arrays: arrays.update({"statistics/observations/mean": np.full(2, np.nan)}),
    "a mean in float32": lambda arrays: arrays.update({"statistics/observations/mean": np.zeros(2, np.float32)}),
    "a mean of other observations": lambda arrays: arrays.update({"statistics/observations/mean": np.zeros(3)}),
    "a largest return that is infinite": lambda arrays: arrays.update({"statistics/largest": np.array(np.inf)}),
    "a largest return below 0": lambda arrays: arrays.update({"statistics/largest": np.array(-1.0)}),
    "a return of other environments": lambda arrays: arrays.update({"statistics/returns": np.zeros(2)}),
    "episodes in floats": lambda arrays: arrays.update({"statistics/episodes": np.zeros(1)}),
    "a scale of 0": lambda arrays: arrays.update({"statistics/scale": np.zeros(2, np.float32)}),
    "a scale that is infinite": lambda arrays: arrays.update({"statistics/scale": np.full(2, np.inf, np.float32)}),
    "rewards divided by 0": lambda arrays: arrays.update({"statistics/reward_scale": np.array(0.0)}),
    "rewards divided by NaN": lambda arrays: arrays.update({"statistics/reward_scale": np.array(np.nan)}),
}


@pytest.mark.parametrize("name", WRONG)
def test_statistics_that_make_no_sense_are_refused(name: str) -> None:
    batches = filled(**BOTH)
    arrays = batches.state()[1]
    filled(**BOTH).restore({}, arrays)
    WRONG[name](arrays)
    with pytest.raises((ValueError, KeyError)):
        filled(**BOTH).restore({}, arrays)


def test_statistics_where_the_settings_know_none_are_refused() -> None:
    with pytest.raises(ValueError, match="statistics/"):
        filled().restore(*filled(**BOTH).state())
    with pytest.raises(KeyError):
        filled(**BOTH).restore(*filled().state())


# A loop of one's own


def test_a_loop_of_ones_own_is_the_run_of_the_same_settings(tmp_path: Path) -> None:
    settings = {**SMALL, **BOTH, "discount": 0.9}
    environments = parts.make_environments(UNEVEN, 2)
    config = parts.make_config("td3", **settings)
    collector = parts.make_collector(environments, config)
    batches = parts.make_batches(
        environments.spec, config, parts.make_replay(environments.spec, config), environments.count
    )
    learner = parts.make_learner("torch", "td3", environments.spec, config)
    schedule, sampling = parts.UpdateSchedule(config), parts.Streams(0).replay
    while collector.steps < config.steps:
        before = collector.steps
        batches.add(collector.step(None if before < config.start_steps else learner.policy))
        if due := schedule.due(before, collector.steps):
            learner.update(batches.sample(sampling, due, config.batch_size))
    environments.close()
    run = polyak.train(
        "td3", UNEVEN, backend="torch", envs=2, run_dir=tmp_path, probe=False, preset="paper", **settings
    )
    assert bits(learner.arrays()) == bits(saved(run).learner)
    assert dataclasses.replace(learner.policy, made_for=run.policy.made_for).content() == run.policy_file.read_bytes()
    rows = np.float32([[0.5, 1.0], [2.0, 3.0]])
    np.testing.assert_array_equal(learner.q(rows, [0.5]), run.q(rows, [0.5]))
    raw = parts.sample_batch(batches.replay, sampling, 1, config.batch_size, config.discount)
    with pytest.raises(UsageError, match="normalize_observations is True, but these batches are raw"):
        learner.update(raw)


# Every algorithm


class Scaled(gymnasium.ObservationWrapper[Any, Any, Any]):
    """The tiny environment, whose first number is a thousandth and whose second a thousand times as large."""

    def __init__(self) -> None:
        super().__init__(Uneven())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def observation(self, observation: Any) -> Any:
        return (observation * np.float32([1e-3, 1e3])).astype(np.float32)


@pytest.mark.parametrize("algorithm", ["ddpg", "td3", "sac", "tqc", "crossq", "redq"])
def test_every_algorithm_learns_from_normalized_batches(algorithm: str, train: Callable[..., Run]) -> None:
    run = train(algorithm, Scaled, steps=24, steps_per_epoch=24)
    normalizer, _ = normalizers(run)
    assert 1e-4 < 1 / normalizer.scale[0] < 1e-2
    assert 1e2 < 1 / normalizer.scale[1] < 1e4
    assert np.isfinite(run.metrics[-1]["eval/q"])
