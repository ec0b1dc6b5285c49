"""A folder that somebody else made: whatever it says, a command does its work or names in a line what is wrong."""

import io
import itertools
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import Run, UsageError
from polyak.cli import main
from polyak.cli.output import own_output
from polyak.run.checkpoints import manifest
from tiny_cli import call_cli, untrained_run

WRONG: list[Any] = [
    5,
    -1,
    0,
    2**70,
    1.5,
    1e308,
    float("nan"),
    "x",
    "",
    "\ud800",
    [],
    [1],
    [[]],
    {},
    {"\ud800": 1},
    True,
]
"""What a field may be instead; null and nothing at all besides."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(trained: Run) -> Any:
    """A run whose settings and metrics are put back afterwards."""
    kept = {path: path.read_bytes() for path in (trained.settings_file, trained.metrics_file)}
    yield Run(trained.folder)
    for path, content in kept.items():
        path.write_bytes(content)


def one_line_or_done(*arguments: str) -> int:
    """Call a command; its exit code, after the check that it did its work or said in one line why not."""
    code, output, errors = call_cli(*arguments)
    output.encode(errors="surrogateescape")  # what is printed can be
    assert code in (0, 2), errors
    assert code == 0 or (errors.count("\n") == 1 and errors.startswith("polyak: ")), errors
    return code


def changed(settings: dict[str, Any], field: tuple[str, ...], value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(settings))
    table = copy
    for name in field[:-1]:
        table = table[name]
    table[field[-1]] = value
    return copy


def fields(settings: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every field, some that other runs have, and one that none has."""
    inner = [(table, name) for table in ("settings", "versions", "machine") for name in [*settings[table], "\udcff"]]
    return [*((name,) for name in [*settings, "resumed", "together", "spaces", "\ud800"]), *inner]


COMMANDS = ["report", "evaluate", "runs", "record", "export"]


@pytest.mark.parametrize("command", COMMANDS)
def test_whatever_settings_say_no_command_breaks(command: str, run: Run) -> None:
    settings = run.settings
    options = {"evaluate": ["--episodes", "1"], "record": ["--episodes", "1"]}.get(command, [])
    refused = 0
    every = COMMANDS.index(command) + 2  # all share the door, so that each later command tries fewer
    for field, value in list(itertools.product(fields(settings), [*WRONG, None]))[::every]:
        run.settings_file.write_text(json.dumps(changed(settings, field, value)))
        try:
            accepted = bool(polyak.load(run.folder))
        except UsageError:
            accepted = False
        if accepted and command == "record" and field[0] in ("settings", "versions", "machine"):
            continue  # nothing of it is read there, and a video takes a while
        code = one_line_or_done(command, str(run.folder), *options)
        if command != "runs":
            assert accepted or code == 2, (field, value)
            refused += not accepted
    assert command == "runs" or refused > 100


def test_a_word_that_is_not_known_here_is_a_later_one(run: Run) -> None:
    """Of a framework, say, that this polyak does not have: what the run came to can be read all the same."""
    run.settings_file.write_text(json.dumps(changed(run.settings, ("backend",), "mlx")))
    assert polyak.load(run.folder).settings["backend"] == "mlx"
    assert polyak.load(run.folder).evaluate(1).lengths == (5,)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (("resumed",), 5, "resumed is 5, but must be a list of tables"),
        (("settings", "batch_size"), [], "settings.batch_size is [], but must be a whole number"),
        (
            ("settings", "max_episode_steps"),
            "x",
            "settings.max_episode_steps is 'x', but must be a whole number",
        ),
        (("settings", "steps"), -1, "settings.steps is -1, but must be at least 0"),
        (("checkpoint_every",), 0, "checkpoint_every is 0, but must be at least 1, or None for an epoch"),
        (("seed",), -1, "seed is -1, but must be at least 0"),
        (("track",), [1], "track is 1, but must be a list of texts"),
        (("environment",), "\ud800", "environment is '\\ud800', but must be printable text"),
    ],
)
def test_the_field_is_named(field: tuple[str, ...], value: Any, said: str, run: Run) -> None:
    run.settings_file.write_text(json.dumps(changed(run.settings, field, value)))
    for command in ("evaluate", "record", "report"):
        assert call_cli(command, str(run.folder)) == (
            2,
            "",
            f"polyak: {run.settings_file} is not the settings of a run: {said}\n",
        )
    assert "(cannot be read)" in call_cli("runs", str(run.folder))[1]


def test_whatever_a_manifest_says_of_the_run_resume_does_not_break(trained: Run) -> None:
    path = max(trained.checkpoints.glob("*.json"))
    whole = path.read_text()
    body = json.loads(whole)
    body.pop("sha256")
    for field, value in list(itertools.product(fields(body["run"]), [*WRONG, None]))[::7]:
        described = {**body, "run": changed(body["run"], field, value)}
        try:
            digest = manifest._digest(described)  # pyright: ignore[reportPrivateUsage]
        except ValueError:  # NaN, which no manifest can hold
            continue
        path.write_text(json.dumps({"sha256": digest, **described}))
        one_line_or_done("resume", str(trained.folder))
    path.write_text(whole)


def test_a_description_nested_deep_is_refused(run: Run) -> None:
    whole = run.settings_file.read_text().rstrip().removesuffix("}")
    for depth in (400, 900, 100_000):
        run.settings_file.write_text(f'{whole}, "new": {"[" * depth}{"]" * depth}}}')
        one_line_or_done("report", str(run.folder))


@pytest.mark.parametrize("number", ["1e308", "-1.7e308", "1" + "0" * 300, "1e101"])
def test_a_number_that_no_run_writes_is_no_record(number: str, run: Run) -> None:
    first, second = run.metrics_file.read_text().splitlines()
    run.metrics_file.write_text(f'{first}\n{second.removesuffix("}")}, "eval/return": {number}}}\n')
    code, _, errors = call_cli("report", str(run.folder))
    assert (code, errors.count("\n")) == (2, 1)
    assert f"{run.metrics_file}, line 2, is not a record" in errors


def test_a_name_that_cannot_be_printed_is_no_record(run: Run) -> None:
    run.metrics_file.write_text('{"step": 1, "seconds": 1, "\\ud800": 1}\n')
    assert "line 1, is not a record" in call_cli("report", str(run.folder))[2]
    assert "(cannot be read)" in call_cli("runs", str(run.folder))[1]


# Names of folders


ODD = [os.fsdecode(b"r\xff"), "s3:x", "a:b", "pipe:1", "http:", "%d", "-x", "new\nline"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_folder_may_have_any_name(
    name: str, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also one that is no text, or begins as an address does; what is printed leads to it."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    folder = Path("runs") / name
    folder.symlink_to(trained.folder)
    output = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict")
    with redirect_stdout(output), redirect_stderr(io.StringIO()):
        for command in ("evaluate", "record", "report", "resume"):
            assert main([command, str(folder)]) == 0
        assert main(["runs", "runs"]) == 0
    output.flush()
    printed = output.buffer.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert os.fsencode(folder / "videos" / "policy-seed0.mp4") in printed
    assert os.fsencode(folder / "report.html") in printed
    assert (folder / "videos" / "policy-seed0.mp4").stat().st_size > 0


def test_a_run_begins_in_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"\xff")
    Path(f"{name}.toml").write_text("steps = 40")
    run = untrained_run(Path(name), preset=f"{name}.toml")
    assert polyak.load(run.folder).settings["preset"] == "\\udcff.toml"
    assert one_line_or_done("report", str(run.folder)) == 0
    later = untrained_run(tmp_path / "later", from_run=run.folder)
    assert one_line_or_done("report", str(later.folder)) == 0


def test_the_command_line_prints_the_bytes_of_a_path(tmp_path: Path) -> None:
    """Through the descriptor, as `train` does."""
    with (tmp_path / "out").open("w") as file, redirect_stdout(file), own_output() as output:
        print(os.fsdecode(b"\xff"), "\ud800", file=output)
        print("by the environment")
    assert (tmp_path / "out").read_bytes() == b"\xff \\ud800\n"
    assert sys.stdout is not file
