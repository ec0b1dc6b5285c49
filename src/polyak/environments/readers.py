"""Observations that environments return, checked by their space before any cast, and made float32 vectors."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from polyak.environments.values import NUMBERS, Unfit, array_of, described
from polyak.types import Float

Reader = Callable[[Any], Float]
"""Makes a float32 vector of an observation, in memory of its own; raises `Unfit`."""

FLOAT32 = np.dtype(np.float32)


def reader_of(space: Space[Any]) -> Reader:
    """What makes a float32 vector of this space's observations, in the order of `gymnasium.spaces.flatten`.

    A value that the space's type cannot hold is refused; bounds of a Box are no limit.
    """
    if isinstance(space, spaces.Box):
        return box_reader(space.shape, cast(Any, space).dtype)
    if isinstance(space, spaces.MultiBinary):
        return box_reader(space.shape, np.dtype(np.bool_), "zeros and ones")
    if isinstance(space, spaces.Discrete):
        return _choices_reader(np.array([space.n]), np.array([space.start]), ())
    if isinstance(space, spaces.MultiDiscrete):
        several = cast(Any, space)
        return _choices_reader(several.nvec.reshape(-1), several.start.reshape(-1), several.shape)
    if isinstance(space, spaces.Dict):
        return _dict_reader({key: reader_of(inner) for key, inner in cast(Any, space).spaces.items()})
    if isinstance(space, spaces.Tuple):
        return _tuple_reader([reader_of(inner) for inner in cast(Any, space).spaces])
    if isinstance(space, spaces.OneOf):
        return _one_of_reader(space)
    return _other_reader(space)


def box_reader(shape: tuple[int, ...], dtype: Any, numbers: str = "numbers") -> Reader:
    """What reads arrays of this shape; where `dtype` is one of whole numbers, only such as it can hold."""
    right = f"an array of numbers of shape {shape}" if shape else "a number"
    whole = None if dtype.kind == "f" else dtype
    shapes = (shape, (1,)) if shape == () else (shape,)

    def read(value: Any) -> Float:
        array: Any = value if type(value) is np.ndarray and value.dtype.kind in NUMBERS else array_of(value, right)
        if array.shape not in shapes:
            raise Unfit(f"{described(value)}; right is {right}")
        if whole is not None and array.dtype != whole:
            _require_held(array, whole, numbers)
        if array.dtype == FLOAT32:
            return array.flatten()
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused as such
            return array.astype(np.float32).reshape(-1)

    return read


def _require_held(array: NDArray[Any], dtype: Any, numbers: str) -> None:
    with np.errstate(invalid="ignore"):  # not a number, infinite, beyond int64: not equal afterwards
        lost = np.flatnonzero(array.astype(dtype).reshape(-1) != array.reshape(-1))
    if len(lost):
        held = numbers if dtype.kind == "b" else f"{numbers} that the space's {dtype} can hold"
        raise Unfit(f"{array.reshape(-1)[lost[0]]} at place {lost[0]}; right are {held}")


def _choices_reader(counts: NDArray[Any], starts: NDArray[Any], shape: tuple[int, ...]) -> Reader:
    """Of whole numbers, each one of so many from a start on: a one for what was chosen, zeros for what was not."""
    first = np.cumsum(counts) - counts
    size, read = int(counts.sum()), box_reader(shape, np.dtype(np.int64), "whole numbers")

    def choices(value: Any) -> Float:
        read(value)  # refuses fractions and wrong shapes
        chosen = np.asarray(value).reshape(-1).astype(np.int64) - starts
        wrong = np.flatnonzero((chosen < 0) | (chosen >= counts))
        if len(wrong):
            low, place = int(starts[wrong[0]]), f" at place {wrong[0]}" if shape else ""
            high = low + int(counts[wrong[0]]) - 1
            raise Unfit(
                f"{int(chosen[wrong[0]]) + low}{place}; right is one of the {counts[wrong[0]]} numbers {low} to {high}"
            )
        vector = np.zeros(size, np.float32)
        vector[first + chosen] = 1.0
        return vector

    return choices


def _dict_reader(readers: dict[str, Reader]) -> Reader:
    def read(value: Any) -> Float:
        parts: list[Float] = []
        for key, inner in readers.items():
            try:
                part = value[key]
            except Exception as error:  # whatever a stranger's type says to a key
                raise Unfit(f"{described(value)}, which has no {key!r}; right is a dict with {[*readers]}") from error
            parts.append(_inner(f"[{key!r}]", inner, part))
        return np.concatenate(parts)

    return read


def _tuple_reader(readers: list[Reader]) -> Reader:
    def read(value: Any) -> Float:
        try:
            parts = list(value)
        except TypeError as error:
            raise Unfit(f"{described(value)}; right is a tuple of {len(readers)}") from error
        if len(parts) != len(readers):
            raise Unfit(f"a {type(value).__name__} of {len(parts)}; right is a tuple of {len(readers)}")
        return np.concatenate(
            [_inner(f"[{place}]", inner, part) for place, (inner, part) in enumerate(zip(readers, parts, strict=True))]
        )

    return read


def _one_of_reader(space: Any) -> Reader:
    inner = cast("tuple[Space[Any], ...]", space.spaces)
    which, readers = _choices_reader(np.array([len(inner)]), np.array([0]), ()), [*map(reader_of, inner)]
    whole = _other_reader(space)

    def read(value: Any) -> Float:
        if not isinstance(value, (tuple, list)) or len(cast("list[Any]", value)) != 2:
            raise Unfit(f"{described(value)}; right is a tuple of the space's number and its value")
        chosen, sample = cast("list[Any]", value)
        index = int(np.argmax(_inner("[0]", which, chosen)))
        _inner("[1]", readers[index], sample)
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


def _inner(where: str, read: Reader, part: Any) -> Float:
    try:
        return read(part)
    except Unfit as error:
        raise Unfit(f"in its part {where}: {error}") from error
