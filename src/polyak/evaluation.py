"""Episodes without exploration noise, and the return of each."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyak.environments import Environments
from polyak.errors import UsageError
from polyak.policy import Policy


@dataclass(frozen=True)
class Evaluation:
    """What the episodes of one evaluation gave."""

    returns: tuple[float, ...]
    """Undiscounted, one an episode."""
    lengths: tuple[int, ...]
    """In environment steps."""
    seed: int | None = None

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns over episodes (population)."""
        return float(np.std(self.returns))

    @property
    def mean_length(self) -> float:
        """Mean length in environment steps."""
        return float(np.mean(self.lengths))

    def to_json(self) -> dict[str, Any]:
        """`mean`, `std`, `returns`, `lengths`, `seed`."""
        return {
            "mean": self.mean,
            "std": self.std,
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "seed": self.seed,
        }


def evaluate(
    policy: Policy,
    environments: Environments,
    episodes: int,
    *,
    seed: int | None = None,
) -> Evaluation:
    """Run `episodes` whole episodes with the deterministic policy.

    Every environment runs its fair share, fixed beforehand, so that short episodes are not preferred.

    Raises:
        UsageError: fewer than one episode, or spaces that are not the policy's.
        TrainingError: the environment raised, or returned a number that is not finite.
    """
    if episodes < 1:
        raise UsageError(f"episodes is {episodes}, but must be at least 1")
    require_same_spaces(policy, environments)
    quota = np.full(environments.count, episodes // environments.count)
    quota[: episodes % environments.count] += 1
    results: list[list[tuple[float, int]]] = [[] for _ in range(environments.count)]
    total_reward, length = np.zeros(environments.count), np.zeros(environments.count, np.int64)
    observation = environments.reset()
    while any(len(result) < share for result, share in zip(results, quota, strict=True)):
        step = environments.step(policy.mean(observation))
        total_reward[step.valid] += step.reward[step.valid]
        length[step.valid] += 1
        for index in np.flatnonzero((step.terminated | step.truncated) & step.valid):
            if len(results[index]) < quota[index]:
                results[index].append((float(total_reward[index]), int(length[index])))
            total_reward[index], length[index] = 0.0, 0
        observation = step.observation
    flat = [pair for result in results for pair in result]
    return Evaluation(tuple(pair[0] for pair in flat), tuple(pair[1] for pair in flat), seed)


def require_same_spaces(policy: Policy, environments: Environments) -> None:
    """Check that a policy and environments speak of the same observations and actions.

    Raises:
        UsageError: they do not; both are named.
    """
    ours, theirs = policy.spec, environments.spec
    if ours.observation_size != theirs.observation_size or ours.action_shape != theirs.action_shape:
        raise UsageError(
            f"the policy takes observations {ours.observation_shape} and gives actions {ours.action_shape}, but the "
            f"environment has {theirs.observation_shape} and {theirs.action_shape}"
        )
    same_low = np.array_equal(ours.action_low, theirs.action_low)
    if not (same_low and np.array_equal(ours.action_high, theirs.action_high)):
        raise UsageError(
            f"the policy was trained for action bounds {ours.action_low} to {ours.action_high}, but the environment's "
            f"are {theirs.action_low} to {theirs.action_high}"
        )
