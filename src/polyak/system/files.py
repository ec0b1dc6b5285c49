"""Files that a crash cannot leave half-written, and files of others that are read with care."""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from polyak.errors import UnavailableError, UnreadableError, UsageError

DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL}
"""What the system answers where a file is not there or no file. Everything else may be over in a moment: too many open
files, a network that is away, a disk that fails to answer, a permission."""


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


def require_folder(file: Path) -> None:
    """Check that the folder exists in which a user wants a file to be.

    Raises:
        UsageError: it does not; it might be a slip of the pen, and nobody asked for a new one.
    """
    if not file.parent.is_dir():
        raise UsageError(
            f"cannot write {file}: there is no folder {file.parent}; make it first, or choose another place"
        )


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
    """Bring a folder's names to the disk: what was renamed in it survives a loss of power.

    Where folders cannot be opened, as on Windows, the system brings them there in its own time.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
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


def read_plain_file(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of a file that somebody else may have put there, of so many bytes at most.

    Raises:
        UnreadableError: it is longer, which is found before it is read; or as for `opened`.
        UnavailableError: as for `opened`.
    """
    with opened(path, follow=follow) as (file, size):
        if size > limit:
            raise too_long(path, limit)
        content = file.read(size + 1)  # as much memory is taken at once, however much there is
        if len(content) > size:  # it has grown meanwhile
            content += file.read(limit + 1 - len(content))
        if len(content) > limit:
            raise too_long(path, limit)
    return content


@contextmanager
def opened(path: Path, *, follow: bool = False) -> Generator[tuple[BinaryIO, int]]:
    """A file that somebody else may have put there, opened to be read, and its size in bytes.

    No pipe is waited for, and unless `follow`, no link is followed.

    Raises:
        UnreadableError: there is none, or it is no plain file; the message names it.
        UnavailableError: it cannot be read just now, or memory is short for what this block does with it.
    """
    try:
        descriptor = os.open(path, _flags(path, follow=follow))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"{path} is not a plain file")
            yield file, status.st_size
    except OSError as error:
        raise not_read(path, error) from error
    except MemoryError as error:
        raise unavailable(path, "memory is short") from error


def _flags(path: Path, *, follow: bool) -> int:
    """With which a file is opened to be read; of a system that cannot be told to follow no link, it is asked before."""
    if not follow and not hasattr(os, "O_NOFOLLOW") and path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    wanted = ("O_NONBLOCK", "O_BINARY", *(() if follow else ("O_NOFOLLOW",)))
    return sum((getattr(os, name, 0) for name in wanted), os.O_RDONLY)


def not_read(path: Path, error: OSError) -> UsageError:
    """What to raise where the system answers with an error instead of a file: damage, or not."""
    if error.errno == errno.ENOENT:
        return UnreadableError(f"there is no file {path}")
    if error.errno not in DAMAGE:
        return unavailable(path, str(error.strerror or error))
    return UnreadableError(
        f"{path} cannot be read: {'it is a link' if error.errno == errno.ELOOP else error.strerror or error}"
    )


def unavailable(path: Path, reason: str) -> UnavailableError:
    """What to raise where a file cannot be read just now."""
    return UnavailableError(
        f"{path} cannot be read just now: {reason}; nothing says that it is damaged, and nothing was changed: "
        "try again once that is mended"
    )


def too_long(path: Path, limit: int) -> UnreadableError:
    """What to raise where a file is longer than its kind can be."""
    return UnreadableError(f"{path} holds more than {limit:,} bytes, which is more than it should")
