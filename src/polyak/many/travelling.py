"""What of the folder where one stands travels to the nodes of a cluster that is joined."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polyak.errors import UsageError
from polyak.system.memory import readable_bytes

MOST_BYTES = 400 * 1024**2
"""Of files; Ray takes 500 MiB in one package."""
STAYS = ("runs", "wandb", "mlruns", "MUJOCO_LOG.TXT")
"""What is never imported, by name."""
RAY_LEAVES_OUT = (".git", ".venv", "venv", "__pycache__")
IGNORING = (".gitignore", ".rayignore")


def travelling(folder: Path) -> dict[str, Any]:
    """Ray's `runtime_env` by which a folder is where the workers of a cluster stand.

    Raises:
        UsageError: there is more in it than travels.
    """
    left_out, size = [*STAYS], 0
    heeds_more = any((folder / name).exists() for name in IGNORING)
    for place, folders, files in os.walk(folder):
        here = Path(place)
        runs = [each for each in folders if _is_run(here / each)]
        left_out += [f"/{_escaped((here / each).relative_to(folder).as_posix())}" for each in runs]
        folders[:] = [each for each in folders if each not in (*STAYS, *RAY_LEAVES_OUT, *runs)]
        size += sum(_sizes(here, files))
        if size > MOST_BYTES and not heeds_more:  # else Ray finds out, which reads the ignore files
            raise UsageError(too_large(folder))
    return {"working_dir": str(folder), "excludes": left_out}


def _is_run(folder: Path) -> bool:
    return (folder / "settings.json").exists() and (folder / "metrics.jsonl").exists()


def _sizes(folder: Path, names: list[str]) -> Iterator[int]:
    for name in names:
        try:
            yield (folder / name).stat().st_size
        except OSError:  # a link that leads nowhere, or gone since
            continue


def _escaped(path: str) -> str:
    """A path as a line of .gitignore takes it literally."""
    return re.sub(r"([*?\[\]!#\\ ])", r"\\\1", path)


def too_large(folder: Path) -> str:
    """What to do about a folder that cannot travel."""
    return (
        f"{folder} has more than the {readable_bytes(MOST_BYTES)} that travel to the nodes of a cluster: run the "
        "command where only what your environment needs lies, or name what is to stay here in .rayignore"
    )
