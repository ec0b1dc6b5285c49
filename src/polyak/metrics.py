"""`metrics.jsonl`: one record a line, written and read back."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from polyak.errors import UsageError
from polyak.files import read_plain_file, write_atomically

NAME = "metrics.jsonl"
SIZE_LIMIT = 1_000_000_000
"""Bytes of the file at most."""

Record = dict[str, float]
"""One line of `metrics.jsonl`: `step`, `seconds`, and numbers such as `eval/return` (see docs/metrics.md)."""


def read_metrics(path: Path) -> list[Record]:
    """The records of a file, oldest first; a last line cut off by a crash is left out, and no file is no record.

    Raises:
        UsageError: it cannot be read, or a line is no record.
    """
    if not path.exists():
        return []
    records: list[Record] = []
    try:
        lines = read_plain_file(path, SIZE_LIMIT).decode().splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            record: Any = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise UsageError(f"{path}, line {number}, is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise UsageError(f"{path}, line {number}, is not a record: {line[:40]!r}")
        records.append(cast(Record, record))
    return records


def best_evaluation(records: list[Record]) -> tuple[int, float] | None:
    """The step and mean return of the best evaluation, or None where there was none."""
    evaluated = [(int(record["step"]), record["eval/return"]) for record in records if "eval/return" in record]
    return max(evaluated, key=lambda pair: pair[1], default=None)


class MetricsWriter:
    """Appends records to `metrics.jsonl` and to TensorBoard's event file."""

    def __init__(self, folder: Path, written: bytes = b"", step: int | None = None) -> None:
        """Go on in a run's folder after what had been `written` by `step`; whatever was written later is dropped.

        Raises:
            UsageError: the files cannot be written.
        """
        from tensorboardX import SummaryWriter

        purged = None if step is None else step + 1  # TensorBoard then hides what came later
        try:
            write_atomically(folder / NAME, written)
            self._file = (folder / NAME).open("ab")
            self._tensorboard: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=purged)
        except OSError as error:
            raise UsageError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
        self._written = bytearray(written)

    @property
    def content(self) -> bytes:
        """All of `metrics.jsonl`."""
        return bytes(self._written)

    def write(self, record: Record) -> None:
        """Write one record; it is in the file when this returns.

        Numbers that are not finite are left out: JSON has no word for them.
        """
        finite = {name: value for name, value in record.items() if math.isfinite(value)}
        line = json.dumps(finite).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._written += line
        for name, value in finite.items():
            if name not in ("step", "seconds"):
                self._tensorboard.add_scalar(name, value, int(record["step"]))
        self._tensorboard.flush()

    def close(self) -> None:
        """Close both files; what a full disk has no room for is cut off."""
        with suppress(OSError):
            self._file.close()
        try:
            self._tensorboard.close()
        except OSError:  # or it would try again, in vain and aloud, when the process ends
            self._tensorboard.file_writer.event_writer._closed = True  # noqa: SLF001
