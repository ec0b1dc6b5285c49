"""What environments print, kept from the terminal: descriptors 1 and 2 lead into a file while they run.

A simulator that prints from C, or in a worker process, knows no other way. Python can be asked who speaks: what it
prints outside of the environments' own code goes where it would have gone.
"""

import os
import secrets
import tempfile
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from polyak.system.files import opened

LOG_NAME = "environment.log"
"""In a run's folder."""
LIMIT = 10_000_000
"""Bytes that the file may have; beyond, its older part gives way."""
KEPT = LIMIT // 4
LOOK_SECONDS = 1.0
"""Between two looks at how long it is."""


class _Speaking:
    """A block, which may be within another, whose prints are the environments' own."""

    def __init__(self) -> None:
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1


environments_speak = _Speaking()
"""`with environments_speak:` around each call of an environment's code in this process."""


class Apart:
    """A text stream that gives what environments print to one stream and all else to another."""

    def __init__(self, theirs: TextIO, ours: TextIO) -> None:
        self._theirs, self._ours = theirs, ours

    @property
    def _now(self) -> TextIO:
        return self._theirs if environments_speak.depth else self._ours

    def write(self, text: str) -> int:
        """Into the one or the other."""
        return self._now.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now, name)


@contextmanager
def warnings_are_ours() -> Generator[None]:
    """Within this block, a warning is polyak's to show, whoever gives it."""
    usual = warnings.showwarning

    def show(*given: Any, **options: Any) -> None:
        depth, environments_speak.depth = environments_speak.depth, 0
        try:
            usual(*given, **options)
        finally:
            environments_speak.depth = depth

    warnings.showwarning = show
    try:
        yield
    finally:
        if warnings.showwarning is show:
            warnings.showwarning = usual


class Log:
    """The file that descriptors 1 and 2 lead into, of bounded length. Whoever writes into it appends."""

    def __init__(self, near: Path, earlier: Path | None = None) -> None:
        """Begin it, until `keep`, under a name of its own in or above a folder; with what an `earlier` one says.

        Raises:
            UnreadableError, UnavailableError: the earlier one is a link, or cannot be read.
            OSError: there is no room for a file.
        """
        before = _end_of(earlier) if earlier is not None and os.path.lexists(earlier) else b""
        near = near.absolute()
        place = next(each for each in (near, *near.parents) if each.is_dir())
        place = place if os.access(place, os.W_OK) else Path(tempfile.gettempdir())
        self.path = place / f".environment-{secrets.token_hex(8)}.log"
        self.kept = False
        """Whether it is in a run's folder."""
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._first = os.write(self.descriptor, before)
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    @property
    def printed(self) -> bool:
        """Whether anything has been printed into it."""
        return os.fstat(self.descriptor).st_size != self._first

    def keep(self, folder: Path) -> None:
        """Let it be that of a run's folder, in place of an earlier one; with several runs here, of the first one's."""
        if not self.kept:
            with suppress(OSError):  # on another file system, say: then it stays where it is
                self.path = self.path.replace(folder.absolute() / LOG_NAME)
                self.kept = True

    def shorten(self) -> None:
        """Where it has become too long, leave only its end, and a line that says so."""
        size = os.fstat(self.descriptor).st_size
        if size > LIMIT:
            end = os.pread(self.descriptor, KEPT, size - KEPT)
            said = f"[polyak: {size - len(end):,} bytes were here, and {LIMIT:,} at most are kept]\n"
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, said.encode() + end)
            self._first = 0

    def end(self) -> bytes:
        """Close it, and remove it where it is empty or no run's; what was printed last, if it is no run's."""
        self._ended.set()
        self._watch.join()
        with suppress(OSError):
            self.shorten()
        size = os.fstat(self.descriptor).st_size
        last = b"" if self.kept else os.pread(self.descriptor, KEPT, max(self._first, size - KEPT))
        os.close(self.descriptor)
        if not (self.kept and size):
            self.path.unlink(missing_ok=True)
        return last

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with suppress(OSError):  # a full disk, which whoever has to write there will say
                self.shorten()


def _end_of(path: Path) -> bytes:
    with opened(path) as (file, size):
        file.seek(max(0, size - KEPT))
        return file.read(KEPT)
