"""Weights & Biases and MLflow beside `metrics.jsonl`, for those who ask for them.

Where they write to is said by their own environment variables. A tracker that fails ends nothing but itself: training
goes on, and `metrics.jsonl` has everything.
"""

import importlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast, get_args

from polyak.errors import UsageError
from polyak.run.folder import Run
from polyak.run.metrics import Ending, Record, Sink
from polyak.settings.options import Tracker
from polyak.system.files import read_plain_file, write_atomically

NAMES: tuple[Tracker, ...] = get_args(Tracker)
FILE = "tracking.json"
"""In a run's folder: under which identity each tracker knows the run, so that `resume` goes on in the same."""
IDENTITY = re.compile(r"[A-Za-z0-9_-]{1,128}")
TABLES = ("settings", "versions", "machine")
LIMIT = 100_000
"""Bytes of `tracking.json` at most."""


class Tracked(Sink, Protocol):
    """A run in somebody else's records."""

    identity: str
    """By which the run is found again."""
    place: str
    """Where a person finds it, in a few words."""


def require(track: str | Sequence[str]) -> tuple[str, ...]:
    """The trackers asked for, by name, each once.

    Raises:
        UsageError: there is no such tracker, or its package is not installed.
    """
    names = tuple(dict.fromkeys([track] if isinstance(track, str) else track))
    for name in names:
        if name not in NAMES:
            raise UsageError(f"track is {name!r}, but must be among: {', '.join(NAMES)}")
        if find_spec(name) is None:
            raise UsageError(f'track={name!r} needs a package that is not installed: pip install "polyak[{name}]"')
    return names


def track(names: Sequence[str], run: Run) -> tuple[list[Sink], dict[str, str]]:
    """Start the trackers; a run that was tracked before goes on in the same.

    Returns:
        Where records go from now on; and for those who watch the run, where each tracker has it.
    """
    identities, sinks, facts = _identities(run.folder), list[Sink](), dict[str, str]()
    for name in names:
        try:
            module = importlib.import_module(f"polyak.tracking.{name}_run")
            tracker: Tracked = module.track(run, parameters(run.settings), identities.get(name))
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, the run is trained
            _say(f"{name} does not track this run, which goes on without: {_first_line(error)}")
            continue
        sinks.append(Guarded(name, tracker))
        facts[name] = tracker.place
        identities[name] = tracker.identity
    if sinks:
        try:
            write_atomically(run.folder / FILE, (json.dumps(identities) + "\n").encode())
        except OSError as error:
            _say(f"{FILE} cannot be written, so that `polyak resume` will be tracked as another run: {error}")
    return sinks, facts


def parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `settings.json` says, flat: the settings by their own names, besides `seed`, `versions/jax`, ..."""
    flat = {
        name: value
        for name, value in settings.items()
        if name not in (*TABLES, "format", "identity", "begun", "resumed", "track")
    }
    flat |= settings["settings"]
    return flat | {f"{table}/{name}": value for table in TABLES[1:] for name, value in settings[table].items()}


class Guarded:
    """A tracker whose first failure is told, and which gets no more records from then on."""

    def __init__(self, name: str, tracker: Tracked) -> None:
        self._name, self._tracker = name, tracker
        self._failed = False

    def write(self, record: Record) -> None:
        """Pass a record on."""
        if self._failed:
            return
        try:
            self._tracker.write(record)
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, training goes on
            self._tell(error)

    def close(self, ending: Ending) -> None:
        """Say how the run ended, also where a record was refused before."""
        try:
            self._tracker.close(ending)
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, the run has been trained
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._failed:
            _say(f"{self._name} does not track this run any more; it goes on without: {_first_line(error)}")
        self._failed = True


def _identities(folder: Path) -> dict[str, str]:
    """What `tracking.json` holds; nothing where there is none, or none that makes sense."""
    if not (folder / FILE).exists():
        return {}
    try:
        found: Any = json.loads(read_plain_file(folder / FILE, LIMIT))
    except (UsageError, ValueError, RecursionError) as error:
        _say(f"{folder / FILE} cannot be read, so that the run is tracked as a new one: {error}")
        return {}
    known = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    return {name: value for name, value in known.items() if isinstance(value, str) and IDENTITY.fullmatch(value)}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:300] or type(error).__name__


def _say(message: str) -> None:
    sys.stderr.write(f"polyak: {message}\n")
    sys.stderr.flush()
