"""Making environments: ids, callables, vector environments, time limits, seeds, observations, and errors that help."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit

from polyak.environments.make import Environments, make_environment, make_environments
from polyak.errors import UsageError
from polyak.experience.collector import Collector, Episode
from polyak.system.randomness import Streams, stream
from tiny import LENGTHS, Diary, Numbers, Shown


def make(environment: Any, count: int = 1, **options: Any) -> Environments:
    return make_environments(environment, count, Numbers, **options)


def length_of_first_episode(environments: Environments) -> int:
    environments.reset()
    action = np.zeros((environments.count, environments.spec.action_size), np.float32)
    for length in itertools.count(1):
        step = environments.step(action)
        if step.terminated[0] or step.truncated[0]:
            return length
    raise AssertionError


# Actions


@pytest.mark.parametrize(
    "box",
    [
        spaces.Box(np.array([-1.0, 0.0, -7.0], np.float32), np.array([3.0, 0.5, -2.0], np.float32)),
        spaces.Box(np.array([[-1.0, 0.0], [-7.0, 2.0]], np.float32), np.array([[3.0, 0.5], [-2.0, 8.0]], np.float32)),
        spaces.Box(-2.0, 5.0, (), np.float32),
        spaces.Box(-0.1, 0.3, (2,), np.float64),  # 0.1 and 0.3 are not float32 numbers: rounding must not leave the box
        spaces.Box(-0.1, 0.3, (2,), np.float16),
    ],
    ids=str,
)
def test_each_number_of_an_action_arrives_in_its_own_range_and_shape(box: spaces.Box) -> None:
    environments = make(lambda: Diary(box), 2)
    environments.reset()
    size = environments.spec.action_size
    low, high = np.broadcast_to(box.low, box.shape).ravel(), np.broadcast_to(box.high, box.shape).ravel()
    for level, expected in ((-1.0, low), (0.0, (low + high) / 2), (1.0, high)):
        action = np.full((2, size), level, np.float32)
        action[1] = 0.0
        step = environments.step(action)  # the Diary itself checks shape, type and range
        rounding = 1e-3 if box.dtype == np.float16 else 1e-6
        np.testing.assert_allclose(step.next_observation[0, 3:], expected, rtol=rounding)
        np.testing.assert_allclose(step.next_observation[1, 3:], (low + high) / 2, rtol=1e-3, atol=1e-3)
        environments.reset()


# Observations


def test_a_vector_is_passed_on_in_float32() -> None:
    observations = make(lambda: Shown(spaces.Box(-1.0, 1.0, (3,), np.float64)), 2).reset()
    assert (observations.shape, observations.dtype) == ((2, 3), np.float32)


def test_dicts_and_tuples_are_flattened_in_gymnasiums_order() -> None:
    space = spaces.Dict(
        speed=spaces.Box(-1.0, 1.0, (2,)),
        gear=spaces.Discrete(3),
        arms=spaces.Tuple([spaces.Box(-2.0, 2.0, ()), spaces.Box(-3.0, 3.0, (2, 2))]),
    )
    environments = make(lambda: Shown(space))
    observation = environments.reset()
    assert environments.spec.observation_shape == (10,)
    shown = environments.vector.envs[0].unwrapped.shown  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(observation[0], spaces.flatten(space, shown).astype(np.float32))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Dict(speed=spaces.Box(-1.0, 1.0, (2,)), camera=spaces.Box(0, 255, (8, 8, 3), np.uint8)), "an image"),
        (spaces.Sequence(spaces.Box(-1.0, 1.0, (2,))), "cannot be flattened"),
    ],
    ids=["image", "sequence"],
)
def test_a_refused_observation_closes_the_environment(space: Any, words: str) -> None:
    environment = Shown(space)
    with pytest.raises(UsageError, match=words):
        make(lambda: environment)
    assert environment.closed


def test_a_refused_action_space_closes_the_environment() -> None:
    environment = Shown(action_space=spaces.Discrete(2))
    with pytest.raises(UsageError, match="continuous actions"):
        make(lambda: environment)
    assert environment.closed


class Reusing(SyncVectorEnv):
    """Writes every step, and every reset, into the same memory."""

    def step(self, actions: Any) -> Any:
        *_, info = super().step(actions)
        return self._observations, self._rewards, self._terminations, self._truncations, info


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_a_step_returned_is_not_changed_by_the_next_one(mode: AutoresetMode) -> None:
    environments = make(lambda: Reusing([Diary] * 2, copy=False, autoreset_mode=mode))
    observation, steps = environments.reset(), []
    for _ in range(20):
        step = environments.step(np.zeros((2, 2), np.float32))
        steps.append((observation, step))
        observation = step.observation
    ends = 0
    for observation, step in steps:  # all at once, after everything has been written over
        index, episode, place = observation[step.valid, :3].astype(int).T
        np.testing.assert_array_equal(step.next_observation[step.valid, 2], place + 1)
        ended = place + 1 == np.array(LENGTHS)[(index + episode) % 4]
        np.testing.assert_array_equal(step.terminated[step.valid], ended & (episode % 2 == 0))
        np.testing.assert_array_equal(step.truncated[step.valid], ended & (episode % 2 == 1))
        np.testing.assert_array_equal(step.reward[step.valid], 1.25)
        ends += ended.sum()
    assert ends > 5


class Stale(SyncVectorEnv):
    """Says, in a step that only resets, that something was gained and that an episode ended."""

    def step(self, actions: Any) -> Any:
        only_reset = self._autoreset_envs.copy()
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, np.where(only_reset, 99.0, reward), terminated | only_reset, truncated, info


def test_what_a_step_that_only_resets_says_is_of_no_account() -> None:
    def episodes(kind: type[SyncVectorEnv]) -> list[Episode]:
        environments = make(lambda: kind([Diary] * 2, autoreset_mode=AutoresetMode.NEXT_STEP))
        collector = Collector(environments, stream(0, "warm-up"), stream(0, "exploration"))
        collector.begin()
        for _ in range(20):
            collector.step(None)
        return collector.finished()

    assert episodes(Stale) == episodes(SyncVectorEnv)
    assert len(episodes(Stale)) > 5


# Time limits


@pytest.mark.parametrize(("limit", "length"), [(None, 200), (7, 7), (210, 210)])
def test_the_time_limit_of_an_id_can_be_kept_lowered_and_lifted(limit: int | None, length: int) -> None:
    assert length_of_first_episode(make("Pendulum-v1", max_episode_steps=limit)) == length


@pytest.mark.parametrize(("limit", "length"), [(None, 3), (2, 2), (5, 3)])
def test_the_time_limit_of_a_callable_can_be_set(limit: int | None, length: int) -> None:
    assert length_of_first_episode(make(Diary, max_episode_steps=limit)) == length


def test_the_time_limit_that_a_callable_brings_can_be_lifted() -> None:
    assert length_of_first_episode(make(lambda: TimeLimit(Shown(), 5), max_episode_steps=8)) == 8


def test_a_time_limit_truncates_and_does_not_terminate() -> None:
    environments = make(Shown, max_episode_steps=1)
    environments.reset()
    step = environments.step(np.zeros((1, 2), np.float32))
    assert (step.terminated.tolist(), step.truncated.tolist()) == ([False], [True])


def test_a_time_limit_for_a_vector_environment_is_refused_not_ignored() -> None:
    with pytest.raises(UsageError, match="max_episode_steps"):
        make(lambda: SyncVectorEnv([Shown], autoreset_mode=AutoresetMode.DISABLED), max_episode_steps=5)


# Seeds


def test_every_episode_starts_from_a_seed_of_its_environments_stream() -> None:
    made = list[Diary]()

    def environment() -> Diary:
        made.append(Diary())
        return made[-1]

    environments = make(environment, 3)
    environments.reset()
    for _ in range(sum(LENGTHS)):  # one round of the four lengths, after which the fifth episode begins
        environments.step(np.zeros((3, 2), np.float32))
    for index, diary in enumerate(made):
        assert diary.seeds == [1000 * index + episode for episode in range(5)]


def test_episodes_are_reproducible_and_different() -> None:
    def first_observations(seed: int) -> Any:
        environments = make_environments(Shown, 2, Streams(seed).environment, max_episode_steps=1)
        rows = [environments.reset()]
        rows += [environments.step(np.zeros((2, 2), np.float32)).observation for _ in range(3)]
        return np.concatenate(rows)

    first, again, other = first_observations(0), first_observations(0), first_observations(1)
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(np.concatenate([first, other]), axis=0)) == 16


def test_training_and_evaluation_environments_get_different_seeds() -> None:
    streams = Streams(0)
    training = make_environments(Shown, 2, streams.environment).reset()
    evaluation = make_environments(Shown, 2, streams.evaluation).reset()
    assert len(np.unique(np.concatenate([training, evaluation]), axis=0)) == 4


# What can be made


def test_fewer_than_one_environment_is_refused() -> None:
    with pytest.raises(UsageError, match="envs is 0, but must be at least 1"):
        make(Shown, 0)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Pendulum-v0", "Pendulum-v1"),
        ("pendulum-v1", "Pendulum-v1"),
        ("LunarLanderContinous-v3", "LunarLanderContinuous-v3"),
        ("LunarLanderContinuous-v2", "LunarLanderContinuous-v3"),
        ("HalfCheeta-v5", "HalfCheetah-v5"),
    ],
)
def test_an_unknown_id_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(name)
    assert str(caught.value).startswith(f"unknown environment {name!r}. Did you mean {nearest}")


def test_an_id_like_no_other_says_where_the_ids_are_listed() -> None:
    with pytest.raises(UsageError, match=r"unknown environment 'xyzzy'.*gymnasium\.pprint_registry"):
        make("xyzzy")


@pytest.mark.parametrize("by_callable", [False, True])
def test_mujoco_warns_by_python_and_leaves_no_file(
    by_callable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """HalfCheetah's model has an attribute that is deprecated."""
    mujoco = pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    mujoco.set_mju_user_warning(None)
    monkeypatch.chdir(tmp_path)
    made = make_environment(
        (lambda: gymnasium.make("HalfCheetah-v5", disable_env_checker=True)) if by_callable else "HalfCheetah-v5"
    )
    made.reset(seed=0)
    assert capfd.readouterr() == ("", "")
    made.unwrapped.data.qpos[:] = np.nan
    made.step(np.zeros(6))
    made.close()
    assert "MuJoCo warns: Nan, Inf or huge value in QPOS" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def registering_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that registers an environment when it is imported."""
    register = "register('Registered-v0', entry_point=tiny.Shown, max_episode_steps=3)"
    (tmp_path / "registering.py").write_text(f"import gymnasium\nimport tiny\ngymnasium.{register}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "registering"
    gymnasium.registry.pop("Registered-v0", None)
    sys.modules.pop("registering", None)


def test_module_and_id_imports_the_module(registering_module: str) -> None:
    assert length_of_first_episode(make(f"{registering_module}:Registered-v0")) == 3


def test_module_and_wrong_id_suggests_the_nearest(registering_module: str) -> None:
    with pytest.raises(UsageError, match=r"registering:Registred-v0'. Did you mean registering:Registered-v0"):
        make(f"{registering_module}:Registred-v0")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(UsageError, match="'no_such_module:Some-v0': cannot import 'no_such_module'; install it"):
        make("no_such_module:Some-v0")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("LunarLanderContinuous-v3", 'pip install "polyak[box2d]"'), ("HalfCheetah-v5", 'pip install "polyak[mujoco]"')],
)
def test_a_missing_simulator_names_the_extra(monkeypatch: pytest.MonkeyPatch, name: str, remedy: str) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("no simulator")

    monkeypatch.setattr(gymnasium, "make", missing)
    with pytest.raises(UsageError) as caught:
        make(name)
    assert name in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
def test_an_environment_that_gymnasium_gave_up_says_where_it_went() -> None:
    with pytest.raises(UsageError, match=r"HalfCheetah-v3.*gymnasium-robotics"):
        make("HalfCheetah-v3")


def test_a_callable_that_makes_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="made a dict, but must make a gymnasium"):
        make(dict)


def test_the_render_mode_reaches_ids_and_callables_that_take_it() -> None:
    def taking(render_mode: str | None = None) -> Shown:
        environment = Shown()
        environment.render_mode = render_mode
        return environment

    assert make_environment("Pendulum-v1", render_mode="rgb_array").render_mode == "rgb_array"
    assert make_environment(taking, render_mode="rgb_array").render_mode == "rgb_array"
    assert make_environment(Shown, render_mode="rgb_array").render_mode is None


# Vector environments of the user's


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_callable_may_make_a_vector_environment_of_any_mode(mode: AutoresetMode) -> None:
    environments = make(lambda: SyncVectorEnv([Diary] * 3, autoreset_mode=mode))
    assert environments.count == 3
    np.testing.assert_array_equal(environments.reset(), [[0] * 5, [1, 0, 0, 0, 0], [2, 0, 0, 0, 0]])
    assert environments.step(np.zeros((3, 2), np.float32)).reward.shape == (3,)


class Refused(SyncVectorEnv):
    """A vector environment that polyak does not take, and that tells whether it was closed."""

    def __init__(self, environment: Callable[[], Any], mode: Any) -> None:
        super().__init__([environment])
        self.metadata = {} if mode is None else {"autoreset_mode": mode}


@pytest.mark.parametrize(
    ("environment", "mode", "words"),
    [
        (Shown, None, r"does not say how it resets: set metadata\['autoreset_mode'\].*AutoresetMode"),
        (Shown, "SomeStep", r"autoreset_mode.*SomeStep"),
        (lambda: Shown(spaces.Dict(a=spaces.Discrete(3))), AutoresetMode.DISABLED, r"wrappers\.vector\.FlattenObserv"),
        (lambda: Shown(action_space=spaces.Discrete(3)), AutoresetMode.DISABLED, "continuous actions"),
    ],
    ids=["no mode", "unknown mode", "not flat", "discrete"],
)
def test_a_vector_environment_that_does_not_fit_is_refused_and_closed(environment: Any, mode: Any, words: str) -> None:
    vector = Refused(environment, mode)
    with pytest.raises(UsageError, match=words):
        make(lambda: vector)
    assert vector.closed


def test_closing_closes_every_environment() -> None:
    made = [Shown(), Shown()]
    waiting = iter(made)
    make(lambda: next(waiting), 2).close()
    assert [environment.closed for environment in made] == [True, True]


def test_environments_are_stepped_in_this_process_unless_asked_otherwise() -> None:
    vector: VectorEnv[Any, Any, Any] = make(Shown, 2).vector
    assert isinstance(vector, SyncVectorEnv)
