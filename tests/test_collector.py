"""The collector: every transition that it emits is checked against what the environment wrote down."""

import functools
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from polyak.environments.make import Environments, make_environments
from polyak.errors import TrainingError
from polyak.experience.collector import Collector
from polyak.experience.exploration import Manner
from polyak.experience.replay import Replay
from polyak.policies.policy import Policy
from polyak.system.randomness import stream
from polyak.types import Spec, Transitions
from tiny import LENGTHS, Broken, Diary, Numbers, Shown, constant_policy, make_policy

MODES = list(AutoresetMode)


def collector_of(environments: Environments, *, seed: int = 0, correlation: float = 0.0) -> Collector:
    manner = Manner(correlation)
    collector = Collector(environments, stream(seed, "warm-up"), stream(seed, "exploration"), manner)
    collector.begin()
    return collector


def collect(collector: Collector, policy: Policy | None, steps: int) -> Transitions:
    emitted = [collector.step(policy) for _ in range(steps)]
    return Transitions(*(np.concatenate(column) for column in zip(*emitted, strict=True)))


class Reader:
    """Where each Diary has to be: checks one transition after another."""

    def __init__(self, spec: Spec, count: int) -> None:
        self.spec, self.count = spec, count
        self.place: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self.last_action: dict[int, Any] = {}
        self.finished = defaultdict[int, list[tuple[float, int, bool]]](list)
        self.total = defaultdict[int, float](float)

    def read(
        self,
        observation: Any,
        action: Any,
        reward: Any,
        next_observation: Any,
        terminated: Any,
        truncated: Any,
        number: Any,
    ) -> None:
        index = int(observation[0])
        episode, step = self.place[index]
        assert number == index + self.count * episode
        length = LENGTHS[(index + episode) % 4]
        given = self.spec.to_environment(action)
        shown_before = self.last_action[index] if step else np.zeros(len(given))
        np.testing.assert_array_equal(observation, [index, episode, step, *shown_before])
        np.testing.assert_array_equal(next_observation, [index, episode, step + 1, *given])
        np.testing.assert_allclose(reward, given.sum(), rtol=1e-6)
        ended = step + 1 == length
        assert (terminated, truncated) == (ended and episode % 2 == 0, ended and episode % 2 == 1)
        self.total[index] += float(reward)
        self.last_action[index] = given
        self.place[index] = (episode + 1, 0) if ended else (episode, step + 1)
        if ended:
            self.finished[index].append((self.total.pop(index), length, bool(terminated)))


def check(environments: Environments, policy: Policy | None, steps: int) -> tuple[Transitions, Reader]:
    """Collect `steps` times; check every transition and every finished episode."""
    collector = collector_of(environments)
    spec = environments.spec
    transitions, reader, episodes = [], Reader(spec, environments.count), []
    replay = Replay(1_000, spec.observation_size, spec.action_size)
    for _ in range(steps):
        emitted = collector.step(policy)
        for row in zip(*emitted, strict=True):
            reader.read(*row)
        transitions.append(emitted)
        replay.add(emitted)
        assert collector.steps == sum(len(each.reward) for each in transitions)
        finished = collector.finished()
        assert all(episode.step == collector.steps for episode in finished)
        episodes += [(episode.total_reward, episode.length, episode.terminated) for episode in finished]
    assert collector.finished() == []
    expected = sorted(episode for finished in reader.finished.values() for episode in finished)
    assert len(expected) > environments.count
    for actual, (total, length, terminated) in zip(sorted(episodes), expected, strict=True):
        np.testing.assert_allclose(actual[0], total, rtol=1e-5)
        assert actual[1:] == (length, terminated)
    everything = Transitions(*(np.concatenate(column) for column in zip(*transitions, strict=True)))
    place = [tuple(row) for row in everything.observation[:, :3].tolist()]  # environment, episode, step
    following = {(index, episode, step - 1): number for number, (index, episode, step) in enumerate(place)}
    assert replay.successors(np.arange(replay.added)).tolist() == [following.get(each, -1) for each in place]
    return everything, reader


def test_an_episode_that_is_given_up_has_a_number_of_its_own() -> None:
    collector = collector_of(make_environments(Diary, 3, Numbers))
    before = collector.step(None)
    collector.start_anew(np.array([False, False, True]))
    assert before.episode.tolist() == [0, 1, 2]
    assert collector.step(None).episode.tolist() == [0, 4, 5]  # environment 1's had ended


def test_numbers_of_episodes_go_on_and_begin_anew_after_all() -> None:
    one, other = (collector_of(make_environments(Diary, 2, Numbers)) for _ in range(2))
    counts, arrays = one.state()
    other.restore(counts | {"episode_numbers": [2**31 - 1, 7]}, arrays)
    other.start_anew(np.ones(2, np.bool_))
    assert other.state()[0]["episode_numbers"] == [1, 9]
    other.restore({name: value for name, value in counts.items() if name != "episode_numbers"}, arrays)
    assert other.state()[0]["episode_numbers"] == [0, 1], "those of before format 5"
    for wrong in ([0], [0, -1], [0, 2**31], [0, 1.0], [0, True]):
        with pytest.raises(ValueError, match="numbers of episodes"):
            other.restore(counts | {"episode_numbers": wrong}, arrays)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("acting", ["random", "deterministic", "squashed_gaussian"])
def test_every_transition_is_true_in_every_autoreset_mode(mode: AutoresetMode, count: int, acting: Any) -> None:
    environments = make_environments(Diary, count, Numbers, autoreset=mode)
    policy = None if acting == "random" else make_policy(environments.spec, acting, noise=0.3)
    steps = 41
    transitions, reader = check(environments, policy, steps)
    resets = sum(len(finished) for finished in reader.finished.values())
    if mode is AutoresetMode.NEXT_STEP:  # a step that only resets is no transition; those of the last step are to come
        assert steps * count - resets <= len(transitions.reward) <= steps * count - resets + count
    else:
        assert len(transitions.reward) == steps * count
    # Both kinds of end were seen, and the last step of an episode is among the next observations, never the first.
    ends = {bool(terminated) for finished in reader.finished.values() for *_, terminated in finished}
    assert ends == {True, False}
    assert (transitions.next_observation[:, 2] >= 1).all()


@pytest.mark.parametrize("mode", MODES)
def test_environments_in_processes_of_their_own_give_the_same(mode: AutoresetMode) -> None:
    emitted = {}
    for vectorization in ("sync", "async"):
        environments = make_environments(Diary, 2, Numbers, vectorization=vectorization, autoreset=mode)
        try:
            emitted[vectorization], _ = check(environments, None, 23)
        finally:
            environments.close()
    for ours, theirs in zip(emitted["sync"], emitted["async"], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_truncated_episode_is_not_terminated_and_keeps_its_last_observation() -> None:
    environments = make_environments(Shown, 1, Numbers, max_episode_steps=2)
    collector = collector_of(environments)
    before = collect(collector, None, 1).next_observation
    emitted = collector.step(None)
    np.testing.assert_array_equal(emitted.observation, before)
    np.testing.assert_array_equal(emitted.next_observation[0], _second_sample(seed=0))
    assert not emitted.terminated.any()
    (episode,) = collector.finished()
    assert (episode.length, episode.terminated, episode.step, episode.total_reward) == (2, False, 2, 2.0)


def _second_sample(seed: int) -> Any:
    """What `Shown` shows two steps after a reset with this seed."""
    environment = Shown()
    environment.reset(seed=seed)
    environment.step(None)
    return environment.step(None)[0]


def test_warm_up_actions_are_uniform_in_the_scale_of_the_policys() -> None:
    environments = make_environments(Diary, 4, Numbers)
    actions = collect(collector_of(environments), None, 1000).action
    assert actions.dtype == np.float32
    for column in actions.T:
        counts, _ = np.histogram(column, bins=10, range=(-1.0, 1.0))
        assert counts.sum() == column.size == 4000  # none outside
        assert float(((counts - 400) ** 2 / 400).sum()) < 27.9  # chi-square, 9 degrees of freedom, 99.9 %
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.05


def test_policy_actions_are_emitted_in_the_same_scale() -> None:
    environments = make_environments(Diary, 2, Numbers)
    policy = constant_policy(environments.spec, [0.5, -0.5])
    emitted = collect(collector_of(environments), policy, 3)
    np.testing.assert_allclose(emitted.action, np.tile([0.5, -0.5], (6, 1)), rtol=1e-6)
    np.testing.assert_allclose(emitted.next_observation[:, 3:], np.tile([2.0, 0.125], (6, 1)), rtol=1e-6)


def exploration_noise(correlation: float, length: int, steps: int, count: int = 8) -> Any:
    """The noise [steps, count, A] that a policy of mean 0 added in episodes of `length` steps."""
    environments = make_environments(Shown, count, Numbers, max_episode_steps=length)
    scale = 0.1  # small enough for no action to be clipped
    policy = constant_policy(environments.spec, [0.0, 0.0])
    policy = Policy(policy.parameters, policy.spec, policy.kind, exploration_noise=scale)
    actions = collect(collector_of(environments, correlation=correlation), policy, steps).action
    return actions.reshape(steps, count, -1) / scale


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_exploration_noise_is_standard_normal_and_correlated_as_set(correlation: float) -> None:
    noise = exploration_noise(correlation, length=100_000, steps=1500)
    tolerance = 5 * np.sqrt((1 + correlation) / (1 - correlation) / noise.size)  # five standard errors of the mean
    assert abs(noise.mean()) < tolerance
    assert abs(noise.var() - 1.0) < 2 * tolerance
    assert abs((noise[1:] * noise[:-1]).mean() - correlation) < 2 * tolerance
    assert abs((noise[2:] * noise[:-2]).mean() - correlation**2) < 2 * tolerance
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 3 * tolerance  # environments are independent
    assert abs((noise[..., 0] * noise[..., 1]).mean()) < 2 * tolerance  # and so are the actions' numbers


def test_exploration_noise_starts_fresh_and_stationary_in_every_episode() -> None:
    noise = exploration_noise(0.9, length=2, steps=1200)
    first, second = noise[0::2], noise[1::2]
    assert abs((first * second).mean() - 0.9) < 0.07  # within an episode
    assert abs((second[:-1] * first[1:]).mean()) < 0.07  # from one to the next
    assert abs(first.var() - 1.0) < 0.07
    assert abs(second.var() - 1.0) < 0.07


def test_a_squashed_gaussian_explores_with_the_noise_of_the_stream() -> None:
    environments = make_environments(Shown, 2, Numbers)
    policy = make_policy(environments.spec, "squashed_gaussian")
    collector = collector_of(environments, seed=3)
    emitted = collector.step(policy)
    noise = stream(3, "exploration").standard_normal((2, 2), dtype=np.float32)
    np.testing.assert_array_equal(emitted.action, policy.explore(emitted.observation, noise))


def test_the_streams_alone_decide_what_is_collected() -> None:
    def collected(seed: int) -> Transitions:
        environments = make_environments(Shown, 2, Numbers, max_episode_steps=3)
        collector = collector_of(environments, seed=seed, correlation=0.5)
        policy = make_policy(environments.spec, noise=0.5)
        random, explored = collect(collector, None, 5), collect(collector, policy, 5)
        return Transitions(*(np.concatenate(pair) for pair in zip(random, explored, strict=True)))

    first, again, other = collected(0), collected(0), collected(1)
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (first.action != other.action).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["observation", "reward"])
def test_a_number_that_is_not_finite_names_step_and_environment(what: str, value: float) -> None:
    environments = list[Broken]()

    def make() -> Broken:
        environments.append(Broken(3 if len(environments) == 1 else 1000, **{what: value}))
        return environments[-1]

    collector = collector_of(make_environments(make, 2, Numbers))
    collector.step(None)
    collector.step(None)
    with pytest.raises(TrainingError, match=f"environment 1 returned a non-finite {what} after 4 environment steps"):
        collector.step(None)
    assert collector.steps == 4


@pytest.mark.parametrize("mode", MODES)
def test_a_last_observation_that_is_not_finite_is_seen_in_every_mode(mode: AutoresetMode) -> None:
    def make() -> Broken:
        return Broken(2, observation=np.nan)

    environments = make_environments(make, 1, Numbers, autoreset=mode, max_episode_steps=2)
    collector = collector_of(environments)
    collector.step(None)
    with pytest.raises(TrainingError, match="environment 0 returned a non-finite observation after 1 environment step"):
        collector.step(None)


@pytest.mark.parametrize("mode", MODES)
def test_a_first_observation_that_is_not_finite_is_seen_in_every_mode(mode: AutoresetMode) -> None:
    class BadStart(Shown):
        def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
            observation, info = super().reset(**options)
            self.episodes = getattr(self, "episodes", 0) + 1
            return observation * (np.nan if self.episodes == 2 else 1), info

    environments = make_environments(BadStart, 1, Numbers, autoreset=mode, max_episode_steps=1)
    collector = collector_of(environments)
    with pytest.raises(TrainingError, match="environment 0 returned a non-finite observation"):
        collect(collector, None, 2)  # NEXT_STEP starts the next episode in a step of its own


def test_a_first_observation_of_the_run_that_is_not_finite_is_seen() -> None:
    class BadStart(Shown):
        def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
            return super().reset(**options)[0] * np.nan, {}

    with pytest.raises(TrainingError, match=r"environment 0 .* non-finite observation after 0 environment steps"):
        collector_of(make_environments(BadStart, 1, Numbers))


def test_an_environment_that_raises_is_a_training_error_with_its_cause() -> None:
    cause = OSError("the simulator fell over")
    collector = collector_of(make_environments(lambda: Broken(3, error=cause), 1, Numbers))
    collector.step(None)
    collector.step(None)
    with pytest.raises(TrainingError, match="raised OSError after 2 environment steps: the simulator") as caught:
        collector.step(None)
    assert caught.value.__cause__ is cause


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium's way to print the worker's traceback
def test_an_environment_that_raises_in_its_own_process_is_one_too() -> None:
    make = functools.partial(Broken, 2, error=OSError("the simulator fell over"))
    environments = make_environments(make, 2, Numbers, vectorization="async")
    try:
        collector = collector_of(environments)
        collector.step(None)
        with pytest.raises(TrainingError, match="raised OSError after 2 environment steps: the simulator"):
            collector.step(None)
    finally:
        environments.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("episode", [1, 2])
def test_an_environment_that_raises_in_reset_is_one_too(mode: AutoresetMode, episode: int) -> None:
    cause = OSError("no licence")

    class Unlicensed(Shown):
        episodes = 0

        def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
            self.episodes += 1
            if self.episodes == episode:
                raise cause
            return super().reset(**options)

    environments = make_environments(Unlicensed, 1, Numbers, autoreset=mode, max_episode_steps=1)
    with pytest.raises(TrainingError, match=r"raised OSError after [01] environment steps: no licence") as caught:
        collect(collector_of(environments), None, 2)
    assert caught.value.__cause__ is cause


def test_an_interruption_is_not_taken_for_an_environments_fault() -> None:
    class Interrupting(Shown):
        def step(self, action: Any) -> Any:
            raise KeyboardInterrupt

    collector = collector_of(make_environments(Interrupting, 1, Numbers))
    with pytest.raises(KeyboardInterrupt):
        collector.step(None)
