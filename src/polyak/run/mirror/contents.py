"""What of a run's folder its mirror has beside the checkpoints: by names that lead nowhere else."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from polyak.run.checkpoints import manifest
from polyak.run.folder import WRITTEN

CHECKPOINTS = "checkpoints"
LEFT_OUT = (CHECKPOINTS, "wandb", "mlflow", "mlruns")
"""Checkpoints have an order of their own; what trackers keep for themselves has places of its own."""
BESIDE = re.compile(
    rf"({'|'.join(re.escape(name) for name in WRITTEN if name not in LEFT_OUT)})(/[^\W_][\w+.=@-]{{0,199}}){{0,3}}"
)
"""What lies beside the checkpoints: WRITTEN, and what is in folders of that name."""
LARGEST = 500_000_000
"""Bytes of such a file; a longer one stays where it is."""
MOST = 10_000
"""Files of that kind."""


def beside(folder: Path) -> dict[str, Path]:
    """The files of a run's folder that go to its mirror beside the checkpoints, by name; no link is followed."""
    found: dict[str, Path] = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            name = path.relative_to(folder).as_posix()
            if BESIDE.fullmatch(name) and path.is_file() and not path.is_symlink() and len(found) < MOST:
                found[name] = path
    return found


def is_beside(name: str, size: int) -> bool:
    """Whether a file at a mirror is one of those."""
    return BESIDE.fullmatch(name) is not None and size <= LARGEST


def manifests_among(there: Iterable[str]) -> list[str]:
    """The names of the manifests among a mirror's files, the newest first."""
    start = f"{CHECKPOINTS}/"
    found = (name for name in there if name.startswith(start))
    return sorted(
        (name for name in found if manifest.MANIFEST_NAME.fullmatch(name.removeprefix(start))),
        key=serial_of,
        reverse=True,
    )


def serial_of(name: str) -> int:
    """The number of a manifest of this name."""
    return int(re.findall("[0-9]+", name)[-1])


def is_of_checkpoints(name: str) -> bool:
    """Whether a file at a mirror belongs to a checkpoint."""
    folder, _, own = name.partition("/")
    ours = manifest.FILE_NAME.fullmatch(own) or manifest.MANIFEST_NAME.fullmatch(own)
    return folder == CHECKPOINTS and ours is not None
