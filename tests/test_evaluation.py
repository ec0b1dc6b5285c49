"""Evaluation: exact returns and lengths, a fair share of episodes for every environment, and errors."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from polyak.environments.make import Environments, make_environments
from polyak.errors import TrainingError, UsageError
from polyak.policies.evaluation import Evaluation, critic_of, evaluate
from polyak.policies.policy import Policy, policy_of
from polyak.run.runs import load
from polyak.system.randomness import Streams
from reference import common as oracle
from reference.cases import make_case
from tiny import LENGTHS, Broken, Diary, Numbers, Shown, constant_policy, make_policy
from tiny_cli import Tiny, untrained_run

MODES = list(AutoresetMode)


def make(environment: Any, count: int = 1, **options: Any) -> Environments:
    return make_environments(environment, count, Numbers, **options)


def with_noise(policy: Policy) -> Policy:
    """The same policy with exploration noise, which evaluation must not add."""
    return Policy(policy.parameters, policy.spec, policy.kind, exploration_noise=0.9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("count", "episodes"), [(1, 6), (3, 7), (3, 2)])
def test_returns_and_lengths_are_exact(mode: AutoresetMode, count: int, episodes: int) -> None:
    """Environment i runs its fair share, `episodes / count` rounded; every step of a Diary gives the action's sum."""
    environments = make(Diary, count, autoreset=mode)
    result = evaluate(with_noise(constant_policy(environments.spec, [0.5, -0.5])), environments, episodes)
    shares = [len(range(index, episodes, count)) for index in range(count)]
    expected = [LENGTHS[(index + episode) % 4] for index in range(count) for episode in range(shares[index])]
    assert sum(shares) == episodes
    assert list(result.lengths) == expected
    np.testing.assert_allclose(result.returns, 2.125 * np.array(expected), rtol=1e-6)


@pytest.mark.parametrize("kind", ["deterministic", "squashed_gaussian"])
def test_actions_are_drawn_from_the_generator(kind: Any) -> None:
    """A Diary's reward is the sum of the action, so that returns tell what was drawn."""
    policy = make_policy(make(Diary).spec, kind, noise=0.3)
    first, again, other, plain = (
        evaluate(policy, make(Diary, 2), 5, generator=generator).returns
        for generator in (*(np.random.default_rng(seed) for seed in (1, 1, 2)), None)
    )
    assert first == again
    assert len({first, other, plain}) == 3


def test_an_evaluation_that_is_ended_counts_the_episodes_that_run_as_cut_off() -> None:
    environments = make(Diary, 2)
    policy = constant_policy(environments.spec, [0.5, -0.5])
    ended = evaluate(policy, environments, 100, until=lambda: environments.steps >= 12)
    assert ended.lengths == (3, 1, 2, 1, 4, 1)  # 3 + 1 + 2 of an episode of 4; 1 + 4 + 1 of one of 2
    np.testing.assert_allclose(ended.returns, 2.125 * np.array(ended.lengths), rtol=1e-6)


def test_what_has_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, exploration_noise=0.0, steps=2)
    for call in (run.evaluate, run.record, run.watch):
        with pytest.raises(UsageError, match=r"deterministic is False \(--stochastic\), but this policy has nothing"):
            call(1, deterministic=False)
    with pytest.raises(UsageError, match="deterministic is 'no', but must be True or False"):
        run.evaluate(1, deterministic="no")  # type: ignore[arg-type]


class Uneven(Shown):
    """Episodes of environment 0 last one step, those of all others twenty; each step's reward is 1."""

    def reset(self, *, seed: int | None = None, **options: Any) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.length = 1 if seed < 1000 else 20
        self.steps = 0
        return super().reset(seed=seed, **options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, self.steps == self.length, truncated, info


@pytest.mark.parametrize("mode", MODES)
def test_short_episodes_are_not_preferred(mode: AutoresetMode) -> None:
    environments = make(Uneven, 2, autoreset=mode)
    result = evaluate(make_policy(environments.spec), environments, 6)
    assert result.lengths == (1, 1, 1, 20, 20, 20)
    assert result.returns == result.lengths
    assert result.mean_length == 10.5


class Countdown(gymnasium.Env[Any, Any]):
    """Rewards 1, 2, 4, ... ; episodes of three steps end, every other one by a time limit. Observes [episode, step]."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = gymnasium.spaces.Box(-100, 100, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.render_mode, self.episode = render_mode, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        end = self.steps == 3
        return self._observed(), 2.0 ** (self.steps - 1), end and self.episode % 2 == 0, end, {}

    def _observed(self) -> Any:
        return np.array([self.episode, self.steps], np.float32)


@pytest.mark.parametrize("mode", MODES)
def test_discounted_returns_go_on_where_a_time_limit_cut_them(mode: AutoresetMode) -> None:
    """The value of [episode, step] is 100 episode + step: it tells which observations it was asked for."""
    environments = make(Countdown, 1, autoreset=mode)
    value = lambda observation: 100 * observation[:, 0] + observation[:, 1]  # noqa: E731
    result = evaluate(make_policy(environments.spec), environments, 3, discount=0.5, value=value)
    first = result.values[0]
    assert result.values == (first, first + 100, first + 200)
    sums = 1 + 0.5 * 2 + 0.25 * 4
    cut = [(first / 100 + i) % 2 == 1 for i in range(3)]
    expected = [sums + 0.125 * (first + 100 * i + 3) * limit for i, limit in enumerate(cut)]
    assert result.discounted_returns == pytest.approx(expected)
    assert sorted(cut) in ([False, False, True], [False, True, True])


def test_without_a_value_nothing_is_discounted() -> None:
    environments = make(Countdown)
    result = evaluate(make_policy(environments.spec), environments, 1)
    assert (result.returns, result.discounted_returns, result.values) == ((7.0,), (), ())


@pytest.mark.parametrize("name", ["ddpg", "td3", "sac"])
def test_critic_of_a_learner_is_its_first(name: str) -> None:
    """Beside the oracle's Q of the policy's own action."""
    case = make_case(name).cast(np.float32)
    actor = {path.removeprefix("actor/"): value for path, value in case.arrays.items() if path.startswith("actor/")}
    policy = policy_of(case.what, case.config, case.spec, actor, {})
    observation = case.batch(0).observation
    critic = oracle.part(case.arrays, "critic" if name == "ddpg" else "critic_1")
    expected, _ = oracle.q_value(critic, observation, policy.mean(observation))
    np.testing.assert_allclose(critic_of(case.what, case.config, case.arrays, policy)(observation), expected, rtol=1e-6)


def test_an_evaluation_starts_anew_whatever_was_left_over() -> None:
    environments = make(Shown, 2, autoreset=AutoresetMode.NEXT_STEP, max_episode_steps=2)
    for episodes in (2, 3, 2):  # each leaves environments at the end of an episode, the next step of which is a reset
        result = evaluate(make_policy(environments.spec), environments, episodes)
        assert result.lengths == result.returns == (2,) * episodes


@pytest.mark.parametrize("kind", ["deterministic", "squashed_gaussian"])
def test_seeds_make_an_evaluation_reproducible(kind: Any) -> None:
    def run(seed: int) -> Evaluation:
        environments = make_environments("Pendulum-v1", 2, Streams(seed).evaluation, max_episode_steps=5)
        try:
            return evaluate(make_policy(environments.spec, kind, noise=0.5), environments, 4, seed=seed)
        finally:
            environments.close()

    first = run(1)
    assert first == run(1)
    assert len(set(first.returns)) == 4
    assert set(first.returns).isdisjoint(run(2).returns)


@pytest.mark.parametrize("mode", MODES)
def test_the_policy_is_asked_about_what_the_environment_shows(mode: AutoresetMode) -> None:
    environments = make(Diary, autoreset=mode)
    policy = make_policy(environments.spec)
    diary, expected = Diary(), list[float]()
    for _ in range(4):
        observation, _ = diary.reset()
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = diary.step(policy.act(observation))
            total += reward
            ended = terminated or truncated
        expected.append(total)
    np.testing.assert_allclose(evaluate(policy, environments, 4).returns, expected, rtol=1e-5)


@pytest.mark.parametrize("episodes", [0, -1])
def test_fewer_than_one_episode_is_refused(episodes: int) -> None:
    environments = make(Diary)
    with pytest.raises(UsageError, match=f"episodes is {episodes}, but must be at least 1"):
        evaluate(make_policy(environments.spec), environments, episodes)


@pytest.mark.parametrize(
    "other",
    [
        Shown(spaces.Box(-1.0, 1.0, (4,))),
        Shown(action_space=spaces.Box(-1.0, 1.0, (3,))),
        Shown(action_space=spaces.Box(-1.0, 1.0, (2, 1))),
    ],
    ids=["observation", "action", "action shape"],
)
def test_an_environment_of_other_spaces_is_refused(other: Shown) -> None:
    policy = make_policy(make(Shown).spec)
    environments = make(lambda: other, max_episode_steps=5)
    with pytest.raises(UsageError) as caught:
        evaluate(policy, environments, 1)
    theirs = environments.spec
    for named in ("(3,)", "(2,)", str(theirs.observation_shape), str(theirs.action_shape)):
        assert named in str(caught.value)


def test_an_environment_of_other_action_bounds_is_refused() -> None:
    """`Policy.act` maps by the policy's bounds and the environment by its own: they have to be the same."""

    def wider() -> Shown:
        return Shown(action_space=spaces.Box(-2.0, 2.0, (2,)))

    policy = make_policy(make(Shown).spec)
    with pytest.raises(UsageError, match="bounds"):
        evaluate(policy, make(wider, max_episode_steps=5), 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_number_that_is_not_finite_is_a_training_error(what: str, value: float) -> None:
    environments = make(lambda: Broken(2, **{what: value}), max_episode_steps=5)
    with pytest.raises(TrainingError, match=f"{what}.*not finite|non-finite {what}"):
        evaluate(make_policy(environments.spec), environments, 1)


def test_an_environment_that_raises_is_a_training_error_with_its_cause() -> None:
    cause = OSError("the simulator fell over")
    environments = make(lambda: Broken(2, error=cause), max_episode_steps=5)
    with pytest.raises(TrainingError, match=r"raised OSError.*the simulator fell over") as caught:
        evaluate(make_policy(environments.spec), environments, 1)
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("in_reset", [False, True])
def test_a_fault_says_in_which_episode_of_which_evaluation_it_was(in_reset: bool, tmp_path: Path) -> None:
    made: list[Any] = []

    class Late(Tiny):
        """It fails in the second evaluation of a run, where it is the environment that evaluates."""

        def __init__(self) -> None:
            super().__init__(raises_at=None if in_reset or not made else 10 + 5 + 3 + 1)
            self.number = len(made)
            made.append(self)

        def reset(self, **options: Any) -> Any:
            if in_reset and self.number and self.taken == 10 + 5:
                raise RuntimeError("the simulator broke")
            return super().reset(**options)

    place = "in episode 1 of 2, after 4 of its steps" if in_reset else "in episode 2 of 2, after 3 of its steps"
    told = f"^the environment raised RuntimeError in the evaluation at step 40 of the run, {place}: the simulator broke"
    with pytest.raises(TrainingError, match=told):
        untrained_run(tmp_path, Late)
    if not in_reset:
        (run,) = (load(path.parent) for path in tmp_path.rglob("settings.json"))
        told = "raised RuntimeError in the evaluation, in episode 4 of 9, after 3 of its steps: "
        with pytest.raises(TrainingError, match=told):
            run.evaluate(9, environment=Late)


def test_a_fault_of_environments_side_by_side_says_how_many_episodes_have_ended() -> None:
    environments = make(lambda: Tiny(raises_at=9), 2)
    with pytest.raises(TrainingError, match=r"in the evaluation, after 2 of 30 episodes and 16 steps in all: the sim"):
        evaluate(make_policy(environments.spec), environments, 30)


def test_the_summary_is_that_of_the_episodes() -> None:
    result = Evaluation(returns=(1.0, 2.0, 6.0), lengths=(10, 20, 60), seed=4)
    assert (result.mean, result.mean_length) == (3.0, 30.0)
    np.testing.assert_allclose(result.std, np.sqrt(14 / 3), rtol=1e-12)  # over the population: (4 + 1 + 9) / 3
    assert result.to_json() == {
        "mean": 3.0,
        "std": result.std,
        "returns": [1.0, 2.0, 6.0],
        "lengths": [10, 20, 60],
        "seed": 4,
    }
