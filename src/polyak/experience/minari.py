"""Minari's datasets: their HDF5 files, read and written without Minari; `minari.load_dataset` reads them as well.

A dataset is a folder, NAME-vN/data, with metadata.json (the spaces among others) and main_data.hdf5: a group for each
episode, `episode_0`, ..., of T actions, rewards, terminations and truncations, and T + 1 observations, by name where
these have parts.

Read is data alone. Minari itself makes the environment that a dataset names where it tells no spaces, which runs
whatever code is named there; and HDF5 follows links into other files. Neither is done here.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np

from polyak.environments.values import NUMBERS, Unfit
from polyak.errors import UsageError
from polyak.experience.datasets import fitting, replay_of, require_memory, vectors
from polyak.experience.replay import Replay
from polyak.system.files import read_plain_file
from polyak.types import Float, Spec, Transitions

DATA, METADATA, EPISODES = "data", "metadata.json", "main_data.hdf5"
METADATA_LIMIT = 16_000_000
"""Bytes of the metadata at most."""
ID = re.compile(r"(?:[-_\w]+/)*[-_\w]+-v[0-9]+")
"""What a dataset may be called, as in D4RL/door/human-v2."""
ROOT = "MINARI_DATASETS_PATH"
"""The variable that says where Minari keeps its datasets."""
VERSION = "0.5.4"
"""Of Minari, whose format is written."""


# Found


def require(given: str) -> None:
    """Check that there is such a dataset, and what reads it; errors as for `folder_of`."""
    folder_of(given)
    _h5py()


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


# Read


def demonstrations(given: str, spec: Spec) -> Replay:
    """The transitions of a dataset, episode by episode.

    Raises:
        UsageError: there is no such dataset, it is of another environment, or damaged, or does not fit into memory.
    """
    folder = folder_of(given)
    file, told = folder / EPISODES, _metadata(folder)
    _require_hdf5(given, told)
    _require_bounds(given, told, spec)
    if not file.is_file() or file.is_symlink():
        raise UsageError(f"demonstrations: {file} is missing, or no plain file")
    h5py = _h5py()
    try:
        with h5py.File(file, "r", locking=False) as opened:
            source = _Source(h5py, str(given), opened, spec)
            lengths = source.lengths()
            require_memory(given, sum(lengths), spec)
            return replay_of(given, sum(lengths), source.pieces(lengths), spec)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"demonstrations: {file} cannot be read: {str(error) or type(error).__name__:.200}") from error


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise UsageError('a Minari dataset needs h5py, which is not installed: pip install "polyak[minari]"') from error
    return h5py


def _metadata(folder: Path) -> Mapping[str, Any]:
    path = folder / METADATA
    try:
        found: Any = json.loads(read_plain_file(path, METADATA_LIMIT))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"demonstrations: {path} cannot be read: {str(error)[:100]}") from error
    if not isinstance(found, dict):
        raise UsageError(f"demonstrations: {path} is not the metadata of a Minari dataset")
    return cast(dict[str, Any], found)


def _require_hdf5(given: str, told: Mapping[str, Any]) -> None:
    kind = told.get("data_format", "hdf5")
    if kind != "hdf5":
        raise UsageError(
            f"demonstrations: {given} is kept as {str(kind)[:20]}, but polyak reads hdf5, which is Minari's default: "
            "read its episodes with Minari, and give them as arrays in Python"
        )


def _require_bounds(given: str, told: Mapping[str, Any], spec: Spec) -> None:
    """Check that the actions' space is that of the environment: else the same numbers would be other actions."""
    if "action_space" not in told:
        return
    try:
        space = json.loads(told["action_space"])
        kind = space["type"]
        low, high = (np.array(space.get(name, []), np.float32).reshape(-1) for name in ("low", "high"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"demonstrations: the action space of {given} cannot be read") from error
    ours = (spec.action_low, spec.action_high)
    if kind != "Box" or any(np.shape(its) != np.shape(our) for its, our in zip((low, high), ours, strict=True)):
        raise UsageError(
            f"demonstrations: the actions of {given} are a {str(kind)[:20]} of {len(low)} numbers, but the environment "
            f"takes {spec.action_size}"
        )
    if not all(np.allclose(its, our, rtol=1e-5, atol=1e-6) for its, our in zip((low, high), ours, strict=True)):
        raise UsageError(
            f"demonstrations: the actions of {given} are from {_shown(low)} to {_shown(high)}, but the environment's "
            f"from {_shown(ours[0])} to {_shown(ours[1])}: they mean something else there"
        )


def _shown(bounds: Any) -> str:
    return np.array2string(np.asarray(bounds), precision=4, threshold=6, separator=", ")


class _Source:
    """The episodes in an open file."""

    def __init__(self, h5py: Any, given: str, file: Any, spec: Spec) -> None:
        self._h5py, self._given, self._file, self._spec = h5py, given, file, spec
        self._parts = spec.observation_parts or ["array", [*spec.observation_shape], "float32"]

    def lengths(self) -> list[int]:
        """Steps of each episode, as the file says; nothing is read."""
        found: list[int] = []
        for number in range(len(self._file)):
            shape = self._array(self._node(self._file, f"episode_{number}"), "rewards").shape
            if len(shape) != 1:
                raise UsageError(f"demonstrations: {self._given}: episode {number} has rewards of shape {[*shape]}")
            found.append(shape[0])
        return found

    def pieces(self, lengths: Sequence[int]) -> Iterator[Transitions]:
        """The transitions of each episode."""
        first = 0
        for number, length in enumerate(lengths):
            if length:
                yield self._episode(number, length, first)
            first += length

    def _episode(self, number: int, length: int, first: int) -> Transitions:
        where = f"{self._given}, episode {number}"
        group = self._node(self._file, f"episode_{number}")
        try:
            shown = vectors(self._parts, self._observations(group, "observations", self._parts, length + 1), length + 1)
        except Unfit as error:
            raise UsageError(f"demonstrations: {where}: observations have {error}") from error
        columns = {
            "observation": shown[:-1],
            "next_observation": shown[1:],
            "action": self._read(group, "actions", (length, *self._spec.action_shape)),
            "reward": self._read(group, "rewards", (length,)),
            "terminated": self._read(group, "terminations", (length,)),
            "truncated": self._read(group, "truncations", (length,)),
        }
        return fitting(where, columns, self._spec, flat=True, first=first, episode=number)

    def _observations(self, group: Any, name: str, parts: Any, rows: int) -> Any:
        """What the environment shows, by its own parts: each an array with a row an observation."""
        match parts:
            case ["dict", pairs]:
                inner = self._node(group, name)
                lacks = [key for key, _ in pairs if key not in inner]
                if lacks:
                    raise Unfit(f"the parts {[*inner]!s:.100}, but no {lacks[0]!r}, which the environment shows")
                return {key: self._observations(inner, key, each, rows) for key, each in pairs}
            case ["tuple", several]:
                inner = self._node(group, name)
                return tuple(self._observations(inner, f"_index_{at}", each, rows) for at, each in enumerate(several))
            case ["array", shape, _] | ["choices", _, _, shape]:
                return self._read(group, name, (rows, *shape))
            case _:
                raise Unfit(f"parts that are not known: {parts!s:.60}")

    def _read(self, group: Any, name: str, shape: tuple[int, ...]) -> Any:
        """An array of this shape, which is compared before any of it is read."""
        array = self._array(group, name)
        if array.shape not in (shape, (*shape, 1)):
            where = f"{self._given}, {str(group.name)[1:].replace('_', ' ', 1)}"
            raise UsageError(
                f"demonstrations: {where}: {name} has the shape {[*array.shape]}, but the environment's is {[*shape]}"
            )
        return array[()]

    def _array(self, group: Any, name: str) -> Any:
        """A dataset that is in this very file, and holds numbers."""
        array = self._child(group, name)
        if not isinstance(array, self._h5py.Dataset):
            raise UsageError(
                f"demonstrations: {self._given}: {group.name}/{name} is no array; the environment shows one"
            )
        if array.dtype.kind not in NUMBERS or array.dtype.subdtype is not None:
            raise UsageError(f"demonstrations: {self._given}: {array.name} holds {array.dtype}, and no numbers")
        if array.is_virtual or array.external:
            raise UsageError(f"demonstrations: {self._given}: {array.name} is in another file, which is not followed")
        return array

    def _node(self, group: Any, name: str) -> Any:
        node = self._child(group, name)
        if not isinstance(node, self._h5py.Group):
            raise UsageError(
                f"demonstrations: {self._given}: {node.name} is an array; the environment shows parts by name"
            )
        return node

    def _child(self, group: Any, name: str) -> Any:
        link = group.get(name, getlink=True)
        if link is None:
            raise UsageError(f"demonstrations: {self._given}: {group.name} has no {name}")
        if not isinstance(link, self._h5py.HardLink):
            raise UsageError(f"demonstrations: {self._given}: {group.name}/{name} is a link, which is not followed")
        return group[name]


# Written


def require_place(path: Path) -> None:
    """Check that a dataset can be written there.

    Raises:
        UsageError: something is there, or the name is none of a dataset.
    """
    if ID.fullmatch(path.name) is None:
        raise UsageError(
            f"a Minari dataset cannot be called {path.name!r:.100}: a name is of letters, digits, - and _, and ends in "
            "a version, as my-data-v0"
        )
    if os.path.lexists(path):
        raise UsageError(f"there is something at {path} already: choose another name, such as its next version")
    _h5py()


def write(path: Path, episodes: Sequence[Transitions], spec: Spec, facts: Mapping[str, Any]) -> None:
    """Write a dataset of these episodes, each in its order; `facts` go into its metadata.

    It is made beside its place and put there whole. Observations and actions are as the environment has them.

    Raises:
        UsageError: it cannot be written.
    """
    require_place(path)
    parts = spec.observation_parts or ["array", [*spec.observation_shape], "float32"]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        (temporary / DATA).mkdir(parents=True)
        with _h5py().File(temporary / DATA / EPISODES, "x", track_order=True) as file:
            for number, episode in enumerate(episodes):
                _write_episode(file.create_group(f"episode_{number}"), number, episode, spec, parts)
        size = (temporary / DATA / EPISODES).stat().st_size
        told = {
            "total_episodes": len(episodes),
            "total_steps": sum(len(episode.reward) for episode in episodes),
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "observation_space": json.dumps(_space_of(parts)),
            "action_space": json.dumps(_box(spec.action_shape, spec.action_low, spec.action_high)),
            "dataset_id": _id_of(path),
            "minari_version": VERSION,
            "dataset_size": round(size / 1e6, 1),
            **facts,
        }
        (temporary / DATA / METADATA).write_text(json.dumps(told, indent=1), encoding="utf-8")
        temporary.rename(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _removed(temporary)


def _removed(folder: Path) -> None:
    for name in (EPISODES, METADATA):
        with suppress(OSError):
            (folder / DATA / name).unlink()
    for each in (folder / DATA, folder):
        with suppress(OSError):
            each.rmdir()


def _id_of(path: Path) -> str:
    """As Minari finds it: below its own folder by the whole path, elsewhere by the name."""
    place = path.absolute()
    below = place.is_relative_to(root().absolute())
    return place.relative_to(root().absolute()).as_posix() if below else place.name


def _write_episode(group: Any, number: int, episode: Transitions, spec: Spec, parts: Any) -> None:
    shown = np.concatenate([episode.observation, episode.next_observation[-1:]])
    group.attrs["id"], group.attrs["total_steps"] = number, len(episode.reward)
    _write_observations(group, "observations", shown, parts)
    action = spec.to_environment(episode.action).reshape(-1, *spec.action_shape)
    truncated = episode.truncated.copy()
    truncated[-1] |= not episode.terminated[-1]  # an episode that still ran, or was given up, as Minari marks it
    for name, column in (
        ("actions", action),
        ("rewards", episode.reward),
        ("terminations", episode.terminated),
        ("truncations", truncated),
    ):
        group.create_dataset(name, data=column)


def _write_observations(group: Any, name: str, shown: Float, parts: Any) -> None:
    """The columns of `shown` [n, O], by their parts."""
    match parts:
        case ["dict", pairs]:
            _write_parts(group.create_group(name), [key for key, _ in pairs], [each for _, each in pairs], shown)
        case ["tuple", several]:
            _write_parts(group.create_group(name), [f"_index_{at}" for at in range(len(several))], several, shown)
        case ["choices", counts, firsts, shape]:
            ends = np.cumsum(counts)
            chosen = [shown[:, end - count : end].argmax(axis=1) for count, end in zip(counts, ends, strict=True)]
            numbers = np.stack(chosen, axis=1) + np.array(firsts, np.int64)
            group.create_dataset(name, data=numbers.reshape(-1, *shape))
        case [_, shape, *_]:
            group.create_dataset(name, data=shown.reshape(-1, *shape))
        case _:
            raise ValueError(f"{parts!s:.60} are no parts of an observation")


def _write_parts(group: Any, names: Sequence[str], several: Sequence[Any], shown: Float) -> None:
    from polyak.environments.parts import size_of

    at = 0
    for name, parts in zip(names, several, strict=True):
        size = size_of(parts)
        _write_observations(group, name, shown[:, at : at + size], parts)
        at += size


def _space_of(parts: Any) -> dict[str, Any]:
    """A space as Minari writes it; bounds are not known, and those of a Box are infinite."""
    match parts:
        case ["dict", pairs]:
            return {"type": "Dict", "subspaces": {key: _space_of(each) for key, each in pairs}}
        case ["tuple", several]:
            return {"type": "Tuple", "subspaces": [*map(_space_of, several)]}
        case ["choices", [count], [start], []]:
            return {"type": "Discrete", "dtype": "int64", "start": start, "n": count}
        case ["choices", counts, firsts, shape]:
            starts, sizes = (np.array(each).reshape(shape).tolist() for each in (firsts, counts))
            return {"type": "MultiDiscrete", "dtype": "int64", "nvec": sizes, "start": starts}
        case [_, shape, *_]:
            return _box(shape, np.full(shape, -np.inf), np.full(shape, np.inf))
        case _:
            raise ValueError(f"{parts!s:.60} are no parts of an observation")


def _box(shape: Sequence[int], low: Any, high: Any) -> dict[str, Any]:
    bounds = {
        name: np.asarray(each, np.float32).reshape(shape).tolist() for name, each in (("low", low), ("high", high))
    }
    return {"type": "Box", "dtype": "float32", "shape": [*shape], **bounds}
