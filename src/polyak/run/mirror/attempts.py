"""Who may write to a run's mirror: attempts are numbered, and only the newest one writes.

An attempt is a file at the mirror, which is made and never changed. As safe as the store: where it makes a file for one
alone (a folder, S3, memory), two who ask at once get two numbers; elsewhere both may get one, and whose mark is not in
the file any more stops at its next checkpoint.
"""

import datetime
import json
import os
import re
import secrets
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from polyak.errors import ReplacedError, UnreadableError, UsageError
from polyak.run.description import is_text
from polyak.system.stores.store import Store, read

FOLDER = "attempts"
NAME = re.compile(rf"{FOLDER}/attempt-([0-9]{{6,9}})\.json", re.ASCII)
LIMIT = 10_000
"""Bytes of such a file at most."""
TRIES = 20
"""Others who take the same number in the same moments."""
SHOWN = 100


class Attempt(NamedTuple):
    """One who writes, or wrote."""

    number: int
    mark: str
    """By which it knows its file again."""

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{FOLDER}/attempt-{self.number:06}.json"


def newest(names: Iterable[str]) -> int:
    """The number of the newest attempt among a mirror's files; 0 where there is none."""
    return max((int(found[1]) for name in names if (found := NAME.fullmatch(name))), default=0)


def take_over(store: Store, identity: str) -> Attempt:
    """Be the newest attempt at a run's mirror from now on.

    Raises:
        UsageError: others do the same all the time, or the store does not answer.
    """
    for _ in range(TRIES):
        attempt = Attempt(1 + newest(store.files()), secrets.token_hex(16))
        told = {
            "run": identity,
            "mark": attempt.mark,
            "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "by": f"process {os.getpid()} on {socket.gethostname()}",
        }
        if store.create(attempt.name, (json.dumps(told) + "\n").encode()):
            return attempt
    raise UsageError(f"{store.shown} is being taken over by others again and again: see who goes on with this run")


def require_newest(store: Store, attempt: Attempt) -> None:
    """Check that nobody has taken over since.

    Raises:
        ReplacedError: somebody has; the message says who.
        UsageError: the store does not answer.
    """
    number = newest(store.files())
    found = _told(store, attempt._replace(number=max(number, 1)))
    if number == attempt.number and found.get("mark") == attempt.mark:
        return
    who = ", ".join(str(text) for text in (found.get("by"), found.get("begun")) if is_text(text))[:SHOWN]
    raise ReplacedError(
        f"attempt {number} goes on with this run at {store.shown}{f' ({who})' if who else ''}: this one, attempt "
        f"{attempt.number}, stops, and writes no more there"
    )


def identity_at(store: Store, names: Iterable[str]) -> str | None:
    """Which run a mirror is of, as its newest attempt says; None where there is none."""
    number = newest(names)
    return None if number == 0 else str(_told(store, Attempt(number, "")).get("run"))


def _told(store: Store, attempt: Attempt) -> dict[str, Any]:
    try:
        found: Any = json.loads(read(store, attempt.name, LIMIT))
    except (UnreadableError, ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
