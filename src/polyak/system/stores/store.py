"""Files kept elsewhere: in a folder that machines share, or at any URL that fsspec knows (S3, GCS, ...).

A store is one place and all that lies below it. Files are named by their path from there, as `checkpoints/loop-1.x`.
What a store answers is a stranger's: whoever takes a name checks it, and nothing longer than asked for is read.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from polyak.errors import UnavailableError, UnreadableError

CHUNK = 1_000_000
"""Bytes that are read at once."""


class Readable(Protocol):
    """A place, and what lies below it, to read.

    All raise UnavailableError where the store does not answer or refuses; its message names the store and says why.
    """

    @property
    def shown(self) -> str:
        """Its folder or URL."""
        ...

    def files(self) -> dict[str, int]:
        """Name and bytes of every file below, as the store has them now; none where there is no such place."""
        ...

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a file, in pieces; UnreadableError where there is none, or it is no plain file."""
        ...

    def below(self, name: str) -> "Readable":
        """The place below this one."""
        ...


class Store(Readable, Protocol):
    """The same, to be written to as well; it raises likewise."""

    def write(self, name: str, content: bytes) -> None:
        """Make a file, or replace it."""
        ...

    def send(self, name: str, file: Path) -> None:
        """The same with the content of a file of this machine; OSError where that cannot be read."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Make a file; False where it is there already, as far as the store can tell two who ask at once apart."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def below(self, name: str) -> "Store":
        """The place below this one."""
        ...


def read(store: Readable, name: str, limit: int) -> bytes:
    """The content of a file, of so many bytes at most.

    Raises:
        UnreadableError: it is missing, or longer, which is found before more than that is read.
        UnavailableError: the store does not answer.
    """
    content = bytearray()
    for chunk in store.chunks(name):
        content += chunk
        if len(content) > limit:
            raise UnreadableError(f"{store.shown}/{name} holds more than {limit:,} bytes, which is more than it should")
    return bytes(content)


def require_writable(store: Store) -> None:
    """Check that something can be written, by writing it.

    Raises:
        UsageError: nothing can; the message says why.
    """
    name = f"polyak-was-here-{secrets.token_hex(8)}"
    store.create(name, b"")
    store.remove(name)


def away(store: str, what: str, reason: str) -> UnavailableError:
    """What to raise where a store does not do what it is asked for."""
    return UnavailableError(f"{store} cannot be {what} just now: {reason}")
