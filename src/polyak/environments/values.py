"""Rewards and flags that environments return: numbers and truth values, or refused by what they are."""

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from polyak.types import Bool

LINEAR = "mo_gymnasium.wrappers.LinearReward(env, weight=...)"
"""What makes one number of a reward of several."""
NUMBERS = "fiub"
"""Kinds of NumPy types that are real numbers: floats, signed and unsigned integers, booleans."""


class Unfit(Exception):  # noqa: N818 - a verdict, which whoever asked turns into an error
    """A value is not what it should be; the message says what it is, and what is right."""


def described(value: Any) -> str:
    """A value's type with its shape, or itself where it has none."""
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{kind} of shape {tuple(value.shape)} and type {value.dtype}"
    text = " ".join(repr(value).split())
    return f"{kind} {text if len(text) <= 60 else f'{text[:57]}...'}"


def array_of(value: Any, right: str) -> NDArray[Any]:
    """The numbers of an array, a tensor, a list or a number; perhaps in the same memory.

    Raises:
        Unfit: it has none that are real.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and array.shape == ():
            array = np.asarray(float(value))  # a fraction, a decimal
    except Exception as error:  # a stranger's type may raise anything when it is asked for its numbers
        remedy = ": it needs gradients, call detach() on it" if getattr(value, "requires_grad", False) else ""
        raise Unfit(f"{described(value)}; right is {right}{remedy}") from error
    masked = isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(cast(Any, value))
    if masked or (array.dtype.kind not in NUMBERS and not np.can_cast(array.dtype, np.float64)):
        raise Unfit(f"{described(value)}; right is {right}")
    return array


def number(value: Any) -> float:
    """A reward: a number, or an array of one.

    Raises:
        Unfit: it is something else.
    """
    if isinstance(value, (float, int, np.floating, np.integer)):
        try:
            return float(cast(Any, value))
        except OverflowError:  # a whole number
            return math.inf if value > 0 else -math.inf
    return float(_single(value, f"a number{_to_weigh(value, 1)}"))


def flag(value: Any) -> bool:
    """`terminated` or `truncated`: a truth value, or a number, or an array of one.

    Raises:
        Unfit: it is something else.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(cast(Any, value))
    single = _single(value, "True or False")
    if single != single:
        raise Unfit(f"{described(value)}; right is True or False")
    return bool(single)


def numbers(value: Any, count: int) -> NDArray[Any]:
    """[count]: rewards of so many environments.

    Raises:
        Unfit: they are something else.
    """
    right = f"an array of {count} numbers, shape ({count},){_to_weigh(value, 2)}"
    return _several(value, right, count).astype(np.float64)


def flags(value: Any, count: int) -> Bool:
    """[count]: `terminated` or `truncated` of so many environments.

    Raises:
        Unfit: it is something else.
    """
    right = f"an array of {count} times True or False, shape ({count},)"
    array = _several(value, right, count)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise Unfit(f"{described(value)} with a NaN; right is {right}")
    return array.astype(np.bool_)


def _to_weigh(value: Any, axes: int) -> str:
    """What to do about rewards of several numbers each, where they have so many axes; nothing else is asked for it."""
    shape: Any = getattr(value, "shape", (len(cast("list[Any]", value)),) if isinstance(value, (list, tuple)) else ())
    several = isinstance(shape, tuple) and len(cast("tuple[int, ...]", shape)) == axes and cast(Any, shape)[-1] > 1
    return f": weigh the {cast(Any, shape)[-1]} of them in {LINEAR}" if several else ""


def _several(value: Any, right: str, count: int) -> NDArray[Any]:
    array = array_of(value, right)
    if array.shape != (count,):
        raise Unfit(f"{described(value)}; right is {right}")
    return array


def _single(value: Any, right: str) -> Any:
    array = array_of(value, right)
    if array.shape not in ((), (1,)):
        raise Unfit(f"{described(value)}; right is {right}")
    return array.item()
