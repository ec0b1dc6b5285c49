"""Observations that environments return, checked by their space before any cast, and made float32 vectors."""

from typing import Any, cast

import numpy as np
from gymnasium import Space, spaces

from polyak.environments.parts import (
    Reader,
    box_reader,
    choices_reader,
    dict_reader,
    part_read,
    reader_of_parts,
    tuple_reader,
)
from polyak.environments.values import Unfit, described
from polyak.types import Float


def reader_of(space: Space[Any]) -> Reader:
    """What makes a float32 vector of this space's observations, in the order of `gymnasium.spaces.flatten`.

    A value that the space's type cannot hold is refused; bounds of a Box are no limit.
    """
    parts = parts_of_space(space)
    if parts is not None:
        return reader_of_parts(parts)
    if isinstance(space, spaces.Dict):
        return dict_reader({key: reader_of(inner) for key, inner in cast(Any, space).spaces.items()})
    if isinstance(space, spaces.Tuple):
        return tuple_reader([reader_of(inner) for inner in cast(Any, space).spaces])
    return _one_of_reader(space) if isinstance(space, spaces.OneOf) else _other_reader(space)


def parts_of_space(space: Space[Any]) -> list[Any] | None:
    """The parts of this space's observations, as `polyak.environments.parts` says them; None where it has no words.

    It has none for spaces that only Gymnasium's own `flatten` knows, and for keys that are no texts of a line.
    """
    known = cast(Any, space)
    if isinstance(space, spaces.Box):
        return ["array", [*map(int, known.shape)], str(known.dtype)]
    if isinstance(space, spaces.MultiBinary):
        return ["array", [*map(int, known.shape)], "bool"]
    if isinstance(space, spaces.Discrete):
        return ["choices", [int(space.n)], [int(space.start)], []]
    if isinstance(space, spaces.MultiDiscrete):
        flat = known.nvec.reshape(-1).tolist(), known.start.reshape(-1).tolist()
        return ["choices", *flat, [*map(int, known.shape)]]
    if isinstance(space, spaces.Dict):
        inner = {key: parts_of_space(each) for key, each in known.spaces.items()}
        whole = all(isinstance(key, str) and key.isprintable() and parts is not None for key, parts in inner.items())
        return ["dict", [[key, parts] for key, parts in inner.items()]] if whole else None
    if isinstance(space, spaces.Tuple):
        several = [parts_of_space(each) for each in known.spaces]
        return None if None in several else ["tuple", several]
    return None


def _one_of_reader(space: Any) -> Reader:
    inner = cast("tuple[Space[Any], ...]", space.spaces)
    which, readers = choices_reader(np.array([len(inner)]), np.array([0]), ()), [*map(reader_of, inner)]
    whole = _other_reader(space)

    def read(value: Any) -> Float:
        if not isinstance(value, (tuple, list)) or len(cast("list[Any]", value)) != 2:
            raise Unfit(f"{described(value)}; right is a tuple of the space's number and its value")
        chosen, sample = cast("list[Any]", value)
        index = int(np.argmax(part_read("[0]", which, chosen)))
        part_read("[1]", readers[index], sample)
        return whole((index, sample))

    return read


def _other_reader(space: Space[Any]) -> Reader:
    """Of a space that only Gymnasium's own `flatten` knows."""
    size = spaces.flatdim(space)

    def read(value: Any) -> Float:
        try:
            flat = spaces.flatten(space, value)
        except Exception as error:  # whatever a stranger's space or value raises
            raise Unfit(f"{described(value)}, which is not in {space} ({type(error).__name__}: {error})") from error
        return box_reader((size,), np.dtype(np.float64))(flat)

    return read
