"""The transitions of a dataset.

Read is data alone: no environment is made, and no link is followed into another file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from polyak.environments.values import NUMBERS, Unfit
from polyak.errors import UsageError
from polyak.experience.datasets import fitting, replay_of, require_memory, vectors
from polyak.experience.minari.places import EPISODES, METADATA, folder_of, hdf5
from polyak.experience.replay import Replay
from polyak.system.files import read_plain_file
from polyak.types import Spec, Transitions

METADATA_LIMIT = 16_000_000
"""Bytes of the metadata at most."""


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
    h5py = hdf5()
    try:
        with h5py.File(file, "r", locking=False) as opened:
            source = _Source(h5py, str(given), opened, spec)
            lengths = source.lengths()
            require_memory(given, sum(lengths), spec)
            return replay_of(given, sum(lengths), source.pieces(lengths), spec)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"demonstrations: {file} cannot be read: {str(error) or type(error).__name__:.200}") from error


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
