"""One process at a time writes to a run's folder.

On Linux two locks of `.lock` together say who does. The lock of an open file (OFD) is given back by no other opening
and closing of it, such as a copy of the folder, but a child that was forked shares it: Python's children close it at
once, a program that is started has it closed, and what remains is a fork by foreign code. A record lock (POSIX) is no
child's, but any closing of the file gives it back. Where only the first is left and the process that took it is dead,
an orphan keeps it, and it does not count. A process's number says so only among those that it was counted with: which
these are is told by the length of the first lock.

Where the system has no OFD locks, `flock` is the lock of the open file, and an orphan of foreign code keeps it. Where
it has no such locks at all, nothing is trained.
"""

import errno
import os
import stat
import struct
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from polyak.errors import UsageError

LOCKS = find_spec("fcntl") is not None
"""Whether the system has them."""
if TYPE_CHECKING or LOCKS:
    import fcntl

FLOCK = "hhqqi"
"""C's `struct flock`: kind, whence, start, length, process."""
OFD: int | None = getattr(fcntl, "F_OFD_SETLK", None) if LOCKS else None
BUSY = (errno.EACCES, errno.EAGAIN)
UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a kernel or a sandbox answers that does not know locks of open files."""
RECORD = 2**40
"""The byte of the record lock, beyond what the other may cover: to the system, they would exclude each other."""

_held: dict[tuple[int, int], int] = {}
"""Device and inode of the locks that this process holds, and the descriptors: the system's locks do not keep a process
from itself."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Keep every other process from training in this folder.

    The system takes the lock back when the process ends, however it ends: no dead process and no child keeps it.

    Raises:
        UsageError: a living process holds it, or the folder cannot be written; the message says which.
    """
    if not LOCKS:
        raise UsageError(
            "polyak trains in a folder that no other process may write to, and this system has no locks that would "
            "keep them away (Python's fcntl), as Windows has not: train on Linux or macOS, or in WSL 2"
        )
    path = folder / ".lock"
    with suppress(OSError):
        if _identity(path.stat()) in _held:
            raise UsageError(f"{folder} is in use: this process is training in it")
    descriptor = _taken(path, folder)
    identity = _identity(os.fstat(descriptor))
    _held[identity] = descriptor
    try:
        with suppress(OSError):  # on a full disk the lock holds without its holder's name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        if _held.pop(identity, None) is not None:  # in a forked child it is closed already
            os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Whether a living process trains in this folder, as far as this machine knows; nothing is locked or written.

    Raises:
        UsageError: the lock's file cannot be opened.
    """
    if not LOCKS:
        return False  # nothing trains here
    path = folder / ".lock"
    try:
        if _identity(path.stat()) in _held:  # to open and close it would give back one of its locks
            return True
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return _busy(descriptor)
    except OSError as error:
        raise UsageError(f"cannot look at the lock {path}: {error.strerror or error}") from error
    finally:
        os.close(descriptor)


def _busy(descriptor: int) -> bool:
    """Whether a living process holds one of the locks."""
    if OFD is None:
        return _whole_file(descriptor) == "busy"  # and given back as it is closed
    try:
        if _conflict(descriptor, RECORD, 1)[0] != fcntl.F_UNLCK:
            return True
        among = _processes()
        kind, _, _, length, _ = _conflict(descriptor, 0, 1 + among)
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
        return _whole_file(descriptor) == "busy"
    return kind != fcntl.F_UNLCK and not _orphaned(descriptor, among, length)


def _taken(path: Path, folder: Path) -> int:
    """The descriptor of the lock's file, locked."""
    while True:
        descriptor = _open(path)
        try:
            state = _try(descriptor)
            if state == "busy":
                raise UsageError(
                    f"{folder} is in use: {_holder(descriptor) or 'another process'} is training in it; wait for it, "
                    "or end it"
                )
            with suppress(FileNotFoundError):
                if _identity(path.stat()) == _identity(os.fstat(descriptor)):
                    if state == "free":
                        kept, descriptor = descriptor, -1
                        return kept
                    path.unlink()  # an orphan keeps this one: the next has another file; nobody else is here meanwhile
        except OSError as error:
            raise UsageError(f"cannot lock {path}: {error.strerror or error}") from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} is not a plain file: remove it")
    return descriptor


def _try(descriptor: int) -> str:
    """Take both locks: whether they were "free" and are ours, are "busy", or are an "orphan"'s."""
    command = OFD
    if command is None:
        return _whole_file(descriptor)
    # The record lock first: whoever has it is alone with what follows.
    if not _granted(lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, RECORD)):
        return "busy"
    among = _processes()
    asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 1 + among, 0)
    try:
        if _granted(lambda: fcntl.fcntl(descriptor, command, asked)):
            return "free"
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
        return _whole_file(descriptor)
    return "orphan" if _orphaned(descriptor, among, _conflict(descriptor, 0, 1 + among)[3]) else "busy"


def _conflict(descriptor: int, start: int, length: int) -> tuple[int, ...]:
    """Of the lock that keeps one of these bytes from being taken: kind (F_UNLCK: none does), whence, start, length."""
    asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    return struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))


def _orphaned(descriptor: int, among: int, length: int) -> bool:
    """Whether a first lock of this length is held for a process that is dead."""
    return bool(among) and length == 1 + among and not _lives(_holder(descriptor))


def _whole_file(descriptor: int) -> str:
    return "free" if _granted(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)) else "busy"


def _processes() -> int:
    """Among whom processes are counted, as a number: the machine since it was started, and the container; 0 is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return zlib.crc32(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode())
    except OSError:
        return 0


def _granted(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise
    return True


def _holder(descriptor: int) -> str:
    """What the file says of who took the lock last."""
    return os.pread(descriptor, 100, 0).decode(errors="replace").strip()


def _lives(holder: str) -> bool:
    """Whether a process of this number lives; who cannot be named may."""
    number = holder.removeprefix("process ")
    if not number.isascii() or not number.isdigit():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True


def _let_go() -> None:
    """In a forked child: close what it shares, which leaves the parent's locks as they are."""
    for descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
