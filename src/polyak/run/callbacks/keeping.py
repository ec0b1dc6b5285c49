"""What callbacks keep: `state()` gives names with what JSON can hold, or with NumPy arrays; never an object."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from polyak.errors import TrainingError
from polyak.system.foreign import foreign, told
from polyak.types import Arrays

LIMIT, MOST_ARRAYS = 1_000_000, 1_000
"""Bytes of JSON, and arrays, of all callbacks of a run at most."""
KINDS = "?bhilqBHILQefd"
"""NumPy's letters for truth values and numbers of any size."""

State = dict[str, Any]


def kept(callbacks: Sequence[tuple[str, Callable[[], Any] | None]]) -> tuple[list[dict[str, Any]], Arrays]:
    """The states of callbacks by their names: what JSON holds, in their order, and `NUMBER/NAME` -> array.

    Raises:
        TrainingError: one raises, or is not what can be kept; the callback is named.
    """
    table, arrays = list[dict[str, Any]](), dict[str, Any]()
    for number, (name, state) in enumerate(callbacks):
        entry: dict[str, Any] = {"name": name}
        if state is not None:
            had = _asked(name, state)
            entry["state"] = {key: _plain(name, key, value) for key, value in had.items() if not _is_array(value)}
            arrays |= {f"{number}/{key}": _whole(value) for key, value in had.items() if _is_array(value)}
        table.append(entry)
    if len(json.dumps(table)) > LIMIT or len(arrays) > MOST_ARRAYS:
        raise TrainingError(
            f"the callbacks' state() take more than {LIMIT:,} bytes of JSON, or {MOST_ARRAYS:,} arrays: keep what is "
            "large in a few NumPy arrays"
        )
    return table, arrays


def _asked(name: str, state: Callable[[], Any]) -> Mapping[str, Any]:
    try:
        had = state()
    except Exception as error:
        raise TrainingError(f"the callback {name} raised {type(error).__name__} in state(){told(error)}") from error
    if not isinstance(had, Mapping) or not all(map(_is_name, cast(Mapping[Any, Any], had))):
        raise TrainingError(
            f"the state() of the callback {name} is {had!r:.80}, but must be a dict with texts as names"
        )
    return cast(Mapping[str, Any], had)


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isprintable() and 0 < len(key) <= 100


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and cast(Any, value).dtype.char in KINDS and cast(Any, value).ndim > 0


def _whole(value: Any) -> Any:
    """In the byte order and the memory's order that a file has, of its own memory."""
    return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")


def _plain(name: str, key: str, value: Any) -> Any:
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_plain(name, key, each) for each in cast(Sequence[Any], value)]
    if isinstance(value, dict) and all(map(_is_name, cast(dict[Any, Any], value))):
        return {each: _plain(name, f"{key}.{each}", inner) for each, inner in cast(dict[str, Any], value).items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and _is_unicode(value):
        return str.__str__(value)
    if (isinstance(value, int) and abs(value) < 2**63) or (isinstance(value, float) and math.isfinite(value)):
        return int(value) if isinstance(value, int) else float(value)
    raise TrainingError(
        f"the state() of the callback {name} has {key}: {value!r:.80}, but must hold finite numbers, texts, True, "
        "False, None, lists, dicts with texts as names, and at its top NumPy arrays of numbers"
    )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def read(table: Any, arrays: Arrays) -> list[tuple[str, State | None]]:
    """Names and states, as a checkpoint has them.

    Raises:
        ValueError, TypeError, KeyError: these are none.
    """
    found = list[tuple[str, State | None]]()
    for number, entry in enumerate(cast(list[Any], table)):
        own = {name.partition("/")[2]: value for name, value in arrays.items() if name.partition("/")[0] == f"{number}"}
        state = entry.get("state")
        if not isinstance(entry["name"], str) or not (state is None or isinstance(state, dict)):
            raise ValueError("callbacks have no names, or states that are no tables")
        found.append((entry["name"], None if state is None else {**state, **own}))
    return found


def give_back(name: str, restore: Callable[[State], object], state: State) -> None:
    """Let a callback go on from its state.

    Raises:
        UsageError: it raises.
    """

    def said(error: BaseException) -> str:
        return f"the callback {name} cannot go on: {type(error).__name__} in restore(){told(error)}"

    with foreign(said):
        restore(state)
