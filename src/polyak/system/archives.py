"""Zip files of strangers, of which single members are read into memory and none is ever unpacked."""

import io
import stat
import struct
import zipfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from polyak.errors import UnreadableError, UsageError
from polyak.system.files import opened, too_long

DIRECTORY_LIMIT = 1_000_000
"""Bytes of the list of members at most: some ten thousand."""
END = b"PK\x05\x06"
LONG_LOCATOR, LONG = b"PK\x06\x07", 76
"""Before it, where sizes may be of 64 bits; and the bytes from there to it."""
COMMENT = 0xFFFF
"""Bytes of a comment at most, which stands behind the end of the list."""
DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError)
"""What the standard library raises where a zip file is none, or not as it says."""


@contextmanager
def archive_in(path: Path, limit: int) -> Generator[zipfile.ZipFile]:
    """The zip file at `path`, of so many bytes at most, its list of members checked.

    Raises:
        UnreadableError: it is missing, longer, no zip file, or damaged.
        UsageError: a member is named as what lies elsewhere, twice, or is no plain file.
    """
    with opened(path, follow=True) as (file, size):
        if size > limit:
            raise too_long(path, limit)
        with _opened(file, size, path) as archive:
            yield archive


def archive_of(content: bytes, name: Path) -> zipfile.ZipFile:
    """The same of a file's content that is in memory, all of whose members must be stored as they are.

    Raises:
        UnreadableError, UsageError: as for `archive_in`; or a member is compressed, so that its size is only claimed.
    """
    with _opened(io.BytesIO(content), len(content), name) as archive:
        pass
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise UsageError(f"{name} is refused: its member {_shown(member.filename)} is compressed")
    return archive


def read_member(archive: zipfile.ZipFile, name: str, limit: int, path: Path) -> bytes:
    """The content of a member, of so many bytes at most.

    Raises:
        UsageError: there is none of that name, or it says that it is longer.
        UnreadableError: it is damaged.
    """
    try:
        member = archive.getinfo(name)
    except KeyError as error:
        raise UsageError(f"{path} holds no {name}") from error
    if member.file_size > limit:
        raise UsageError(f"{path} is refused: {name} in it is {member.file_size:,} bytes, more than {limit:,}")
    try:
        with archive.open(member) as file:
            return file.read()  # the standard library reads no more than the member's size, and checks its sum
    except (*DAMAGED, OSError) as error:
        raise UnreadableError(f"{path} is damaged: {name} in it cannot be read: {str(error)[:200]}") from error


@contextmanager
def _opened(file: BinaryIO, size: int, path: Path) -> Generator[zipfile.ZipFile]:
    _require_short_list(file, size, path)
    try:
        archive = zipfile.ZipFile(file)
    except (*DAMAGED, struct.error) as error:
        raise UnreadableError(f"{path} is no zip file, or a damaged one: {str(error)[:200]}") from error
    _require_plain(archive.infolist(), path)
    yield archive


def _require_short_list(file: BinaryIO, size: int, path: Path) -> None:
    """Check the list's length where the file says it, before the standard library reads all of it."""
    file.seek(max(0, size - COMMENT - 22 - LONG))
    tail = file.read()
    file.seek(0)
    place = tail.rfind(END)
    if place < 0 or len(tail) < place + 22:
        raise UnreadableError(f"{path} is no zip file")
    (length,) = struct.unpack_from("<L", tail, place + 12)
    if place >= LONG and tail[place - 20 :].startswith(LONG_LOCATOR):  # which counts, where there is one
        (length,) = struct.unpack_from("<Q", tail, place - LONG + 40)
    if length > DIRECTORY_LIMIT:
        raise UsageError(f"{path} is refused: its list of members is longer than {DIRECTORY_LIMIT:,} bytes")


def _require_plain(members: Collection[zipfile.ZipInfo], path: Path) -> None:
    seen: set[str] = set()
    for member in members:
        place = PurePosixPath(member.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in member.filename:
            raise UsageError(f"{path} is refused: its member {_shown(member.filename)} is named as what lies elsewhere")
        if member.filename in seen:
            raise UsageError(f"{path} is refused: it has two members {_shown(member.filename)}")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.flag_bits & 1 or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UsageError(f"{path} is refused: its member {_shown(member.filename)} is no plain file")
        seen.add(member.filename)


def _shown(name: str) -> str:
    return ascii(name[:60])
