"""Standard output kept for what the command itself has to say."""

import codecs
import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast


def spelled(error: UnicodeError) -> tuple[bytes | str, int]:
    """How a stream writes what its encoding has no letters for: a path's bytes as they are, the rest as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    found = bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff" else ascii(letter)[1:-1].encode()
    return found, error.start + 1


SPELLED = "polyak-spelled"
codecs.register_error(SPELLED, spelled)


def spell_everything(stream: TextIO) -> None:
    """Let no name of a file or run make printing fail; a path that was printed leads back to its file."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=SPELLED)


def open_streams() -> bool:
    """Give each of the three standard descriptors that is closed a place that is nowhere; whether output had one.

    Else the next file that is opened would get its number, and what an environment prints.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free, which is this one
    if cast(TextIO | None, sys.stderr) is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    return cast(TextIO | None, sys.stdout) is not None


@contextmanager
def own_output() -> Generator[TextIO]:
    """Give standard output to the caller alone; what environments and their processes print goes to standard error."""
    stream = sys.stdout
    try:
        descriptor = stream.fileno()
        errors = sys.stderr.fileno()
    except (io.UnsupportedOperation, ValueError):  # replaced by something that is no file
        with contextlib.redirect_stdout(sys.stderr):
            yield stream
        return
    stream.flush()
    kept = os.dup(descriptor)
    os.dup2(errors, descriptor)
    try:
        with os.fdopen(os.dup(kept), "w", errors=SPELLED) as own, contextlib.redirect_stdout(sys.stderr):
            yield own
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@contextmanager
def warnings_in_one_line() -> Generator[None]:
    """Say a warning as the command line says all else: once, without colours, and without the line of source."""
    told = set[str]()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(message)).split()).removeprefix("WARN: ")
        if text not in told:
            told.add(text)
            print(f"polyak: warning: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
