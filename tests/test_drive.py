"""The control loop, by a clock that the tests drive: when each step comes, with which action, and what ends it."""

import json
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from driven import Plant, Thought, Time, Told, actions_of, drive, playing
from polyak import Run, TrainingError, UsageError
from polyak.deploy.drive.clock import Monotonic, switching_soon
from polyak.deploy.drive.schedule import Lateness
from polyak.deploy.drive.thinking import Thread
from polyak.deploy.driving import driven
from snippets import blocks
from test_docs import DOCS, workplace
from tiny_cli import PATIENCE, TINY, call_cli, untrained_run

__all__ = ["workplace"]  # a fixture
PERIOD = 0.125
MIDDLE = 1.0
"""Of Tiny's actions, which are from -1 to 3."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def time() -> Time:
    return Time()


def on_the_grid(first: float, count: int) -> list[float]:
    return [first + PERIOD * number for number in range(count)]


# Time


def test_each_step_comes_when_it_is_due_and_the_episodes_are_those_of_an_evaluation(run: Run, time: Time) -> None:
    plant, told = Plant(time, [0.03125] * 4), Told()
    seen = drive(playing(run, plant), time, [0.0625] * 10, told, episodes=2)
    assert plant.moments == [*on_the_grid(100.125, 5), *on_the_grid(100.75, 5)]
    assert plant.actions == actions_of(run, plant)
    np.testing.assert_allclose(seen.returns, run.evaluate(2).returns, rtol=1e-6)
    assert (seen.ended, seen.steps, seen.lengths, seen.late, seen.overruns) == ("episodes", 10, (5, 5), 0, 0)
    assert seen.milliseconds == {"p50": 0.0, "p99": 0.0, "worst": 0.0}
    assert seen.seconds == 1.25
    assert told.steps == [1, 2, 3, 4, 1, 2, 3, 4]
    assert [(number, length, seconds) for number, _, length, seconds in told.episodes] == [
        (1, 5, 0.625),
        (2, 5, 0.625),
    ]
    assert told.drives == [seen]


def test_a_late_environment_is_an_overrun_and_no_step_is_left_out_or_made_up_for(run: Run, time: Time) -> None:
    plant = Plant(time, [0.0, 0.3125, 0.0], length=50)  # its second step takes two and a half periods
    seen = drive(playing(run, plant), time, steps=6)
    first = 100.125
    again = first + PERIOD + 0.3125
    assert plant.moments == [first, first + PERIOD, *on_the_grid(again, 4)]
    assert plant.actions == actions_of(run, plant, length=50)
    assert (seen.overruns, seen.late) == (1, 0)
    assert seen.milliseconds["worst"] == 187.5


def test_after_an_overrun_the_policy_has_a_share_of_a_period_still(run: Run, time: Time) -> None:
    plant = Plant(time, [0.25], length=50)
    seen = drive(playing(run, plant), time, [0.0, PERIOD / 4, PERIOD / 4 + 2**-10], steps=3, when_late="middle")
    assert seen.late == 0
    time, plant = Time(), Plant(again := Time(), [0.25], length=50)
    seen = drive(playing(run, plant), again, [0.0, PERIOD / 4 + 2**-10], steps=3, when_late="middle")
    assert seen.late == 1
    assert plant.moments[1] == 100.125 + 0.25 + PERIOD / 4
    assert plant.actions[1] == MIDDLE


def test_an_environment_that_takes_nearly_all_of_a_period_leaves_the_grid_where_it_is(run: Run, time: Time) -> None:
    plant = Plant(time, [PERIOD * 15 / 16], length=50)
    seen = drive(playing(run, plant), time, [0.0, PERIOD / 8], steps=4)
    assert plant.moments == [100.125, 100.25 + PERIOD / 16, 100.375, 100.5]
    assert (seen.overruns, seen.late) == (0, 0)


def test_a_reset_may_take_long_and_the_clock_begins_anew(run: Run, time: Time) -> None:
    plant = Plant(time, reset_takes=10.0, length=2)
    seen = drive(playing(run, plant), time, episodes=2)
    assert plant.moments == [110.125, 110.25, 120.375, 120.5]
    assert seen.milliseconds["worst"] == 0.0
    assert plant.resets == 2  # and none once the loop is to end


@pytest.mark.parametrize("how", ["repeat", "middle"])
def test_a_late_policy_is_answered_as_asked(run: Run, time: Time, how: Any) -> None:
    plant = Plant(time, length=50)
    seen = drive(playing(run, plant), time, [1.0, 0.0, 1.0], steps=4, when_late=how)
    assert plant.moments == on_the_grid(100.125, 4)
    assert seen.late == 2
    assert plant.actions[0] == MIDDLE  # an episode's first, before which there is no last one
    assert plant.actions[1] not in (MIDDLE, plant.actions[3])
    assert plant.actions[2] == {"repeat": plant.actions[1], "middle": MIDDLE}[how]


def test_a_late_policy_may_be_the_end(run: Run, time: Time) -> None:
    plant, told = Plant(time, length=50), Told()
    seen = drive(playing(run, plant), time, [0.0, 0.0, 1.0], told, when_late="stop")
    assert (seen.ended, seen.steps, seen.late) == ("late", 2, 1)
    assert len(plant.moments) == 2
    assert plant.closed
    assert told.drives == [seen]


def test_the_last_action_is_not_that_of_another_episode(run: Run, time: Time) -> None:
    plant = Plant(time, length=2)
    drive(playing(run, plant), time, [0.0, 0.0, 1.0], steps=3)
    assert plant.actions[2] == MIDDLE


# Safety


def test_actions_change_by_so_much_a_second_and_no_more(run: Run, time: Time) -> None:
    wide = polyak.Policy(
        {name: 40 * each for name, each in run.policy.parameters.items()}, run.policy.spec, "deterministic"
    )
    plant, free = Plant(time, length=50), Plant(Time(), length=50)
    player = polyak.Player(wide, lambda: plant)
    seen = drive(player, time, steps=12, action_rate_limit=2.0)  # a quarter a step
    steps = np.diff([MIDDLE, *plant.actions])
    assert np.abs(steps).max() == pytest.approx(0.25, abs=1e-6)
    drive(polyak.Player(wide, lambda: free), Time(), steps=12)
    assert np.abs(np.diff([MIDDLE, *free.actions])).max() > 0.3
    assert 0 < seen.limited <= 12
    assert drive(playing(run, Plant(Time())), Time(), steps=3, action_rate_limit=1e6).limited == 0


def test_what_stop_on_says_is_the_end_and_nothing_is_reset(run: Run, time: Time) -> None:
    seen = list[Any]()

    def stop_on(observation: Any, action: Any, reward: float, info: Any) -> Any:
        seen.append((observation, action, reward, info))
        return np.bool_(len(seen) == 5)

    plant = Plant(time)
    report = drive(playing(run, plant), time, stop_on=stop_on)
    assert (report.ended, report.steps, report.lengths, plant.resets) == ("stop_on", 5, (5,), 1)
    assert [float(action[0]) for _, action, *_ in seen] == plant.actions
    assert [each[0][1] for each in seen] == [1, 2, 3, 4, 5]  # what the environment itself showed
    assert plant.closed


@pytest.mark.parametrize(
    ("stop_on", "said"),
    [
        (lambda *_: 1 / 0, r"stop_on raised ZeroDivisionError: division by zero \(test_drive.py.* after step 1"),
        (lambda *_: np.zeros(2), "stop_on raised ValueError"),
        (lambda: True, "stop_on raised TypeError"),
    ],
)
def test_a_stop_on_that_fails_is_the_end(run: Run, time: Time, stop_on: Any, said: str) -> None:
    plant, told = Plant(time, length=1), Told()
    with pytest.raises(TrainingError, match=said):
        drive(playing(run, plant), time, told=told, stop_on=stop_on)
    assert (len(plant.moments), plant.resets, plant.closed) == (1, 1, True)
    assert (told.drives[0].ended, told.drives[0].steps) == ("failed", 1)


@pytest.mark.parametrize(("fault", "said"), [({"raises_at": 3}, "the simulator broke"), ({"nan_at": 3}, "non-finite")])
def test_an_environment_at_fault_ends_it(run: Run, time: Time, fault: Any, said: str) -> None:
    plant, told = Plant(time, **fault), Told()
    with pytest.raises(TrainingError, match=said):
        drive(playing(run, plant), time, told=told)
    assert plant.closed
    assert told.drives[0].ended == "failed"
    assert len(plant.moments) == 3


def test_a_policy_that_computes_what_is_not_finite_ends_it_before_the_environment_gets_it(run: Run, time: Time) -> None:
    plant, huge = Plant(time), {name: np.full_like(each, 3e38) for name, each in run.policy.parameters.items()}
    huge["1/kernel"][::2] *= -1  # what is infinite less what is infinite
    policy = polyak.Policy(huge, run.policy.spec, "deterministic")
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"a number that is not finite.* after 0 steps"):
        drive(polyak.Player(policy, lambda: plant), time)
    assert (plant.moments, plant.closed) == ([], True)


def test_a_signal_ends_it_after_the_step_and_nothing_is_reset(run: Run, time: Time) -> None:
    class Interrupting(Plant):
        def step(self, action: Any) -> Any:
            answer = super().step(action)
            if len(self.moments) == 5:
                signal.raise_signal(signal.SIGINT)
            return answer

    plant = Interrupting(time)
    seen = drive(playing(run, plant), time)
    assert (seen.ended, seen.steps, seen.signal_number, seen.lengths) == ("interrupted", 5, signal.SIGINT, (5,))
    assert (plant.resets, plant.closed) == (1, True)


def test_a_second_signal_acts_at_once(run: Run, time: Time) -> None:
    class Interrupting(Plant):
        def step(self, action: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it went on")

    plant = Interrupting(time)
    with pytest.raises(KeyboardInterrupt):
        drive(playing(run, plant), time)
    assert plant.closed


# Parts


def test_a_thread_answers_in_time_or_not_at_all() -> None:
    thread, gate, begun = Thread(clock := Monotonic()), threading.Event(), threading.Event()

    def slow() -> Any:
        begun.set()
        assert gate.wait(PATIENCE)
        return np.zeros(1)

    try:
        thread.ask(lambda: np.ones(1))
        assert thread.answer(clock.now() + PATIENCE) == np.ones(1)
        thread.ask(slow)
        assert begun.wait(PATIENCE)
        assert thread.answer(clock.now()) is None
        thread.ask(lambda: np.full(1, 2.0))  # what was asked before comes too late, and for nothing
        assert thread.answer(clock.now() + 0.001) is None
        gate.set()
        assert thread.answer(clock.now() + PATIENCE) == np.full(1, 2.0)
        thread.ask(lambda: np.ones(1)[5])
        with pytest.raises(IndexError):
            thread.answer(clock.now() + PATIENCE)
    finally:
        gate.set()
        thread.close()


def test_lateness_is_counted() -> None:
    lateness, values = Lateness(), np.random.default_rng(0).exponential(0.003, 997)
    assert (lateness.quantile(0.5), lateness.worst, lateness.within(0.0)) == (0.0, 0.0, 1.0)
    for value in values:
        lateness.add(value)
    for share in (0.5, 0.9, 0.99, 1.0):
        assert lateness.quantile(share) == pytest.approx(np.quantile(values, share, method="inverted_cdf"), abs=1.1e-5)
    assert lateness.within(0.005) == pytest.approx((values <= 0.005).mean(), abs=0.002)
    assert lateness.worst == values.max()
    lateness.add(70.0)
    assert lateness.quantile(1.0) == 70.0
    assert lateness.quantile(0.99) < 0.1


def test_the_system_s_clock_waits_and_python_s_switching_is_put_back() -> None:
    clock = Monotonic()
    clock.wait_until(soon := clock.now() + 0.001)
    assert clock.now() >= soon
    clock.wait_until(0.0)
    usual = sys.getswitchinterval()
    with switching_soon():
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == usual


# The door


def test_from_python_by_the_system_s_clock(run: Run) -> None:
    """On a busy machine its policy may be late."""
    seen = polyak.drive(run, rate=1_000.0, episodes=2, stop_on="driven_stops:never")
    assert (seen.ended, seen.lengths) == ("episodes", (5, 5))
    assert polyak.drive(run.player(), rate=1_000.0, steps=3).steps == 3


def test_actions_may_be_drawn(run: Run, time: Time) -> None:
    plant, again, best = (Plant(Time()) for _ in range(3))
    for each in (plant, again):
        drive(playing(run, each), time, steps=5, deterministic=False, seed=3)
    drive(playing(run, best), time, steps=5, seed=3)
    assert plant.actions == again.actions != best.actions


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rate": 0.0}, "rate is 0.0, but must be above 0 and at most 10,000"),
        ({"rate": 5.0, "when_late": "skip"}, "when_late is 'skip', but must be repeat, middle, stop"),
        ({"rate": 5.0, "action_rate_limit": 0}, "action_rate_limit is 0, but must be above 0"),
        ({"rate": 5.0, "stop_on": "nothing"}, "stop_on is 'nothing', but must be a function, or module:function"),
        ({"rate": 5.0, "stop_on": int}, "stop_on is <class 'int'>, but must be a function"),
        ({"rate": 5.0, "stop_on": "no_such_module:x"}, "stop_on is 'no_such_module:x': cannot import 'no_such_module'"),
        ({"rate": 5.0, "stop_on": "driven_stops:nope"}, "'driven_stops' has no function 'nope'"),
        ({"rate": 5.0, "environment": "Pendulum-v1"}, "the policy takes observations"),
    ],
)
def test_what_cannot_be_is_said_before_anything_moves(run: Run, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        polyak.drive(run, **asked)


def test_a_whole_vector_is_refused(run: Run, time: Time) -> None:
    import gymnasium

    with pytest.raises(UsageError, match="a single environment"):
        drive(run.player(environment=lambda: gymnasium.make_vec("Pendulum-v1", 2)), time)


def test_the_command_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = call_cli("drive", str(run.folder), "--rate", "500", "--episodes", "2")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "rate        500 steps a second, 2 ms each, by the clock: not bit for bit"
    assert [line.split()[:2] for line in lines[2:4]] == [["episode", "1"], ["episode", "2"]]
    assert lines[4].startswith("done after 10 steps in 0.")
    assert lines[5].startswith("lateness   p50 ")
    assert lines[6].startswith("overruns   ")
    code, output, errors = call_cli("drive", str(run.policy_file), TINY, "--rate", "500", "--steps", "7", "--json")
    assert (code, errors) == (0, "")
    told = json.loads(output)
    assert (told["ended"], told["steps"], told["lengths"]) == ("steps", 7, [5])
    assert set(told["lateness"]) == {"p50", "p99", "worst"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "drive needs --rate, the steps a second: --rate 50"),
        (("--rate", "50", "--fps", "3"), "drive has no --fps"),
        (("--rate", "-1"), "rate is -1.0, but must be above 0"),
    ],
)
def test_wrong_words(run: Run, words: tuple[str, ...], said: str) -> None:
    code, output, errors = call_cli("drive", str(run.folder), *words)
    assert (code, output) == (2, "")
    assert said in errors


def test_a_fault_is_reported_and_told(run: Run) -> None:
    code, output, errors = call_cli("drive", str(run.folder), "tiny_cli:Raises-v0", "--rate", "500", "--json")
    assert code == 1
    assert json.loads(output)["ended"] == "failed"
    assert "the simulator broke" in errors


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--steps", "1000000"), 130)])
def test_ctrl_c_is_how_it_ends_unless_something_else_was_asked_for(run: Run, words: tuple[str, ...], code: int) -> None:
    assert call_cli("drive", str(run.folder), "driven_stops:Interrupting-v0", "--rate", "500", *words)[0] == code


def test_it_is_put_together_with_the_system_s_clock_and_a_thread(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the tests above put it together with theirs."""
    from polyak.deploy import driving

    seen = list[Any]()
    monkeypatch.setattr(driving, "driven", lambda *given: seen.append(given))
    polyak.drive(run, rate=5.0)
    assert isinstance(seen[0][3], Monotonic)
    assert driven.__defaults__ == (None,)
    assert isinstance(Thought(Time()), Thought)


def test_the_page_s_robot_is_driven_as_it_says(workplace: Path) -> None:
    scripts = blocks("deploy.md", "python")
    (workplace / "my_robot.py").write_text(scripts["my_robot.py"])
    small = "steps=10, start_steps=10, update_after=1_000, hidden_sizes=(4,), evaluate_in='never', probe=False"
    script = scripts["a loop of 50 Hz"].replace("steps=20_000", small).replace("rate=50", "rate=5_000")
    names: dict[str, Any] = {}
    with pytest.warns(UserWarning, match="nothing is learned"):
        exec(script, names)
    assert names["drive"].ended in ("episodes", "stop_on")
    command = re.search(r"polyak (drive RUN my_robot:Arm-v0 .*too_fast)", (DOCS / "deploy.md").read_text())
    assert command is not None
    words = command[1].replace("RUN", str(names["run"].folder)).replace("--rate 50", "--rate 5000").split()
    code, output, _ = call_cli(*words, "--steps", "20", "--json")
    assert (code, json.loads(output)["steps"] > 0) == (0, True)
