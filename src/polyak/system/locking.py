"""One process at a time writes to a run's folder."""

import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyak.errors import UsageError

_held: set[tuple[int, int]] = set()
"""Device and inode of the locks that this process holds: the system's locks do not keep a process from itself."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Keep every other process from training in this folder.

    The system takes the lock back when the process ends, however it ends: a dead process keeps none. It is a record
    lock, which children do not inherit.

    Raises:
        UsageError: a living process holds it, or the folder cannot be written; the message says which.
    """
    path = folder / ".lock"
    with suppress(OSError):
        if _identity(path.stat()) in _held:  # before it is opened: to close it again would give the lock back
            raise UsageError(f"{folder} is in use: this process is training in it")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{path} is not a plain file: remove it")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = file.read(100).decode(errors="replace").strip() or "another process"
            raise UsageError(f"{folder} is in use: {holder} is training in it; wait for it, or end it") from error
        identity = _identity(os.fstat(file.fileno()))
        _held.add(identity)
        try:
            with suppress(OSError):  # on a full disk the lock holds without its holder's name
                file.truncate(0)
                file.write(f"process {os.getpid()}\n".encode())
            yield
        finally:
            _held.discard(identity)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
