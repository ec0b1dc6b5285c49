"""A run's folder, sent piece by piece from where the run is to where it was asked for.

What is on the way may end there at any moment. So pieces are taken in the order in which they are sent: a checkpoint's
manifest after all of its files, and each file whole or not at all, but for those that only grow.
"""

import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from polyak.errors import UsageError
from polyak.run.checkpoints import manifest
from polyak.system.files import sync_folder, write_atomically
from polyak.system.locking import locked

PIECE_BYTES, PARCEL_BYTES = 8 * 1024**2, 32 * 1024**2
"""Of one file, and of all that is sent at once."""
CHECKPOINTS = "checkpoints"
GROW = ("metrics.jsonl", "environment.log", "tensorboard")
"""Files, and a folder of such, that are only written on; should one be shorter than before, it is sent anew."""
STAY = ("train.log", "videos", "report.html", "wandb", "mlruns", "mlflow")
"""What is not sent: the log goes a way of its own, and the others are made by who looks at a run."""


@dataclass(frozen=True)
class Piece:
    """A part of a file."""

    name: str
    """Its path within the run's folder."""
    start: int
    """Where in the file it begins."""
    data: bytes
    left: int
    """Bytes of the file that are still to come."""
    grows: bool
    """Whether it belongs where it begins at once, instead of to a file that takes its place once it is whole."""


@dataclass(frozen=True)
class Parcel:
    """What is new of a run since the parcel before."""

    attempt: int
    """Runs that are begun again elsewhere are counted; what comes from one that was replaced is late, and dropped."""
    folder: str = ""
    """The run's folder within the folder of runs, once there is one."""
    pieces: tuple[Piece, ...] = ()
    said: bytes = b""
    """What the process has written to standard error since."""
    exit_code: int | None = None
    """In the last parcel."""
    node: str = ""
    """Where it comes from, in the first."""


class Outbox:
    """What is new in a run's folder, in the order in which it may arrive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[int, int, int]] = {}
        """Of each file that was sent: its inode, size and time."""
        self._sent_checkpoints: set[str] = set()
        self._newest = 0
        self._open: deque[_Sending] = deque()

    def take(self, limit: int = PARCEL_BYTES) -> list[Piece]:
        """The next pieces, of about so many bytes in all; none where nothing is new."""
        if not self._open:
            self._look()
        pieces, taken = list[Piece](), 0
        while self._open and taken < limit:
            piece = self._open[0].next()
            if piece.left == 0:
                self._open.popleft().file.close()
            pieces.append(piece)
            taken += len(piece.data)
        return pieces

    @property
    def is_sending(self) -> bool:
        """Whether there is more of what was new at the last look."""
        return bool(self._open)

    def _look(self) -> None:
        """Open what is new. What is open stays whole, though it may be removed or replaced meanwhile."""
        for path in sorted(_files(self._folder), key=lambda path: path.name != "settings.json"):
            name = path.relative_to(self._folder)
            with suppress(FileNotFoundError):  # it was replaced just now, and is seen at the next look
                self._add_changed(path, name.as_posix(), grows=name.parts[0] in GROW)
        self._add_checkpoint()

    def _add_changed(self, path: Path, name: str, *, grows: bool) -> None:
        before, now = self._seen.get(name), _state(path.stat())
        if now == before or (grows and now[1] == 0):  # a log in which there is nothing at the end is removed
            return
        file = path.open("rb")
        self._seen[name] = inode, size, _ = _state(os.fstat(file.fileno()))
        written_on = grows and before is not None and before[0] == inode and before[1] <= size
        self._open.append(_Sending(file, name, before[1] if before and written_on else 0, size, grows))

    def _add_checkpoint(self) -> None:
        """The newest checkpoint: its files that have not been sent, then its manifest."""
        folder = self._folder / CHECKPOINTS
        newest = max(manifests(folder), key=serial, default="") if folder.is_dir() else ""
        if not newest or serial(newest) <= self._newest:
            return
        opened = list[_Sending]()
        try:
            names = manifest.read(folder / newest).names
            for name in (*sorted(names - self._sent_checkpoints - {newest}), newest):
                file = (folder / name).open("rb")
                opened.append(_Sending(file, f"{CHECKPOINTS}/{name}", 0, os.fstat(file.fileno()).st_size, grows=False))
        except (UsageError, FileNotFoundError):  # a newer one has taken its place, and is found at the next look
            for each in opened:
                each.file.close()
            return
        self._open += opened
        self._sent_checkpoints, self._newest = names, serial(newest)


@dataclass
class _Sending:
    """A file on its way."""

    file: BinaryIO
    name: str
    start: int
    end: int
    grows: bool

    def next(self) -> Piece:
        """Its next piece."""
        self.file.seek(self.start)
        data = self.file.read(min(PIECE_BYTES, self.end - self.start))
        if not data:  # it has become shorter, which one that grows may
            self.end = self.start
        piece = Piece(self.name, self.start, data, self.end - self.start - len(data), self.grows)
        self.start += len(data)
        return piece


class Inbox:
    """A run's folder as it arrives; as long as this is open, nobody else trains in it."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is there.

        Raises:
            UsageError: another process trains in it.
        """
        self.folder = folder
        self._lock = ExitStack()
        self._lock.enter_context(locked(folder))
        (folder / "ending.json").unlink(missing_ok=True)

    def take(self, piece: Piece) -> None:
        """Put a piece where it belongs.

        Raises:
            OSError: it cannot be written.
        """
        path = self.folder / within(piece.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if piece.grows and piece.start:
            _put(path, piece)
        elif piece.start == 0 and piece.left == 0:
            write_atomically(path, piece.data)
        else:
            part = path.with_name(f".{path.name}.part")
            _put(part, piece)
            if piece.left == 0 or piece.grows:
                part.replace(path)
        if piece.left == 0 and manifest.MANIFEST_NAME.fullmatch(path.name):
            sync_folder(path.parent)
            self._prune(path)

    def close(self) -> None:
        """Let others train in it."""
        self._lock.close()

    def _prune(self, newest: Path) -> None:
        """Keep the last two checkpoints, as who writes them does."""
        folder = newest.parent
        last = sorted(manifests(folder), key=serial)[-2:]
        try:
            used = set[str]().union(*(manifest.read(folder / each).names for each in last))
        except UsageError:  # an older one is damaged: then nothing is removed
            return
        for each in folder.iterdir():
            if each.name not in used:
                each.unlink(missing_ok=True)


def _put(path: Path, piece: Piece) -> None:
    with path.open("r+b" if piece.start else "wb") as file:
        file.seek(piece.start)
        file.truncate()
        file.write(piece.data)
        if piece.left == 0:
            file.flush()
            os.fsync(file.fileno())


def within(name: str) -> Path:
    """A path that leads to nowhere but below where it is looked for.

    Raises:
        UsageError: it does not.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise UsageError(f"{name!r} is no path within a folder of runs")
    return Path(path)


def _files(folder: Path) -> Iterator[Path]:
    """What is sent of a run's folder besides checkpoints; neither what is half-written nor what leads elsewhere."""
    for each in folder.iterdir():
        if each.name not in (*STAY, CHECKPOINTS):
            found = each.rglob("*") if each.is_dir() else [each]
            yield from (
                path for path in found if not path.name.startswith(".") and path.is_file() and not path.is_symlink()
            )


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def manifests(folder: Path) -> list[str]:
    """The names of the manifests in a folder of checkpoints."""
    return [each.name for each in folder.iterdir() if manifest.MANIFEST_NAME.fullmatch(each.name)]


def serial(name: str) -> int:
    """The number of the checkpoint whose manifest has this name."""
    return int(name.removeprefix("checkpoint-").removesuffix(".json"))


def made_below(run_dir: Path, name: str) -> Path:
    """A new folder for a run that has one of this name elsewhere; where the name is taken, of the next.

    Raises:
        OSError: it cannot be made.
    """
    wanted, number = run_dir / within(name), 1
    wanted.parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def pieces_of(folder: Path) -> Iterator[list[Piece]]:
    """A whole folder, for a run that goes on elsewhere: with its newest checkpoint, a parcel at a time."""
    outbox = Outbox(folder)
    while pieces := outbox.take():
        yield pieces
        if not outbox.is_sending:
            return


def remove(folder: Path) -> None:
    """A run's folder in which nothing is yet that could go on."""
    shutil.rmtree(folder, ignore_errors=True)
