"""Callbacks: when they are told what, what they may ask for, and that a resumed run goes on with them."""

import importlib
import json
import re
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from callers import Counts
from polyak import Run, TrainingError, UsageError
from polyak.callbacks import Curriculum, EvaluateElsewhere, SavePolicies, Stateless, StopWhen, Training
from polyak.cli.many import SETTLED
from polyak.many.words import passed_on
from polyak.policies.policy import Policy
from polyak.report.page import page
from polyak.run import loop
from polyak.run.callbacks import keeping
from polyak.settings.called import Called, called
from test_checkpoints import newest, rewrite
from test_docs import TINY as DOCS_TINY
from test_docs import blocks
from test_resume import Told
from test_runs import events
from tiny_cli import SMALL, TINY, Lucky, Uneven, call_cli, untrained_run
from whole_runs import assert_same, saved, snapshots

ANY: Any = None
LEARNING = {**SMALL, "backend": "torch"}


def trained(folder: Path, environment: Any = TINY, algorithm: str = "ddpg", **options: Any) -> Run:
    """A run that learns, in a framework that compiles nothing."""
    return polyak.train(algorithm, environment, run_dir=folder, **{**LEARNING, **options})


class Diary:
    """Writes down what it is told."""

    def __init__(self, *also: Callable[[str, Training], None]) -> None:
        self.pages: list[tuple[str, int, int]] = []
        self.also = also

    def _write(self, hook: str, training: Training) -> None:
        self.pages.append((hook, training.steps, training.updates))
        for each in self.also:
            each(hook, training)

    def started(self, training: Training) -> None:
        self._write("started", training)

    def stepped(self, training: Training) -> None:
        self._write("stepped", training)

    def updated(self, training: Training) -> None:
        self._write("updated", training)

    def evaluated(self, training: Training) -> None:
        self._write("evaluated", training)

    def ended(self, training: Training) -> None:
        self._write("ended", training)

    def told(self, *hooks: str) -> list[tuple[str, int, int]]:
        return [page for page in self.pages if page[0] in hooks]


# When it is told what


def test_the_moments_of_a_run(tmp_path: Path) -> None:
    """Steps are told before their updates, which begin at step 8 and come every 4; an epoch has 20."""
    diary = Diary()
    trained(tmp_path, callbacks=[diary])
    assert diary.pages[:3] == [("started", 0, 0), ("stepped", 1, 0), ("stepped", 2, 0)]
    around = diary.pages.index(("stepped", 8, 0))
    assert diary.pages[around : around + 3] == [("stepped", 8, 0), ("updated", 8, 4), ("stepped", 9, 4)]
    assert diary.told("updated") == [("updated", step, step - 4) for step in range(8, 41, 4)]
    assert diary.told("evaluated", "ended") == [("evaluated", 20, 16), ("evaluated", 40, 36), ("ended", 40, 36)]
    assert [steps for hook, steps, _ in diary.told("stepped")] == [*range(1, 41)]


def test_with_a_lag_updates_are_told_when_their_policy_begins_to_act(tmp_path: Path) -> None:
    """That of step 8 after step 12, where the next burst has been launched; at an epoch's end, all are waited for."""
    diary = Diary()
    trained(tmp_path, lag=1, callbacks=[diary])
    assert diary.told("updated") == [
        *(("updated", step, step - 8) for step in (12, 16, 20)),
        *(("updated", 20, 16), ("updated", 28, 20), ("updated", 32, 24), ("updated", 36, 28)),
        *(("updated", 40, 32), ("updated", 40, 36)),
    ]


def test_what_a_moment_shows(tmp_path: Path) -> None:
    seen = dict[str, Any]()

    def look(hook: str, training: Training) -> None:
        if hook == "started":
            with pytest.raises(UsageError, match="none has been taken here yet"):
                _ = training.transitions
            seen["begun"] = (training.seed, training.environment, training.total_steps, training.settings.batch_size)
            assert (training.folder / "settings.json").exists()
            assert (training.metrics, training.best, training.episodes) == ({}, None, ())
        if hook == "stepped" and training.steps == 10:
            seen["rows"] = [column.shape for column in training.transitions]
            seen["lengths"] = [episode.length for episode in training.episodes]
            with pytest.raises(ValueError, match="read-only"):
                training.transitions.next_observation[:] = 0
        if hook == "evaluated":
            seen["record"] = dict(training.metrics)
            assert isinstance(training.policy, Policy)
            with pytest.raises(TypeError):
                training.metrics["eval/return"] = 0.0  # type: ignore[index]
        if hook == "ended":
            seen["ended"] = (training.outcome, training.error, training.best)
            for ask in (
                lambda: training.log("x", 1),
                lambda: training.stop("x"),
                lambda: training.set_environment("g", 1),
            ):
                with pytest.raises(UsageError, match="the run has ended"):
                    ask()

    run = trained(tmp_path, envs=2, callbacks=[Diary(look)])
    assert seen["begun"] == (0, TINY, 40, 8)
    assert seen["rows"] == [(2, 2), (2, 1), (2,), (2, 2), (2,), (2,), (2,)]
    assert seen["lengths"] == [5, 5]
    assert seen["record"].items() <= run.metrics[-1].items()
    outcome, error, best = seen["ended"]
    assert (outcome, error) == ("done after 40 steps", None)
    assert best[1] == max(record["eval/return"] for record in run.metrics)


def test_nobody_is_told_what_nobody_hears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that is not there costs a look at one attribute; without callbacks no record has their time."""

    class Rare(Stateless):
        def evaluated(self, training: Training) -> None:
            assert training._transitions is None

    told = list[str]()
    tell = loop.Loop._tell
    monkeypatch.setattr(loop.Loop, "_tell", lambda self, hook: (told.append(hook), tell(self, hook)))
    untrained_run(tmp_path / "with", callbacks=[Rare()])
    assert told == ["started", "evaluated", "evaluated"]
    assert not [name for record in untrained_run(tmp_path).metrics for name in record if "callbacks" in name]


# What it logs


def test_what_is_logged_is_in_the_records_everywhere(tmp_path: Path) -> None:
    def log(hook: str, training: Training) -> None:
        if hook == "stepped":
            training.log("my/step", training.steps)
            training.log("my/nothing", float("nan"))
        if hook == "evaluated":
            training.log("twice", np.float32(training.metrics["step"]))

    run = untrained_run(tmp_path, callbacks=[Diary(log), Diary(log)])
    assert [(record["my/step"], record["twice"]) for record in run.metrics] == [(10.5, 20), (30.5, 40)]
    assert not [record for record in run.metrics if "my/nothing" in record]
    assert run.metrics[-1]["time/callbacks"] > 0
    assert {"my/step", "twice"} <= {
        value.tag
        for file in sorted((run.folder / "tensorboard").iterdir())
        for event in events(file)
        for value in event.summary.value
    }
    drawn = page([run])
    assert "<h2>What callbacks logged</h2>" in drawn
    assert "<h3>my/step</h3>" in drawn


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *(
            (name, 1.0, "would be one of polyak's own")
            for name in ("train/return", "eval/x", "step", "time/x", "learner")
        ),
        *((name, 1.0, "must be a text of at most 200") for name in ("", "a\nb", 3, None, "x" * 201)),
        *(("x", value, "x is .*, but must be a number, to be logged") for value in ("1", None, [1], np.ones(2), 1j)),
    ],
)
def test_what_cannot_be_logged_ends_the_run_with_the_reason(name: Any, value: Any, said: str, tmp_path: Path) -> None:
    diary = Diary(lambda hook, training: training.log(name, value) if hook == "started" else None)
    with pytest.raises(TrainingError, match=rf"the callback <Diary> raised UsageError in started\(\) .*{said}"):
        untrained_run(tmp_path, callbacks=[diary])


def test_only_so_many_names_are_logged(tmp_path: Path) -> None:
    def log(hook: str, training: Training) -> None:
        for number in range(1_001) if hook == "stepped" else ():
            training.log(f"x/{number}", 1.0)

    with pytest.raises(TrainingError, match="number of metrics logged is 1001, but must be at most 1,000"):
        untrained_run(tmp_path, callbacks=[Diary(log)])


# How it stops a run


@pytest.mark.parametrize(("hook", "at", "ends"), [("stepped", 27, 27), ("updated", 26, 28), ("evaluated", 20, 20)])
def test_a_stop_ends_a_run_as_its_last_step_does(hook: str, at: int, ends: int, tmp_path: Path) -> None:
    told = Told()
    run = trained(tmp_path, callbacks=[f"callers:StopsAt({at}, {hook!r})"], observer=told)
    assert told.progress.outcome == f"stopped after {ends} steps: step {ends} has come"
    assert [record["step"] for record in run.metrics] == sorted({20, ends})
    assert all("eval/return" in record for record in run.metrics)
    assert saved(run).manifest.step == ends
    before = sorted(run.folder.rglob("*"))
    again = Told()
    polyak.resume(run.folder, observer=again)
    assert again.progress.outcome.startswith(
        f"nothing to do: a callback stopped it after {ends} steps: step {ends} has come; ask"
    )
    assert sorted(run.folder.rglob("*")) == before


def test_a_stopped_run_goes_on_where_more_steps_are_asked_for(tmp_path: Path) -> None:
    run = trained(tmp_path, callbacks=["callers:StopsAt(27, 'stepped')"], steps=60)
    more = polyak.resume(run.folder, steps=60, callbacks=[])
    assert [record["step"] for record in more.metrics] == [20, 40, 60]  # its end at 27 was no end of an epoch
    assert_same(more, trained(tmp_path / "whole", steps=60))


def test_a_run_killed_before_its_last_evaluation_ends_as_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole", callbacks=["callers:StopsAt(27)"])
    end = loop.Loop._end_epoch

    def killed(self: loop.Loop, *arguments: Any) -> None:
        if self.collector.steps == 27:
            raise KeyboardInterrupt
        end(self, *arguments)

    monkeypatch.setattr(loop.Loop, "_end_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", callbacks=["callers:StopsAt(27)"])
    monkeypatch.undo()
    (folder,) = (path.parent for path in (tmp_path / "killed").rglob("settings.json"))
    told = Told()
    assert_same(polyak.resume(folder, observer=told), whole)
    assert told.progress.outcome == "stopped after 27 steps: step 27 has come"


@pytest.mark.parametrize("reason", ["", "  ", None, 3])
def test_a_stop_has_a_reason(reason: Any, tmp_path: Path) -> None:
    diary = Diary(lambda hook, training: training.stop(reason) if hook == "stepped" else None)
    with pytest.raises(TrainingError, match=r"the reason to stop is .*, but must be a text"):
        untrained_run(tmp_path, callbacks=[diary])


# How it goes on with the run


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a callback that keeps numbers and arrays."""
    return untrained_run(tmp_path_factory.mktemp("runs"), callbacks=["callers:Counts()"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run without any."""
    return trained(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    "options", [{}, {"lag": 1}, {"envs": 2, "environment": Uneven}], ids=["plain", "lag", "uneven"]
)
def test_a_killed_run_goes_on_with_its_callbacks_as_if_nothing_had_been(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its step 31, where the last checkpoint is that of step 22 or so, between two records."""
    asked = "callers:Counts(0.5, words=['a', 'b'])"
    environment = options.pop("environment", TINY)
    steps = 31 // options.get("envs", 1)
    taken = snapshots(monkeypatch, tmp_path / "killed", steps).taken
    run = trained(tmp_path, environment, checkpoint_every=11, callbacks=[asked], **options)
    assert run.settings["callbacks"] == [asked]
    kept = {name: value.tobytes() for name, value in saved(run).callbacks.items()}
    state = saved(run).manifest.state["callbacks"]
    again = polyak.resume(taken[steps], environment=None if isinstance(environment, str) else environment)
    assert_same(again, run)
    assert "counts/rewards" in again.metrics[-1]
    assert {name: value.tobytes() for name, value in saved(again).callbacks.items()} == kept
    assert saved(again).manifest.state["callbacks"] == state
    assert state[0]["name"] == asked
    assert (Counts.last or Counts()).words == ["a", "b"]


def test_a_resumed_run_without_the_state_would_be_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would prove nothing."""
    taken = snapshots(monkeypatch, tmp_path / "killed", 31).taken
    run = trained(tmp_path, checkpoint_every=11, callbacks=["callers:Counts()"])
    monkeypatch.setattr(Counts, "restore", lambda self, state: None)
    again = polyak.resume(taken[31])
    assert again.metrics[-1]["counts/steps"] != run.metrics[-1]["counts/steps"]


def test_an_object_is_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = snapshots(monkeypatch, tmp_path / "killed", 31).taken
    run = trained(tmp_path, checkpoint_every=11, callbacks=[Counts(), "callers:StopsAt(99)"])
    assert run.settings["callbacks"] == ["<Counts>", "callers:StopsAt(99)"]
    with pytest.raises(UsageError, match=r"trained with the callback <Counts>, an object, .* callbacks=\[\.\.\.\]"):
        polyak.resume(taken[31])
    told = Told()
    assert_same(polyak.resume(taken[31], callbacks=[Counts(), "callers:StopsAt(99)"], observer=told), run)
    assert "not exact" not in told.facts
    assert told.facts["callbacks"] == "<Counts>, callers:StopsAt(99)"


def test_other_callbacks_on_resume_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = snapshots(monkeypatch, tmp_path / "killed", 31).taken
    untrained_run(tmp_path, callbacks=["callers:StopsAt(99)", "callers:Counts()"])
    told = Told()
    run = polyak.resume(taken[31], callbacks="callers:Counts()", observer=told)
    assert "callbacks ['callers:StopsAt(99)', 'callers:Counts()'] is [" in told.facts["not exact"]
    assert run.settings["callbacks"] == ["callers:Counts()"]
    assert run.metrics[-1]["counts/steps"] == 30.5  # that of the same name goes on from what it had


def test_one_without_a_state_is_told_once(tmp_path: Path) -> None:
    said = "resume would begin <Diary> anew, without state() and restore()"
    told = Told()
    untrained_run(tmp_path, callbacks=[Diary(), Counts()], observer=told)
    assert told.facts["callbacks"] == f"<Diary>, <Counts>; {said}"
    with warnings.catch_warnings(record=True) as caught:  # nobody watches
        warnings.simplefilter("always")
        untrained_run(tmp_path, callbacks=[Diary(), Counts()])
    assert [str(each.message) for each in caught if "anew" in str(each.message)] == [f"{TINY}: {said}"]


STATES: list[tuple[Any, str]] = [
    *((state, "must be a dict with texts as names") for state in (None, [1], {1: 2}, {"": 1}, {"a\n": 1})),
    *(({"x": value}, "has x: ") for value in (object(), {1}, np.nan, 1j, 2**63, b"x", {1: 2}, [[print]], "\ud800")),
    *(({"x": value}, "has x: ") for value in (np.array(["a"]), np.array([None]))),
    ({"x": "y" * 1_000_001}, "more than 1,000,000 bytes of JSON"),
    ({f"x{number}": np.zeros(1) for number in range(1_001)}, "more than .* 1,000 arrays"),
]


@pytest.mark.parametrize(("state", "said"), STATES, ids=range(len(STATES)))
def test_a_state_that_cannot_be_kept_is_said(state: Any, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        keeping.kept([("first", None), ("x", lambda: state)])


def test_where_a_state_cannot_be_kept_what_was_saved_stays(tmp_path: Path) -> None:
    class Keeps(Stateless):
        def __init__(self) -> None:
            self.now: Any = {}

        def stepped(self, training: Training) -> None:
            self.now = {"x": 1j} if training.steps > 25 else {}

        def state(self) -> Any:
            return self.now

    with pytest.raises(TrainingError, match=r"the state\(\) of the callback <.*Keeps> has x: 1j"):
        untrained_run(tmp_path, callbacks=[Keeps()])
    (folder,) = (path.parent for path in tmp_path.rglob("settings.json"))
    assert saved(polyak.load(folder)).manifest.step == 20
    assert polyak.resume(folder, callbacks=[]).metrics[-1]["step"] == 40


def test_arrays_of_all_kinds_are_kept_as_they_are(tmp_path: Path) -> None:
    values = {kind: np.arange(6).reshape(2, 3).astype(kind)[:, ::2] for kind in "?bhilqBHILQefd"}
    values |= {">f8": np.arange(3, dtype=">f8"), "empty": np.zeros((0, 2)), "nan": np.array([np.nan, -np.inf])}
    seen = dict[str, Any]()

    class Keeps:
        def stepped(self, training: Training) -> None:
            """Nothing."""

        def state(self) -> dict[str, Any]:
            return values

        def restore(self, state: dict[str, Any]) -> None:
            seen.update(state)

    run = untrained_run(tmp_path, callbacks=[Keeps()])
    polyak.resume(run.folder, steps=45, callbacks=[Keeps()])
    assert seen.keys() == values.keys()
    for name, value in values.items():
        assert seen[name].dtype == value.dtype.newbyteorder("=")
        np.testing.assert_array_equal(seen[name], value)


def test_one_that_refuses_its_state_is_named_and_nothing_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = untrained_run(tmp_path, callbacks=["callers:Counts()"])
    monkeypatch.setattr(Counts, "restore", lambda self, state: state["gone"])
    with pytest.raises(UsageError, match=r"callback callers:Counts\(\) cannot go on: KeyError in restore\(\)"):
        polyak.resume(run.folder, steps=60)
    monkeypatch.undo()
    assert polyak.resume(run.folder, steps=60).metrics[-1]["counts/steps"] == 50.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("stopped", value) for value in (5, None, "a\x1b[2J")),
        *(("callbacks", value) for value in (3, [3], [{}], [{"name": 3}], [{"name": "x", "state": 3}])),
        *(
            ("logged", value)
            for value in (3, {"train/x": [1, 1]}, {"x": 3}, {"x": ["y", 1]}, {"x": [1, 0]}, {"a\n": [1, 1]})
        ),
    ],
)
def test_a_checkpoint_that_makes_no_sense_is_refused(field: str, value: Any, counted: Run, tmp_path: Path) -> None:
    run = polyak.load(shutil.copytree(counted.folder, tmp_path / "run"))
    rewrite(newest(run.checkpoints), lambda manifest: manifest["state"].update({field: value}))
    with pytest.raises(UsageError):
        polyak.resume(run.folder, steps=60)


def test_damage_to_what_callbacks_keep_is_found(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, checkpoint_every=11, steps=30, callbacks=["callers:Counts()"])
    *_, file = sorted(run.checkpoints.glob("callbacks-*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    told = Told()
    again = polyak.resume(run.folder, steps=40, observer=told)
    assert file.name in told.facts["damaged"]
    assert again.metrics[-1]["counts/steps"] == 30.5


# Where it raises


class Raises(Counts):
    """Raises in one of its hooks once, at or after a step."""

    raised = False

    def __init__(self, hook: str, step: int) -> None:
        super().__init__()
        inner = getattr(self, hook, None)

        def called(training: Training) -> None:
            if training.steps >= step and not Raises.raised:
                Raises.raised = True
                raise LookupError("the cable\nis cut")
            if inner is not None:
                inner(training)

        setattr(self, hook, called)


@pytest.mark.parametrize(
    ("hook", "at", "step"),
    [("started", 0, 0), ("stepped", 16, 16), ("stepped", 17, 17), ("updated", 21, 24), ("evaluated", 20, 20)],
)
def test_one_that_raises_ends_the_run_in_order_and_all_is_saved(
    hook: str, at: int, step: int, whole: Run, tmp_path: Path
) -> None:
    """Its step has its updates, the callback beside it hears of it, and the run goes on from there."""
    Raises.raised = False
    diary, told = Diary(), Told()
    with pytest.raises(TrainingError) as caught:
        trained(tmp_path, callbacks=[Raises(hook, at), diary], observer=told)
    assert f"the callback <Raises> raised LookupError in {hook}() after {step} steps: the cable is cut (" in str(
        caught.value
    )
    assert isinstance(caught.value.__cause__, LookupError)
    assert told.progress.outcome.endswith(f"; `polyak resume` goes on from step {step}")
    assert diary.pages[-1][:2] == ("ended", step)
    assert diary.pages[-2][1] == step
    (folder,) = (path.parent for path in tmp_path.rglob("settings.json"))
    assert saved(polyak.load(folder)).manifest.step == step
    assert saved(polyak.load(folder)).manifest.state["updates"] == max(step // 4 * 4 - 4, 0)
    run = polyak.resume(folder, callbacks=[Raises(hook, at), Diary()])
    assert_same_but_for_callbacks(run, whole)


def assert_same_but_for_callbacks(ours: Run, theirs: Run) -> None:
    for file in (ours.policy_file, ours.best_policy_file):
        assert file.read_bytes() == (theirs.folder / file.name).read_bytes()
    assert ours.metrics[-1]["eval/return"] == theirs.metrics[-1]["eval/return"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_exit_of_a_callback_s_own_is_a_fault_like_any_other(error: BaseException, tmp_path: Path) -> None:
    def leave(hook: str, training: Training) -> None:
        if hook == "stepped":
            raise error

    with polyak_signals(), pytest.raises(TrainingError, match=f"raised {type(error).__name__} in stepped"):
        untrained_run(tmp_path, callbacks=[Diary(leave)])


def polyak_signals() -> Any:
    from polyak.system.signals import signals_marked

    return signals_marked()


def test_what_ended_raises_is_said_and_the_run_returned(tmp_path: Path) -> None:
    diary = Diary(lambda hook, training: 1 / 0 if hook == "ended" else None)
    other = Diary()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = untrained_run(tmp_path, callbacks=[diary, other])
    assert run.metrics[-1]["step"] == 40
    (said,) = [str(each.message) for each in caught if "callback" in str(each.message)]
    assert said.startswith("the callback <Diary> raised ZeroDivisionError: division by zero (test_callbacks.py, line")
    assert said.endswith("in ended(); the run is whole")
    assert other.pages[-1][0] == "ended"


def test_a_fault_of_the_environment_is_told_in_ended(tmp_path: Path) -> None:
    diary = Diary(lambda hook, training: errors.append(training.error) if hook == "ended" else None)
    errors = list[Any]()
    with pytest.raises(TrainingError) as caught:
        untrained_run(tmp_path, "tiny_cli:Raises-v0", callbacks=[diary])
    assert errors == [caught.value]


# How it is named


def test_arguments_are_read_and_never_evaluated() -> None:
    assert called("a.b:C") == Called("a.b", "C")
    text = "m:C(1, -2.5, 'x', [1, (2, None)], {'a': True}, name=\"y\")"
    assert called(text) == Called("m", "C", (1, -2.5, "x", [1, (2, None)], {"a": True}), (("name", "y"),))
    for wrong in (
        *(
            "C",
            "m:",
            ":C",
            "m:C(",
            "m:C)",
            "m:C()()",
            "m:C() + 1",
            "m:C(print)",
            "m:C(1 + x)",
            "m:C(*[1])",
            "m:C(**{})",
        ),
        *("m:C(__import__('os'))", "m:C(a=1, a=2)", "m:C(f'{1}')", "m:C[0]", "m:C;x", "m:C.d", "../m:C", "m-n:C", ""),
        *(
            f"m:C({'(' * 400})",
            f"m:C({'-' * 900}1)",
            f"m:C('{'x' * 1_000}')",
            "m:C(1)\nimport os",
        ),
    ):
        with pytest.raises(UsageError, match="callbacks has"):
            called(wrong)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("no_such_module:C", "cannot import 'no_such_module'"),
        ("callers:Count", "has no class 'Count': did you mean callers:Counts"),
        ("os:system('true')", "'os' has no class 'system'"),
        ("subprocess:Popen('true')", "Popen has none of the methods started, stepped, updated, evaluated, ended"),
        ("callers:Counts(1, 2, 3)", "TypeError: Counts.__init__"),
        (["callers:Counts()", 3], "callbacks has <int>, which has none of the methods"),
        ([Counts], r"callbacks has the class Counts: make one, as Counts\(...\)"),
        (Counts(), "but must be a list of callbacks"),
        (3, "but must be a list of callbacks"),
    ],
)
def test_what_is_no_callback_is_refused_and_leaves_nothing(asked: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        untrained_run(tmp_path, callbacks=asked)
    assert not list(tmp_path.iterdir())


def test_half_a_state_and_another_library_s_callback_are_refused() -> None:
    class Half:
        def stepped(self, training: Training) -> None:
            """Nothing."""

        def state(self) -> dict[str, Any]:
            return {}

    class Theirs:
        def _on_step(self) -> bool:
            return True

    with pytest.raises(UsageError, match=r"<.*Half>, which has state\(\) but no restore\(\)"):
        polyak.train("ddpg", TINY, callbacks=[Half()])
    with pytest.raises(UsageError, match="what Stable-Baselines3 calls _on_step is stepped here"):
        polyak.train("ddpg", TINY, callbacks=[Theirs()])


def test_a_class_that_came_with_the_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resuming a stranger's run runs none of its files; whoever names the class oneself knows it."""
    run = untrained_run(tmp_path / "runs", callbacks=["callers:Counts()"])
    (run.folder / "their_callbacks.py").write_text("raise SystemExit('ran')")
    rewrite(newest(run.checkpoints), lambda manifest: manifest["run"].update(callbacks=["their_callbacks:Evil()"]))
    monkeypatch.syspath_prepend(str(run.folder))
    with pytest.raises(UsageError, match=r"trained with the callback 'their_callbacks:Evil.*the run's own folder"):
        polyak.resume(run.folder, steps=60)


def test_each_run_together_has_its_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="callbacks has <Counts>, one object for several runs: name its class"):
        polyak.train_together("ddpg", TINY, seeds=[0, 1], run_dir=tmp_path, callbacks=[Counts()])
    assert not list(tmp_path.iterdir())
    settings = {**SMALL, "update_after": 1_000, "callbacks": ["callers:Counts()"]}
    runs = polyak.train_together("ddpg", TINY, seeds=[0, 1], run_dir=tmp_path, **settings)
    assert [run.metrics[-1]["counts/steps"] for run in runs] == [30.5, 30.5]
    assert_same(runs[1], polyak.train("ddpg", TINY, run_dir=tmp_path / "alone", seed=1, **settings))


def test_the_command_line_names_several_and_passes_them_on(tmp_path: Path) -> None:
    words = ["--callback", "callers:StopsAt(27)", "--callback", "callers:Counts"]
    assert passed_on(["--seeds", "0-1", *words], SETTLED) == words
    options = {"steps": 40, "steps-per-epoch": 20, "update-after": 1000, "batch-size": 8, "hidden-sizes": 4}
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    code, output, errors = call_cli(
        *("train", "ddpg", TINY, *flags, *words, "--plain", "--backend", "torch", "--run-dir", str(tmp_path))
    )
    assert code == 0, errors
    run = polyak.load(output.strip())
    assert run.settings["callbacks"] == ["callers:StopsAt(27)", "callers:Counts"]
    assert "stopped after 27 steps: step 27 has come" in errors
    assert "callbacks    callers:StopsAt(27), callers:Counts\n" in errors
    code, _, errors = call_cli("resume", output.strip(), "--plain")
    assert (code, "nothing to do: a callback stopped it" in errors) == (0, True)
    code, _, errors = call_cli("resume", output.strip(), "--plain", "--steps", "40", "--callback", "callers:Counts")
    assert code == 0, errors
    assert json.loads(run.metrics_file.read_text().splitlines()[-1])["counts/steps"] == 30.5
    code, _, errors = call_cli("train", "ddpg", TINY, "--callback", "callers:Nobody", "--run-dir", str(tmp_path))
    assert (code, errors.count("\n")) == (2, 1)


# What it sets in the environments, and polyak's own


class Shortens(Stateless):
    """Sets how long episodes are: 2 steps from the first on, 3 after step 7."""

    def started(self, training: Training) -> None:
        if training.steps == 0:
            training.set_environment("length", 2)

    def stepped(self, training: Training) -> None:
        if training.steps == 7:
            training.set_environment("length", 3)


@pytest.mark.parametrize("cut", [1, 9])
def test_a_setting_holds_from_the_next_episode_also_where_the_run_was_killed(
    cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first step, and in the midst of an episode of three; evaluation keeps its five."""
    taken = snapshots(monkeypatch, tmp_path / "killed", cut).taken
    run = untrained_run(tmp_path, steps_per_epoch=10, steps=20, checkpoint_every=3, callbacks=[Shortens()])
    lengths = [1 + int(last) for last in np.flatnonzero(np.diff(saved(run).replay.episodes(0, 20)))]
    assert lengths == [2, 4, 6, 8, 11, 14, 17]
    assert {record["eval/length"] for record in run.metrics} == {5}
    assert_same(polyak.resume(taken[cut], callbacks=[Shortens()]), run)


def test_a_setting_that_is_none_ends_the_run_with_its_name(tmp_path: Path) -> None:
    diary = Diary(lambda hook, training: training.set_environment("lenght", 3) if hook == "stepped" else None)
    with pytest.raises(TrainingError, match="lenght"):
        untrained_run(tmp_path, callbacks=[diary])
    diary = Diary(lambda hook, training: training.set_environment("length", object()) if hook == "started" else None)
    with pytest.raises(TrainingError, match=r"raised UsageError in started\(\) .*must be a number, a text"):
        untrained_run(tmp_path, callbacks=[diary])


def test_a_curriculum_goes_on_where_the_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps an episode until two have ended, of which the next has begun by then; three; then four to the end."""
    asked = 'polyak.callbacks:Curriculum("length", (2, 3, 4), above=-1e3, episodes=2)'
    taken = snapshots(monkeypatch, tmp_path / "killed", 18).taken
    run = untrained_run(tmp_path, checkpoint_every=7, callbacks=[asked])
    lengths = np.diff([0, *(1 + np.flatnonzero(np.diff(saved(run).replay.episodes(0, 40))))])
    assert lengths[:8].tolist() == [2, 2, 2, 3, 3, 4, 4, 4]
    assert [record["curriculum/length"] for record in run.metrics] == [4, 4]
    again = polyak.resume(taken[18])
    assert_same(again, run)
    assert saved(again).manifest.state["callbacks"] == saved(run).manifest.state["callbacks"]


def test_a_curriculum_waits_until_it_is_good_enough(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, callbacks=[Curriculum("length", ("2", 3), above=1e3)])
    assert run.metrics[-1]["curriculum/length"] == 0  # of a text, how many came before it


def test_it_stops_when_a_line_is_crossed(tmp_path: Path) -> None:
    told = Told()
    run = untrained_run(tmp_path, callbacks=['polyak.callbacks:StopWhen("eval/return", above=-1e3)'], observer=told)
    assert [record["step"] for record in run.metrics] == [20]
    value = run.metrics[0]["eval/return"]
    assert told.progress.outcome == f"stopped after 20 steps: eval/return is {value:g}, above -1000"
    below = untrained_run(tmp_path, callbacks=[StopWhen("eval/length", below=4)])
    assert len(below.metrics) == 2


def test_a_number_that_is_never_there_is_said(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        untrained_run(tmp_path, callbacks=[StopWhen("eval/retrun", above=0.0), StopWhen("eval/length", above=9)])
    said = [str(each.message) for each in caught if "callback" in str(each.message)]
    assert len(said) == 1
    assert "no record had 'eval/retrun'; the last one had step, seconds, " in said[0]


def test_it_saves_policies(tmp_path: Path) -> None:
    """Every eight steps; three environments reach no multiple exactly."""
    run = untrained_run(tmp_path, envs=3, steps=40, callbacks=["polyak.callbacks:SavePolicies(every=8)"])
    files = sorted((run.folder / "policies").iterdir())
    assert [file.name for file in files] == [f"policy-{step:09}.safetensors" for step in (9, 18, 24, 33, 42)]
    assert Policy.load(files[-1]).parameters.keys() == run.policy.parameters.keys()
    SavePolicies(folder=tmp_path / "elsewhere", every=3)
    with pytest.raises(UsageError, match="every is 0, but must be at least 1"):
        SavePolicies(every=0)


def test_it_evaluates_elsewhere(tmp_path: Path) -> None:
    asked = 'polyak.callbacks:EvaluateElsewhere("tiny_cli:Lucky-v0", {"length": 3}, name="far", episodes=2, seed=7)'
    run = untrained_run(tmp_path, callbacks=[asked])
    assert [record["far/length"] for record in run.metrics] == [3, 3]
    assert run.metrics[0]["far/success_rate"] in (0, 0.5, 1)
    again = run.evaluate(2, seed=7, environment=lambda: Lucky(length=3))
    assert run.metrics[-1]["far/return"] == again.mean
    assert again.mean > -1e3
    stopped = untrained_run(tmp_path, callbacks=[asked, StopWhen("far/return", above=-1e3)])
    assert [record["step"] for record in stopped.metrics] == [20]  # it sees what is logged before it
    with pytest.raises(UsageError, match="the environment is no id"):
        EvaluateElsewhere(Lucky, {"length": 3})


# The page


def test_the_examples_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    scripts = blocks("callbacks.md", "python")
    (tmp_path / "my_callbacks.py").write_text(scripts["my_callbacks.py"])
    settings = ", ".join(f"{name}={value!r}" for name, value in DOCS_TINY.items())
    names = dict[str, Any]()
    taken = snapshots(monkeypatch, tmp_path / "killed", 20).taken
    exec(scripts["train.py"].replace("steps=10_000", f"{settings}, checkpoint_every=10"), names)
    assert float(capsys.readouterr().out.splitlines()[-1]) > 0
    kind = importlib.import_module("my_callbacks").Jerk
    assert_same(polyak.resume(taken[20], callbacks=[kind(limit=1.2)]), names["run"])
    run = untrained_run(tmp_path, callbacks=["my_callbacks:Jerk(limit=-1.0, patience=2)"], steps=100)
    assert run.metrics[-1]["step"] == 40
    exec(re.sub(r"steps=20_000", settings, scripts["four.py"]), names)
    assert {"curriculum/g", "heavy/return", "heavy/length"} <= names["run"].metrics[-1].keys()


def test_the_commands_of_the_page_are_as_they_are_read() -> None:
    (console,) = blocks("callbacks.md", "console").values()
    words = [shlex.split(line) for line in console.splitlines()]
    named = [words[i][j + 1] for i in range(len(words)) for j, word in enumerate(words[i]) if word == "--callback"]
    assert [called(name).name for name in named] == ["Jerk", "Jerk", "SavePolicies"]
