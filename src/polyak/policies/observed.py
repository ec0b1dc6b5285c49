"""What a policy is shown: one observation or many, as float32 vectors, or refused."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from polyak.environments.parts import count_in, reader_of_parts, rows_of
from polyak.environments.values import Unfit
from polyak.errors import NonFiniteError, UsageError
from polyak.types import Float, Spec

Reading = Callable[[Any], Float]
"""Makes vectors [O] or [N, O] of one observation or of N."""


def reading(spec: Spec, *, own_first: bool = False) -> Reading:
    """What makes vectors of the observations that a policy of this `spec` is shown.

    Taken are arrays of the shape that the environment shows, and such with a leading axis; where its space is no array,
    what it shows itself (a dict, a tuple, a number), N of it where each part has a leading axis, and the vectors that
    Gymnasium's `flatten` makes. An array that could be either is a vector; with `own_first`, N whole numbers are N
    choices of a space that is one.

    What is read raises:
        UsageError: it is none of these.
        NonFiniteError: it holds a number that is not finite.
    """
    parts, shape, size = spec.observation_parts, spec.observation_shape, spec.observation_size
    wide = len(shape) != 1

    def array_of(observation: Any) -> Float:
        try:
            return np.asarray(observation, np.float32)
        except (TypeError, ValueError, RuntimeError) as error:  # the last of a tensor that has a gradient
            raise UsageError(_no_array(spec, observation, error)) from error

    def read_array(observation: Any) -> Float:
        given = array_of(observation)
        found = given.shape
        if found != shape and found[1:] != shape:
            many = ", ".join(map(str, ("N", *shape)))
            raise UsageError(f"the observation has shape {found}, but this policy takes {shape} or ({many})")
        _require_finite(given, observation)
        return given.reshape((*found[: len(found) - len(shape)], size)) if wide else given

    if parts is None:
        return read_array
    read_own, choices = _own(spec), parts[0] == "choices"

    def read(observation: Any) -> Float:
        found = () if isinstance(observation, Mapping | tuple) else array_of(observation).shape
        vectors = shape in (found, found[1:])
        own = found == () or (choices and (own_first or not vectors))
        return read_own(observation) if own else read_array(observation)

    return read


def _own(spec: Spec) -> Reading:
    """Of what the environment itself shows, where that is no array."""
    parts = spec.observation_parts
    read_one = reader_of_parts(parts)

    def read(observation: Any) -> Float:
        try:
            count = count_in(parts, observation)
            if count is None:
                given = read_one(observation)
            else:
                rows = [read_one(row) for row in rows_of(parts, observation, count)]
                given = np.stack(rows) if rows else np.zeros((0, spec.observation_size), np.float32)
        except (Unfit, LookupError, TypeError, ValueError) as error:
            hint = _of_reset(spec, observation)
            raise UsageError(f"the observation is none of the environment's: {hint or error}") from error
        _require_finite(given, observation)
        return given

    return read


def _require_finite(given: Float, observation: Any) -> None:
    finite = np.isfinite(given)
    if np.count_nonzero(finite) != given.size:
        place, *others = np.flatnonzero(~finite)
        more = f" and {len(others)} more" if others else ""
        raise NonFiniteError(
            f"the observation holds {given.reshape(-1)[place]} at place {place}{more}, in float32: "
            "no action follows from a number that is not finite"
        )


def _no_array(spec: Spec, observation: Any, error: Exception) -> str:
    flat = "" if spec.observation_parts else ": give a Dict or Tuple as the vector that gymnasium.spaces.flatten makes"
    return f"the observation is no array of numbers: {_of_reset(spec, observation) or f'{error}{flat}'}"


def _of_reset(spec: Spec, observation: Any) -> str:
    """What to say where what `reset` returns has been taken for an observation."""
    parts = spec.observation_parts
    pair = isinstance(observation, tuple) and (parts is None or parts[0] != "tuple")
    if pair and len(observation) == 2 and isinstance(observation[1], dict):  # pyright: ignore[reportUnknownArgumentType]
        return "it is the pair that reset returns; write observation, info = env.reset()"
    return ""
