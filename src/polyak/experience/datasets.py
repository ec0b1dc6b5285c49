"""Transitions that somebody recorded, compared with an environment before a learner learns from them.

Where they come from is told by others: arrays in Python, or a Minari dataset's file (`minari`). They become a replay
that is full from the beginning, and to which nothing is added.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from polyak.environments.values import NUMBERS, Unfit
from polyak.errors import UsageError
from polyak.experience.links import NO_EPISODE
from polyak.experience.replay import Replay, memory_needed
from polyak.settings.demonstrated import COLUMNS, Recorded
from polyak.system.memory import memory_free, readable_bytes
from polyak.types import Float, Spec, Transitions

BEYOND = 1e-5
"""How far an action may lie outside its bounds, as a part of their width: what rounding to float32 costs."""
IN_PYTHON = "the arrays"


def require_memory(where: str, count: int, spec: Spec) -> None:
    """Check that so many transitions fit into the memory that is free, before any of them is read.

    Raises:
        UsageError: they do not.
    """
    needed, free = memory_needed(count, spec.observation_size, spec.action_size), memory_free()
    if needed > free:
        one = memory_needed(1, spec.observation_size, spec.action_size)
        raise UsageError(
            f"demonstrations: the {count:,} transitions of {where} need {readable_bytes(needed)}, but "
            f"{readable_bytes(free)} are free: at most {free // one:,} fit; take a part of them"
        )


def replay_of(where: str, count: int, pieces: Iterable[Transitions], spec: Spec) -> Replay:
    """A replay that holds `count` transitions, which come in `pieces`, and no more.

    Raises:
        UsageError: there are none, or they do not fit into memory.
    """
    if count < 1:
        raise UsageError(f"demonstrations: {where} has no transitions")
    require_memory(where, count, spec)
    replay = Replay(count, spec.observation_size, spec.action_size)
    for piece in pieces:
        replay.add(piece)
    return replay


def of_arrays(recorded: Recorded, spec: Spec) -> Replay:
    """The demonstrations that arrays in Python hold: n rows each, in the order in which they came.

    An episode's row follows the one before, unless that was terminated or truncated or its next observation is another;
    an array `episode` [n] of whole numbers says it instead.

    Raises:
        UsageError: they do not fit the environment or into memory.
    """
    columns = recorded.columns
    try:
        count = len(columns["reward"])
    except TypeError as error:
        raise UsageError(f"demonstrations: reward of {IN_PYTHON} is no array of a row a transition") from error
    require_memory(IN_PYTHON, count, spec)
    made = fitting(IN_PYTHON, columns, spec, flat=recorded.normalized, normalized=recorded.normalized)
    episode = columns.get("episode")
    return replay_of(IN_PYTHON, count, [made._replace(episode=episodes_of(made, episode))], spec)


def fitting(
    where: str,
    columns: Mapping[str, Any],
    spec: Spec,
    *,
    flat: bool = False,
    normalized: bool = False,
    first: int = 0,
    episode: int = 0,
) -> Transitions:
    """Transitions of these columns, all of one `episode`; errors count rows from `first`.

    Observations are as the environment shows them, or `flat`; actions are in its units, or `normalized`.

    Raises:
        UsageError: their shapes, bounds or numbers are not those of the environment; the message says what, and where.
    """
    told = f"demonstrations: {where}"
    count = len(columns["reward"])
    reward = _numbers(told, "reward", columns["reward"], (count,), first)
    shown = [
        _observations(told, name, columns[name], spec, count, first, flat=flat)
        for name in ("observation", "next_observation")
    ]
    shape = (spec.action_size,) if normalized else spec.action_shape
    action = _numbers(told, "action", columns["action"], (count, *shape), first)
    flags = [_flags(told, name, columns[name], count) for name in COLUMNS[4:]]
    return Transitions(
        observation=shown[0],
        action=_in_bounds(told, action.reshape(count, -1), spec, first, normalized=normalized),
        reward=reward,
        next_observation=shown[1],
        terminated=flags[0],
        truncated=flags[1],
        episode=np.full(count, episode, np.int32),
    )


def _observations(told: str, name: str, value: Any, spec: Spec, count: int, first: int, *, flat: bool) -> Float:
    """[n, O], in the order of the environment's own parts."""
    parts = spec.observation_parts
    if flat or parts is None:
        shape = (spec.observation_size,) if flat else spec.observation_shape
        return _numbers(told, name, value, (count, *shape), first).reshape(count, -1)
    try:
        made = vectors(parts, value, count)
    except Unfit as error:
        raise UsageError(f"{told}: {name} has {error}") from error
    return _finite(told, name, made, first)


def vectors(parts: Any, value: Any, count: int) -> Float:
    """[n, O]: observations by their parts, each an array with a row an observation.

    Raises:
        Unfit: a part is not there, or of another shape or kind.
    """
    match parts:
        case ["dict", pairs]:
            if not isinstance(value, Mapping):
                raise Unfit(f"no parts by name; the environment shows {[key for key, _ in pairs]}")
            there = cast(Mapping[str, Any], value)
            lacks = [key for key, _ in pairs if key not in there]
            if lacks:
                raise Unfit(f"the parts {[*there]!s:.100}, but no {lacks[0]!r}, which the environment shows")
            return np.concatenate([vectors(inner, there[key], count) for key, inner in pairs], axis=1)
        case ["tuple", several]:
            inner = cast("tuple[Any, ...]", value)
            if not isinstance(value, tuple) or len(inner) != len(several):
                raise Unfit(f"no tuple of {len(several)} parts, which the environment shows")
            return np.concatenate([vectors(*pair, count) for pair in zip(several, inner, strict=True)], axis=1)
        case ["array", shape, _]:
            return _rows(value, (count, *shape)).reshape(count, -1).astype(np.float32)
        case ["choices", counts, firsts, shape]:
            return _choices(_rows(value, (count, *shape)).reshape(count, -1), counts, firsts)
        case _:
            raise Unfit(f"parts that are not known: {parts!s:.60}")


def _rows(value: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of several lengths
        raise Unfit(f"rows of several shapes; right is {list(shape)}") from error
    if array.shape == (*shape, 1)[: array.ndim] and array.ndim == len(shape) + 1:  # one number, in a row of its own
        array = array.reshape(shape)
    if array.dtype.kind not in NUMBERS:
        raise Unfit(f"{array.dtype} in it; right are numbers")
    if array.shape != shape:
        raise Unfit(f"the shape {list(array.shape)}; right is {list(shape)}, a row a transition")
    return array


def _choices(chosen: NDArray[Any], counts: list[int], firsts: list[int]) -> Float:
    """A one for what was chosen, zeros for what was not: [n, sum of counts]."""
    places = chosen - np.array(firsts)
    if (places != np.floor(places)).any() or (places < 0).any() or (places >= np.array(counts)).any():
        raise Unfit(f"a number that is none of its {counts} choices")
    made = np.zeros((len(chosen), sum(counts)), np.float32)
    columns = places.astype(np.int64) + (np.cumsum(counts) - counts).astype(np.int64)
    np.put_along_axis(made, columns, np.float32(1), axis=1)
    return made


def _numbers(told: str, name: str, value: Any, shape: tuple[int, ...], first: int) -> Float:
    """Finite float32 numbers of this shape."""
    try:
        array = _rows(value, shape)
    except Unfit as error:
        raise UsageError(f"{told}: {name} has {error}") from error
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused as such
        return _finite(told, name, array.astype(np.float32), first)


def _finite(told: str, name: str, made: Float, first: int) -> Float:
    if not np.isfinite(made).all():
        row = int(np.argmin(np.isfinite(made.reshape(len(made), -1)).all(axis=1)))
        raise UsageError(
            f"{told}: {name} of transition {first + row:,} is not finite in float32: leave its episode out"
        )
    return made


def _flags(told: str, name: str, value: Any, count: int) -> NDArray[np.bool_]:
    try:
        array = _rows(value, (count,))
    except Unfit as error:
        raise UsageError(f"{told}: {name} has {error}") from error
    if not np.isin(array, (0, 1)).all():
        raise UsageError(f"{told}: {name} has {array[~np.isin(array, (0, 1))][0]}; right are True and False")
    return array.astype(np.bool_)


def _in_bounds(told: str, action: Float, spec: Spec, first: int, *, normalized: bool) -> Float:
    """[n, A], normalized; refused where one is outside of the box by more than rounding."""
    ones = np.ones(spec.action_size, np.float32)
    low, high = (-ones, ones) if normalized else (spec.action_low, spec.action_high)
    wrong = np.argwhere((action < low - BEYOND * (high - low)) | (action > high + BEYOND * (high - low)))
    if len(wrong):
        row, place = map(int, wrong[0])
        raise UsageError(
            f"{told}: action of transition {first + row:,} is {action[row, place]:g} at place {place}, outside "
            f"[{low[place]:g}, {high[place]:g}]; {len({int(each) for each, _ in wrong}):,} are outside. Bring them to "
            "the environment's scale, or clip them"
        )
    return np.clip(action, -1, 1) if normalized else spec.to_normalized(action)


def episodes_in(made: Transitions) -> list[Transitions]:
    """The rows of each episode in their order, the episode that began first before the others.

    What earlier versions stored has no episode's number: there, rows follow each other as they lie.
    """
    numbers = made.episode.copy()
    unknown = numbers == NO_EPISODE
    if unknown.any():
        numbers[unknown] = episodes_of(made.only(unknown)) - np.int32(unknown.sum())  # below all that are known
    _, first, of = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first[of], kind="stable")
    starts = np.flatnonzero(np.diff(first[of][order], prepend=-1))
    return [Transitions(*parts) for parts in zip(*(np.split(each[order], starts[1:]) for each in made), strict=True)]


def episodes_of(made: Transitions, given: Any = None) -> NDArray[np.int32]:
    """[n]: the episode of each row, from 0 on: as `given`, or as rows follow each other."""
    if given is not None:
        told = _numbers(f"demonstrations: {IN_PYTHON}", "episode", given, (len(made.reward),), 0)
        return np.unique(told, return_inverse=True)[1].astype(np.int32)
    begins = np.ones(len(made.reward), np.bool_)
    begins[1:] = made.terminated[:-1] | made.truncated[:-1]
    begins[1:] |= (made.next_observation[:-1] != made.observation[1:]).any(axis=1)
    return (np.cumsum(begins) - 1).astype(np.int32)
