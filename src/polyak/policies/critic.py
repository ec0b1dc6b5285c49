"""What a critic expects of actions, in NumPy: Q(s, a) of observations and actions as the environment has them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from polyak.algorithm import Algorithm, networks_of
from polyak.errors import UsageError
from polyak.policies.normalizer import RAW, Snapshot
from polyak.policies.observed import reading
from polyak.settings.shared import Settings
from polyak.types import Arrays, Float, Spec

Q = Callable[[Any, Any], Float]
"""Q(s, a) of observations [*S] or [N, *S] and actions, in environment units, [*action shape] or [N, *action shape]."""

EDGE = 1e-5
"""How far beyond the bounds, as a fraction of the range, rounding may have put an action."""


def q_of(algorithm: Algorithm, config: Settings, spec: Spec, learner: Arrays, snapshot: Snapshot = RAW) -> Q:
    """Q(s, a), in units of the reward, as a learner of this whole state expects it, by `Algorithm.value`.

    `snapshot` is what it learned through.

    What comes back takes one observation or N, as `Policy.act` does, and one action or N, and gives [] or [N]: one
    observation with N actions is that observation with each of them, and the other way around.

    What comes back raises:
        UsageError: these are no observations or actions of the environment, not as many, or an action is out of bounds.
        NonFiniteError: an observation is not finite.
    """
    value, read = value_of(algorithm, config, spec, learner, snapshot), reading(spec)

    def q(observations: Any, actions: Any) -> Float:
        s, a = read(observations), _normalized(spec, actions)
        rows, single = max(np.atleast_2d(s).shape[0], np.atleast_2d(a).shape[0]), s.ndim == a.ndim == 1
        if (s.ndim == 2 and len(s) != rows) or (a.ndim == 2 and len(a) != rows):
            raise UsageError(f"there are {len(s)} observations, but {len(a)} actions: give as many, or one of either")
        s, a = np.broadcast_to(s, (rows, spec.observation_size)), np.broadcast_to(a, (rows, spec.action_size))
        values = np.asarray(value(s, a))
        return values[0] if single else values

    return q


def value_of(
    algorithm: Algorithm, config: Settings, spec: Spec, learner: Arrays, snapshot: Snapshot = RAW
) -> Callable[[Float, Float], Float]:
    """The same of raw observations [n, O] and normalized actions [n, A]: [n]."""
    networks = networks_of(algorithm.state(spec, config), learner)
    normalizer, scale = snapshot.normalizer, np.float32(snapshot.reward_scale)

    def value(observations: Float, actions: Float) -> Float:
        seen = observations if normalizer is None else normalizer(observations)
        values = algorithm.value(networks, seen, actions, config)
        return values if scale == 1 else values * scale

    return value


def _normalized(spec: Spec, actions: Any) -> Float:
    """Actions in environment units as [A] or [N, A] in [-1, 1]."""
    shape = spec.action_shape
    try:
        given = np.asarray(actions, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"the action is no array of numbers: {error}") from error
    if given.shape != shape and given.shape[1:] != shape:
        many = ", ".join(map(str, ("N", *shape)))
        raise UsageError(f"the action has shape {given.shape}, but this environment takes {shape} or ({many})")
    given = given.reshape((*given.shape[: given.ndim - len(shape)], spec.action_size))
    edge = EDGE * 2 * spec.action_half_range
    inside = (given >= spec.action_low - edge) & (given <= spec.action_high + edge)
    if not inside.all():  # NaN, too
        wrong = given[~inside][0]
        raise UsageError(
            f"an action holds {wrong:g}, out of the environment's bounds, {spec.action_low} to {spec.action_high}: "
            "give actions in environment units"
        )
    return spec.to_normalized(given)
