"""A run's folder: its name, what is written into it, and reading it back, whole or damaged."""

import datetime
import json
import re
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

import polyak
from polyak import Policy, Run, UsageError, load
from polyak.algorithms import ddpg
from polyak.run.metrics import MetricsWriter, best_evaluation
from polyak.run.runs import create, find_runs
from tiny_cli import TINY, Tiny, untrained_run

ENDLESS = float("inf")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path, "Some-v0", "sac", 0, {"environment": "Some-v0"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"), seed=4)


# The folder


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ("Pendulum-v1", "Pendulum-v1"),
        ("module.sub:My_Env-v0", "module.sub_My_Env-v0"),
        ("phys2d/Pendulum-v0", "phys2d_Pendulum-v0"),
        ("..\\..:x y*", ".._.._x_y_"),
    ],
)
def test_folder_is_named_after_environment_algorithm_time_and_seed(
    environment: str, folder: str, tmp_path: Path
) -> None:
    made = create(tmp_path, environment, "td3", 12, {}).folder
    assert made.parent == tmp_path / folder / "td3"
    assert re.fullmatch(r"\d{8}-\d{6}-seed12", made.name)


def test_two_runs_in_the_same_second_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    clock = SimpleNamespace(datetime=SimpleNamespace(now=lambda *_: now), UTC=datetime.UTC)
    monkeypatch.setattr("polyak.run.runs.datetime", clock)
    names = [create(tmp_path, "E", "sac", 0, {"n": n}).folder.name for n in range(3)]
    assert names == ["20300102-030405-seed0", "20300102-030405-seed0-2", "20300102-030405-seed0-3"]
    assert [json.loads(file.read_text())["n"] for file in sorted(tmp_path.rglob("settings.json"))] == [0, 1, 2]


@pytest.mark.parametrize("blocked", ["", "E", "E/sac"])
def test_folder_that_cannot_be_written_is_refused(blocked: str, tmp_path: Path) -> None:
    file = tmp_path / "runs" / blocked
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a file in the folder's place")
    with pytest.raises(UsageError, match=f"cannot write .*{re.escape(str(tmp_path / 'runs'))}.*--run-dir"):
        create(tmp_path / "runs", "E", "sac", 0, {})


def test_settings_tell_all_that_a_run_was_made_with(trained: Run) -> None:
    settings = trained.settings
    assert settings["format"] == 1
    assert (settings["algorithm"], settings["environment"], settings["seed"]) == ("ddpg", TINY, 4)
    assert (settings["preset"], settings["backend"]) == ("general", "jax")
    assert (settings["envs"], settings["vectorization"], settings["stop_at_return"]) == (1, "sync", None)
    assert (settings["device"], settings["fast"], settings["from_run"]) == ("cpu", True, None)
    assert settings["threads"] >= 1
    assert set(settings["settings"]) == set(ddpg.Config.__dataclass_fields__)
    assert settings["settings"]["steps"] == 40
    assert {"python", "polyak", "numpy", "gymnasium", "jax", "jaxlib", "torch", "tensorflow"} <= set(
        settings["versions"]
    )
    assert settings["versions"]["polyak"] == polyak.__version__
    assert {"system", "processor", "cores"} <= set(settings["machine"])


def test_settings_hold_no_path_of_the_machine(tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text("steps = 10")
    text = untrained_run(tmp_path / "runs", preset=str(preset)).settings_file.read_text()
    assert "mine.toml" in text
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text
    assert str(Path.cwd()) not in text


# Metrics


def test_metrics_are_read_as_they_were_written(run: Run) -> None:
    assert run.metrics == []
    writer = MetricsWriter(run.folder)
    records = [{"step": 10, "seconds": 0.5, "eval/return": -1.25}, {"step": 20, "seconds": 1.0, "learner/updates": 3}]
    for count, record in enumerate(records, start=1):
        writer.write(record)
        assert run.metrics == records[:count]  # also before the file is closed
    writer.close()
    assert run.metrics_file.read_text().count("\n") == 2


def test_numbers_that_are_not_finite_are_left_out(run: Run) -> None:
    writer = MetricsWriter(run.folder)
    writer.write({"step": 1, "seconds": 0.1, "a": float("nan"), "b": ENDLESS, "c": -ENDLESS, "d": 2.0})
    writer.close()
    assert run.metrics == [{"step": 1, "seconds": 0.1, "d": 2.0}]


@pytest.mark.parametrize("torn", ['{"step": 3, "eval/ret', '{"step"', "{"])
def test_last_line_cut_off_by_a_crash_is_left_out(torn: str, run: Run) -> None:
    records = [{"step": 1, "seconds": 0.5}, {"step": 2, "seconds": 1.5}]
    run.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in records) + torn)
    assert run.metrics == records


NO_RECORDS = (
    '{"step": 2',
    "",
    "[1]",
    "7",
    '{"step": 2}',
    '{"seconds": 2}',
    '{"step": "2", "seconds": 1}',
    '{"step": 2, "seconds": 1, "eval/return": "<b>"}',
    '{"step": 2, "seconds": 1, "eval/return": null}',
    '{"step": true, "seconds": 1}',
    '{"step": 2, "seconds": 1, "eval/return": NaN}',
    '{"step": 2, "seconds": 1, "eval/return": 1e999}',
    '{"step": 2, "seconds": 1' + "0" * 400 + "}",
    '{"step": ' + "[" * 100_000 + "]" * 100_000 + "}",
)


@pytest.mark.parametrize("broken", NO_RECORDS, ids=lambda text: text[:45])
def test_broken_line_in_the_middle_is_an_error(broken: str, run: Run) -> None:
    good = '{"step": 1, "seconds": 1}'
    run.metrics_file.write_text(f"{good}\n{broken}\n{good}\n")
    with pytest.raises(UsageError, match=r"metrics\.jsonl, line 2, is not"):
        _ = run.metrics


def test_best_evaluation_is_that_of_the_highest_return() -> None:
    records = [{"step": 1.0, "eval/return": -5.0}, {"step": 2.0, "eval/return": -2.0}, {"step": 3.0}]
    assert best_evaluation(records) == (2, -2.0)
    assert best_evaluation([{"step": 3.0}]) is None


def events(file: Path) -> list[Event]:
    """TFRecord: length, its masked CRC, that many bytes, their masked CRC."""

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    data, position, found = file.read_bytes(), 0, []
    while position < len(data):
        (length,), (check,) = struct.unpack_from("<Q", data, position), struct.unpack_from("<I", data, position + 8)
        body = data[position + 12 : position + 12 + length]
        assert check == masked(data[position : position + 8])
        assert struct.unpack_from("<I", data, position + 12 + length) == (masked(body),)
        found.append(Event.FromString(body))
        position += 16 + length
    return found


def test_tensorboard_events_hold_the_same_numbers(trained: Run) -> None:
    (file,) = (trained.folder / "tensorboard").iterdir()
    first, *rest = events(file)
    assert first.file_version.startswith("brain.Event:")
    written = {(event.step, value.tag): value.simple_value for event in rest for value in event.summary.value}
    expected = {
        (record["step"], name): pytest.approx(value, rel=1e-6)
        for record in trained.metrics
        for name, value in record.items()
        if name not in ("step", "seconds")
    }
    assert written == expected
    assert (20, "eval/return") in written


# Reading back


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (tmp_path, tmp_path / "nowhere", file):
        with pytest.raises(UsageError, match=f"{re.escape(str(path))} is not a run"):
            load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": "1"}', b"\xff\xfe", b"null"])
def test_settings_that_are_no_settings_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"settings\.json (cannot be read|is not the settings of a run)"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "none"},
        {"settings": {}},
        {"settings": {"steps": "9", "max_episode_steps": None}},
        {"environment": None},
        {"versions": 1},
        {"preset": None},
        {"seed": "1"},
    ],
    ids=str,
)
def test_settings_that_lack_something_are_refused(change: dict[str, Any], trained: Run, tmp_path: Path) -> None:
    """None takes a setting away."""
    changed = {name: value for name, value in {**trained.settings, **change}.items() if value is not None}
    (tmp_path / "settings.json").write_text(json.dumps(changed))
    with pytest.raises(UsageError, match=r"settings\.json is not the settings of a run"):
        load(tmp_path)


def test_newer_format_is_refused(run: Run) -> None:
    run.settings_file.write_text('{"format": 2, "what a newer polyak writes": null}')
    with pytest.raises(UsageError, match="run of format 2, but this polyak reads up to 1: upgrade polyak"):
        load(run.folder)


def test_runs_are_found_below_a_folder(tmp_path: Path) -> None:
    made = [create(tmp_path, environment, "sac", 0, {}).folder for environment in ("A", "B")]
    assert [found.folder for found in find_runs(tmp_path)] == made
    assert list(find_runs(made[0])) == [Run(made[0])]
    with pytest.raises(UsageError, match="no folder"):
        list(find_runs(tmp_path / "nowhere"))


def test_policies_are_those_in_the_folder(trained: Run) -> None:
    again = load(str(trained.folder))
    observation = np.array([0.3, 2.0])
    assert (again.policy.act(observation) == Policy.load(trained.policy_file).act(observation)).all()
    assert (again.best_policy.act(observation) == Policy.load(trained.best_policy_file).act(observation)).all()
    assert again.policy.spec.action_low == -1
    assert again.policy.spec.action_high == 3


def test_missing_policy_is_named(run: Run) -> None:
    with pytest.raises(UsageError, match=r"no policy file .*best\.safetensors"):
        _ = run.best_policy


def constant(action: float) -> Policy:
    """A policy that always takes one action, normalized."""
    spec = polyak.Spec((2,), (1,), np.array([-1], np.float32), np.array([3], np.float32))
    parameters = {"0/kernel": np.zeros((2, 1), np.float32), "0/bias": np.full(1, np.arctanh(action), np.float32)}
    return Policy(parameters, spec, "deterministic")


def test_evaluation_runs_fresh_episodes_that_the_seed_decides(trained: Run) -> None:
    first = trained.evaluate(episodes=3, seed=7)
    assert first.seed == 7
    assert first.lengths == (5, 5, 5)
    assert len(set(first.returns)) == 3
    assert first == trained.evaluate(episodes=3, seed=7)
    assert first.returns != trained.evaluate(episodes=3, seed=8).returns


def test_evaluation_takes_the_latest_policy_or_the_best(tmp_path: Path) -> None:
    run = untrained_run(tmp_path)
    constant(0.9).save(run.policy_file)
    constant(-0.5).save(run.best_policy_file)  # stands still: the middle of [-1, 3] is 1, half to the left is 0
    run = load(run.folder)
    made: list[Tiny] = []

    def make() -> Tiny:
        made.append(Tiny())
        return made[-1]

    run.evaluate(1, environment=make)
    run.evaluate(1, best=True, environment=make)
    assert made[0].actions == pytest.approx([2.8] * 5)
    assert made[1].actions == pytest.approx([0] * 5, abs=1e-6)
    assert all(environment.closed for environment in made)


def test_evaluation_keeps_the_runs_time_limit(tmp_path: Path) -> None:
    assert untrained_run(tmp_path, max_episode_steps=3).evaluate(2).lengths == (3, 3)


def test_run_of_a_callable_needs_the_environment_again(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, Tiny)
    assert run.settings["environment"] == "Tiny"
    for use in (run.evaluate, run.record):
        with pytest.raises(UsageError, match=r"trained on what Python made \(Tiny\).*pass it as `environment`"):
            use()
    assert run.evaluate(1, environment=Tiny).lengths == (5,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes is 0, but must be at least 1"),
        ({"seed": -1}, "seed is -1, but must be at least 0"),
        ({"environment": "Pendulum-v1"}, r"\(2,\).*\(3,\)"),
        ({"environment": "Pendulum-v7"}, "unknown environment 'Pendulum-v7'.*Pendulum-v1"),
    ],
)
def test_evaluation_that_cannot_be_is_refused(options: dict[str, Any], message: str, trained: Run) -> None:
    with pytest.raises(UsageError, match=message):
        trained.evaluate(**options)
