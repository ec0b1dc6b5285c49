"""A folder of runs: a new one gets its own in it, and all are found again."""

import datetime
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polyak.errors import UsageError
from polyak.run.description import VERSION, stamped, write_settings
from polyak.run.folder import Run


def create(directory: Path, environment: str, algorithm: str, seed: int, settings: Mapping[str, Any]) -> Run:
    """Make the folder of a new run, `DIRECTORY/ENVIRONMENT/ALGORITHM/DATE-TIME-seedN`, and write its settings.

    Raises:
        UsageError: the folder cannot be written.
    """
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in environment)
    time = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    parent = directory / safe / algorithm
    try:
        parent.mkdir(parents=True, exist_ok=True)
        run = Run(_fresh_folder(parent, f"{time}-seed{seed}"))
        write_settings(run.settings_file, {"format": VERSION, "identity": secrets.token_hex(16), **stamped(settings)})
    except OSError as error:
        raise UsageError(
            f"cannot write the run folder below {directory}: {error.strerror or error}; choose another with --run-dir"
        ) from error
    return run


def _fresh_folder(parent: Path, name: str) -> Path:
    """Make a folder that was not there: two runs started in the same second get two."""
    attempt = 1
    while True:
        folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            attempt += 1
        else:
            return folder


def find_runs(directory: Path) -> Iterator[Run]:
    """All runs below a folder, in the order of their paths."""
    if not directory.is_dir():
        raise UsageError(f"there is no folder {directory}")
    for path in sorted(directory.rglob("settings.json")):
        yield Run(path.parent)
