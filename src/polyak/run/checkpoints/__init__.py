"""Checkpoints of a run: written so that a crash at any moment leaves a whole one, read so that no damage goes unseen.

`checkpoints/` holds, for each of the last two, a manifest and the files it names:

    checkpoint-000007.json          the manifest: the run, counters, random streams, names and SHA-256 of all files
    learner-000007.safetensors      weights, targets, Adam's moments, temperature, step: for any framework
    loop-000007.safetensors         exploration noise, what was last observed, what was measured since the last record
    metrics-000007.jsonl            the metrics up to then
    best-000007.safetensors         the policy of the best evaluation up to then
    batches-000007.safetensors      the arrays that are kept to make batches, where any are
    callbacks-000007.safetensors    the arrays that callbacks keep, where any do
    replay-40000-000007.safetensors transitions from number 40,000 on, as many as were new
    demonstrations-0-000001.safetensors  those that were recorded before the run, where there are any: written once

Files are immutable. Two checkpoints share the segments of replay and of demonstrations, nothing else.
"""

import hashlib
import re
import stat
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from polyak.errors import SavingError, UnreadableError, UsageError
from polyak.experience.datasets import require_memory
from polyak.experience.replay import Replay
from polyak.run.checkpoints import manifest, segments
from polyak.run.checkpoints.manifest import SERIALS, File, Manifest
from polyak.system.arrayfiles import Form, arrays_in, content_of
from polyak.system.files import not_read, read_plain_file, sync_folder, unavailable, write_atomically
from polyak.system.memory import memory_free, readable_bytes
from polyak.types import Arrays, Spec

LEARNER = Form("polyak-learner", 1, "learner", ("F32", "I32"))
LOOP = Form("polyak-loop", 1, "loop's state", ("F32",))
ANY_KIND = ("BOOL", *(f"{kind}{bits}" for kind in "UI" for bits in (8, 16, 32, 64)), "F16", "F32", "F64")
BATCHES = Form("polyak-batches", 1, "state of the batches", ANY_KIND)
CALLBACKS = Form("polyak-callbacks", 1, "callbacks' state", ANY_KIND)
HEADER = 1_000_000
"""Bytes that the header of a file of arrays takes at most."""

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """What a checkpoint is made of, besides replay."""

    step: int
    """Environment steps taken."""
    run: Mapping[str, Any]
    """The run's description."""
    state: Mapping[str, Any]
    """Counters and random streams, as JSON can hold them."""
    algorithm: str
    learner: Arrays
    """`Learner.arrays()`."""
    loop: Arrays
    """The loop's own arrays, float32."""
    metrics: bytes
    """`metrics.jsonl` up to now."""
    best: bytes | None
    """The file of the best policy, if there is one."""
    batches: Arrays = field(default_factory=dict[str, Any])
    """The arrays that are kept to make batches."""
    callbacks: Arrays = field(default_factory=dict[str, Any])
    """The arrays that callbacks keep."""


class Checkpoints:
    """The folder of a run's checkpoints. One process at a time may write to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: list[Manifest] = []
        self.faults: list[UnreadableError] = []
        """Why newer checkpoints than the one that `newest` took are not whole."""
        self.first = 1
        """The least number of those to come."""
        self.held: Callable[[], AbstractSet[str]] = frozenset
        """Names of files that somebody still reads, and that no `save` removes."""

    @property
    def latest(self) -> Manifest | None:
        """The checkpoint written or read last."""
        return self._kept[-1] if self._kept else None

    def save(self, content: Content, replay: Replay, demonstrations: Replay | None = None) -> None:
        """Publish a checkpoint; until it is whole, the previous one is.

        The `demonstrations` are written with the first one alone: they are the same in all.

        Raises:
            SavingError: it cannot be written, for example on a full disk; the previous one is still there.
        """
        previous, serial = self.latest, 0
        try:
            self.folder.mkdir(exist_ok=True)
            last = max((each for path in self._ours() if (each := _serial(path)) < SERIALS), default=0)
            serial = max(1 + last, self.first)
            write = partial(self._write, serial)
            learner = content_of(LEARNER, content.learner, {"algorithm": content.algorithm})
            files = {
                "learner": write("learner", learner),
                "loop": write("loop", content_of(LOOP, content.loop, {})),
                "metrics": write("metrics", content.metrics),
            }
            if content.best is not None:
                files["best"] = write("best", content.best)
            for role, form, arrays in (
                ("batches", BATCHES, content.batches),
                ("callbacks", CALLBACKS, content.callbacks),
            ):
                if arrays:
                    files[role] = write(role, content_of(form, arrays, {}))
            shown = previous.demonstrations if previous else ()
            if demonstrations is not None and not shown:
                shown = segments.append(demonstrations, (), partial(self._write_rows, serial, "demonstrations"))
            kept = segments.append(
                replay, previous.segments if previous else (), partial(self._write_rows, serial, "replay")
            )
            made = Manifest(serial, content.step, content.run, content.state, files, replay.added, kept, shown)
            sync_folder(self.folder)
            write_atomically(self.folder / made.name, made.content())
            sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                self._remove(lambda path: _serial(path) == serial)
            raise SavingError(
                f"cannot write a checkpoint to {self.folder}: {error.strerror or error}; "
                + (f"the one of step {previous.step:,} is whole" if previous else "there is none yet")
            ) from error
        self._kept = [*self._kept[-1:], made]
        used = {name for each in self._kept for name in each.names} | self.held()
        self._remove(lambda path: path.name not in used)

    def newest(self, read: Callable[[Manifest], T], settings: Mapping[str, Any] | None = None) -> T:
        """What `read` makes of the newest whole checkpoint; where it finds one damaged, of that before.

        Only one that is damaged is passed over: the next `save` removes it. It must be of the run of these `settings`,
        if any are given.

        Raises:
            UnreadableError: there is no checkpoint, or none is whole; the message names the file.
            UnavailableError: the newest cannot be read just now, or memory is short.
            NewerFormatError: a later polyak wrote the newest; an older one is not taken in its place.
            UsageError: what is whole is another run's, or does not fit what it is read for.
        """
        try:
            found = sorted((path for path in self._ours() if path.suffix == ".json"), key=_serial, reverse=True)
        except OSError as error:
            raise not_read(self.folder, error) from error
        if not found:
            raise UnreadableError(f"there is no checkpoint in {self.folder}")
        faults: list[UnreadableError] = []
        for path in found:
            try:
                made = manifest.read(path)
                if settings is not None:
                    manifest.require_own(made, settings, path)
                result = read(made)
            except UnreadableError as error:
                faults.append(error)
            except MemoryError as error:
                raise unavailable(path, "memory is short") from error
            else:
                self._kept, self.faults = [made], faults
                return result
        others = f"; nor is any of the {len(faults) - 1} before it whole" if len(faults) > 1 else ""
        raise UnreadableError(f"{faults[0]}{others}") from faults[0]

    def learner(self, of: Manifest, algorithm: str, expected: Arrays) -> Arrays:
        """The learner's state in a checkpoint: arrays of the names, shapes and kinds of `expected`.

        Raises:
            UsageError: it is missing, damaged, of another algorithm, or does not fit the settings.
        """
        path = self.folder / of.files["learner"].name
        content = self.content(of.files["learner"], sum(value.nbytes for value in expected.values()) + HEADER)
        arrays, metadata = arrays_in(content, path, LEARNER, expected)
        if metadata.get("algorithm") != algorithm:
            raise UsageError(
                f"{path} is a learner of {metadata.get('algorithm', 'no algorithm')[:20]}, but {algorithm} is asked "
                "for: a learner goes on in its own algorithm"
            )
        return arrays

    def loop(self, of: Manifest, expected: Arrays) -> Arrays:
        """The loop's arrays in a checkpoint, of the names and shapes of `expected`.

        Raises:
            UsageError: the file is missing or damaged.
        """
        file = of.files["loop"]
        content = self.content(file, sum(value.nbytes for value in expected.values()) + HEADER)
        return arrays_in(content, self.folder / file.name, LOOP, expected)[0]

    def batches(self, of: Manifest) -> Arrays:
        """The arrays in a checkpoint that are kept to make batches; errors as for `callbacks`."""
        return self._kept_by("batches", BATCHES, of)

    def callbacks(self, of: Manifest) -> Arrays:
        """The arrays that callbacks keep in a checkpoint.

        Raises:
            UsageError: the file is missing or damaged.
        """
        return self._kept_by("callbacks", CALLBACKS, of)

    def _kept_by(self, role: str, form: Form, of: Manifest) -> Arrays:
        if role not in of.files:
            return {}
        file = of.files[role]
        return arrays_in(self.content(file), self.folder / file.name, form)[0]

    def replay(self, of: Manifest, empty: Replay) -> Replay:
        """Fill an empty replay with what a checkpoint holds.

        Raises:
            UsageError: a segment is missing or damaged.
        """
        segments.load(empty, of.added, of.segments, self.content, self.folder)
        return empty

    def demonstrations(self, of: Manifest, spec: Spec) -> Replay | None:
        """The demonstrations that a checkpoint holds, in a replay that is full; None where it holds none.

        Raises:
            UsageError: a segment is missing or damaged, or memory is short.
        """
        if not of.demonstrations:
            return None
        first, end = of.demonstrations[0].first, of.demonstrations[-1].end
        if end <= first:
            raise UsageError(f"{self.folder / of.name} names demonstrations without a transition")
        require_memory(f"{self.folder / of.name}", end - first, spec)
        full = Replay(end - first, spec.observation_size, spec.action_size)
        segments.load(full, end, of.demonstrations, self.content, self.folder)
        return full

    def content(self, file: File, limit: int | None = None) -> bytes:
        """The content of one of a checkpoint's files, compared with what the manifest says of it.

        Raises:
            UnreadableError: it is missing, damaged, or larger than `limit` bytes.
            UnavailableError: it would not fit into the memory that is free, or cannot be read just now.
        """
        path = self.folder / file.name
        if limit is not None and file.bytes > limit:
            raise UnreadableError(f"{path} has {file.bytes:,} bytes, but at most {limit:,} can be right")
        self.size(file)
        if file.bytes > memory_free() // 2:
            raise unavailable(path, f"it takes {readable_bytes(2 * file.bytes)} of memory, more than is free")
        content = read_plain_file(path, file.bytes)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise UnreadableError(f"{path} is damaged: its content does not have the SHA-256 that the manifest states")
        return content

    def size(self, file: File) -> int:
        """The bytes that a file has, which are those that the manifest says; it is not read.

        Raises:
            UnreadableError: it is missing, no plain file, or of another length.
            UnavailableError: the system does not say so just now.
        """
        path = self.folder / file.name
        try:
            status = path.lstat()
        except OSError as error:
            raise not_read(path, error) from error
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.bytes:
            raise UnreadableError(f"{path} is damaged: it is no plain file of {file.bytes:,} bytes")
        return file.bytes

    def _write(self, serial: int, role: str, content: bytes) -> File:
        suffix = "jsonl" if role == "metrics" else "safetensors"
        file = File(f"{role}-{serial:06}.{suffix}", len(content), hashlib.sha256(content).hexdigest())
        write_atomically(self.folder / file.name, content)
        return file

    def _write_rows(self, serial: int, role: str, first: int, content: bytes) -> File:
        return self._write(serial, f"{role}-{first}", content)

    def _ours(self) -> list[Path]:
        """The files here that belong to checkpoints, by their names; others are left alone."""
        try:
            return [path for path in self.folder.iterdir() if _is_ours(path.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _remove(self, unwanted: Callable[[Path], bool]) -> None:
        """Manifests first, so that none is left without its files; what cannot be removed stays."""
        for path in sorted(filter(unwanted, self._ours()), key=lambda path: path.suffix != ".json"):
            with suppress(OSError):
                path.unlink()


def _is_ours(name: str) -> bool:
    return bool(manifest.MANIFEST_NAME.fullmatch(name) or manifest.FILE_NAME.fullmatch(name))


def _serial(path: Path) -> int:
    """The number of the checkpoint that a file was written for."""
    return int(re.findall("[0-9]+", path.name)[-1])
