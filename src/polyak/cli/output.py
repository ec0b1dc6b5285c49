"""Standard output kept for what the command itself has to say."""

import contextlib
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO


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
        with os.fdopen(os.dup(kept), "w") as own, contextlib.redirect_stdout(sys.stderr):
            yield own
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
