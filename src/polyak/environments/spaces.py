"""Which observation and action spaces polyak takes, and what to do about the others."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from gymnasium import Space, spaces

from polyak.errors import UsageError
from polyak.types import Spec


def spec_of(observation_space: Space[Any], action_space: Space[Any]) -> Spec:
    """The Spec of one environment (not of a vector), its observation already flattened to a Box.

    Raises:
        UsageError: an action space that is not a bounded, non-empty Box of floats.
    """
    box = _checked_actions(action_space)
    shape = observation_space.shape
    if not isinstance(observation_space, spaces.Box) or shape is None or int(np.prod(shape)) == 0:
        raise UsageError(f"the observation space {observation_space} holds no number to observe")
    return Spec(
        observation_shape=shape,
        action_shape=box.shape,
        action_low=box.low.astype(np.float32).reshape(-1),
        action_high=box.high.astype(np.float32).reshape(-1),
    )


def _checked_actions(space: Any) -> Any:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        raise UsageError(
            f"the action space is {space}, but DDPG, TD3 and SAC choose continuous actions: use this environment's "
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
        raise UsageError(f"the action space {space} has no room in dimension {where}: low must be below high")
    return box


def needs_flattening(space: Space[Any]) -> bool:
    """Whether `FlattenObservation` must turn this observation space into a vector.

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
    return not (isinstance(space, spaces.Box) and len(space.shape) == 1)


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
