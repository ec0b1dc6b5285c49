"""A copy of a policy compared with the policy: how far its actions are away, and how long one takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from polyak.deploy.export.copied import LIMIT, Copy
from polyak.deploy.export.observations import Group
from polyak.deploy.export.running import Runner, median_seconds
from polyak.errors import NonFiniteError, TrainingError
from polyak.system.randomness import stream
from polyak.types import Float

ROUNDING = 4.0
"""How many times as far as float32's own rounding a copy may be: two ways to add up the same numbers differ by that."""


@dataclass(frozen=True)
class Compared:
    """A group of observations."""

    name: str
    count: int
    difference: float
    """The largest between an action of the copy's and the policy's, as a fraction of the action's range."""
    limit: float
    """`LIMIT`; more where float32 itself is not as near to what is computed in float64."""
    judged: bool


@dataclass(frozen=True)
class Check:
    """What a check found."""

    by: str
    """What ran the copy."""
    groups: tuple[Compared, ...]
    seconds: float
    """That one action takes, the median."""
    numpy_seconds: float
    """That the policy takes for one."""

    @property
    def difference(self) -> float:
        """The largest of what is judged."""
        return max(group.difference for group in self.groups if group.judged)

    def require_equal(self) -> None:
        """Raise a TrainingError where the copy is another policy."""
        wrong = [group for group in self.groups if group.judged and not group.difference <= group.limit]
        if wrong:
            told = "; ".join(
                f"{group.difference:.2g} of the action's range at the {group.count} observations {group.name} "
                f"(at most {group.limit:.2g})"
                for group in wrong
            )
            raise TrainingError(f"the copy is not the policy, and was not kept: by {self.by}, it differs by {told}")


def checked(copy: Copy, content: bytes, runner: Runner, groups: Sequence[Group]) -> Check:
    """Run a copy's file on observations beside the policy.

    Raises:
        TrainingError: it cannot be run, or is another policy.
    """
    rows = np.concatenate([group.rows for group in groups])
    noise = stream(0, "export noise").standard_normal((len(rows), copy.policy.spec.action_size), np.float32)
    actions, seconds = runner.run(content, rows, noise)
    expected, exactly = acted(copy, rows, noise), acted_exactly(copy, rows, noise)
    found, first = list[Compared](), 0
    for group in groups:
        part = slice(first, first := first + len(group.rows))
        rounding = largest_difference(copy, expected[part], exactly[part])
        difference = largest_difference(copy, actions[part], expected[part])
        limit = max(LIMIT, ROUNDING * rounding)
        found.append(Compared(group.name, len(group.rows), difference, limit, group.judged))
    own = groups[0].rows.reshape((-1, *copy.policy.spec.observation_shape))
    numpy_seconds = median_seconds(lambda row: copy.policy.act(row, not copy.stochastic), list(own))
    result = Check(runner.name, tuple(found), seconds, numpy_seconds)
    result.require_equal()
    return result


def acted(copy: Copy, rows: Float, noise: Float) -> Float:
    """The policy's actions [n, A], one after another where there is one for which it has none: those are NaN."""
    spec = copy.policy.spec
    shaped = rows.reshape((len(rows), *spec.observation_shape))
    try:
        if not copy.stochastic:
            return copy.policy.act(shaped).reshape((len(rows), spec.action_size))
        return spec.to_environment(_finite(copy.policy.explore(rows, noise)))
    except NonFiniteError:
        if len(rows) == 1:
            return np.full((1, spec.action_size), np.nan, np.float32)
        half = len(rows) // 2
        return np.concatenate([acted(copy, rows[part], noise[part]) for part in (slice(half), slice(half, None))])


def _finite(action: Float) -> Float:
    if not np.isfinite(action).all():
        raise NonFiniteError("an action is not finite")
    return action


def acted_exactly(copy: Copy, rows: Float, noise: Float) -> Float:
    """The same in float64, not finite where an action is not."""
    arrays = {name: value.astype(np.float64) for name, value in copy.policy.parameters.items()}
    policy, given = replace(copy.policy, parameters=arrays), cast(Float, rows.astype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        return policy.spec.to_environment(policy.explore(given, noise) if copy.stochastic else policy.mean(given))


def largest_difference(copy: Copy, some: Float, others: Float) -> float:
    """Between actions, as a fraction of the action's range; infinite where one is a number and the other is none."""
    spec = copy.policy.spec
    both = np.isfinite(some) & np.isfinite(others)
    if (np.isfinite(some) != np.isfinite(others)).any():
        return float("inf")
    apart = np.abs(some.astype(np.float64) - others) / (spec.action_high.astype(np.float64) - spec.action_low)
    return float(apart.max(initial=0.0, where=both))
