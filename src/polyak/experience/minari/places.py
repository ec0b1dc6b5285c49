"""Where a dataset is, and how its files are called."""

import os
import re
from pathlib import Path
from typing import Any

from polyak.errors import UsageError

DATA, METADATA, EPISODES = "data", "metadata.json", "main_data.hdf5"
ID = re.compile(r"(?:[-_\w]+/)*[-_\w]+-v[0-9]+")
"""What a dataset may be called, as in D4RL/door/human-v2."""
ROOT = "MINARI_DATASETS_PATH"
"""The variable that says where Minari keeps its datasets."""


def require(given: str) -> None:
    """Check that there is such a dataset, and what reads it; errors as for `folder_of`."""
    folder_of(given)
    hdf5()


def folder_of(given: str) -> Path:
    """The folder with the data of a dataset, by the path of the dataset or by its id.

    Raises:
        UsageError: there is none; the message says how one is brought here.
    """
    for folder in (Path(given), Path(given, DATA)):
        if (folder / METADATA).is_file():
            return folder
    if os.path.lexists(given):
        raise UsageError(
            f"demonstrations is {given}, which is neither a run nor a Minari dataset: it has no {DATA}/{METADATA}"
        )
    if ID.fullmatch(given) is None:
        raise UsageError(f"demonstrations is {given!r:.200}, which is neither a path nor the id of a Minari dataset")
    folder = root() / given / DATA
    if not (folder / METADATA).is_file():
        raise UsageError(
            f"demonstrations is {given}, but there is no such path, and the Minari dataset of that name is not on this "
            f'machine (in {folder.parent}): `minari download {given}` brings it (pip install "minari[hf]")'
        )
    return folder


def root() -> Path:
    """Where Minari keeps its datasets."""
    return Path(os.environ.get(ROOT) or Path.home() / ".minari" / "datasets")


def hdf5() -> Any:
    """The library that reads and writes such files, h5py."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError('a Minari dataset needs h5py, which is not installed: pip install "polyak[minari]"') from error
    return h5py
