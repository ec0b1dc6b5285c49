"""Files that a crash cannot leave half-written, and files of others that are read with care."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from polyak.errors import UnreadableError, UsageError


def prepare_to_write(file: Path) -> None:
    """Make the folder that a file will be written to.

    Raises:
        UsageError: it cannot be made or written to, or the file is a folder; the message says why.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}; choose another place") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves either the old content or the new, never a part of it.

    The file is on the disk when this returns; its name is once the folder is synchronized too (`sync_folder`).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # never through a link that somebody left there
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: what was renamed in it survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed `write_atomically` left; nobody else may be writing there."""
    for leftover in folder.glob(".*.tmp"):
        with suppress(OSError):  # a folder of that name, which is not ours
            leftover.unlink()


def read_plain_file(path: Path, limit: int) -> bytes:
    """The content of a file that somebody else may have put there.

    Neither a link is followed nor a pipe waited for, and no more than `limit` bytes are taken into memory.

    Raises:
        UnreadableError: there is none, it is no plain file, it is longer, or it cannot be read; the message names it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"{path} is not a plain file")
            content = file.read(limit + 1)
    except FileNotFoundError as error:
        raise UnreadableError(f"there is no file {path}") from error
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror or error
        raise UnreadableError(f"{path} cannot be read: {reason}") from error
    if len(content) > limit:
        raise UnreadableError(f"{path} holds more than {limit:,} bytes, which is more than it should")
    return content
