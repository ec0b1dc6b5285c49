"""`polyak dataset`: what a run has in replay, or fresh episodes of its policy, as a Minari dataset."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import polyak
import tiny_cli
from polyak.errors import UsageError
from polyak.experience import minari
from polyak.experience.datasets import episodes_in
from polyak.experience.links import NO_EPISODE
from polyak.run.checkpoints import Checkpoints
from polyak.run.demonstrations import replay_in
from polyak.types import Transitions
from tiny_cli import TINY, call_cli

RUN: dict[str, Any] = {**tiny_cli.SMALL, "replay_size": 30, "update_after": 30, "envs": 2, "batch_size": 8}
TORCH: dict[str, Any] = {"backend": "torch", "probe": False, "threads": 1, "fast": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    """A run of two environments, whose ring has lost the beginnings of their first episodes."""
    return polyak.train("sac", TINY, run_dir=tmp_path_factory.mktemp("run"), **TORCH, **RUN)


def rows(replay: Any) -> Transitions:
    held = replay.oldest, replay.added
    return replay.layout.unpacked(replay.records(*held), replay.episodes(*held))


def replay_of(run: polyak.Run) -> Any:
    checkpoints = Checkpoints(run.checkpoints)
    return checkpoints.newest(lambda made: replay_in(checkpoints, made), run.settings)


def test_what_is_in_replay_is_written_episode_by_episode(run: polyak.Run, tmp_path: Path) -> None:
    code, output, errors = call_cli("dataset", str(run.folder), "-o", str(tmp_path / "tiny-v0"))
    assert (code, output) == (0, f"{tmp_path / 'tiny-v0'}\n")
    assert "30 transitions in 6 episodes" in errors
    replay = replay_of(run)
    theirs = rows(replay)
    order = np.concatenate([np.flatnonzero(theirs.episode == number) for number in dict.fromkeys(theirs.episode)])
    read = rows(minari.demonstrations(str(tmp_path / "tiny-v0"), polyak.Spec.from_json(run.settings["spaces"])))
    np.testing.assert_array_equal(read.observation, theirs.observation[order])
    np.testing.assert_array_equal(read.next_observation, theirs.next_observation[order])
    np.testing.assert_array_equal(read.reward, theirs.reward[order])
    np.testing.assert_allclose(read.action, theirs.action[order], atol=1e-6)
    told = json.loads((tmp_path / "tiny-v0" / "data" / "metadata.json").read_text())
    assert (told["algorithm_name"], told["dataset_id"], told["total_episodes"]) == ("sac", "tiny-v0", 6)


def test_a_strangers_run_is_written_without_its_code(run: polyak.Run, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(run.folder, folder)
    told = json.loads((folder / "settings.json").read_text())
    told |= {"algorithm": "nobodys.algorithm", "environment": "nobodys:World-v0"}
    (folder / "settings.json").write_text(json.dumps(told))
    assert polyak.write_dataset(folder, tmp_path / "theirs-v0").transitions == 30


def test_fresh_episodes_are_those_of_an_evaluation(run: polyak.Run, tmp_path: Path) -> None:
    words = ("--episodes", "3", "--seed", "5", "--stochastic", "--policy", "best")
    code, output, errors = call_cli("dataset", str(run.folder), "--output", str(tmp_path / "fresh-v1"), *words)
    assert (code, output) == (0, f"{tmp_path / 'fresh-v1'}\n")
    result = run.evaluate(3, seed=5, best=True, deterministic=False)
    assert f"15 transitions in 3 episodes; return: mean {result.mean:.2f}" in errors
    with h5py.File(tmp_path / "fresh-v1" / "data" / "main_data.hdf5") as file:
        returns = [float(np.sum(file[f"episode_{number}/rewards"][()], dtype=np.float64)) for number in range(3)]
        flags = [file[f"episode_{number}/truncations"][()].tolist() for number in range(3)]
        assert file["episode_0/observations"].shape == (6, 2)
    np.testing.assert_allclose(returns, result.returns, rtol=1e-6)
    assert [any(each[:-1]) for each in flags] == [False] * 3


def test_a_dataset_is_learned_from(run: polyak.Run, tmp_path: Path) -> None:
    polyak.write_dataset(run, tmp_path / "mine-v0", episodes=2)
    made = polyak.train("sac", TINY, demonstrations=tmp_path / "mine-v0", run_dir=tmp_path, **TORCH, **tiny_cli.SMALL)
    assert made.settings["demonstrations"] == str(tmp_path / "mine-v0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seed", "1"), "seed is for fresh episodes, but what is in replay is written: ask for episodes"),
        (("--best",), "best is for fresh episodes"),
        (("--stochastic",), "deterministic is for fresh episodes"),
        (("--environment", TINY), "environment is for fresh episodes"),
        (("--episodes", "0"), "episodes is 0, but must be at least 1"),
        (("--output", "x/y-v0"), "there is no folder x; make it first"),
        (("--output", "data"), "a Minari dataset cannot be called 'data'"),
    ],
    ids=["seed", "best", "stochastic", "environment", "none", "folder", "name"],
)
def test_what_cannot_be_written_is_said(run: polyak.Run, words: tuple[str, ...], said: str) -> None:
    output = () if "--output" in words else ("-o", "some-v0")
    code, _, errors = call_cli("dataset", str(run.folder), *output, *words)
    assert code == 2
    assert said in errors
    assert not Path("some-v0").exists()


def test_nothing_is_written_over(run: polyak.Run, tmp_path: Path) -> None:
    polyak.write_dataset(run, tmp_path / "mine-v0")
    with pytest.raises(UsageError, match="there is something at"):
        polyak.write_dataset(run, tmp_path / "mine-v0")


def test_rows_without_numbers_follow_each_other_as_they_lie() -> None:
    shown = np.array([0, 1, 2, 5, 6, 9], np.float32)[:, None]
    made = Transitions(
        observation=shown,
        action=shown,
        reward=shown[:, 0],
        next_observation=shown + 1,
        terminated=np.zeros(6, np.bool_),
        truncated=np.zeros(6, np.bool_),
        episode=np.array([NO_EPISODE] * 5 + [3], np.int32),
    )
    assert [each.reward.tolist() for each in episodes_in(made)] == [[0, 1, 2], [5, 6], [9]]
