"""Environments that reward with several numbers at once, which a critic of one number cannot learn from."""

import math
from typing import Any, cast

import numpy as np
from gymnasium import ActionWrapper, ObservationWrapper, Wrapper
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import TransformReward

from polyak.environments.values import LINEAR
from polyak.errors import UsageError

DECLARE = ("reward_space", "reward_dim")
LEAVE_REWARDS = (Wrapper.step, ObservationWrapper.step, ActionWrapper.step)


def require_one_number(made: Any, name: str) -> None:
    """Check that an environment, or a VectorEnv, does not declare a reward of several numbers.

    It says so by `reward_space` or `reward_dim`, as those of mo-gymnasium do.

    Raises:
        UsageError: it does.
    """
    size = _in_vector(made) if isinstance(made, VectorEnv) else _size(made)
    if size > 1:
        raise UsageError(
            f"environment {name!r} rewards with {size} numbers, but polyak learns from one: weigh them in "
            f"{LINEAR}, in a callable, or in a file of your own that registers it and is named as my_file:Id"
        )


def _size(environment: Any) -> int:
    """How many numbers a reward has, as far as is declared; 1 where a wrapper may make one number of several."""
    layer = environment
    while True:
        declared = _declared(layer)
        if declared is not None:
            return declared
        if not isinstance(layer, Wrapper) or not _leaves_rewards(layer):
            return 1
        layer = cast(Any, layer).env


def _declared(layer: Any) -> int | None:
    """What a layer itself declares, not what one below it does, to which some wrappers pass on."""
    kind = cast(Any, type(layer))
    own: dict[str, Any] = {name: getattr(layer, name) for name in DECLARE if name in vars(layer) or hasattr(kind, name)}
    shape: Any = getattr(own.get("reward_space"), "shape", None)
    if shape is not None:
        return math.prod(shape)
    size: Any = own.get("reward_dim")
    return int(cast(Any, size)) if isinstance(size, int | np.integer) else None


def _leaves_rewards(wrapper: Any) -> bool:
    """Whether a wrapper gives rewards of as many numbers as it gets."""
    kind = cast(Any, type(wrapper))
    known = kind.__module__.partition(".")[0] in ("gymnasium", "mo_gymnasium") and kind.__name__ != "LinearReward"
    return kind.step in LEAVE_REWARDS or (known and not isinstance(wrapper, TransformReward))


def _in_vector(vector: Any) -> int:
    """As `_size`, for one environment of a VectorEnv."""
    within = getattr(vector, "envs", None)
    if within:
        return _size(within[0])
    single = getattr(getattr(vector, "single_reward_space", None), "shape", None)
    shape = getattr(getattr(vector, "reward_space", None), "shape", None)
    if single is None and shape is not None and shape[:1] == (vector.num_envs,):
        single = shape[1:]  # of all environments together
    return math.prod(single if single is not None else shape or ())
