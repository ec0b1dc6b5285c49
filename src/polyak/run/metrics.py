"""`metrics.jsonl`, written and read back; and the other places that a run's records go to."""

import importlib
import json
import math
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal, Protocol, Self, cast

from polyak.errors import Interrupted, UsageError
from polyak.run.description import is_text
from polyak.system.files import read_plain_file, write_atomically

NAME = "metrics.jsonl"
SIZE_LIMIT = 64_000_000
"""Bytes of the file at most: a hundred thousand records."""
LARGEST = 1e100
"""What a run writes is smaller: rewards and losses are float32, and there are fewer steps than float32 has numbers."""

OWN = ("train", "eval", "learner", "speed", "time", "collectors")
"""What the names of a record's own numbers begin with, but for `step` and `seconds`."""
LONGEST_NAME = 200
"""Letters of the name of a logged number at most."""

Record = dict[str, float]
"""One line of `metrics.jsonl`: `step`, `seconds`, and numbers such as `eval/return` (see docs/metrics.md)."""
Ending = Literal["finished", "killed", "failed"]
"""How a run ended: by itself, by Ctrl-C or SIGTERM, by an error."""


def is_own(name: str) -> bool:
    """Whether a number of this name is one that polyak measures by itself."""
    return name in ("step", "seconds") or name.partition("/")[0] in OWN


def require_name(name: Any) -> str:
    """Check that a callback may log a number under a name.

    Raises:
        UsageError: it is no text, cannot be printed, or is one of polyak's own.
    """
    if not is_text(name) or not 0 < len(name) <= LONGEST_NAME:
        raise UsageError(
            f"the name of a metric is {name!r:.80}, but must be a text of at most {LONGEST_NAME} printable letters"
        )
    if is_own(name):
        raise UsageError(
            f"the metric {name!r} would be one of polyak's own, which begin with {'/, '.join(OWN)}/: choose another "
            f"name, such as my/{name.rpartition('/')[2]}"
        )
    return name


def read_metrics(path: Path) -> list[Record]:
    """The records of a file, oldest first; a last line cut off by a crash is left out, and no file is no record.

    Raises:
        UsageError: it cannot be read, or a line is no record.
    """
    if not path.exists():
        return []
    *lines, last = read_plain_file(path, SIZE_LIMIT).split(b"\n")
    records = [_record(line, path, number) for number, line in enumerate(lines, start=1)]
    if last and not _cut_off(last):
        records.append(_record(last, path, len(lines) + 1))
    return records


def _cut_off(line: bytes) -> bool:
    """Whether a last line is the beginning of a record; a whole one with something after it is damaged."""
    try:
        json.JSONDecoder().raw_decode(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return True
    return False


def _record(line: bytes, path: Path, number: int) -> Record:
    try:
        record: Any = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}, line {number}, is not JSON: {error}") from error
    if not _is_record(record):
        raise UsageError(f"{path}, line {number}, is not a record: {line[:40].decode(errors='replace')!a}")
    return cast(Record, record)


def _is_record(value: Any) -> bool:
    """Whether it is a table of numbers that can be added up, `step` and `seconds` among them, with printable names."""
    if not isinstance(value, dict):
        return False
    table = cast(dict[str, Any], value)
    numbers = all(type(number) in (int, float) and abs(number) <= LARGEST for number in table.values())
    return numbers and {"step", "seconds"} <= table.keys() and all(map(is_text, table))


def best_evaluation(records: list[Record]) -> tuple[int, float] | None:
    """The step and mean return of the best evaluation, or None where there was none."""
    evaluated = [(int(record["step"]), record["eval/return"]) for record in records if "eval/return" in record]
    return max(evaluated, key=lambda pair: pair[1], default=None)


class Sink(Protocol):
    """A place that records go to."""

    def write(self, record: Record) -> None:
        """Take a record, all of whose numbers are finite; whoever looks finds it there when this returns."""
        ...

    def close(self, ending: Ending) -> None:
        """Take no more."""
        ...


class Lines:
    """`metrics.jsonl`."""

    def __init__(self, folder: Path, written: bytes) -> None:
        write_atomically(folder / NAME, written)
        self._file = (folder / NAME).open("ab")
        self.content = bytearray(written)
        """All of the file."""

    def write(self, record: Record) -> None:
        """Append a line."""
        line = json.dumps(record).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self.content += line

    def close(self, ending: Ending) -> None:
        """Close the file; what a full disk has no room for is cut off."""
        with suppress(OSError):
            self._file.close()


class TensorBoard:
    """TensorBoard's event file; it hides what had been written after `step`."""

    def __init__(self, folder: Path, step: int | None) -> None:
        # It names PyTorch in annotations only, whose import takes a second; boto3 is for places that are no folder's.
        with _without("torch"), _without("boto3"):
            from tensorboardX import RecordWriter

        self._proto = importlib.import_module("tensorboardX.proto.event_pb2")  # generated, and so without types
        self._summary = importlib.import_module("tensorboardX.proto.summary_pb2").Summary
        place = (folder / "tensorboard").resolve()  # absolute: a name that begins with s3: is a folder's here
        place.mkdir(exist_ok=True)
        self._file: Any = RecordWriter(str(place / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"))
        self._add(file_version="brain.Event:2")
        if step is not None:
            self._add(step=step + 1, session_log=self._proto.SessionLog(status=self._proto.SessionLog.START))
        self._file.flush()

    def write(self, record: Record) -> None:
        """Add a scalar for each number."""
        numbers = {name: value for name, value in record.items() if name not in ("step", "seconds")}
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._add(step=int(record["step"]), summary=self._summary(value=values))
        self._file.flush()

    def close(self, ending: Ending) -> None:
        """Close the file; what a full disk has no room for is cut off."""
        with suppress(OSError):
            self._file.close()

    def _add(self, **content: Any) -> None:
        self._file.write(self._proto.Event(wall_time=time.time(), **content).SerializeToString())


@contextmanager
def _without(package: str) -> Generator[None]:
    """Let no import in this block find a package, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = cast(ModuleType, None)  # how Python marks what cannot be imported
    try:
        yield
    finally:
        del sys.modules[package]


class MetricsWriter:
    """Writes a run's records to `metrics.jsonl`, to TensorBoard, and to the `sinks` that are added."""

    def __init__(self, folder: Path, written: bytes = b"", step: int | None = None) -> None:
        """Go on in a run's folder after what had been `written` by `step`; whatever was written later is dropped.

        Raises:
            UsageError: the files cannot be written.
        """
        try:
            self._lines = Lines(folder, written)
            self.sinks: list[Sink] = [self._lines, TensorBoard(folder, step)]
        except OSError as error:
            raise UsageError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error

    @property
    def content(self) -> bytes:
        """All of `metrics.jsonl`."""
        return bytes(self._lines.content)

    def write(self, record: Record) -> None:
        """Write one record; it is in the file when this returns.

        Numbers that are not finite are left out: JSON has no word for them.
        """
        finite = {name: value for name, value in record.items() if math.isfinite(value)}
        for sink in self.sinks:
            sink.write(finite)

    def close(self, ending: Ending = "finished") -> None:
        """Close all of them."""
        for sink in self.sinks:
            sink.close(ending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
        self.close("finished" if error is None else "killed" if interrupted else "failed")
