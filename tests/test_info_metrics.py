"""Success, and whatever else is asked for of `info`: in training, in evaluation, however environments are stepped."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import polyak
from polyak import Run, UsageError
from polyak.environments.infos import numbers_in, numbers_of_each
from polyak.environments.make import make_environments
from polyak.environments.pools import Pool
from polyak.report.page import page
from tiny import Numbers
from tiny_cli import Lucky, call_cli, untrained_run
from whole_runs import assert_same, saved, snapshots

NAMES = ("distance", "steps")


class Known(Lucky):
    """One that calls it otherwise, and says so of some episodes only."""

    success = "success"

    def step(self, action: Any) -> Any:
        *answer, info = super().step(action)
        return *answer, {name: value for name, value in info.items() if name != "success" or abs(self._place) > 0.3}


# Where the numbers come from


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((value, 1.0) for value in (True, 1, 1.0, np.True_, np.int8(1), np.float32(1), np.array(1), np.ones((1, 1)))),
        *((value, None) for value in ("1", None, [1.0], np.ones(2), 1j, np.nan, -np.inf, 10**400, 1e200, print)),
    ],
    ids=repr,
)
def test_what_is_a_number(value: Any, number: float | None) -> None:
    assert numbers_in({"x": value}) == ({} if number is None else {"x": number})


def test_names_that_masks_have_and_what_is_no_info_are_left_out() -> None:
    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no")

    assert numbers_in({"_x": 1, 3: 1, "x": 2}) == {"x": 2.0}
    assert [numbers_in(info) for info in (None, "text", [1], Hostile(x=1))] == [{}] * 4


def test_a_batch_of_infos_says_for_whom_each_entry_holds() -> None:
    ended = np.array([True, False, True])
    batch = {"x": np.array([1, 2, 3]), "_x": np.array([True, True, False]), "y": np.array([4, 5, 6]), "z": 7}
    assert numbers_of_each(batch, ended) == {0: {"x": 1, "y": 4}, 2: {"y": 6}}
    assert numbers_of_each([{"x": 1}, {}, {"y": 2}], ended) == {0: {"x": 1}, 2: {"y": 2}}
    assert numbers_of_each(np.array([{"x": 1}, None, None], object), ended) == {0: {"x": 1}, 2: {}}
    for wrong in (None, {"x": [1]}, {"x": np.array(3)}, [{}], "text"):
        assert numbers_of_each(wrong, ended)[2] == {}


def last_infos(environments: Any, rounds: int = 9) -> list[tuple[int, dict[str, float]]]:
    """Of every episode that ends: which environment, and the numbers, as random actions bring them."""
    generator, found = np.random.default_rng(3), list[tuple[int, dict[str, float]]]()
    environments.reset()
    for _ in range(rounds):
        step = environments.step(generator.uniform(-1, 1, (2, 1)).astype(np.float32))
        found += [(index, dict(info)) for index, info in step.infos.items()]
        assert sorted(step.infos) == np.flatnonzero(step.ended).tolist()
    environments.close()
    return found


def test_all_ways_of_stepping_tell_the_same() -> None:
    """Episodes of five steps in two environments; what a mode's reset says instead is of no account."""
    expected = last_infos(make_environments(Lucky, 2, Numbers))
    assert [index for index, _ in expected] == [0, 1]
    assert {name for _, info in expected for name in info} == {"is_success", *NAMES}
    assert all(info["steps"] == 5 and info["is_success"] == (info["distance"] > 0) for _, info in expected)
    for vectorization in ("sync", "async"):
        for mode in AutoresetMode if vectorization == "sync" else (AutoresetMode.SAME_STEP,):
            made = make_environments(Lucky, 2, Numbers, vectorization=vectorization, autoreset=mode)  # type: ignore[arg-type]
            assert last_infos(made) == expected, (vectorization, mode)
    for mode in AutoresetMode:
        own = make_environments(lambda mode=mode: SyncVectorEnv([Smooth] * 2, autoreset_mode=mode), 2, Numbers)
        assert last_infos(own) == expected, mode


class Smooth(Lucky):
    """One whose info can be batched by Gymnasium."""

    def step(self, action: Any) -> Any:
        *answer, info = super().step(action)
        return *answer, {name: info[name] for name in ("is_success", *NAMES)}


def test_envpool_tells_it_of_the_episode_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool.__new__(Pool)
    vars(pool).update(num_envs=2, _limit=3)
    shown, nothing = np.zeros((2, 2), np.float32), np.zeros(2, np.bool_)

    class Double:
        def step(self, actions: Any) -> Any:
            return shown, nothing, nothing, nothing, {"elapsed_step": np.array([3, 1]), "is_success": np.array([1, 0])}

        def reset(self, which: Any) -> Any:
            return shown[which], {"env_id": which}

    pool._pool = Double()
    *_, info = pool.step(np.zeros((2, 1)))
    assert numbers_of_each(info["final_info"], np.array([True, False])) == {0: {"elapsed_step": 3, "is_success": 1}}


# Where they go


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"), "tiny_cli:Lucky-v0", info_metrics=NAMES, envs=2)


def test_a_record_has_them_in_training_and_evaluation(run: Run) -> None:
    assert run.settings["info_metrics"] == list(NAMES)
    for record in run.metrics:
        for of in ("train", "eval"):
            assert record[f"{of}/info/steps"] == 5
            assert -10 < record[f"{of}/info/distance"] < 10
            assert record[f"{of}/success_rate"] in (0, 0.25, 0.5, 0.75, 1)


def test_without_being_asked_only_success_is_measured(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, Known)
    assert not [name for record in run.metrics for name in record if "/info/" in name]
    assert {record.get("eval/success_rate") for record in run.metrics} <= {None, 0.0, 1.0, 0.5}
    assert any("success_rate" in name for record in run.metrics for name in record)
    plain = untrained_run(tmp_path)
    assert not [name for record in plain.metrics for name in record if "success" in name]


def test_an_evaluation_has_them(run: Run) -> None:
    result = run.evaluate(4)
    assert len(result.successes) == 4
    assert result.success_rate == np.mean([bool(success) for success in result.successes])
    assert result.info_metrics["steps"] == 5
    assert result.to_json()["success_rate"] == result.success_rate
    assert run.evaluate(1, info_metrics=()).info_metrics == {}
    assert list(run.evaluate(1, info_metrics=["steps", "is_success"]).info_metrics) == ["steps", "is_success"]
    with pytest.raises(UsageError, match="info_metrics is 3, but must be a list of texts"):
        run.evaluate(1, info_metrics=3)  # type: ignore[arg-type]


def test_only_episodes_that_say_so_count(tmp_path: Path) -> None:
    result = untrained_run(tmp_path, Known, steps=20).evaluate(12, environment=Known)
    said = [success for success in result.successes if success is not None]
    assert 0 < len(said) < 12
    assert result.success_rate == sum(said) / len(said)


def test_the_commands_say_them(run: Run) -> None:
    code, output, errors = call_cli("evaluate", str(run.folder), "--episodes", "4")
    rate = run.evaluate(4).success_rate
    assert (code, errors) == (0, "")
    assert output.count("success\n") == 4
    assert f"success rate {rate:.1%}  of 4 episodes\n" in output
    assert "steps: mean 5  at the episodes' last steps\n" in output
    _, output, _ = call_cli("evaluate", str(run.folder), "--episodes", "4", "--json")
    assert json.loads(output)["success_rate"] == rate
    assert json.loads(output)["info_metrics"]["steps"] == 5


def test_the_report_draws_them(run: Run) -> None:
    drawn = page([run])
    assert "<h3>Success rate</h3>" in drawn
    assert "<h2>What the environment tells in its info</h2>" in drawn
    assert all(f"<h3>{name}</h3>" in drawn for name in NAMES)
    assert 'id="e0-info-0"' in drawn


@pytest.mark.parametrize("names", [("x", "x"), ("",), ("_x",), ("a\nb",), 3, (3,), None], ids=repr)
def test_names_that_cannot_be_measured_are_refused(names: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^info_metrics is .*, but must be"):
        untrained_run(tmp_path, info_metrics=names)
    assert not list(tmp_path.iterdir())


def test_what_no_episode_has_is_said_once(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        untrained_run(tmp_path, Lucky, info_metrics=["distance", "distnace"])
    (said,) = [str(each.message) for each in caught if "info_metrics" in str(each.message)]
    assert "no episode had distnace as a number in its last step's info, which had is_success, distance, steps" in said


def test_it_is_said_by_a_run_that_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at step 22, after the checkpoint of step 21: no episode ends in what is left of the epoch."""
    taken = snapshots(monkeypatch, tmp_path / "killed", 22).taken
    asked: dict[str, Any] = {"steps": 22, "steps_per_epoch": 22, "checkpoint_every": 21}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        untrained_run(tmp_path, "tiny_cli:Lucky-v0", info_metrics=["distnace"], **asked)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        polyak.resume(taken[22])
    assert any("no episode had distnace as a number" in str(each.message) for each in caught)


@pytest.mark.parametrize("make", [Lucky, "tiny_cli:Lucky-v0"], ids=["callable", "id"])
def test_they_are_the_same_in_a_run_that_was_killed(
    make: str | Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at step 37, after the checkpoint of step 34, with episodes that ended after the last record."""
    taken = snapshots(monkeypatch, tmp_path / "killed", 37).taken
    run = untrained_run(tmp_path, make, info_metrics=NAMES, checkpoint_every=34)
    killed = polyak.load(taken[37])
    assert [len(episode) for episode in saved(killed).manifest.state["episodes"]] == [5, 5]
    assert saved(killed).manifest.state["episodes"][0][4].keys() == {"is_success", *NAMES}
    assert_same(polyak.resume(killed.folder, environment=None if isinstance(make, str) else make), run)
