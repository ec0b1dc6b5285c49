"""What environments print, apart from what the command itself has to say."""

import contextlib
import ctypes
import faulthandler
import io
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO, cast

from polyak.cli.driver import tell_begun
from polyak.cli.output import SPELLED, own_output
from polyak.errors import SavingError, TrainingError
from polyak.run.progress import Observer, Progress, tell_stopping
from polyak.system.prints import LOG_NAME, Apart, Log, warnings_are_ours

SHOWN = 4_000
"""Bytes at most of what environments printed, where there is no run's folder to keep it."""


@dataclass
class Prints:
    """Where the command itself prints while environments run, and the log of what they print."""

    output: TextIO
    """Standard output."""
    errors: TextIO
    """Standard error: the view, and what Python prints outside the environments."""
    log: Log | None = None
    """None where standard output or error is no file: then nothing is led elsewhere."""
    theirs: TextIO | None = None
    """Where Python's prints within the environments go: into the log."""

    def keep(self, folder: Path) -> None:
        """A run's folder is there: the log belongs into it."""
        if self.log is not None:
            self.log.keep(folder)

    def part(self) -> None:
        """Keep what environments print from a live view that has taken over Python's streams to draw below them."""
        if self.theirs is not None:
            sys.stdout, sys.stderr = (
                each if isinstance(each, Apart) else cast(TextIO, Apart(self.theirs, each))
                for each in (sys.stdout, sys.stderr)
            )


@contextmanager
def environments_apart(near: Path, earlier: Path | None = None) -> Generator[Prints]:
    """`own_output`, with what environments and their processes print in a log instead of on the terminal.

    The log begins in or above the folder `near`, with what an `earlier` one says, and is named `environment.log` once
    `Prints.keep` is told of a run's folder. Without one, what was printed is printed after all.

    Raises:
        UnreadableError, UnavailableError: the earlier log is a link, or cannot be read.
        TrainingError: what this block raised; where environments have printed, it says where to.
    """
    with own_output() as output, contextlib.ExitStack() as stack:
        descriptors = _descriptors()
        log = _begun(near, earlier) if descriptors else None
        if log is None:
            yield Prints(output, sys.stderr)
        else:
            kept = [os.dup(each) for each in descriptors]
            # Left open: a handler of `logging` that was made meanwhile has it, and writes to it as the process ends.
            errors = os.fdopen(kept[1], "w", buffering=1, errors=SPELLED, closefd=False)
            theirs = stack.enter_context(os.fdopen(log.descriptor, "w", buffering=1, errors=SPELLED, closefd=False))
            stack.callback(_lead_back, kept, descriptors, log, errors, theirs)
            for each in descriptors:
                os.dup2(log.descriptor, each)
            stack.enter_context(warnings_are_ours())
            stack.enter_context(_crashes_told(errors))
            apart = cast(TextIO, Apart(theirs, errors))
            stack.enter_context(contextlib.redirect_stdout(apart))
            stack.enter_context(contextlib.redirect_stderr(apart))
            try:
                yield Prints(output, errors, log, theirs)
            except TrainingError as error:
                if log.kept and log.printed and not isinstance(error, SavingError):
                    error.args = (f"{error}; what the environment printed is in {log.path}",)
                raise


def _descriptors() -> tuple[int, ...]:
    """Those of standard output and error; none where standard error has been replaced by something that is no file."""
    try:
        sys.stderr.flush()
        return 1, sys.stderr.fileno()
    except (io.UnsupportedOperation, ValueError):
        return ()


def _begun(near: Path, earlier: Path | None) -> Log | None:
    try:
        return Log(near, earlier)
    except OSError:  # a full disk, which whoever has to write there will say
        return None


def _lead_back(kept: Sequence[int], descriptors: Sequence[int], log: Log, errors: TextIO, theirs: TextIO) -> None:
    """Give the descriptors back, after all that was printed before; what belongs to no run is printed now."""
    theirs.flush()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).fflush(None)  # what C has not written yet is still the environments'
    for copy, descriptor in zip(kept, descriptors, strict=True):
        os.dup2(copy, descriptor)
    errors.write(log.end()[-SHOWN:].decode(errors="backslashreplace"))
    errors.flush()
    os.close(kept[0])


@contextmanager
def _crashes_told(errors: TextIO) -> Generator[None]:
    """Let a crash of this process, such as a segmentation fault in a simulator, say in which line of Python it was."""
    asked = sys.flags.dev_mode or "PYTHONFAULTHANDLER" in os.environ
    if faulthandler.is_enabled() and not asked:  # by somebody who has chosen the place
        yield
        return
    faulthandler.enable(errors, all_threads=False)
    try:
        yield
    finally:
        if asked:
            faulthandler.enable()
        else:
            faulthandler.disable()


class PrintsFolder:
    """Puts the run's folder on standard output as soon as it exists, and leaves the rest to a view."""

    def __init__(self, prints: Prints, view: Observer, given: Path | None = None) -> None:
        """`given` is the path that the command line names: where it is relative, so is what is printed."""
        self._prints = prints
        self._start = None if given is None or given.is_absolute() else Path.cwd()
        self._view = view
        self.ended, self.epoch_ended = view.ended, view.epoch_ended
        self.stopping = partial(tell_stopping, view)

    def started(self, progress: Progress) -> None:
        """Print it, and let the view begin."""
        folder, start = progress.folder, self._start
        shown = folder.relative_to(start) if start is not None and folder.is_relative_to(start) else folder
        print(shown, file=self._prints.output, flush=True)
        self._prints.keep(progress.folder)
        tell_begun(folder)
        if self._prints.log is not None:
            progress.facts["prints"] = f"those of the environments are in {LOG_NAME}, in the folder"
        self._view.started(progress)
        self._prints.part()
