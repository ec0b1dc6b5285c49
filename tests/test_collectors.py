"""Collectors: in step, who has an environment, when it answers and whether it is lost change no number; free, they may.

Most tests have them in their own process (`collecting_here`), which the first one compares with real ones.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import polyak
from clocks import Alarm
from collecting_here import CONFIG, Here, put_here
from polyak import Run, TrainingError, UsageError
from polyak.experience.processes import Process, Processes
from polyak.experience.remote import Rhythm
from polyak.report.page import page
from tiny_cli import SMALL, TINY, Tiny, Uneven, untrained_run
from whole_runs import assert_same, saved, snapshots, without_times

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
        ({"checkpoint_every": 8, "exploration_hold": 8, "exploration_spread": (0.2, 2.0)}, (3, 6)),
        ({"checkpoint_every": 8, "action_repeat": 2}, (5,)),
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


@given(
    collectors=st.integers(1, 3),
    envs=st.integers(1, 3),
    every=st.integers(1, 4),
    epoch=st.integers(1, 40),
    start=st.integers(0, 30),
)
@settings(max_examples=200)
def test_rounds_end_where_something_is_due_and_nowhere_passes_it(
    collectors: int, envs: int, every: int, epoch: int, start: int
) -> None:
    """As the steps of so many environments in one process would: after the first step that reaches it."""
    count = collectors * envs
    rhythm = Rhythm((count * every, epoch), (start, 100))
    steps = 0
    while steps < 100:
        end = steps + count * -(-(rhythm.next(steps) - steps) // count)
        for each in range(steps + count, end, count):  # the steps that the round does not end after
            assert each // (count * every) == steps // (count * every)
            assert each // epoch == steps // epoch
            assert (each >= start) == (steps >= start)
            assert each < 100
        steps = end


def test_the_policy_of_a_round_is_the_one_before_but_for_the_newest_after_an_epoch(
    here: Here, train: Callable[..., Run]
) -> None:
    """As in a run of one process with a lag of 1; a callback sees it, and changes no number."""

    class Ages:
        def __init__(self) -> None:
            self.seen: dict[int, tuple[int, int]] = {}

        def stepped(self, training: Any) -> None:
            self.seen[training.steps] = training.updates, len(training.transitions.reward)

    ours, theirs = Ages(), Ages()
    whole = train(callbacks=[ours])
    train(collectors=None, envs=4, lag=1, callbacks=[theirs])
    assert {steps: updates for steps, (updates, _) in ours.seen.items()} == {
        steps: updates for steps, (updates, _) in theirs.seen.items() if steps in ours.seen
    }
    assert np.cumsum([rows for _, rows in ours.seen.values()]).tolist() == list(ours.seen)
    for ours_of, theirs_of in zip(whole.metrics, train().metrics, strict=True):
        assert without_times(ours_of) == without_times(theirs_of), "told or not, nothing else is done"
    assert whole.metrics[-1]["collectors/policy_lag_max"] == 8


# Free


def links(run: Run) -> list[tuple[int, int]]:
    """For each episode in replay, its environment; each transition must follow from the one before."""
    replay = saved(run).replay
    held = replay.records(0, replay.added)
    after = replay.successors(np.arange(replay.added))
    for number, next_one in enumerate(after.tolist()):
        if next_one >= 0:
            shown, shows = held[number, replay.layout.next_observation], held[next_one, replay.layout.observation]
            np.testing.assert_array_equal(shown, shows)
    episodes = replay.episodes(0, replay.added)
    ended = held[:, replay.layout.terminated :].any(axis=1)
    running = [number for number in np.flatnonzero(after < 0) if not ended[number]]
    return sorted((int(episodes[number]) % 4, int(number)) for number in running)


def test_free_collectors_deliver_when_they_are_ready(
    here: Here, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates are as many a step as in step, nothing is there twice, and a run goes on from its checkpoint."""
    taken = snapshots(monkeypatch, tmp_path, 9, 13).taken
    here.turns = True
    options = {"collection": "free", "replay_size": 200, "checkpoint_every": 4, "steps": 96}
    whole = train(**options)
    resumed = [polyak.resume(taken[number]) for number in (9, 13)]
    here.loses = {(1, 3), (0, 8)}
    for run in (whole, *resumed, train(**options)):
        record = run.metrics[-1]
        assert (record["step"], record["learner/updates"]) == (96, 96 - 8 + 8)
        assert 0 < record["collectors/policy_lag"] <= record["collectors/policy_lag_max"]
        assert len(links(run)) <= 4, "at most the running episode of each environment has no successor and no end"
        assert run.settings["collection"] == "free"
    assert "free, so that the same seed would give other numbers" in page([whole])


# Faults


class Faulty(Tiny):
    """Goes wrong in the step of all its kind in this process that `at` says, if it does."""

    at = 0
    fault: Callable[[Any], Any] = staticmethod(lambda answer: answer)

    def step(self, action: Any) -> Any:
        Faulty.at -= 1
        answer = super().step(action)
        return Faulty.fault(answer) if Faulty.at == 0 else answer


def broken(answer: Any) -> Any:
    raise RuntimeError("the simulator broke")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("raises", r"raised RuntimeError in collector 0 \(environments 0 to 3\), after \d+ steps of each there: the "),
        ("NaN", r"environment \d returned a non-finite observation in collector 0 \(environments 0 to 3\), after"),
        ("hangs", r"not answer within the time limit \(step_timeout\) in collector 0 \(environments 0 to 3\), after"),
    ],
)
def test_an_environment_at_fault_is_told_and_the_run_goes_on_once_it_is_repaired(
    kind: str, told: str, here: Here, alarm: Alarm, train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"collectors": 1, "envs": 4}  # of several in one process, one alone has the timer
    whole = train(Faulty, **alone)
    faults: dict[str, Callable[[Any], Any]] = {
        "raises": broken,
        "NaN": lambda answer: (answer[0] * np.nan, *answer[1:]),
        "hangs": lambda answer: alarm.ring(),
    }
    monkeypatch.setattr(Faulty, "fault", staticmethod(faults[kind]))
    monkeypatch.setattr(Faulty, "at", 2 * 10 + 55)  # beyond the evaluations' steps and the probe's
    with pytest.raises(TrainingError, match=told):
        train(Faulty, **alone)
    (failed,) = [Run(folder) for folder in whole.folder.parent.iterdir() if folder != whole.folder]
    assert saved(failed).manifest.step in range(8, 72, 4)
    assert_same(polyak.resume(failed, environment=Faulty), whole)


def test_one_that_hangs_beyond_python_for_longer_than_its_round_may_take_is_made_again(
    train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped; nothing is left of it."""
    with monkeypatch.context() as patch:
        put_here(patch)
        whole = train()
    spied, stopped = Spied(), list[int]()

    def iterate(self: Any, real: Any = polyak.run.loop.Loop._iterate) -> Any:
        if self.collector.steps == 32 and not stopped:
            stopped.append(spied.started[1]._process.pid)
            os.kill(stopped[0], signal.SIGSTOP)
            owed = self.collector._crew._orders

            def now() -> float:
                """Late once all others have delivered, until it is made again."""
                return time.monotonic() + 10_000.0 * (list(owed) == [1] and len(spied.started) == 2)

            monkeypatch.setattr("polyak.experience.crew.time", SimpleNamespace(monotonic=now))
        return real(self)

    monkeypatch.setattr("polyak.run.collecting._place", lambda plan: spied)
    monkeypatch.setattr(polyak.run.loop.Loop, "_iterate", iterate)
    assert_same(train(), whole)
    assert stopped
    assert len(spied.started) == 3
    assert not any(seat._process.is_alive() for seat in spied.started)


# At the door


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"collectors": 0}, "collectors is 0, but must be at least 1 and at most 1,024, or None for none"),
        ({"lag": 0}, "lag is 0, but collectors go on with the policy before"),
        ({"update_every": 9}, r"update_every is 9, but the 4 .* choose update_every \(--update-every\) 8 or 12"),
        ({"update_every": 3}, r"choose update_every \(--update-every\) 4, or other numbers"),
        ({"vectorization": "async"}, "vectorization is async, but collectors step their environments one after"),
        ({"evaluate_in": "training"}, "evaluate_in is training, but with collectors"),
        ({"collectors": None, "collection": "free"}, "collection is free, but there are no collectors"),
        ({"environment": Tiny(), "envs": 1}, "handed over as an object, which cannot be made again there"),
        ({"environment": lambda: SyncVectorEnv([Tiny] * 2)}, "makes a whole VectorEnv"),
    ],
    ids=lambda each: each if isinstance(each, str) else "-".join(each),
)
def test_what_cannot_be_is_said_at_the_door(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        polyak.train("sac", **{"environment": TINY, "run_dir": tmp_path / "runs", **CONFIG, **options})
    assert not (tmp_path / "runs").exists()


def test_runs_together_have_no_collectors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="collectors is 2, but runs that train together"):
        polyak.train_together("sac", TINY, seeds=[0], run_dir=tmp_path, **{**SMALL, "collectors": 2})
