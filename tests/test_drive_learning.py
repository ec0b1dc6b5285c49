"""A control loop that learns: what waits for the learner, what it makes of it, and what becomes of both."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from driven import Plant, Time, Told
from polyak import Run, UsageError
from polyak.deploy.drive.learner import Fed, Relay
from polyak.deploy.drive.messages import Beginning, Newer, Ready, Taken
from polyak.deploy.drive.outbox import Outbox, state_of
from polyak.environments.make import make_environments
from polyak.errors import Interrupted
from polyak.experience.collector import Collector
from polyak.experience.replay import Replay
from polyak.run.plan import planned
from polyak.run.start import train
from polyak.settings.options import options_of
from polyak.system.randomness import Streams
from tiny_cli import SMALL, TINY, Tiny, call_cli

RATE = 100.0
LEARNING = {"backend": "torch", "probe": False, "evaluate_in": "never", "threads": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = {**SMALL, "steps": 20, "update_after": 8, "update_every": 4, "threads": 1}
    return polyak.train("ddpg", TINY, run_dir=tmp_path_factory.mktemp("runs"), backend="torch", **small)


def collector() -> Collector:
    streams = Streams(0)
    return Collector(make_environments(Tiny, 1, streams.environment), streams.warm_up, streams.exploration)


def rows_of(run: Run) -> int:
    """Transitions in the newest checkpoint's replay."""
    (newest, *_) = sorted((run.folder / "checkpoints").glob("checkpoint-*.json"), reverse=True)
    return json.loads(newest.read_text())["added"]


# What waits


def test_steps_wait_in_order_and_each_lot_says_where_the_collector_stands(run: Run) -> None:
    made = collector()
    made.begin()
    box = Outbox(made, every=3, bound=100)
    steps = [(made.step(run.policy), made.finished()) for _ in range(7)]
    again = collector()
    again.begin()
    box = Outbox(again, every=3, bound=100)
    for _ in range(7):
        box.add(again.step(run.policy), again.finished())
    box.end()
    lots = list[Taken]()
    while (lot := box.first()) is not None:
        lots.append(lot)
        box.sent()
    assert [len(lot.records) for lot in lots] == [3, 3, 1]
    layout = again.environments.spec.layout
    sent = layout.unpacked(
        np.concatenate([lot.records for lot in lots]), np.concatenate([lot.episodes for lot in lots])
    )
    for name in ("observation", "action", "reward", "next_observation", "terminated", "truncated", "episode"):
        np.testing.assert_array_equal(getattr(sent, name), np.concatenate([getattr(step, name) for step, _ in steps]))
    assert [(number, one.step, one.length) for number, lot in enumerate(lots) for one in lot.finished] == [(1, 1, 5)]
    assert (box.kept, box.dropped, [lot.dropped for lot in lots]) == (7, 0, [0, 0, 0])
    assert lots[-1].state.environments == again.environments.state()
    assert lots[1].state.collector["lengths"] == [1]


def test_where_there_is_no_room_steps_are_dropped_and_no_return_reaches_over_the_gap(run: Run) -> None:
    made = collector()
    made.begin()
    box = Outbox(made, every=1, bound=2)
    for _ in range(4):  # the third and the fourth are dropped
        box.add(made.step(run.policy), made.finished())
    assert (box.kept, box.dropped) == (2, 2)
    lots = [box.first()]
    box.sent()
    box.add(made.step(run.policy), made.finished())  # an episode's fifth, which ends it
    box.add(made.step(run.policy), made.finished())  # dropped
    box.end()
    while (lot := box.first()) is not None:
        lots.append(lot)
        box.sent()
    assert [lot.dropped for lot in lots if lot] == [0, 0, 2]
    assert [len(lot.finished) for lot in lots if lot] == [0, 0, 1]
    assert (box.kept, box.dropped) == (3, 3)
    replay = Replay(10, 2, 1)
    layout = made.environments.spec.layout
    for lot in lots:
        assert lot is not None
        replay.add(layout.unpacked(lot.records, lot.episodes))
    assert replay.successors(np.arange(3)).tolist() == [1, -1, -1]


# What is made of it, in this process


@contextmanager
def fed(run: Run, folder: Path, lots: list[Taken], **settings: Any) -> Iterator[tuple[Run, list[Any]]]:
    """A run that has been fed these, and what it has sent."""
    ours, theirs = multiprocessing.Pipe()
    unbegun, relay = collector(), Relay()
    of = Beginning(
        run=run.folder,
        goes_on=False,
        environment=TINY,
        is_callable=False,
        spec=unbegun.environments.spec,
        traits=unbegun.environments.traits,
        options={},
        steps=None,
        rate=RATE,
        state=state_of(unbegun),
    )
    for lot in lots:
        ours.send(lot)
    ours.send(None)
    options = options_of({**LEARNING, "run_dir": folder, "from_run": run.folder})
    with pytest.raises(Interrupted):
        train(planned("ddpg", TINY, None, options, settings), relay, Fed(of, theirs, relay))
    assert relay.progress is not None
    sent = list[Any]()
    while ours.poll():
        sent.append(ours.recv())
    yield Run(relay.progress.folder), sent


def some(run: Run, count: int, every: int = 4) -> list[Taken]:
    made = collector()
    made.begin()
    box, lots = Outbox(made, every, bound=1_000), list[Taken]()
    for _ in range(count):
        box.add(made.step(run.policy), made.finished())
    box.end()
    while (lot := box.first()) is not None:
        lots.append(lot)
        box.sent()
    return lots


def test_it_learns_as_from_any_collector_and_sends_what_it_learned(run: Run, tmp_path: Path) -> None:
    lots = some(run, 24)
    lots[2] = lots[2]._replace(dropped=5)
    with fed(run, tmp_path, lots, steps=100, n_step=2) as (made, sent):
        assert isinstance(sent[0], Newer)
        assert isinstance(sent[1], Ready)
        assert (sent[1].folder, sent[1].state, sent[1].steps) == (made.folder, None, 0)
        policies = [each for each in sent if isinstance(each, Newer)]
        assert [each.updates for each in policies] == [0, 4, 8, 12, 16, 20]
        for name, value in made.policy.parameters.items():
            np.testing.assert_array_equal(policies[-1].policy.parameters[name], value)
        np.testing.assert_array_equal(policies[0].policy.parameters["0/bias"], run.policy.parameters["0/bias"])
        assert rows_of(made) == 24
        (*_, record) = made.metrics
        assert sum(each.get("train/dropped", 0) for each in made.metrics) == 5
        assert sum(each.get("train/episodes", 0) for each in made.metrics) == 4
        assert (record["step"], record["learner/updates"]) == (24, policies[-1].updates)
        assert made.settings["driven"] == {"rate": RATE}
        assert "a control loop's clock decides" in made.settings["machine"]["not_exact"]
        assert json.loads((made.folder / "ending.json").read_text())["state"] == "interrupted"
        polyak.write_report(made, output=tmp_path / "x.html")
        assert "driven by a control loop at 100 Hz" in (tmp_path / "x.html").read_text()


def test_it_goes_on_without_a_control_loop_and_enacts_its_episode_again(run: Run, tmp_path: Path) -> None:
    with fed(run, tmp_path, some(run, 23), steps=30) as (made, _):
        gone_on = polyak.resume(made)
        assert rows_of(gone_on) == 30
        assert not any("train/episodes_given_up" in record for record in gone_on.metrics)
        assert gone_on.settings["driven"] == {"rate": RATE}


# In processes


class Killing(Plant):
    """Somebody kills the learner, the process with this word in its name, in a step of its."""

    def __init__(self, at: int, number: int) -> None:
        super().__init__(Time(), length=5)
        self._at, self._number = at, number

    def step(self, action: Any) -> Any:
        if self.taken == self._at:
            (learner,) = [each for each in multiprocessing.active_children() if each.name.endswith("-learner")]
            os.kill(learner.pid or 0, self._number)
            learner.join()
        return super().step(action)


def test_a_loop_learns_goes_on_and_is_a_run_like_any_other(run: Run, tmp_path: Path) -> None:
    told = Told()
    seen = polyak.drive(run, rate=RATE, steps=30, learn=True, run_dir=tmp_path, observer=told)
    assert (seen.ended, seen.steps) == ("steps", 30)
    assert seen.learning is not None
    made = polyak.load(seen.learning["folder"])
    assert made.folder.is_relative_to(tmp_path)
    assert (seen.learning["steps"], seen.learning["dropped"], seen.learning["lost"]) == (30, 0, "")
    assert seen.learning["updates"] == made.metrics[-1]["learner/updates"] > 0
    assert rows_of(made) == 30
    assert made.settings["from_run"] == str(run.folder)
    assert "begun from" in told.facts["learns"]
    again = polyak.drive(made, rate=2 * RATE, steps=42, learn=True, run_dir=tmp_path, observer=told)
    assert again.learning is not None
    assert (again.learning["folder"], again.learning["steps"], again.steps) == (str(made.folder), 42, 12)
    assert "goes on from step 30" in told.facts["learns"]
    made = polyak.load(made.folder)
    assert rows_of(made) == 42
    assert made.settings["driven"] == {"rate": 2 * RATE}
    with pytest.raises(UsageError, match="nothing to do: it has done its 42 steps; ask for more steps to go on"):
        polyak.drive(made, rate=RATE, learn=True)


def test_a_learner_that_is_killed_leaves_its_last_policy_to_the_loop(run: Run, tmp_path: Path) -> None:
    plant, told = Killing(8, signal.SIGKILL), Told()
    seen = polyak.drive(run, lambda: plant, rate=RATE, steps=20, learn=True, run_dir=tmp_path, observer=told)
    assert (seen.ended, seen.steps, plant.taken, plant.closed) == ("steps", 20, 20, True)
    assert seen.learning is not None
    assert seen.learning["lost"] == "its process ended (killed by SIGKILL)"
    assert seen.learning["dropped"] > 0
    (text,) = told.texts
    assert text.startswith("the learner is lost: its process ended (killed by SIGKILL); the loop goes on with its last")


def test_ctrl_c_saves_everything(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("drive", str(run.folder), "driven_stops:Interrupting-v0", "--rate", "100", "--learn", "--json")
    code, output, errors = call_cli(*words)
    assert (code, errors) == (0, "")
    told = json.loads(output)
    assert (told["ended"], told["steps"], told["learning"]["steps"]) == ("interrupted", 3, 3)
    made = polyak.load(told["learning"]["folder"])
    assert rows_of(made) == 3
    assert json.loads((made.folder / "ending.json").read_text())["state"] == "interrupted"


def test_a_run_that_was_killed_before_it_had_a_policy_is_begun_again(run: Run, tmp_path: Path) -> None:
    with fed(run, tmp_path, some(run, 4), steps=30) as (made, _):
        made.policy_file.unlink()
        with pytest.raises(UsageError) as refusal:
            polyak.drive(made.folder, lambda: Plant(Time()), rate=RATE, learn=True, run_dir=tmp_path)
        why = "has no policy, because it was killed before the end of its first epoch"
        assert str(refusal.value) == f"{made.folder} {why}: begin again from {run.folder}"


def test_what_cannot_begin_is_said_before_anything_moves(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a policy alone was given, which has no learner"):
        polyak.drive(run.player(), rate=RATE, learn=True)
    bare = Run(tmp_path / "bare")
    bare.folder.mkdir()
    for file in (run.settings_file, run.policy_file):
        (bare.folder / file.name).write_bytes(file.read_bytes())
    plant = Plant(Time())
    with pytest.raises(UsageError, match="no checkpoint"):
        polyak.drive(bare, lambda: plant, rate=RATE, learn=True, run_dir=tmp_path / "runs")
    assert (plant.resets, plant.closed) == (0, True)
    code, _, errors = call_cli("drive", str(run.folder), "--rate", "50", "--learn", "--policy", "best")
    assert code == 2
    assert "leave --policy best out" in errors
