"""One process at a time in a run's folder, and no lock of the dead."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import polyak
from polyak import UsageError
from polyak.system.locking import locked
from tiny_cli import Tiny, process_environment, run_cli, untrained_run

HOLD = """
import sys, time
from pathlib import Path
from polyak.system.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=process_environment())
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused_until_the_holder_is_dead(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(UsageError, match=f"is in use: process {process.pid} is training in it"), locked(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        with locked(tmp_path):  # a dead process keeps none
            assert (tmp_path / ".lock").read_text() == f"process {os.getpid()}\n"
    finally:
        process.kill()


def test_a_process_is_kept_from_itself_and_keeps_its_lock_nevertheless(tmp_path: Path) -> None:
    with locked(tmp_path):
        for _ in range(2):
            with pytest.raises(UsageError, match="this process is training in it"), locked(tmp_path):
                pass
        other = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            env=process_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"process {os.getpid()} is training in it" in other.stderr
    with locked(tmp_path):
        pass


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    """A forked child that outlives its parent would keep a lock of another kind."""
    code = HOLD.replace('print("held", flush=True)', "import os; child = os.fork(); print('held', flush=True)")
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=process_environment(), start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        with locked(tmp_path):  # although the child lives
            os.killpg(process.pid, 0)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*nowhere/\.lock: No such file"), locked(tmp_path / "nowhere"):
        pass


def test_two_cannot_resume_the_same_run(tmp_path: Path) -> None:
    run = untrained_run(tmp_path)
    before = {path: path.read_bytes() for path in run.checkpoints.iterdir()}
    process = holder(run.folder)
    try:
        code, output, errors = run_cli("resume", str(run.folder), "--steps", "50")
    finally:
        process.communicate(timeout=60)
    assert (code, output) == (2, "")
    assert (
        errors == f"polyak: {run.folder} is in use: process {process.pid} is training in it; wait for it, or end it\n"
    )
    assert {path: path.read_bytes() for path in run.checkpoints.iterdir()} == before
    assert polyak.resume(run.folder, steps=50).metrics[-1]["step"] == 50


def test_a_run_in_training_cannot_be_resumed(tmp_path: Path) -> None:
    told: list[str] = []

    class Nosy(Tiny):
        def step(self, action: object) -> object:
            if not told:
                (settings,) = tmp_path.rglob("settings.json")
                with pytest.raises(UsageError) as caught:
                    polyak.resume(settings.parent)
                told.append(str(caught.value))
            return super().step(action)

    untrained_run(tmp_path, Nosy)
    assert "is in use: this process is training in it" in told[0]


def test_a_copied_folder_brings_the_name_of_a_holder_and_not_its_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("process 1\n")
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"process {os.getpid()}\n"


def test_a_lock_that_is_a_link_is_refused_and_not_followed(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").write_text("mine")
    (tmp_path / ".lock").symlink_to(elsewhere)
    with pytest.raises(UsageError, match=r"cannot write .*\.lock: "), locked(tmp_path):
        pass
    assert elsewhere.read_text() == "mine"
