"""EnvPool's vectors: with EnvPool itself where it is installed, and with a double of it everywhere."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import polyak
from polyak import Run, UsageError
from polyak.environments.make import Environments, make_environments
from polyak.experience.collector import Collector, Episode
from polyak.system.randomness import Streams
from polyak.types import Float, Transitions
from test_training import Watcher
from tiny import Numbers, Shown
from whole_runs import assert_same, saved

PENDULUM, CAR = "Pendulum-v1", "MountainCarContinuous-v0"


class Double:
    """What polyak uses of an EnvPool, with Gymnasium's physics.

    Like EnvPool's, the step after an end is a reset, seeds are taken only here, and an end in the last step that the
    time limit allows is a truncation only.
    """

    def __init__(self, name: str, *, num_envs: int, seed: list[int], max_episode_steps: int) -> None:
        self.worlds = [gymnasium.make(name).unwrapped for _ in range(num_envs)]
        self.seeds: list[int | None] = list(seed)
        self.limit = max_episode_steps
        self.elapsed = np.zeros(num_envs, np.int32)
        self.ended = np.zeros(num_envs, np.bool_)

    def reset(self, env_id: Any = None) -> tuple[Any, dict[str, Any]]:
        ids = np.arange(len(self.worlds)) if env_id is None else env_id
        return np.array([self._begun(index) for index in ids]), {"env_id": ids, "elapsed_step": self.elapsed[ids]}

    def _begun(self, index: int) -> Any:
        seed, self.seeds[index] = self.seeds[index], None
        self.elapsed[index], self.ended[index] = 0, False
        return self.worlds[index].reset(seed=seed)[0]

    def step(self, actions: Any) -> tuple[Any, ...]:
        rows = [self._stepped(index, action) for index, action in enumerate(actions)]
        observation, reward, terminated, truncated = map(np.array, zip(*rows, strict=True))
        self.ended = terminated | truncated
        return observation, reward, terminated, truncated, {"elapsed_step": self.elapsed.copy()}

    def _stepped(self, index: int, action: Any) -> tuple[Any, float, bool, bool]:
        if self.ended[index]:
            return self._begun(index), 0.0, False, False
        observation, reward, terminated, *_ = self.worlds[index].step(action)
        self.elapsed[index] += 1
        late = bool(self.elapsed[index] >= self.limit)
        return observation, float(reward), bool(terminated) and not late, late


def spec(name: str) -> Any:
    world = gymnasium.make(name)
    return SimpleNamespace(
        gymnasium_observation_space=world.observation_space, gymnasium_action_space=world.action_space
    )


DOUBLE = SimpleNamespace(list_all_envs=lambda: [PENDULUM, CAR], make_spec=spec, make_gymnasium=Double)


@pytest.fixture(params=["double", "real"])
def envpool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "real":
        pytest.importorskip("envpool", reason="EnvPool is not installed")
    else:
        monkeypatch.setitem(sys.modules, "envpool", DOUBLE)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    one = SimpleNamespace(**vars(DOUBLE))
    monkeypatch.setitem(sys.modules, "envpool", one)
    return one


def make(environment: Any = PENDULUM, count: int = 3, generator_of: Any = Numbers, **options: Any) -> Environments:
    return make_environments(environment, count, generator_of, vectorization="envpool", **options)


def collected(environments: Environments, rounds: int) -> tuple[list[Transitions], list[Episode]]:
    """What random actions bring, [rounds] x [N] transitions."""
    streams = Streams(5)
    collector = Collector(environments, streams.warm_up, streams.exploration)
    collector.begin()
    emitted = [collector.step(None) for _ in range(rounds)]
    return emitted, collector.finished()


# Transitions


def pendulum(observation: Float, action: Float) -> tuple[Any, Any]:
    """The next observation and the reward, by the equations of motion."""
    cosine, sine, speed = observation.T.astype(np.float64)
    angle, torque = np.arctan2(sine, cosine), 2.0 * action[:, 0]
    reward = -(angle**2 + 0.1 * speed**2 + 0.001 * torque**2)
    speed = np.clip(speed + (15.0 * sine + 3.0 * torque) * 0.05, -8.0, 8.0)
    angle = angle + speed * 0.05
    return np.stack([np.cos(angle), np.sin(angle), speed], axis=1), reward


@pytest.mark.usefixtures("envpool")
def test_every_transition_is_the_pendulums_also_where_an_episode_ends() -> None:
    environments = make()
    emitted, episodes = collected(environments, 430)
    for number, each in enumerate(emitted):
        expected, reward = pendulum(each.observation, each.action)
        np.testing.assert_allclose(each.next_observation, expected, atol=1e-5)
        np.testing.assert_allclose(each.reward, reward, atol=1e-4)
        assert not each.terminated.any()
        if number:
            same = (each.observation == emitted[number - 1].next_observation).all(axis=1)
            np.testing.assert_array_equal(same, number % 200 != 0)
    assert environments.steps == 3 * 430
    assert [(each.length, each.terminated, each.step) for each in episodes] == [
        (200, False, 600 * n) for n in (1, 2) for _ in range(3)
    ]
    environments.close()


@pytest.mark.usefixtures("envpool")
def test_each_environment_begins_each_episode_elsewhere() -> None:
    emitted, _ = collected(make(max_episode_steps=2), 9)
    starts = np.concatenate([each.observation for each in emitted[::2]])
    assert len(np.unique(starts, axis=0)) == 3 * 5


@pytest.mark.usefixtures("envpool")
def test_the_time_limit_can_be_lowered_and_lifted() -> None:
    for limit, length in ((7, 7), (210, 210)):
        _, episodes = collected(make(count=1, max_episode_steps=limit), 215)
        assert {each.length for each in episodes} == {length}


def drive(limit: int | None, count: int = 4, rounds: int = 400) -> list[tuple[int, int, bool, bool]]:
    """(environment, length, terminated, truncated) of the episodes of cars that always push the way they go."""
    environments = make(CAR, count, max_episode_steps=limit)
    observation, lengths, ends = environments.reset(), np.zeros(count, int), list[tuple[int, int, bool, bool]]()
    for _ in range(rounds):
        step = environments.step(np.where(observation[:, 1:] < 0, -1, 1).astype(np.float32))
        assert (abs(step.next_observation[:, 0] - observation[:, 0]) < 0.0701).all()  # the highest speed
        observation, lengths = step.observation, lengths + 1
        for index in np.flatnonzero(step.terminated | step.truncated):
            ends.append((int(index), int(lengths[index]), bool(step.terminated[index]), bool(step.truncated[index])))
            assert (step.next_observation[index, 0] >= 0.45) == step.terminated[index]  # the goal
            assert -0.6 <= step.observation[index, 0] <= -0.4  # where an episode begins
            lengths[index] = 0
    environments.close()
    return ends


@pytest.mark.usefixtures("envpool")
def test_reaching_the_goal_is_a_termination_also_in_the_last_step_that_is_allowed() -> None:
    ends = drive(None)
    assert {index for index, *_ in ends} == {0, 1, 2, 3}
    assert len({length for _, length, *_ in ends}) > 1  # some go on where another begins anew
    assert {(terminated, truncated) for *_, terminated, truncated in ends} == {(True, False)}
    first = min(length for _, length, *_ in ends[:4])
    assert first > 50
    assert next(end for end in drive(first) if end[2])[1:] == (first, True, True)
    assert drive(first - 1)[0][1:] == (first - 1, False, True)


# Seeds


@pytest.mark.usefixtures("envpool")
def test_the_same_seed_gives_the_same_transitions_and_another_seed_others() -> None:
    def rolled(seed: int) -> Any:
        emitted, _ = collected(make(generator_of=Streams(seed).environment, max_episode_steps=20), 50)
        return np.concatenate([each.observation for each in emitted])

    np.testing.assert_array_equal(rolled(1), rolled(1))
    assert (rolled(1) != rolled(2)).any(axis=1).all()


@pytest.mark.usefixtures("envpool")
def test_a_reset_begins_other_episodes() -> None:
    environments = make()
    first, second = environments.reset(), environments.reset()
    assert (first != second).any(axis=1).all()
    assert environments.seeds == [1, 1001, 2001]


# Whole runs

CONFIG: dict[str, Any] = {
    "steps": 240,
    "steps_per_epoch": 80,
    "start_steps": 20,
    "update_after": 16,
    "update_every": 4,
    "batch_size": 8,
    "replay_size": 1_000,
    "hidden_sizes": (4,),
    "evaluation_episodes": 1,
    "max_episode_steps": 30,
    "checkpoint_every": 50,
    "seed": 3,
    "envs": 2,
    "vectorization": "envpool",
}


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    return lambda **options: polyak.train("sac", PENDULUM, run_dir=tmp_path / "runs", **{**CONFIG, **options})


@pytest.mark.usefixtures("envpool")
def test_the_same_seed_gives_the_same_run(train: Callable[..., Run]) -> None:
    run = train()
    assert_same(run, train())
    assert run.settings["vectorization"] == "envpool"
    assert run.metrics[-1]["learner/updates"] == 228
    assert sum(record["train/episodes"] for record in run.metrics) == 8
    assert run.evaluate(episodes=1).lengths == (30,)  # without EnvPool


class Told(Watcher):
    def started(self, progress: Any) -> None:
        super().started(progress)
        self.facts = dict(progress.facts)


@pytest.mark.usefixtures("envpool")
def test_a_run_goes_on_with_new_episodes_and_says_so(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train(steps=130)
    copy = Run(Path(shutil.copytree(run.folder, tmp_path / "copy")))
    told = Told()
    resumed = polyak.resume(run.folder, steps=240, observer=told)
    assert told.facts["given up"].startswith("2 running episodes, new ones started; environment 0: its vector env")
    assert resumed.settings["resumed"] == [{"step": 130, "given_up": 2, "changed": []}]
    assert resumed.metrics[-1]["step"] == 240
    replay = saved(resumed).replay
    first, anew = (replay.records(step, step + 2)[:, :3] for step in (0, 130))
    assert (first != anew).any(axis=1).all()
    assert not np.isin(replay.episodes(128, 130), replay.episodes(130, 132)).any()
    assert_same(resumed, polyak.resume(copy.folder, steps=240))


# Errors


def test_without_envpool_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(UsageError, match=r'pip install "polyak\[envpool\]", or choose the vectorization sync or async'):
        make()


@pytest.mark.usefixtures("envpool")
def test_an_id_that_envpool_does_not_have() -> None:
    with pytest.raises(UsageError, match=r"EnvPool has no environment 'tiny_cli:Tiny-v0': choose .* sync or async"):
        make("tiny_cli:Tiny-v0")


@pytest.mark.usefixtures("double")
def test_a_callable_is_refused_and_closed() -> None:
    environment = Shown()
    with pytest.raises(UsageError, match=r"by their id, but the environment is <function.*sync or async"):
        make(lambda: environment)
    assert environment.closed


def test_an_id_that_is_another_environment_in_gymnasium(double: SimpleNamespace) -> None:
    double.make_spec = lambda name: spec(CAR)
    with pytest.raises(UsageError, match=r"is not Gymnasium's, in which the policy is evaluated: .*'observation_sh"):
        make()


def test_an_observation_that_is_not_flat(double: SimpleNamespace) -> None:
    shown = spaces.Dict(position=spaces.Box(-1.0, 1.0, (2,)))
    double.make_spec = lambda name: SimpleNamespace(
        gymnasium_observation_space=shown, gymnasium_action_space=spaces.Box(-2.0, 2.0, (1,))
    )
    with pytest.raises(UsageError, match=r"observes Dict.*a flat Box is needed: choose the vectorization sync"):
        make()


def test_another_vectorization_is_refused() -> None:
    with pytest.raises(UsageError, match="vectorization is 'threads', but must be sync, async, envpool"):
        make_environments(PENDULUM, 1, Numbers, vectorization="threads")  # type: ignore[arg-type]
