"""Which observation and action spaces polyak takes, and what to do about the others."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from gymnasium import Space, spaces

from polyak.environments.readers import parts_of_space
from polyak.errors import UsageError
from polyak.types import Spec

FEWEST = 10_000
"""Numbers that float32 must tell apart between the bounds of an action."""


class Flat(spaces.Box):
    """The float32 vectors that a guard makes of another space's observations; equal where those spaces are."""

    def __init__(self, declared: Space[Any]) -> None:
        """Take the space that the environment declares."""
        self.size = spaces.flatdim(declared)
        """O."""
        super().__init__(-np.inf, np.inf, (self.size,), np.float32)
        self.declared = declared

    @property
    def shape_shown(self) -> tuple[int, ...]:
        """The observation's own shape, where it is one array of as many numbers; else the vector's."""
        whole = isinstance(self.declared, spaces.Box | spaces.MultiBinary)
        return tuple(map(int, cast(Any, self.declared).shape if whole else self.shape))

    @property
    def parts_shown(self) -> Any:
        """The parts of an observation that is no array; else, or where they cannot be said, None."""
        whole = isinstance(self.declared, spaces.Box | spaces.MultiBinary)
        return None if whole else parts_of_space(self.declared)

    def __eq__(self, other: object) -> bool:
        """Whether the same was declared."""
        return isinstance(other, Flat) and other.declared == self.declared

    __hash__ = spaces.Box.__hash__

    def __repr__(self) -> str:
        """The declared space's."""
        return repr(self.declared)


class WithGoals(spaces.Dict):
    """What is observed where goals are set in hindsight: an observation, the desired goal and the achieved one."""


def spec_of(observation_space: Space[Any], action_space: Space[Any]) -> Spec:
    """The Spec of one environment (not of a vector), its observation space a Box.

    Raises:
        UsageError: an action space that is not a bounded, non-empty Box of floats.
    """
    box = _checked_actions(action_space)
    shape = observation_space.shape
    if not isinstance(observation_space, spaces.Box) or shape is None or int(np.prod(shape)) == 0:
        raise UsageError(f"the observation space {observation_space} holds no number to observe")
    flat = observation_space if isinstance(observation_space, Flat) else None
    goals = flat.declared if flat is not None and isinstance(flat.declared, WithGoals) else None
    return Spec(
        observation_shape=shape if flat is None else flat.shape_shown,
        action_shape=box.shape,
        action_low=box.low.astype(np.float32).reshape(-1),
        action_high=box.high.astype(np.float32).reshape(-1),
        observation_parts=None if flat is None else flat.parts_shown,
        goal_size=0 if goals is None else spaces.flatdim(goals["desired_goal"]),
    )


def _checked_actions(space: Any) -> Any:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        raise UsageError(
            f"the action space is {space}, but polyak's algorithms choose continuous actions: use this environment's "
            "continuous variant where it has one (LunarLanderContinuous-v3, MountainCarContinuous-v0), or DQN or PPO "
            "from a library that has them"
        )
    if not isinstance(space, spaces.Box):
        raise UsageError(f"the action space is {space}, but must be a Box: flatten it to one Box in a wrapper")
    box = cast(Any, space)
    if not np.issubdtype(box.dtype, np.floating):
        raise UsageError(f"the action space {space} holds {box.dtype}, but continuous actions are floats")
    if int(np.prod(space.shape)) == 0:
        raise UsageError(f"the action space {space} is empty: there is nothing to choose")
    with np.errstate(over="ignore"):
        low, high = box.low.astype(np.float32), box.high.astype(np.float32)
        bounded = np.isfinite(low).all() and np.isfinite(high).all() and np.isfinite(high - low).all()
    if not bounded:
        raise UsageError(
            f"the action space {space} is unbounded, but actions are mapped from [-1, 1]: give it finite bounds, for "
            "example with gymnasium.wrappers.TransformAction(env, lambda a: a, Box(low, high))"
        )
    if not (low < high).all():
        where = np.flatnonzero(~(low < high).reshape(-1)).tolist()
        raise UsageError(
            f"the action space {space} has no room in dimension {where}: low must be below high, in float32 too"
        )
    _require_fine(box)
    return box


def _require_fine(box: Any) -> None:
    """Check that float32, in which policies act, has enough numbers between the bounds."""
    with np.errstate(over="ignore"):
        size = np.maximum(np.abs(box.low), np.abs(box.high))
        room = (box.high.astype(np.float64) - box.low) / np.spacing(size.astype(np.float32))
    if np.issubdtype(box.dtype, np.float64) and (room < FEWEST).any():
        where = np.flatnonzero((room < FEWEST).reshape(-1)).tolist()
        raise UsageError(
            f"the action space {box} is narrow beside its distance from zero: float32, in which policies act, has "
            f"fewer than {FEWEST:,} numbers between the bounds in dimension {where}; let the space lie around zero "
            "and add the rest in the environment, or in gymnasium.wrappers.TransformAction"
        )


def needs_flattening(space: Space[Any]) -> bool:
    """Whether this observation space is not one of vectors already.

    Raises:
        UsageError: as `require_flattenable`.
    """
    require_flattenable(space)
    return not (isinstance(space, spaces.Box) and len(space.shape) == 1)


def require_flattenable(space: Space[Any]) -> None:
    """Check that observations of this space can be vectors.

    Raises:
        UsageError: an image, or a space that cannot be flattened.
    """
    image = _first(space, _is_image)
    if image is not None:
        raise UsageError(
            f"the observation holds an image ({image}), but polyak learns from vectors: encode it first, in an "
            "observation wrapper of your own (gymnasium.wrappers.TransformObservation)"
        )
    if not space.is_np_flattenable or _first(space, lambda each: isinstance(each, spaces.Text)) is not None:
        raise UsageError(
            f"the observation space {space} cannot be flattened to a vector of fixed length: encode it in an "
            "observation wrapper (gymnasium.wrappers.TransformObservation)"
        )


def _is_image(space: Any) -> bool:
    """A Box of bytes with two or more axes."""
    return isinstance(space, spaces.Box) and cast(Any, space).dtype == np.uint8 and len(space.shape) >= 2


def _first(space: Any, wanted: Callable[[Any], bool]) -> Any:
    """The first space that is `wanted`, of this one and those within it, or None."""
    if wanted(space):
        return space
    inner: list[Any] = []
    if isinstance(space, spaces.Dict):
        inner = list(cast(Any, space).spaces.values())
    elif isinstance(space, spaces.Tuple | spaces.OneOf):
        inner = list(cast(Any, space).spaces)
    return next((found for each in inner if (found := _first(each, wanted)) is not None), None)
