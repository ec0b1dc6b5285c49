"""What state a run is in: running, interrupted, failed, stopped or done.

Its folder says how it ended, its lock that it runs.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from polyak.errors import UsageError
from polyak.run.description import is_text, length_in
from polyak.run.folder import Run
from polyak.system.files import read_plain_file, write_atomically
from polyak.system.locking import in_use

NAME = "ending.json"
"""In a run's folder: how it ended; not there while it runs, nor where it was killed."""
SIZE_LIMIT = 100_000
SHOWN = 500
"""Characters of a reason that are kept."""

Ended = Literal["interrupted", "failed", "stopped", "done"]
State = Literal["running", Ended]
STATES: tuple[State, ...] = ("running", *get_args(Ended))


class Standing(NamedTuple):
    """How a run stands."""

    state: State
    reason: str = ""
    """Why it failed or was stopped, in a line."""


@contextmanager
def ending_kept(folder: Path) -> Generator[None]:
    """Say in a run's folder how this block, which trains, ended."""
    (folder / NAME).unlink(missing_ok=True)
    state, reason = "done", ""
    try:
        yield
    except KeyboardInterrupt:  # a signal's `Interrupted` too
        state = "interrupted"
        raise
    except BaseException as error:
        state, reason = "failed", " ".join(f"{error or type(error).__name__}".split())[:SHOWN]
        raise
    finally:
        _tell(folder, state, reason)


def tell_stopped(folder: Path, reason: str) -> None:
    """Say in the folder of a run that has ended that it was stopped before its time, on purpose, and why."""
    _tell(folder, "stopped", " ".join(reason.split())[:SHOWN])


def _tell(folder: Path, state: str, reason: str) -> None:
    told = "".join(letter if letter.isprintable() else "?" for letter in reason)
    with suppress(OSError):  # a full disk: then the records tell as much as they can
        write_atomically(folder / NAME, (json.dumps({"state": state, "reason": told}) + "\n").encode())


def standing_of(run: Run) -> Standing:
    """How a run stands. Who was killed could not say so, and counts as interrupted.

    Raises:
        UsageError: its settings or metrics cannot be read.
    """
    if in_use(run.folder):
        return Standing("running")
    return _told(run.folder / NAME) or Standing("done" if _has_done_its_steps(run) else "interrupted")


def _told(file: Path) -> Standing | None:
    """What a run's folder says of its end; None where that is nothing, or nothing that makes sense."""
    try:
        found: Any = json.loads(read_plain_file(file, SIZE_LIMIT))
    except (UsageError, ValueError, RecursionError):
        return None
    told = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    state, reason = told.get("state"), told.get("reason", "")
    if state not in get_args(Ended) or not is_text(reason):
        return None
    return Standing(cast(Ended, state), reason[:SHOWN])


def _has_done_its_steps(run: Run) -> bool:
    """Whether its last record is that of its end, where nothing else says so."""
    last, wanted = (run.metrics or [{"step": -1.0}])[-1], run.settings.get("stop_at_return")
    reached = wanted is not None and last.get("eval/return", -float("inf")) >= wanted
    return reached or last["step"] >= length_in(run.settings)
