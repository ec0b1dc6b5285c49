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
from typing import Any, TextIO


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
    """Say a warning as the command line says all else: without colours, and without the line of source that warned."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(message))
        print(f"polyak: {' '.join(text.split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
