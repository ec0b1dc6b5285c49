"""A checkpoint's manifest: which files it consists of, and everything that is not an array, in one JSON file.

It is published last, so that a checkpoint is whole or not there. Its own SHA-256 is in it, over everything else.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from polyak.errors import NewerFormatError, UnreadableError, UsageError
from polyak.system.files import read_plain_file

FORMAT = "polyak-checkpoint"
VERSION = 7
"""Since 2, `state` names the columns of what was measured (`metrics`); since 3, there may be a burst that was launched
and not waited for (`launched`, with a lag); since 4, `run` has the run's identity; since 5, transitions have the number
of their episode, and the collector those of the running ones (`episode_numbers`); since 6, `episodes` have infos,
and there may be what callbacks keep (`callbacks`), what they have logged (`logged`) and why one has stopped the run
(`stopped`); since 7, there may be what is kept to make batches (`batches`), and demonstrations (`demonstrations`)."""
SIZE_LIMIT, VALUES = 16_000_000, 1_000_000
"""Bytes of a manifest at most, and values in it: a few for each of as many segments and episodes as nobody has."""
FILES, OPTIONAL = ("learner", "loop", "metrics"), ("best", "batches", "callbacks")
KEPT = ("segments", "demonstrations")
SERIALS = 10**9
"""Checkpoints of a run have smaller numbers: what claims a larger one is none, and does not count."""
MANIFEST_NAME = re.compile(r"checkpoint-([0-9]{6,12})\.json", re.ASCII)
FILE_NAME = re.compile(
    r"(learner|loop|best|batches|callbacks|metrics|replay|demonstrations)(-[0-9]{1,15}){1,2}\.(safetensors|jsonl)",
    re.ASCII,
)
"""What a checkpoint's file may be called: a plain name, which leads to no other folder."""


@dataclass(frozen=True)
class File:
    """A file beside the manifest."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Segment:
    """A file of transitions, and which of all those ever added it holds."""

    file: File
    first: int
    count: int

    @property
    def end(self) -> int:
        """The number of the first transition after it."""
        return self.first + self.count


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint consists of."""

    serial: int
    """Checkpoints of a run are counted; a number is never used twice."""
    step: int
    """Environment steps taken."""
    run: Mapping[str, Any]
    """The run's description, as in `settings.json`."""
    state: Mapping[str, Any]
    """Counters and random streams."""
    files: Mapping[str, File]
    """`FILES`, `best` where there is a best policy, `batches` and `callbacks` where these keep arrays."""
    added: int
    """Transitions ever added to replay."""
    segments: tuple[Segment, ...]
    """Replay, oldest first."""
    demonstrations: tuple[Segment, ...] = ()
    """The same of the demonstrations, which never change: every checkpoint of the run names the same files."""

    @property
    def name(self) -> str:
        """The manifest's own file name."""
        return f"checkpoint-{self.serial:06}.json"

    @property
    def all_files(self) -> list[File]:
        """All its files but its own."""
        return [*self.files.values(), *(each.file for each in (*self.demonstrations, *self.segments))]

    @property
    def names(self) -> set[str]:
        """The names of all its files, its own included."""
        return {self.name, *(file.name for file in self.all_files)}

    def content(self) -> bytes:
        """What its file holds."""
        body = {"format": FORMAT, "version": VERSION, **asdict(self)}
        if not self.demonstrations:
            del body["demonstrations"]
        return json.dumps({"sha256": _digest(body), **body}, indent=1, allow_nan=False).encode()


def read(path: Path) -> Manifest:
    """Read a manifest; the files that it names are not looked at.

    Raises:
        NewerFormatError: a later polyak wrote it.
        UnreadableError: it is missing, damaged, or no manifest.
        UnavailableError: it cannot be read just now.
    """
    return parsed(read_plain_file(path, SIZE_LIMIT), str(path))


def parsed(content: bytes, path: str) -> Manifest:
    """The manifest that a file at `path` holds, which may be a URL; errors as for `read`."""
    if sum(map(content.count, (b",", b"[", b"{"))) > VALUES:  # each takes up to a hundred times its bytes in memory
        raise UnreadableError(f"{path} holds more than {VALUES:,} values, which is more than it should")
    try:
        body: Any = json.loads(content)
        claimed = body.pop("sha256")
        if claimed != _digest(body):
            raise UnreadableError(f"{path} is damaged: its content does not have the SHA-256 that it states")
        if body.pop("format") != FORMAT:
            raise UnreadableError(f"{path} is not the manifest of a checkpoint")
        version = body.pop("version")
        if type(version) is not int or not 1 <= version <= VERSION:
            raise NewerFormatError(
                f"{path} is a checkpoint of format version {str(version)[:20]}, but this polyak reads up to {VERSION}: "
                "upgrade polyak"
            )
        made = _manifest(body)
        if made.name != path.rpartition("/")[2]:
            raise UnreadableError(f"{path} is the manifest of checkpoint {made.serial} under another name")
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"{path} is damaged: {type(error).__name__} {str(error)[:100]}") from error
    return made


def require_own(made: Manifest, settings: Mapping[str, Any], path: Path | str) -> None:
    """Check that a manifest is of the run of these settings: by its identity, or without one by what was asked for.

    Raises:
        UsageError: it is another run's.
    """
    facts = ["identity"]
    if "identity" not in settings and "identity" not in made.run:
        facts = ["algorithm", "seed", *([] if settings.get("environment_is_callable") else ["environment"])]
    for name in facts:
        ours, theirs = (str(each.get(name, "none"))[:80] for each in (settings, made.run))
        if ours != theirs:
            raise UsageError(
                f"{path} belongs to another run than the settings.json of its folder: its {name} is {theirs}, not "
                f"{ours}. Put this run's own checkpoints back; or, if it is settings.json that is another's, remove "
                "that, and `polyak resume` writes it anew"
            )


def _manifest(body: Mapping[str, Any]) -> Manifest:
    whole: dict[str, Any] = {name: _count(body[name]) for name in ("serial", "step", "added")}
    if whole["serial"] >= SERIALS:
        raise ValueError(f"number {whole['serial']}")
    files = {role: _file(described) for role, described in body["files"].items()}
    if not {*FILES} <= files.keys() <= {*FILES, *OPTIONAL}:
        raise ValueError(f"files {sorted(files)}")
    whole |= {name: _segments(body[name] if name == "segments" else body.get(name, [])) for name in KEPT}
    tables = [body["run"], body["state"]]
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError("run and state must be tables")
    return Manifest(**whole, run=tables[0], state=tables[1], files=files)


def _segments(described: Any) -> tuple[Segment, ...]:
    return tuple(Segment(_file(each["file"]), _count(each["first"]), _count(each["count"])) for each in described)


def _file(described: Mapping[str, Any]) -> File:
    name, sha256 = described["name"], described["sha256"]
    if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
        raise ValueError(f"no name for a checkpoint's file: {name!r}")
    if not isinstance(sha256, str):
        raise ValueError(f"no SHA-256: {sha256!r}")  # noqa: TRY004
    return File(name, _count(described["bytes"]), sha256)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"no count: {str(cast(Any, value))[:40]}")
    return value


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()
