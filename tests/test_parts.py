"""The parts of a loop of one's own: what they give, what they refuse, and what the page about them says."""

import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import polyak
from polyak import UsageError, parts
from test_docs import TINY, blocks
from tiny_cli import untrained_run
from whole_runs import bits, saved

SMALL = {name: value for name, value in TINY.items() if name != "backend"}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's script leaves, with settings that take a moment."""
    script = blocks("parts.md", "python")["my_loop.py"]
    assert len(script.strip().splitlines()) <= 25
    settings = ", ".join(f"{name}={value!r}" for name, value in SMALL.items())
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("loop"))
        exec(script.replace("steps=10_000", settings).replace('"jax"', '"torch"'), names)
        names["policy"] = polyak.Policy.load("policy.safetensors")
    return names


def test_the_loop_of_the_page_is_the_run_that_train_makes(learned: dict[str, Any], tmp_path: Path) -> None:
    run = polyak.train("sac", "Pendulum-v1", run_dir=tmp_path, probe=False, progress=False, **TINY)
    assert learned["learner"].updates == run.metrics[-1]["learner/updates"] == 17
    assert bits(learned["learner"].arrays()) == bits(saved(run).learner)
    assert bits(learned["policy"].parameters) == bits(run.policy.parameters)
    observation, actions = [1.0, 0.0, 0.5], np.linspace(-2.0, 2.0, 5)[:, None]
    np.testing.assert_array_equal(run.q(observation, actions), learned["learner"].q(observation, actions))


def test_the_rest_of_the_page_runs(learned: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = untrained_run(tmp_path, "Pendulum-v1")
    names = dict(learned)
    for title, script in blocks("parts.md", "python").items():
        if title != "my_loop.py":
            here = script.replace('"runs/Pendulum-v1-sac-seed0"', repr(str(run.folder)))
            exec(here.replace("episodes=10", "episodes=1"), names)
    assert names["metrics"].values.shape[0] == 4
    assert names["learner"].updates == 21
    assert bits(names["again"].arrays()) == bits(names["learner"].arrays())


def test_q_takes_one_or_many_and_refuses_what_is_no_action(learned: dict[str, Any]) -> None:
    learner = learned["learner"]
    rows = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -3.0]])
    both = learner.q(rows, [[0.5], [-1.0]])
    assert both.shape == (2,)
    assert learner.q(rows[1], [-1.0]) == pytest.approx(both[1], rel=1e-6)
    assert learner.q(rows, [0.5]).shape == learner.q(rows[0], [[0.5], [1.0]]).shape == (2,)
    assert both[0] != pytest.approx(learner.q(rows[0], [1.0]), rel=1e-6)  # it looks at the action
    wrong = {"out of the environment's bounds": [2.1], "out of": [np.nan], "shape": [1.0, 1.0], "no array": "left"}
    for said, action in wrong.items():
        with pytest.raises(UsageError, match=said):
            learner.q(rows[0], action)
    with pytest.raises(UsageError, match="2 observations, but 3 actions"):
        learner.q(rows, [[0.0]] * 3)
    with pytest.raises(polyak.NonFiniteError):
        learner.q([1.0, 0.0, np.nan], [0.0])
    with pytest.raises(UsageError, match="observation"):
        learner.q([1.0, 0.0], [0.0])


class Spread(gymnasium.Env[Any, Any]):
    """Shows a dict; takes two actions of different ranges."""

    def __init__(self) -> None:
        place = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        self.observation_space = gymnasium.spaces.Dict({"place": place, "door": gymnasium.spaces.Discrete(3)})
        self.action_space = gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([1, 10]))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return {"place": np.zeros(2, np.float32), "door": np.int64(1)}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return *self.reset()[:1], 0.0, False, True, {}


def test_q_takes_the_environments_own_dict_and_units() -> None:
    environments = parts.make_environments(Spread)
    config = parts.make_config("td3", hidden_sizes=(4,), replay_size=1_000)
    learner = parts.make_learner("torch", "td3", environments.spec, config)
    shown = {"place": np.float32([0.5, -0.5]), "door": 2}
    flat = gymnasium.spaces.flatten(Spread().observation_space, {**shown, "door": np.int64(2)})
    expected = learner.q(flat, [0.5, 2.5])
    assert learner.q(shown, [0.5, 2.5]) == expected
    inputs = np.float32([*flat, 0.5, -0.5])
    arrays = {name: value for name, value in learner.arrays().items() if name.startswith("critic_1/")}
    hidden = np.maximum(inputs @ arrays["critic_1/0/kernel"] + arrays["critic_1/0/bias"], 0)
    assert expected == pytest.approx((hidden @ arrays["critic_1/1/kernel"] + arrays["critic_1/1/bias"])[0], rel=1e-5)


def test_environments_take_what_a_run_s_take() -> None:
    heavy = parts.make_environments("Pendulum-v1", environment_settings={"g": 0.0}, max_episode_steps=3)
    light = parts.make_environments("Pendulum-v1", max_episode_steps=3)
    np.testing.assert_array_equal(heavy.reset(), light.reset())
    action = np.zeros((1, 1), np.float32)
    assert heavy.step(action).observation[0, 2] != light.step(action).observation[0, 2]
    heavy.set("g", 10.0)
    with pytest.raises(UsageError, match="wrapper"):
        parts.make_environments("Pendulum-v1", wrappers=["nonsense"])


def test_what_is_wrong_is_said() -> None:
    environments = parts.make_environments("Pendulum-v1")
    spec = environments.spec
    config = parts.make_config("ddpg", hidden_sizes=(4,), batch_size=8)
    learner = parts.make_learner("torch", "ddpg", spec, config)
    calls = {
        "spec=environments.spec": lambda: parts.make_config("ddpg", "Pendulum-v1", preset="book"),
        "no setting": lambda: parts.make_config("ddpg", banana=1),
        "seed is -1": lambda: parts.make_environments("Pendulum-v1", seed=-1),
        "seed is 'a'": lambda: parts.make_collector(environments, config, seed="a"),
        "make_config": lambda: parts.make_learner("torch", "sac", spec, config),
        "environments.spec": lambda: parts.make_learner("torch", "ddpg", environments, config),
        "unknown backend": lambda: parts.make_learner("caffe", "ddpg", spec, config),
        "unknown algorithm": lambda: parts.make_learner("torch", "ppo", spec, config),
        "actor/0/bias is missing": lambda: parts.make_learner(
            "torch", "ddpg", spec, config, arrays={"step": np.zeros(())}
        ),
        "batches are": lambda: learner.update(parts.sample_batch(replay, np.random.default_rng(), 1, 4, 0.9)),
        "empty replay": lambda: parts.sample_batch(parts.make_replay(spec, config), np.random.default_rng(), 1, 8, 0.9),
    }
    replay, collector = parts.make_replay(spec, config), parts.make_collector(environments, config)
    for _ in range(8):
        replay.add(collector.step(None))
    for said, call in calls.items():
        with pytest.raises(UsageError, match=re.escape(said)):
            call()
    assert parts.make_config("ddpg", "Pendulum-v1", preset="book", spec=spec).exploration_noise == 0.05
    batches = parts.sample_batch(replay, np.random.default_rng(), 1, 8, 0.9)
    batches.reward[:] = np.inf
    before = learner.policy
    with pytest.raises(polyak.TrainingError, match="diverged"):
        learner.update(batches)
    assert learner.policy is before


def test_a_run_without_a_whole_checkpoint_has_no_q(tmp_path: Path) -> None:
    run = untrained_run(tmp_path)
    for path in run.checkpoints.glob("learner-*"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match="learner-"):
        run.q([0.0, 0.0], [0.0])
