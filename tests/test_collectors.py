"""Collectors in step: which process an environment is in, when it answers and whether it is lost change no number."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from collecting_here import Here, put_here
from polyak import Run, TrainingError
from polyak.experience.processes import Process, Processes
from tiny_cli import Uneven, untrained_run
from whole_runs import assert_same, saved, snapshots

CONFIG: dict[str, Any] = {
    "steps": 72,
    "steps_per_epoch": 24,
    "start_steps": 10,
    "update_after": 8,
    "update_every": 8,
    "batch_size": 8,
    "replay_size": 60,  # the ring comes round
    "hidden_sizes": (4,),
    "evaluation_episodes": 1,
    "seed": 3,
    "backend": "torch",
    "collectors": 2,
    "envs": 2,
}
UNEVEN = "tiny_cli:Uneven-v0"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    return put_here(monkeypatch)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    def run(environment: Any = UNEVEN, **options: Any) -> Run:
        return polyak.train("sac", environment, **{"run_dir": tmp_path / "runs", **CONFIG, **options})

    return run


# Processes of this machine


class Spied(Processes):
    """Remembers the processes, and kills one before it is sent a certain order."""

    def __init__(self, kills_at: int | None = None) -> None:
        self.started: list[Process] = []
        self.kills_at = kills_at

    def start(self, beginning: Any) -> Process:
        seat = super().start(beginning)
        self.started.append(seat)
        if beginning.number == 1 and self.kills_at is not None:
            send, self.kills_at, left = seat.send, None, [self.kills_at]

            def killing(order: Any) -> None:
                send(order)
                left[0] -= 1
                if left[0] == 0:
                    os.kill(seat._process.pid, signal.SIGKILL)

            seat.send = killing  # pyright: ignore[reportAttributeAccessIssue]
        return seat


def test_processes_give_what_collectors_in_one_process_give_also_where_one_is_killed(
    train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the fourth round, which the run does not notice; and no process is left behind."""
    with monkeypatch.context() as patch:
        put_here(patch)
        whole = train()
    spied = Spied(kills_at=4)
    monkeypatch.setattr("polyak.run.collecting._place", lambda plan: spied)
    assert_same(train(), whole)
    assert len(spied.started) == 3
    assert not any(seat._process.is_alive() for seat in spied.started)


# In step


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, (1, 4, 9)),
        ({"checkpoint_every": 8, "exploration_correlation": 0.9}, (3, 6)),
        ({"collectors": 4, "envs": 1, "n_step": 3, "checkpoint_every": 16}, (5,)),
        ({"steps_per_epoch": 20, "updates_per_step": 0.3, "checkpoint_every": 10}, (4, 7)),  # rounds of other lengths
        ({"update_every": 4, "steps": 70, "checkpoint_every": 4}, (16, 18)),
    ],
    ids=str,
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    options: dict[str, Any],
    at: tuple[int, ...],
    here: Here,
    train: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = snapshots(monkeypatch, tmp_path, *at).taken
    whole = train(**options)
    assert sorted(taken) == sorted(at)
    for number in at:
        assert_same(polyak.resume(taken[number]), whole)


def test_a_collector_that_is_lost_is_made_again_and_nobody_notices(here: Here, train: Callable[..., Run]) -> None:
    whole = train()
    assert len(here.seats) == 2
    here.loses = {(1, 1), (0, 3), (1, 4), (1, 9)}
    assert_same(train(), whole)
    assert len(here.seats) == 2 + 2 + 4


def test_one_that_is_lost_twice_at_the_same_place_ends_the_run(here: Here, train: Callable[..., Run]) -> None:
    whole = train()
    here.loses = {(1, 6), (1, 7)}
    with pytest.raises(TrainingError, match=r"collector 1 \(environments 2 to 3\) was lost twice at the same place"):
        train()
    (failed,) = [Run(folder) for folder in whole.folder.parent.iterdir() if folder != whole.folder]
    assert saved(failed).manifest.step == 32, "all that was whole is saved"
    here.loses = set()
    assert_same(polyak.resume(failed), whole)


def rows(run: Run) -> Any:
    replay = saved(run).replay
    return replay.records(replay.oldest, replay.added)


def test_while_actions_are_random_it_matters_not_who_has_an_environment(here: Here, tmp_path: Path) -> None:
    """Streams are an environment's own, by its number; rows are by step, then environment."""
    options: dict[str, Any] = {"steps": 48, "start_steps": 1_000, "update_every": 8, "environment": Uneven}
    runs = [
        untrained_run(tmp_path / f"{collectors}", **options, collectors=collectors, envs=4 // collectors)
        for collectors in (1, 2, 4)
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(rows(run), rows(runs[0]))
        assert saved(run).replay.episodes(0, 48).tolist() == saved(runs[0]).replay.episodes(0, 48).tolist()
        assert [record["train/return"] for record in run.metrics] == [r["train/return"] for r in runs[0].metrics]
