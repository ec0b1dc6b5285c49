"""An observation by the parts that it has, in NumPy alone: a policy's file keeps them, so that a policy reads it too.

Parts are plain data: `["array", shape, type]`, `["choices", counts, firsts, shape]` (each number one of so many, from a
first on), `["dict", [[key, parts], ...]]`, `["tuple", [parts, ...]]`. An observation becomes a float32 vector in the
order of `gymnasium.spaces.flatten`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from polyak.environments.values import NUMBERS, Unfit, array_of, described
from polyak.types import Float

Reader = Callable[[Any], Float]
"""Makes a float32 vector of an observation, in memory of its own; raises `Unfit`."""

FLOAT32 = np.dtype(np.float32)
LARGEST = 2**31
"""Numbers in a part are fewer."""
FIRST = 2**62
"""What a choice begins at is nearer to zero."""


def reader_of_parts(parts: Any) -> Reader:
    """What makes a vector of an observation that has these parts.

    Raises:
        ValueError, TypeError, RecursionError: these are no parts.
    """
    match parts:
        case ["array", shape, str(kind)]:
            dtype = np.dtype(kind)
            if dtype.kind in NUMBERS:
                return box_reader(_numbers(shape, 0, LARGEST), dtype)
        case ["choices", counts, firsts, shape]:
            sizes, starts = _numbers(counts, 1, LARGEST), _numbers(firsts, -FIRST, FIRST)
            axes = _numbers(shape, 0, LARGEST)
            if len(sizes) == len(starts) == math.prod(axes):
                return choices_reader(np.array(sizes, np.int64), np.array(starts, np.int64), axes)
        case ["dict", [*pairs]]:
            return dict_reader({_key(key): reader_of_parts(inner) for key, inner in pairs})
        case ["tuple", [*several]]:
            return tuple_reader([reader_of_parts(inner) for inner in several])
        case _:
            pass
    raise ValueError(f"{str(parts)[:60]!r} are no parts of an observation")


def size_of(parts: Any) -> int:
    """O: the length of the vector."""
    match parts:
        case ["array", shape, _]:
            return math.prod(shape)
        case ["choices", counts, _, _]:
            return sum(counts)
        case ["dict", pairs]:
            return sum(size_of(inner) for _, inner in pairs)
        case [_, several]:
            return sum(map(size_of, several))
        case _:
            raise ValueError(f"{str(parts)[:60]!r} are no parts of an observation")


def count_in(parts: Any, value: Any) -> int | None:
    """N of N observations whose parts have a leading axis, as vector environments give them; None of a single one."""
    match parts:
        case ["dict", [[key, inner], *_]]:
            return count_in(inner, value[key]) if isinstance(value, dict) and key in value else None
        case ["tuple", [inner, *_]]:
            several = cast("tuple[Any, ...]", value)
            return count_in(inner, several[0]) if isinstance(value, tuple) and several else None
        case ["array", shape, _] | ["choices", _, _, shape]:
            found = np.shape(value)
            return found[0] if len(found) == len(shape) + 1 else None
        case _:
            return None


def rows_of(parts: Any, value: Any, count: int) -> list[Any]:
    """Each of N observations whose parts have a leading axis.

    Raises:
        Unfit: a part has none of N.
    """
    match parts:
        case ["dict", pairs]:
            columns = {key: rows_of(inner, value[key], count) for key, inner in pairs}
            return [{key: column[index] for key, column in columns.items()} for index in range(count)]
        case ["tuple", several]:
            inner_rows = [rows_of(inner, part, count) for inner, part in zip(several, value, strict=True)]
            return [*zip(*inner_rows, strict=True)]
        case _:
            if np.shape(value)[:1] != (count,):
                raise Unfit(f"{described(value)}, where the first part has {count} rows")
            return [*value]


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
        held = "zeros and ones" if dtype.kind == "b" else f"{numbers} that the space's {dtype} can hold"
        raise Unfit(f"{array.reshape(-1)[lost[0]]} at place {lost[0]}; right are {held}")


def choices_reader(counts: NDArray[Any], starts: NDArray[Any], shape: tuple[int, ...]) -> Reader:
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


def dict_reader(readers: dict[Any, Reader]) -> Reader:
    """Of a dict with these keys."""

    def read(value: Any) -> Float:
        parts: list[Float] = []
        for key, inner in readers.items():
            try:
                part = value[key]
            except Exception as error:  # whatever a stranger's type says to a key
                raise Unfit(f"{described(value)}, which has no {key!r}; right is a dict with {[*readers]}") from error
            parts.append(part_read(f"[{key!r}]", inner, part))
        return np.concatenate(parts)

    return read


def tuple_reader(readers: Sequence[Reader]) -> Reader:
    """Of a tuple of as many parts."""

    def read(value: Any) -> Float:
        try:
            parts = list(value)
        except TypeError as error:
            raise Unfit(f"{described(value)}; right is a tuple of {len(readers)}") from error
        if len(parts) != len(readers):
            raise Unfit(f"a {type(value).__name__} of {len(parts)}; right is a tuple of {len(readers)}")
        pairs = enumerate(zip(readers, parts, strict=True))
        return np.concatenate([part_read(f"[{place}]", inner, part) for place, (inner, part) in pairs])

    return read


def part_read(where: str, read: Reader, part: Any) -> Float:
    """A part's vector; what is wrong with it says where it is."""
    try:
        return read(part)
    except Unfit as error:
        raise Unfit(f"in its part {where}: {error}") from error


def _numbers(value: Any, least: int, beyond: int) -> tuple[int, ...]:
    if isinstance(value, list | tuple):
        found = tuple(cast("list[Any]", value))
        if all(type(each) is int and least <= each < beyond for each in found):
            return found
    raise ValueError(f"{str(cast(Any, value))[:40]!r} are no whole numbers from {least} to {beyond - 1}")


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{str(value)[:40]!r} is no key")
