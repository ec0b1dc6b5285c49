"""What a copy is tried on: observations that the policy has seen or may see, the bounds, and what lies beyond them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from polyak.errors import TrainingError, UsageError
from polyak.policies.evaluation import require_same_spaces
from polyak.policies.player import Player
from polyak.policies.policy import Policy
from polyak.run.folder import Run
from polyak.run.seen import observations_seen
from polyak.system.randomness import stream
from polyak.system.signals import signals_marked
from polyak.types import Float

SEEN, EDGE = 600, 200
"""Observations that were seen; those at the bounds, and as many outside."""
FARTHEST = 1e6
"""A bound beyond this is none: it stands for "any number"."""


@dataclass(frozen=True)
class Group:
    """Observations of one kind."""

    name: str
    rows: Float
    """[n, O], flat."""
    judged: bool = True
    """Whether a difference at them counts."""


class _World(NamedTuple):
    """What was found in the environment, and why not more."""

    low: Float
    high: Float
    """[O] each: of the observation space; infinite where it has none."""
    shown: Float
    """[n, O]: in fresh episodes, if there were to be any."""
    reason: str = ""


def observations_for(policy: Policy, run: Run | None, player: Callable[[], Player]) -> list[Group]:
    """`ROWS` observations in three groups.

    Those seen are drawn from the replay of a run that has one; else they are of fresh episodes, where the environment
    can be made; else normal numbers, by the mean and scale of the policy's normalizer where it has one. The bounds are
    those of the observation space, and where that has none, the extremes of what was seen.

    Args:
        policy: whose they are.
        run: the run that it is of.
        player: gives the policy in its environment, or raises a UsageError where that cannot be.
    """
    generator = stream(0, "export")
    seen, name = _from_replay(policy, run, generator)
    world = _look(policy, player, SEEN if seen is None else 0)
    if seen is None and len(world.shown):
        seen, name = world.shown, f"seen, from fresh episodes ({name})"
    elif seen is None:
        seen, name = _normal(policy, generator), f"normal numbers ({name}; {world.reason})"
    seen = seen[np.arange(SEEN) % len(seen)]
    low = np.where(np.abs(world.low) < FARTHEST, world.low, seen.min(axis=0)).astype(np.float64)
    high = np.where(np.abs(world.high) < FARTHEST, world.high, seen.max(axis=0)).astype(np.float64)
    upper = generator.random((EDGE, policy.spec.observation_size)) < 0.5
    corners = np.where(upper, high, low)
    beyond = np.maximum(high - low, 1.0) * 10.0 ** generator.uniform(-1.0, 3.0, (EDGE, 1))
    return [
        Group(name, seen),
        Group("at the bounds", corners.astype(np.float32)),
        Group("outside", (corners + np.where(upper, beyond, -beyond)).astype(np.float32), judged=False),
    ]


def _from_replay(policy: Policy, run: Run | None, generator: np.random.Generator) -> tuple[Float | None, str]:
    """What the policy was shown of what lies in replay, which may go on behind that; or why there is nothing."""
    if run is None:
        return None, "a policy alone has no replay"
    try:
        rows = observations_seen(run, SEEN, generator)
    except UsageError as error:
        return None, str(error)
    if rows.shape[1] < policy.spec.observation_size:
        return None, "its replay is of other observations"
    return rows[:, : policy.spec.observation_size], "seen, from replay"


def _look(policy: Policy, player: Callable[[], Player], wanted: int) -> _World:
    """Make the environment, read the bounds of its observations, and play until so many were shown."""
    size = policy.spec.observation_size
    endless, nothing = np.full(size, np.inf, np.float32), np.zeros((0, size), np.float32)
    try:
        with signals_marked():
            environments = player().environments(seed=0)
            try:
                require_same_spaces(policy, environments)
                low, high = _bounds_of(environments.vector.single_observation_space, policy)
                shown = [environments.reset()] if wanted else []
                while len(shown) < wanted:
                    shown.append(environments.step(policy.mean(shown[-1][:, :size])).observation)
                return _World(low, high, np.concatenate([nothing, *(rows[:, :size] for rows in shown)]))
            finally:
                environments.close()
    except (UsageError, TrainingError) as error:
        return _World(-endless, endless, nothing, str(error))


def _bounds_of(space: Any, policy: Policy) -> tuple[Float, Float]:
    """Of an environment's observations, as vectors in the order of the policy's; infinite where that cannot be said."""
    from gymnasium import spaces

    declared = getattr(space, "declared", space)
    flat = cast(Any, spaces.flatten_space(declared))
    size = policy.spec.observation_size
    if getattr(space, "parts_shown", None) != policy.spec.observation_parts or flat.shape != (size,):
        return np.full(size, -np.inf, np.float32), np.full(size, np.inf, np.float32)
    return flat.low.astype(np.float32), flat.high.astype(np.float32)


def _normal(policy: Policy, generator: np.random.Generator) -> Float:
    rows = generator.standard_normal((SEEN, policy.spec.observation_size), np.float32)
    normalizer = policy.normalizer
    return rows if normalizer is None else rows / normalizer.scale + normalizer.mean
