"""One process at a time in a run's folder, and no lock of the dead."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import UsageError
from polyak.system import locking
from polyak.system.locking import in_use, locked
from tiny_cli import PATIENCE, Tiny, process_environment, run_cli, untrained_run

linux = pytest.mark.skipif(sys.platform != "linux", reason="locks of open files, and where processes are counted")

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
        assert in_use(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
        assert not in_use(tmp_path)
        with locked(tmp_path):  # a dead process keeps none
            assert (tmp_path / ".lock").read_text() == f"process {os.getpid()}\n"
    finally:
        process.kill()


def test_a_process_is_kept_from_itself_and_keeps_its_lock_nevertheless(tmp_path: Path) -> None:
    assert not in_use(tmp_path)
    with locked(tmp_path):
        for _ in range(2):
            assert in_use(tmp_path)
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
        process.wait(timeout=PATIENCE)
        with locked(tmp_path):  # although the child lives
            os.killpg(process.pid, 0)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


FORKS = {
    "by Python": "child = os.fork()",
    "by multiprocessing": """
import multiprocessing
def wait():
    import time
    time.sleep(1000)
multiprocessing.get_context("fork").Process(target=wait, daemon=False).start()
child = 1""",
    "a program": """
import subprocess
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
child = 1""",
    "a program that inherits all it can": """
import subprocess
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], close_fds=False)
child = 1""",
    "by foreign code": """
import ctypes
child = ctypes.PyDLL(None).fork()""",
}
LET_GO = """
import os, sys, time
from pathlib import Path
from polyak.system.locking import locked
with locked(Path(sys.argv[1])):
    FORK
    if child:
        print("held", flush=True)
    time.sleep(1000)
"""


@linux
@pytest.mark.parametrize("how", FORKS)
def test_children_of_a_dead_process_keep_nothing(how: str, tmp_path: Path) -> None:
    """Nor do they give anything back while it lives."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        LET_GO.replace("FORK", FORKS[how].replace("\n", "\n    ")),
        str(tmp_path),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=process_environment(), start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"in use: process {process.pid} is training"), locked(tmp_path):
            pass
        assert in_use(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=PATIENCE)
        os.killpg(process.pid, 0)  # its child lives
        assert not in_use(tmp_path)
        with locked(tmp_path):
            assert (tmp_path / ".lock").read_text() == f"process {os.getpid()}\n"
            assert refused(tmp_path) == f"process {os.getpid()}"
        with locked(tmp_path):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def refused(folder: Path) -> str:
    """Who a second process is told has the lock."""
    other = subprocess.run(
        [sys.executable, "-c", HOLD, str(folder)],
        env=process_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return other.stderr.partition("is in use: ")[2].partition(" is training in it")[0]


def test_a_copy_of_the_folder_leaves_the_lock(tmp_path: Path) -> None:
    """To close a file gives back the record locks that its process has on it."""
    (folder := tmp_path / "run").mkdir()
    with locked(folder):
        shutil.copytree(folder, tmp_path / "copy")
        (folder / ".lock").read_bytes()
        assert refused(folder) == f"process {os.getpid()}"
        with locked(tmp_path / "copy"):
            assert refused(tmp_path / "copy") == f"process {os.getpid()}"
        assert refused(folder) == f"process {os.getpid()}"
    assert refused(folder) == ""


def test_a_run_that_copies_its_own_folder_keeps_every_other_process_out(tmp_path: Path) -> None:
    told: list[str] = []

    class Copying(Tiny):
        def step(self, action: object) -> object:
            if not told:
                (settings,) = tmp_path.glob("runs/**/settings.json")
                shutil.copytree(settings.parent, tmp_path / "copy")
                told.append(refused(settings.parent))
            return super().step(action)

    untrained_run(tmp_path / "runs", Copying)
    assert told == [f"process {os.getpid()}"]
    assert polyak.resume(tmp_path / "copy", environment=Copying).metrics[-1]["step"] == 40


@linux
@pytest.mark.parametrize("change", [{"_processes": lambda: 1}, {"_processes": lambda: 0}, {"_lives": lambda _: True}])
def test_where_it_is_not_known_that_the_holder_is_dead_it_may_live(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be counted among others, in another container or on another machine."""
    (tmp_path / ".lock").write_text("process 999999999\n")
    code = f"{HOLD}".replace('print("held', 'Path(sys.argv[1], ".lock").write_text("process 999999999"); print("held')
    pipe, command = subprocess.PIPE, [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=process_environment())
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"  # and its record lock is gone
        for name, value in change.items():
            monkeypatch.setattr(locking, name, value)
        assert in_use(tmp_path)
        with pytest.raises(UsageError, match="is in use: process 999999999"), locked(tmp_path):
            pass
    finally:
        process.communicate()


def test_a_forked_child_that_leaves_the_block_closes_nothing_of_its_own(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from polyak.system.locking import locked
with locked(Path(sys.argv[1])):
    if not os.fork():
        reading, writing = os.pipe()  # may get the number that the lock had
        mine = [reading, writing, *os.pipe()]
if os.getpid() != os.getpgrp():
    print([os.fstat(number) and "open" for number in mine])
else:
    os.wait()
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=process_environment(), process_group=0, check=False
    )
    assert done.stdout == "['open', 'open', 'open', 'open']\n", done.stderr


def test_a_system_that_does_not_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locking.fcntl, "lockf", fail)
    monkeypatch.setattr(locking.fcntl, "flock", fail)
    with pytest.raises(UsageError, match=r"cannot lock .*\.lock: No locks available"), locked(tmp_path):
        pass


def unknown(*_: object) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@pytest.mark.parametrize("change", [("OFD", None), ("fcntl.fcntl", unknown)])
def test_without_locks_of_open_files_the_whole_file_is_locked(
    change: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, and in sandboxes that do not know them."""
    monkeypatch.setattr(f"polyak.system.locking.{change[0]}", change[1])
    with locked(tmp_path), (tmp_path / ".lock").open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / ".lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UsageError, match="is in use"), locked(tmp_path):
            pass


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
        process.communicate(timeout=PATIENCE)
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
