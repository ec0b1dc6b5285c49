"""The copy of a run at its mirror, brought up to date so that at every moment one consistent run lies there."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyak.errors import UnreadableError, UsageError
from polyak.run.checkpoints import manifest
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.mirror.attempts import Attempt, require_newest, take_over
from polyak.run.mirror.contents import (
    CHECKPOINTS,
    LARGEST,
    beside,
    is_beside,
    is_of_checkpoints,
    manifests_among,
    serial_of,
)
from polyak.system.stores import store_at
from polyak.system.stores.folder import Folder
from polyak.system.stores.store import Readable, Store, read

PLENTY = 100_000
"""Checkpoints between the newest that is there and the first of the next attempt: one that is replaced may be sending
one meanwhile, and no two attempts write files of one name."""
LEFTOVER = re.compile(r"(^|/)\.[^/]+\.tmp$")
"""What one that was killed has left in a folder."""
MANIFESTS = 20
"""Manifests that are looked at; a mirror has two, or three for a moment."""


@dataclass
class Copy:
    """A run's place at a mirror, and what is known to be there."""

    store: Store
    folder: Path
    """The run's, here."""
    attempt: Attempt
    there: dict[str, int]
    """Name and bytes of each file."""
    kept: list[Manifest]
    """Of the last two checkpoints there."""
    sent: int = 0
    """Files up to now."""
    _looks: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """When each of the other files had been written, and how long it was, as it was sent."""

    @property
    def serial(self) -> int:
        """The number of the newest checkpoint there, whole or not; 0 where there is none."""
        return max((serial_of(name) for name in manifests_among(self.there)), default=0)

    @property
    def step(self) -> int | None:
        """Of the newest checkpoint there."""
        return self.kept[-1].step if self.kept else None

    def bring(self, made: Manifest | None) -> None:
        """Send what is missing of a checkpoint and of what lies beside it, the manifest last; then remove the rest.

        Raises:
            ReplacedError: another attempt has taken over.
            UsageError: the store does not answer.
            OSError: a file cannot be read here.
        """
        require_newest(self.store, self.attempt)
        new = made is not None and _content(made) not in map(_content, self.kept)
        if made is not None and new:
            for file in made.all_files:
                self._send(f"{CHECKPOINTS}/{file.name}", self.folder / CHECKPOINTS / file.name, file.bytes)
        others = beside(self.folder)
        for name, path in others.items():
            self._send_again(name, path)
        if made is not None and new:
            require_newest(self.store, self.attempt)
            path = self.folder / CHECKPOINTS / made.name
            self._send(f"{CHECKPOINTS}/{made.name}", path, path.stat().st_size)
            self.kept = [*self.kept[-1:], made]
        self._remove_all_but({f"{CHECKPOINTS}/{name}" for each in self.kept for name in each.names} | others.keys())

    def withdraw(self) -> None:
        """Leave a place of which nothing has become as it was."""
        with suppress(UsageError):
            if self.attempt.number == 1 and not self.sent:
                self.store.remove(self.attempt.name)

    def _send(self, name: str, path: Path, size: int) -> None:
        """Send a file that never changes, unless it is there."""
        if self.there.get(name) != size:
            self.store.send(name, path)
            self.there[name], self.sent = size, self.sent + 1

    def _send_again(self, name: str, path: Path) -> None:
        """Send a file that changes, if it has."""
        with suppress(FileNotFoundError):  # somebody has removed it meanwhile
            status = path.stat()
            look = (status.st_mtime_ns, status.st_size)
            if self._looks.get(name) != look and status.st_size <= LARGEST:
                self.store.send(name, path)
                self._looks[name] = look
                self.there[name], self.sent = status.st_size, self.sent + 1

    def _remove_all_but(self, used: set[str]) -> None:
        """Manifests first, so that none is left without its files; of other names nothing is removed."""
        surplus = [name for name in self.there if name not in used]
        for name in sorted(surplus, key=lambda name: not name.endswith(".json")):
            if is_of_checkpoints(name) or is_beside(name, 0):
                self.store.remove(name)
                del self.there[name]


def _content(made: Manifest) -> tuple[object, ...]:
    return made.serial, made.step, dict(made.files), made.segments


def place(mirror: str, settings: Mapping[str, Any]) -> Store:
    """Where the run of these settings lies at a mirror.

    Raises:
        UsageError: there is no such store, or its package is not installed.
    """
    return store_at(mirror).below(settings["place"])


def begun(store: Store, folder: Path, settings: Mapping[str, Any]) -> Copy:
    """The copy of a new run, where nothing is yet.

    Raises:
        UsageError: a run is there, or the store does not answer.
    """
    if isinstance(store, Folder) and store.path.absolute() == folder.absolute():
        raise UsageError(f"mirror is {folder.parents[2]}, where the run itself lies: choose another place for its copy")
    if store.files():
        raise UsageError(f"{store.shown} is a run already: start this one once more, or choose another --mirror")
    return Copy(store, folder, take_over(store, settings["identity"]), {}, [])


def gone_on(store: Store, folder: Path, settings: Mapping[str, Any], latest: Manifest | None) -> Copy:
    """The copy of a run that goes on, by an attempt of its own, once `going_on` has looked at it.

    `latest` is the checkpoint that it goes on from.

    Raises:
        UsageError: the store does not answer.
    """
    attempt = take_over(store, settings["identity"])
    there = store.files()
    for name in [name for name in there if LEFTOVER.search(name)]:
        store.remove(name)
        del there[name]
    is_there = latest is not None and f"{CHECKPOINTS}/{latest.name}" in there
    newest = latest if is_there else newest_at(store, there)
    return Copy(store, folder, attempt, there, [] if newest is None else [newest])


def newest_at(store: Readable, there: Mapping[str, int]) -> Manifest | None:
    """The newest manifest at a mirror that can be read; its files are not looked at.

    Raises:
        UsageError: a later polyak wrote it, or the store does not answer.
    """
    for name in manifests_among(there)[:MANIFESTS]:
        with suppress(UnreadableError):
            return read_manifest(store, name)[0]
    return None


def read_manifest(store: Readable, name: str) -> tuple[Manifest, bytes]:
    """A manifest at a mirror, and its file.

    Raises:
        UnreadableError: it is missing or damaged.
        UsageError: a later polyak wrote it, or the store does not answer.
    """
    content = read(store, name, manifest.SIZE_LIMIT)
    return manifest.parsed(content, f"{store.shown}/{name}"), content
