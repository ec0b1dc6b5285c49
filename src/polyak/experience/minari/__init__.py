"""Minari's datasets: their HDF5 files, read and written without Minari; `minari.load_dataset` reads them as well.

A dataset is a folder, NAME-vN/data, with metadata.json (the spaces among others) and main_data.hdf5: a group for each
episode, `episode_0`, ..., of T actions, rewards, terminations and truncations, and T + 1 observations, by name where
these have parts.

Read is data alone. Minari itself makes the environment that a dataset names where it tells no spaces, which runs
whatever code is named there; and HDF5 follows links into other files. Neither is done here.
"""

from polyak.experience.minari.places import require
from polyak.experience.minari.reading import demonstrations
from polyak.experience.minari.writing import require_place, write

__all__ = ["demonstrations", "require", "require_place", "write"]
