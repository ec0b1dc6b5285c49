"""What a system may lack that Linux has: each is hidden, and stands in or is refused in a line."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import polyak
from polyak import UsageError
from polyak.environments.workers import start_method
from polyak.errors import UnreadableError
from polyak.system import locking
from polyak.system.files import read_plain_file, sync_folder
from polyak.system.signals import start_deaf, time_limit
from tiny_cli import PATIENCE, SMALL, TINY, process_environment, untrained_run

HIDDEN = """
import multiprocessing, os, signal, subprocess, sys
import psutil  # whose build for Linux takes what is Linux's
sys.modules |= dict.fromkeys(["fcntl", "resource", "termios", "pty", "tty", "pwd", "grp"])
for name in ("setitimer", "getitimer", "SIGALRM", "pthread_sigmask", "SIGTSTP", "SIGCONT", "SIGHUP", "alarm"):
    delattr(signal, name)
for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_DIRECTORY", "getuid", "killpg", "fork", "sched_getaffinity", "pwrite"):
    delattr(os, name)
multiprocessing.get_all_start_methods = lambda: ["spawn"]
from polyak.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_any(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """The command line in a process that lacks all of it at once."""
    return subprocess.run(
        [sys.executable, "-c", HIDDEN, *arguments],
        cwd=folder,
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    return untrained_run(tmp_path_factory.mktemp("runs"), algorithm="sac")


@pytest.mark.parametrize(
    "command",
    [["evaluate", "RUN", "--episodes", "1"], ["report", "RUN"], ["runs", "RUNS"], ["export", "RUN"], ["record", "RUN"]],
    ids=lambda words: words[0],
)
def test_what_is_trained_is_read_and_acts_without_any_of_it(
    run: polyak.Run, tmp_path: Path, command: list[str]
) -> None:
    named = {"RUN": str(run.folder), "RUNS": str(run.folder.parent)}
    done = without_any(*(named.get(word, word) for word in command), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_training_is_refused_in_a_line_and_leaves_nothing(run: polyak.Run, tmp_path: Path) -> None:
    small = ["--steps", "5", "--steps-per-epoch", "5", "--batch-size", "2", "--update-after", "1000"]
    for command in (["train", "sac", TINY, *small], ["resume", str(run.folder), "--steps", "60"]):
        done = without_any(*command, folder=tmp_path)
        assert done.returncode == 2, done.stderr
        *others, said = done.stderr.splitlines()
        assert others in ([], ["polyak: warning: only soft file lock is available"])  # filelock's, which JAX takes
        assert "this system has no locks that would keep them away (Python's fcntl)" in said
        assert "WSL 2" in said
    assert not list(tmp_path.iterdir())


# One by one


def test_without_record_locks_nothing_is_in_use_and_nothing_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "LOCKS", False)
    assert not locking.in_use(tmp_path)
    with pytest.raises(UsageError, match="train on Linux or macOS, or in WSL 2"), locking.locked(tmp_path):
        pass
    with pytest.raises(UsageError, match="fcntl"):
        polyak.train("ddpg", TINY, run_dir=tmp_path / "runs", **{**SMALL, "update_after": 1_000})
    assert not list(tmp_path.iterdir())


def test_without_alarms_there_is_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with time_limit(600.0) as limit, limit():
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    monkeypatch.delattr(signal, "setitimer")
    with time_limit(600.0) as limit, limit():
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_without_masks_of_signals_a_thread_is_started_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "pthread_sigmask")
    started = threading.Event()
    thread = threading.Thread(target=started.set)
    start_deaf(thread)
    thread.join()
    assert started.is_set()


def test_without_a_fork_server_processes_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start_method() == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert start_method() == "spawn"


def test_where_opening_can_follow_links_they_are_asked_for_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"content")
    link.symlink_to(file)
    for name in ("O_NOFOLLOW", "O_NONBLOCK"):
        monkeypatch.delattr(os, name)
    assert read_plain_file(file, 10) == read_plain_file(link, 10, follow=True) == b"content"
    with pytest.raises(UnreadableError, match="it is a link"):
        read_plain_file(link, 10)


def test_where_folders_cannot_be_opened_none_is_synchronized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_folder(tmp_path)

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PermissionError):
        sync_folder(tmp_path)
    monkeypatch.delattr(os, "O_DIRECTORY")
    sync_folder(tmp_path)
