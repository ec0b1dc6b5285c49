"""What environments print, from C above all, and what else is printed while they run: where each goes."""

import io
import os
import sys
import warnings
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, cast

import pytest

from polyak import Run, load
from polyak.system import prints
from polyak.system.prints import Apart, Log, environments_speak, warnings_are_ours
from test_cli import UNTRAINED, on_terminal
from tiny_cli import Loud, process_environment, run_cli, start_cli, untrained_run

LOUD = ("train", "ddpg", "tiny_cli:Loud-v0", *UNTRAINED)
VOICES = ("1", "2", "Python", "error")


def log_of(run: Run) -> list[str]:
    return (run.folder / prints.LOG_NAME).read_text().splitlines()


def resets(run: Run) -> list[int]:
    """How often each voice has told of a reset."""
    lines = log_of(run)
    assert all(line.startswith("simulator ") for line in lines)
    return [lines.count(f"simulator {voice} reset") for voice in VOICES]


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str]:
    return run_cli(*LOUD, "--run-dir", str(tmp_path_factory.mktemp("runs")))


def test_plain_lines_are_not_drowned_and_a_resumed_run_appends(loud: tuple[int, str, str]) -> None:
    code, output, errors = loud
    assert code == 0, errors
    assert "simulator" not in errors
    run = load(output.removesuffix("\n"))
    before = log_of(run)
    assert len(set(resets(run))) == 1  # each voice as often
    assert resets(run)[0] >= 13 + 4
    told = [f"simulator {voice} {what}" for voice in VOICES for what in ("made", "closed")]
    assert all(before.count(line) >= 2 for line in told)
    code, output, errors = run_cli("resume", str(run.folder), "--steps", "70")
    assert code == 0, errors
    assert (output, "simulator" in errors) == (f"{run.folder}\n", False)
    assert log_of(run)[: len(before)] == before
    assert min(resets(run)) > before.count("simulator 1 reset")
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".environment")]


def test_a_log_that_is_a_link_is_not_followed(loud: tuple[int, str, str], tmp_path: Path) -> None:
    log = Path(loud[1].removesuffix("\n")) / prints.LOG_NAME
    (elsewhere := tmp_path / "elsewhere").write_text("mine")
    kept = log.rename(tmp_path / "kept")
    log.symlink_to(elsewhere)
    try:
        code, output, errors = run_cli("resume", str(log.parent), "--steps", "80")
        assert (code, output) == (2, "")
        assert f"{log} cannot be read: it is a link" in errors
        assert elsewhere.read_text() == "mine"
    finally:
        kept.replace(log)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_the_live_view_is_not_torn(vectorization: str, tmp_path: Path) -> None:
    options = ("--envs", "2", "--vectorization", vectorization, "--run-dir", str(tmp_path))
    code, shown, output = on_terminal("stderr", 100, *LOUD, *options)
    assert code == 0, shown
    assert "simulator" not in shown
    assert min(resets(load(output.rstrip()))) >= 12
    assert shown.rstrip().splitlines()[-1].startswith("\x1b[?25hdone after 60 steps")


SCRIPT = """
import sys
from pathlib import Path
import polyak
from polyak.cli.apart import PrintsFolder, environments_apart
from polyak.views.choice import make_view
from tiny_cli import SMALL, Loud

class Telling(PrintsFolder):
    def epoch_ended(self, progress):
        print("told at", progress.steps)
        print("warned at", progress.steps, file=sys.stderr)

with environments_apart(Path(sys.argv[1])) as prints:
    observer = Telling(prints, make_view(prints.errors))
    del observer.epoch_ended
    polyak.train("ddpg", Loud, run_dir=sys.argv[1], observer=observer, **{**SMALL, "update_after": 1_000})
print("afterwards")
"""


def test_what_python_prints_outside_of_environments_is_shown_above_the_view(tmp_path: Path) -> None:
    code, shown, output = on_terminal("stderr", 100, str(tmp_path), command=[sys.executable, "-c", SCRIPT])
    assert code == 0, shown
    lines = [line.rstrip() for line in shown.splitlines()]
    for told in ("told at 20", "told at 40", "warned at 20", "warned at 40"):
        assert sum(line.endswith(told) for line in lines) == 1
    assert "simulator" not in shown
    assert output.splitlines()[1:] == ["afterwards"]


def test_a_worker_that_dies_names_the_log(tmp_path: Path) -> None:
    options = ("--vectorization", "async", "--run-dir", str(tmp_path))
    code, output, errors = run_cli("train", "ddpg", "tiny_cli:Crashing-v0", "--no-probe", *UNTRAINED, *options)
    run = load(output.rstrip())
    assert code == 1, errors
    assert "died (exit code -11)" in errors.splitlines()[-1]
    assert errors.endswith(f"; what the environment printed is in {(run.folder / prints.LOG_NAME).absolute()}\n")
    assert "simulator's last words" in log_of(run)


def test_a_crash_of_the_process_itself_reaches_the_terminal(tmp_path: Path) -> None:
    code, output, errors = run_cli(
        "train", "ddpg", "tiny_cli:Crashing-v0", "--no-probe", *UNTRAINED, "--run-dir", str(tmp_path)
    )
    assert code == -11
    assert "Fatal Python error: Segmentation fault" in errors
    assert 'tiny_cli.py", line' in errors
    assert "environment.log" in errors
    assert "simulator's last words" in log_of(load(output.rstrip()))


def test_without_a_run_what_was_printed_is_shown_after_all(tmp_path: Path) -> None:
    (tmp_path / "unmade.py").write_text(
        "import gymnasium\nfrom tiny_cli import Loud\n"
        "class Unmade(Loud):\n"
        "    def __init__(self, **_):\n        super().__init__()\n        raise OSError('no licence')\n"
        "gymnasium.register('Unmade-v0', Unmade)\n"
    )
    (tmp_path / "runs").mkdir()
    process = start_cli("train", "ddpg", "unmade:Unmade-v0", cwd=tmp_path, env=process_environment())
    output, errors = process.communicate()
    assert (process.returncode, output) == (2, "")
    assert [f"simulator {voice} made" for voice in VOICES] == errors.splitlines()[:4]
    assert "no licence" in errors.splitlines()[-1]
    assert not list((tmp_path / "runs").iterdir())


def test_from_python_nothing_is_led_elsewhere(tmp_path: Path, capfd: Any) -> None:
    run = untrained_run(tmp_path, Loud)
    output, errors = capfd.readouterr()
    assert output.count("simulator 1 reset") == output.count("simulator Python reset") >= 13
    assert errors.count("simulator 2 reset") == errors.count("simulator error reset") >= 13
    assert not (run.folder / prints.LOG_NAME).exists()


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setattr(prints, "LIMIT", 1_000)
    monkeypatch.setattr(prints, "KEPT", 250)
    return Log(tmp_path / "not" / "there")


def test_the_log_is_of_bounded_length(log: Log, tmp_path: Path) -> None:
    log.keep(tmp_path)
    writer = os.dup(log.descriptor)
    for number in range(300):
        os.write(writer, f"line {number:03}\n".encode())
        log.shorten()
    assert (tmp_path / prints.LOG_NAME).stat().st_size <= 1_000
    first, *_, last = (tmp_path / prints.LOG_NAME).read_text().splitlines()
    assert first.startswith("[polyak: ")
    assert last == "line 299"
    os.close(writer)
    assert log.end() == b""
    assert [path.name for path in tmp_path.iterdir()] == [prints.LOG_NAME]


def test_a_log_without_a_word_is_none(log: Log, tmp_path: Path) -> None:
    log.keep(tmp_path)
    assert not log.printed
    assert log.end() == b""
    assert not list(tmp_path.iterdir())


def test_a_warning_is_shown_whoever_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: print(message, file=sys.stderr))
    theirs, ours = io.StringIO(), io.StringIO()
    with redirect_stderr(cast(io.StringIO, Apart(theirs, ours))), warnings_are_ours(), environments_speak:
        print("simulator", file=sys.stderr)
        warnings.showwarning("a warning", UserWarning, "file", 1)
        with environments_speak:
            print("simulator", file=sys.stderr)
    assert (theirs.getvalue(), ours.getvalue()) == ("simulator\nsimulator\n", "a warning\n")
    assert environments_speak.depth == 0
