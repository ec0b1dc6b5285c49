"""A command that Ray may end: watched by a process that says how it went, and passes on what concerns it."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from polyak.cli import driver
from polyak.errors import TrainingError
from tiny_cli import PATIENCE, process_environment, untrained_run, wait_for

CHILD = """
import os, signal, sys, time
from pathlib import Path
from polyak.cli import driver
from polyak.cli.child import end_with_parent

line, *words = sys.argv[1:]
driver.watched_over(int(line))
heard = []
if "dies" not in words:
    signal.signal(signal.SIGINT, lambda *_: heard.append("SIGINT"))
    signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))
end_with_parent(int(line))
for word in words:
    if word == "wait":
        print("ready", os.getpid(), os.isatty(1), flush=True)
        while not heard:
            time.sleep(0.01)
        print("heard", *heard, flush=True)
    elif word == "dies":
        print("ready", os.getpid(), flush=True)
        signal.pause()
    elif word.startswith("exit"):
        os._exit(int(word[4:]))
    elif word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "forks":
        if left := os.fork():
            print(left, flush=True)
        else:
            signal.pause()
    else:
        driver.tell_begun(Path(word))
driver.tell_ended()
sys.exit(3)
"""
"""Does what its words say, in order."""
PARENT = """
import sys
from pathlib import Path
from polyak.cli import driver

driver.CHILD = (sys.executable, sys.argv[1])
sys.exit(driver.drive(sys.argv[2:]))
"""


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """A script in the place of the command line."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    return script


@pytest.fixture
def drive(child: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`driver.drive` of that script."""
    monkeypatch.setattr(driver, "CHILD", (sys.executable, str(child)))
    monkeypatch.setenv("PYTHONPATH", process_environment()["PYTHONPATH"])
    return lambda *words: driver.drive([str(word) for word in words])


@contextmanager
def started(child: Path, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Both in processes of their own, which a test that fails does not wait for."""
    command = [sys.executable, "-c", PARENT, str(child), *words]
    options = {"stdout": subprocess.PIPE, **options}
    with subprocess.Popen(command, text=True, env=process_environment(), **options) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> Sequence[str]:
    stream: IO[str] | None = process.stdout
    assert stream is not None
    return stream.readline().split()


def test_an_end_in_order_passes_its_exit_code_on(drive: Callable[..., int], tmp_path: Path) -> None:
    assert drive(tmp_path / "run") == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("runs")).folder


def test_an_end_by_ray_is_told_with_the_way_to_go_on(drive: Callable[..., int], run: Path, tmp_path: Path) -> None:
    (run / "ending.json").write_text('{"state": "interrupted", "reason": ""}')
    with pytest.raises(TrainingError) as told:
        drive(run, "exit1")
    assert str(told.value) == (
        "the cluster's head is gone, so that Ray has ended the process that worked with it; the newest checkpoint of "
        f"{run} is whole, and `polyak resume {run}` goes on from it"
    )
    with pytest.raises(TrainingError, match=rf"of each run is whole. To go on:\n  polyak resume {run}$"):
        drive(run, tmp_path / "without", "exit1")
    with pytest.raises(TrainingError, match=r"; nothing was saved that could go on$"):
        drive(tmp_path / "without", "exit1")
    with pytest.raises(TrainingError, match=r"ended the process that worked with it before a run had begun$"):
        drive("exit1")
    with pytest.raises(TrainingError, match=r"was killed by SIGKILL; the newest checkpoint of"):
        drive(run, "killed")


def test_a_run_that_is_done_need_not_go_on(drive: Callable[..., int], run: Path) -> None:
    (run / "ending.json").write_text('{"state": "done", "reason": ""}')
    with pytest.raises(TrainingError, match="; nothing was saved that could go on"):
        drive(run, "exit1")


def test_what_a_child_leaves_behind_is_not_waited_for(
    drive: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "LAST_WORDS", 0.5)
    with pytest.raises(TrainingError, match="before a run had begun"):
        drive("forks", "exit1")
    os.kill(int(capfd.readouterr().out), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once(child: Path, number: signal.Signals) -> None:
    with started(child, "wait") as process:
        assert line_of(process)[0] == "ready"
        process.send_signal(number)
        assert line_of(process) == ["heard", number.name]
        assert process.wait(PATIENCE) == 3


def test_one_that_comes_before_there_is_anything_to_save_ends_both(child: Path) -> None:
    with started(child, "dies", stderr=subprocess.PIPE) as process:
        assert line_of(process)[0] == "ready"
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_ctrl_c_of_a_terminal_reaches_the_child_once(child: Path) -> None:
    terminal, end = pty.openpty()
    with (
        os.fdopen(terminal, "r+b", buffering=0) as keyboard,
        started(child, "wait", stdin=end, stdout=end, stderr=end, start_new_session=True) as process,
    ):
        os.close(end)
        seen = b""
        # A session's leader has no terminal of its own until it opens one: the group is told as a terminal does it.
        while b"ready" not in seen or b"\n" not in seen:
            seen += keyboard.read(1000)
        os.killpg(process.pid, signal.SIGINT)
        while b"heard" not in seen or not seen.endswith(b"\n"):
            seen += keyboard.read(1000)
        assert process.wait(PATIENCE) == 3
    ready, heard = seen.decode().splitlines()
    assert ready.split()[2] == "True"
    assert heard.split() == ["heard", "SIGINT"]


def test_a_child_ends_with_its_parent(child: Path) -> None:
    with started(child, "wait") as process:
        pid = int(line_of(process)[1])
        process.kill()
        assert line_of(process) == ["heard", "SIGTERM"]
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not psutil.pid_exists(pid) or psutil.Process(pid).wait(PATIENCE) is None


def test_both_are_stopped_and_go_on_together(child: Path) -> None:
    with started(child, "wait") as process:
        pid = int(line_of(process)[1])
        process.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        assert line_of(process) == ["heard", "SIGTERM"]
        assert process.wait(PATIENCE) == 3
