"""Where the policy is evaluated: where there can be only one simulator, the run goes on as everywhere else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import Run, UsageError
from polyak.report.page import write_report
from remembering import Lonely
from test_resume import Told
from tiny_cli import TINY, Tiny, call_cli, untrained_run
from whole_runs import assert_same, snapshots, without_times

LONELY = "remembering:Lonely-v0"
SMALL: dict[str, Any] = {"steps": 33, "steps_per_epoch": 12, "backend": "torch"}


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    Lonely.alive = False
    yield
    assert not Lonely.alive


def evaluations(run: Run) -> dict[int, float]:
    return {int(record["step"]): record["eval/return"] for record in run.metrics if "eval/return" in record}


def trained(run: Run) -> list[dict[str, float]]:
    """What its training episodes gave."""
    return [{name: value for name, value in record.items() if name.startswith("train/")} for record in run.metrics]


def test_what_to_do_where_there_can_be_only_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        untrained_run(tmp_path, LONELY, **SMALL)
    said = str(raised.value)
    assert "port 2000 is in use" in said
    assert "polyak makes one for training and one for evaluation" in said
    assert said.endswith("or never")
    assert all(f"{mode} (in" in said for mode in ("--evaluate-in) process", "training"))
    assert not list(tmp_path.rglob("settings.json"))


@pytest.mark.parametrize("mode", ["process", "training", "never"])
def test_one_simulator_is_enough(mode: str, tmp_path: Path) -> None:
    told = Told()
    run = untrained_run(tmp_path, LONELY, evaluate_in=mode, observer=told, **SMALL)
    usual = untrained_run(tmp_path, TINY, **SMALL)
    assert run.settings["evaluate_in"] == mode
    assert told.facts["probe"].startswith("left out, because evaluate_in is")
    assert [record["step"] for record in run.metrics] == {
        "process": [12, 24, 33],
        "training": [15, 25, 33],  # episodes have five steps
        "never": [12, 24, 33],
    }[mode]
    assert list(evaluations(run).values()) == ([] if mode == "never" else list(evaluations(usual).values()))
    assert sum(record.get("train/episodes", 0) for record in run.metrics) == 6


@pytest.mark.parametrize("mode", ["process", "training", "never"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the evaluation is due and waits for an episode's end, at 14 steps, or has just been."""
    taken = snapshots(monkeypatch, tmp_path / "taken", 7, 15, 16, 18, 33).taken
    whole = untrained_run(tmp_path / "whole", LONELY, evaluate_in=mode, checkpoint_every=1, **SMALL)
    for folder in list(taken.values()):
        run = polyak.resume(folder)
        if mode == "never":
            assert [*map(without_times, run.metrics)] == [*map(without_times, whole.metrics)]
            assert run.policy_file.read_bytes() == whole.policy_file.read_bytes()
            assert not run.best_policy_file.exists()
        else:
            assert_same(run, whole)
        assert run.settings["resumed"][0]["given_up"] == 0


@pytest.mark.parametrize("mode", ["process", "training", "never"])
def test_a_run_that_is_extended_is_the_longer_run(mode: str, tmp_path: Path) -> None:
    """Its last evaluation cut an episode short where it trains; that is forgotten."""
    whole = untrained_run(tmp_path, evaluate_in=mode, **SMALL)
    short = untrained_run(tmp_path, evaluate_in=mode, **{**SMALL, "steps": 24})
    assert short.metrics[-1]["step"] == 24
    run = polyak.resume(short.folder, steps=33)
    assert [*map(without_times, run.metrics)] == [*map(without_times, whole.metrics)]
    assert run.policy_file.read_bytes() == whole.policy_file.read_bytes()


def test_training_goes_on_as_if_nothing_had_been_evaluated_there(tmp_path: Path) -> None:
    usual, own = (
        untrained_run(tmp_path, evaluate_in=mode, **{**SMALL, "steps_per_epoch": 10}) for mode in ("own", "training")
    )
    assert trained(own) == trained(usual)
    assert evaluations(own) == evaluations(usual)  # at the ends of episodes
    assert own.best_policy_file.read_bytes() == usual.best_policy_file.read_bytes()


def test_a_fault_while_it_is_evaluated_where_it_trains(tmp_path: Path) -> None:
    """The run goes on from the step before, and evaluates with the same seeds."""
    made: list[Tiny] = []

    def breaking() -> Tiny:
        made.append(Tiny(raises_at=22))  # 15 in training, then in the evaluation's second episode
        return made[-1]

    whole = untrained_run(tmp_path / "whole", Tiny, evaluate_in="training", **SMALL)
    with pytest.raises(polyak.TrainingError, match="the simulator broke"):
        untrained_run(tmp_path / "failed", breaking, evaluate_in="training", **SMALL)
    (settings,) = (tmp_path / "failed").rglob("settings.json")
    assert_same(polyak.resume(settings.parent, environment=Tiny), whole)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for options, said in (
        ({"evaluate_in": "never", "stop_at_return": 3.0}, "stop_at_return is 3, but evaluate_in is never"),
        ({"evaluate_in": "training", "envs": 2}, r"training, which is for one environment .* there are 2 \(sync\)"),
        ({"evaluate_in": "elsewhere"}, "evaluate_in is 'elsewhere', but must be"),
    ):
        with pytest.raises(UsageError, match=said):
            untrained_run(tmp_path, **SMALL, **options)


def test_a_run_without_evaluation_is_read_like_any_other(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, evaluate_in="never", **SMALL)
    again = polyak.resume(run.folder)  # nothing to do
    assert again.metrics == run.metrics
    assert np.isfinite(run.evaluate(2).mean)
    with pytest.raises(UsageError, match="best"):
        run.evaluate(2, best=True)
    assert "evaluate_in is never" in write_report([run]).read_text()
    code, shown, _ = call_cli("runs", str(tmp_path))
    assert code == 0
    assert "33 of 33" in shown


def test_runs_evaluated_where_they_train_are_one_group_in_a_report(tmp_path: Path) -> None:
    runs = [
        untrained_run(tmp_path, "tiny_cli:Uneven-v0", evaluate_in="training", seed=seed, **SMALL) for seed in (0, 1)
    ]
    assert len({tuple(evaluations(run)) for run in runs}) == 2
    said = write_report(runs, tmp_path / "report.html").read_text()
    assert "seeds x episodes" in said
