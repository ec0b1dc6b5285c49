"""What a run is asked for: declared once, seen everywhere, and checked by kind before anything is made."""

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak.algorithms import NAMES, algorithm
from polyak.environments.probe import Found
from polyak.errors import UsageError
from polyak.frameworks.execution import Execution
from polyak.many import sweep
from polyak.policies.evaluation import evaluate
from polyak.run.folder import Run
from polyak.run.plan import Plan, plan_of
from polyak.settings.kinds import checked, meanings
from polyak.settings.options import CHANGEABLE, KINDS, LATER, MEANINGS, UNDESCRIBED, Flag, Options, described, note_of
from tiny_cli import SMALL, TINY, call_cli, untrained_run

HUGE = 10**400
ANY: Any = None


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


# Declared once


def test_the_signatures_are_what_is_declared() -> None:
    """They are written out for readers and editors; here they are held against the declaration."""
    train, together, resume = map(parameters, (polyak.train, polyak.train_together, polyak.resume))
    own = {"algorithm", "environment", "config", "progress", "observer", "settings"}
    assert train.keys() == KINDS.keys() | own
    assert together.keys() == (train.keys() | {"seeds", "observers"}) - {"seed", "observer"}
    beside = {"folder", "steps", "environment", "replay_seconds", "run_dir", "progress", "observer", "settings"}
    assert resume.keys() == CHANGEABLE.keys() | beside
    assert Options(**{name: train[name].default for name in KINDS}) == Options()
    assert all(together[name].default == train[name].default for name in KINDS if name != "seed")
    assert {resume[name].default for name in CHANGEABLE} == {None}
    assert [name for name in train if name in KINDS] == list(KINDS)


def test_every_option_has_a_meaning_which_help_tells() -> None:
    assert MEANINGS.keys() == KINDS.keys()
    for function in (polyak.train, polyak.train_together, polyak.resume):
        told = str(function.__doc__).partition("\nOptions:\n")[2].splitlines()
        assert told == [f"    {name}: {MEANINGS[name]}" for name in KINDS if name in parameters(function)]
    assert dict(meanings(algorithm("sac").Config))["alpha"].startswith("The temperature")


def test_the_flags_are_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    flags = {name: f"--{(note_of(name, Flag) or Flag(name, None)).name.replace('_', '-')}" for name in KINDS}
    _, train, _ = call_cli("train", "sac", "Pendulum-v1", "--help")
    _, resume, _ = call_cli("resume", "--help")
    for name, flag in flags.items():
        assert f" {flag} " in train or f" {flag}, " in train
        assert (f" {flag} " in resume) == (name in CHANGEABLE or name == "run_dir")  # where `latest` is looked for
        assert MEANINGS[name] in " ".join(train.replace("│", " ").split())


@pytest.mark.parametrize("gone", ["", *LATER])
def test_settings_json_is_what_is_declared(gone: str, tmp_path: Path) -> None:
    given = {"seed": 3, "threads": 1, "stop_at_return": -1.0, "from_run": tmp_path / "run", "track": ("wandb",)}
    plan = Plan(algorithm=algorithm("sac"), environment=TINY, config=algorithm("sac").Config(), found=Found(), **given)
    description = json.loads(json.dumps(plan.description(plan.envs)))
    assert description.keys() - {"algorithm", "environment", "environment_is_callable", "settings"} == (
        (KINDS.keys() - set(UNDESCRIBED)) | {"own_draws"}
    )
    description.pop(gone, None)
    again = plan_of(description, TINY, algorithm("sac"))
    assert again == (Plan(**{**vars(plan), gone: getattr(Options(), gone)}) if gone else plan)
    assert described(again) == {name: value for name, value in again.description(1).items() if name in described(plan)}


# Refused by kind, at the door

WHOLE, NUMBER, TRUTH, PATH = "a whole number", "a number", "True or False", "a path"
WRONG: list[tuple[str, Any, str]] = [
    *(("seed", value, WHOLE) for value in (1.5, "1", None, True, np.True_, np.float32(1), [1], 2**63, HUGE, math.nan)),
    *(("seed", value, "at least 0") for value in (-1, np.int64(-1))),
    *(("envs", value, WHOLE) for value in ("2", 2.0, None, np.array([2]))),
    *(("threads", value, WHOLE) for value in ("2", 1.0, False)),
    ("threads", 0, "at least 1 and at most 1,024"),
    *(("stop_at_return", value, NUMBER) for value in ("x", True, [1.0], 1j, np.array([1.0]))),
    *(("stop_at_return", value, "finite") for value in (math.nan, -math.inf, np.float32("inf"), HUGE)),
    *(("step_timeout", value, kind) for value, kind in (("60", NUMBER), (math.nan, "finite"), (-1, "above 0"))),
    *(("checkpoint_every", value, kind) for value, kind in (("1", WHOLE), (10.0, WHOLE), (0, "at least 1"))),
    *(("device", value, "auto, cpu, cuda") for value in ("gpu", "", "CPU", None, 0)),
    *(("backend", value, "jax, torch, tensorflow") for value in ("pytorch", "", None, 3)),
    *(("vectorization", value, "sync, async, envpool") for value in ("threads", None, ["sync"])),
    *(("fast", value, TRUTH) for value in (1, "yes", None)),
    *(("run_dir", value, PATH) for value in ("", None, 3, b"runs", "a\0b")),
    *(("from_run", value, PATH) for value in ("", 3, "a\0b")),
    *(("preset", value, "a text") for value in ("", 3, ["book"])),
    *(("track", value, "among: wandb, mlflow") for value in ("comet", ["wandb", "x"], 3, None, [None], b"wandb", "")),
    *(("steps", value, WHOLE) for value in ("40", 1e3, None, True, np.float64(40))),
    *(("hidden_sizes", value, "a tuple of whole") for value in (64, "64", [4.0], np.ones((2, 2), int), (True,), None)),
    *(("hidden_sizes", value, "one or more widths of at least 1") for value in ([], (0,))),
    *(("discount", value, kind) for value, kind in (("0.9", NUMBER), (math.nan, "finite"), (np.float32(2), "in"))),
]


@pytest.mark.parametrize(("name", "value", "limit"), WRONG)
def test_a_value_of_another_kind_is_refused_before_anything_is_made(
    name: str, value: Any, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def never() -> Any:
        raise AssertionError("an environment has been made")

    with pytest.raises(UsageError, match=f"^{name} is .*, but must be {limit}") as refusal:
        polyak.train("ddpg", never, **{**SMALL, name: value})
    assert len(str(refusal.value)) < 400
    if name in CHANGEABLE and value is not None:
        with pytest.raises(UsageError, match=f"^{name} is .*, but must be {limit}"):
            polyak.resume("no/where", **{name: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, TINY), "algorithm is 3, but must be a text"),
        (("ddpg", ""), "environment is '', but must be an id, or a callable"),
        (("ddpg", None), "environment is None, but must be an id"),
    ],
)
def test_names_of_another_kind_are_refused(arguments: tuple[Any, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        polyak.train(*arguments, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": "01"}, "seeds is '01', but must be several"),
        ({"seeds": 3}, "seeds is 3, but must be several"),
        ({"seeds": [0.5]}, "seeds is 0.5, but must be a whole number"),
        ({"seeds": [-1]}, "seeds is -1, but must be at least 0"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, np.int64(1)]}, "each once"),
        ({"seeds": [1], "observers": [None, None]}, "number of observers is 2, but must be that of the seeds, 1"),
        ({"seeds": [1], "device": "gpu"}, "device is 'gpu'"),
    ],
)
def test_runs_together_are_checked_alike(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        polyak.train_together("ddpg", TINY, run_dir=tmp_path, **given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every number of it is NumPy's or another library's."""
    one = np.array(1)
    numbers = {name: np.int64(value) for name, value in SMALL.items() if isinstance(value, int)}
    options = {"seed": np.uint8(7), "envs": one, "threads": np.int32(1), "fast": np.True_, "step_timeout": np.int64(60)}
    sizes = {"hidden_sizes": [np.int16(4), one], "discount": np.float32(0.5), "polyak": np.float64(0)}
    names = {"backend": np.str_("jax"), "stop_at_return": np.longdouble(1e6), "checkpoint_every": np.int64(20)}
    folder = tmp_path_factory.mktemp("runs")
    return untrained_run(folder, **{**numbers, **options, **sizes, **names, "update_after": np.int64(1_000)})


def test_numbers_of_other_libraries_are_kept_as_plain_ones(trained: Run) -> None:
    settings = trained.settings
    told = {name: settings[name] for name in ("seed", "envs", "threads", "fast", "step_timeout", "stop_at_return")}
    assert json.dumps(told) == (
        '{"seed": 7, "envs": 1, "threads": 1, "fast": true, "step_timeout": 60.0, "stop_at_return": 1000000.0}'
    )
    assert settings["settings"]["hidden_sizes"] == [4, 1]
    assert repr(settings["settings"]["discount"]) == "0.5"
    assert settings["settings"]["steps"] == 40
    assert trained.evaluate(np.int64(1), seed=np.uint16(3), best=np.True_).seed == 3
    with pytest.raises(UsageError, match="steps is 40, but the run has done 40 already"):
        polyak.resume(trained.folder, steps=np.int64(40), replay_seconds=np.float32(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.evaluate(1.5), "episodes is 1.5, but must be a whole number"),
        (lambda run: run.evaluate("1"), "episodes is '1', but must be a whole number"),
        (lambda run: run.evaluate(0), "episodes is 0, but must be at least 1"),
        (lambda run: run.evaluate(seed=1.5), "seed is 1.5, but must be a whole number"),
        (lambda run: run.evaluate(best="no"), "best is 'no', but must be True or False"),
        (lambda run: run.record(True), "episodes is True, but must be a whole number"),
        (lambda run: run.record(seed=-1), "seed is -1, but must be at least 0"),
        (lambda run: run.record(output=3), "output is 3, but must be a path"),
        (lambda run: run.record(output="video.avi"), "video.avi, but must end in .mp4"),
        (lambda run: polyak.load(3), "folder is 3, but must be a path"),
        (lambda run: polyak.load(""), "folder is '', but must be a path"),
        (lambda run: polyak.resume(3), "folder is 3, but must be a path"),
        (lambda run: polyak.resume(run.folder, steps=60.0), "steps is 60.0, but must be a whole number"),
        (lambda run: polyak.resume(run.folder, steps=0), "steps is 0, but must be at least 1"),
        (lambda run: polyak.resume(run.folder, replay_seconds=math.nan), "replay_seconds is nan, but must be finite"),
        (lambda run: polyak.resume(run.folder, replay_seconds="x"), "replay_seconds is 'x', but must be a number"),
        (lambda run: evaluate(run.policy, ANY, 1.5), "episodes is 1.5, but must be a whole number"),
        (lambda run: sweep.run([], at_once=1.5), "at_once is 1.5, but must be a whole number"),
        (lambda run: Execution(device="gpu"), "device is 'gpu', but must be auto, cpu, cuda"),
    ],
)
def test_what_is_done_with_a_run_is_checked_alike(call: Callable[[Run], Any], message: str, trained: Run) -> None:
    with pytest.raises(UsageError, match=message):
        call(trained)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_and_option_takes_its_default_as_numpy_has_it(name: str) -> None:
    """So that a new one of a kind that is not known here is noticed."""
    for kind in (algorithm(name).Config, Options):
        for field in fields(kind):
            default: Any = field.default_factory() if callable(field.default_factory) else field.default
            given = np.asarray(default)[()] if isinstance(default, bool | int | float | str) else default
            kept = getattr(kind(**{field.name: given}), field.name)
            assert (kept, type(kept)) == (default, type(default))


def test_what_a_subclass_adds_is_left_away() -> None:
    class Place(StrEnum):
        HERE = "cpu"

    kept = checked("device", Place.HERE, KINDS["device"])
    assert (kept, type(kept)) == ("cpu", str)


def test_a_value_that_cannot_be_shown_is_refused_all_the_same() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(UsageError, match="seed is a Shy, but must be a whole number"):
        Options(seed=Shy())  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="seed is a int, but must be a whole number of 64 bits"):
        Options(seed=10**5_000)


def test_who_cannot_watch_is_refused(tmp_path: Path) -> None:
    for ask in (
        lambda: polyak.train("ddpg", TINY, run_dir=tmp_path, observer=print),
        lambda: polyak.resume(tmp_path, observer=print),
        lambda: polyak.train_together("ddpg", TINY, seeds=[0], run_dir=tmp_path, observers=[print]),
    ):
        with pytest.raises(UsageError, match="but must have the methods started, epoch_ended and ended"):
            ask()
    assert not any(tmp_path.iterdir())
