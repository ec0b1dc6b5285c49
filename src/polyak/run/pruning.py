"""Runs that hold nothing: found, and removed."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from polyak.errors import UsageError
from polyak.run.checkpoints import manifest
from polyak.run.folder import Run
from polyak.run.states import NAME as ENDING
from polyak.system.locking import in_use, locked
from polyak.system.prints import LOG_NAME

BARE = ("settings.json", "metrics.jsonl", "tensorboard", "checkpoints", ".lock", ENDING, LOG_NAME, "train.log")
"""What a run's folder has before it holds anything; whatever else is in it may be somebody's."""


def holds_nothing(run: Run) -> bool:
    """Whether nothing was trained in a run and nobody has put anything into its folder; never one that is running.

    Raises:
        UsageError: it cannot be read.
    """
    return _is_bare(run) and not in_use(run.folder)


def prune(runs: Iterable[Run], below: Path) -> list[Run]:
    """Remove runs that hold nothing, and the folders above them that are empty then; those that were removed.

    Each is looked at once more under its lock: one that somebody has gone on with meanwhile stays.
    """
    removed: list[Run] = []
    for run in runs:
        with suppress(UsageError), locked(run.folder):
            if _is_bare(Run(run.folder)):
                shutil.rmtree(run.folder)
                removed.append(run)
        with suppress(OSError):  # something is there
            for each in run.folder.parents:
                if each != below and each.is_relative_to(below):
                    each.rmdir()
    return removed


def _is_bare(run: Run) -> bool:
    _ = run.settings
    entries = list(run.folder.iterdir())
    ours = all(each.name in BARE and not each.is_symlink() for each in entries)
    return ours and not run.metrics and _trained(run) == 0


def _trained(run: Run) -> int:
    """Steps of its newest checkpoint.

    Raises:
        UsageError: one cannot be read, and may hold something.
    """
    files = run.checkpoints.iterdir() if run.checkpoints.is_dir() else ()
    return max((manifest.read(each).step for each in files if manifest.MANIFEST_NAME.fullmatch(each.name)), default=0)
