"""Steps the environments with a policy and emits transitions."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from polyak.environments import Environments
from polyak.errors import TrainingError
from polyak.policy import Policy
from polyak.types import Bool, Float, Transitions


@dataclass(frozen=True)
class Episode:
    """A finished training episode."""

    step: int
    """Environment steps taken in the run when it ended."""
    total_reward: float
    """The undiscounted return."""
    length: int
    """Steps of the episode."""
    terminated: bool
    """False where only a time limit ended it."""


class Collector:
    """Acts in N environments: at random while warming up, else with a policy's exploration."""

    def __init__(
        self,
        environments: Environments,
        warm_up: np.random.Generator,
        exploration: np.random.Generator,
        exploration_correlation: float = 0.0,
    ) -> None:
        self.environments = environments
        self.steps = 0
        """Environment steps so far, summed over all environments."""
        self._warm_up = warm_up
        self._exploration = exploration
        self._correlation = np.float32(exploration_correlation)
        self._innovation = np.float32(np.sqrt(1.0 - exploration_correlation**2))
        self._shape = (environments.count, environments.spec.action_size)
        self._noise: Float = self._exploration.standard_normal(self._shape, dtype=np.float32)
        self._total_reward = np.zeros(environments.count)
        self._length = np.zeros(environments.count, np.int64)
        self._episodes: list[Episode] = []
        self._observation = environments.reset()
        self._require_finite("observation", self._observation)

    def step(self, policy: Policy | None) -> Transitions:
        """Take one step in every environment, with `policy`'s exploration or, where it is None, uniformly at random.

        Raises:
            TrainingError: the environment raised, or an observation or a reward is not finite; the step and the
                environment are named.
        """
        if policy is None:
            action = self._warm_up.uniform(-1.0, 1.0, self._shape).astype(np.float32)
        else:
            action = policy.explore(self._observation, self._noise)
            fresh = self._exploration.standard_normal(self._shape, dtype=np.float32)
            self._noise = cast(Float, self._correlation * self._noise + self._innovation * fresh)
        try:
            result = self.environments.step(action)
        except Exception as error:
            raise TrainingError(
                f"the environment raised {type(error).__name__} after {self.steps} environment steps: {error}"
            ) from error
        self._require_finite("reward", result.reward)
        self._require_finite("observation", result.next_observation)
        ended = result.terminated | result.truncated
        if ended.any():  # only then can the next observation be another than the successor
            self._require_finite("observation", result.observation)
        transitions = Transitions(self._observation, action, result.reward, result.next_observation, result.terminated)
        if not result.valid.all():
            transitions = transitions.only(result.valid)
        self._observation = result.observation
        self._count(result.reward, result.terminated, ended & result.valid, result.valid)
        return transitions

    def finished(self) -> list[Episode]:
        """The episodes finished since the last call, in order."""
        episodes, self._episodes = self._episodes, []
        return episodes

    def _count(self, reward: Float, terminated: Bool, ended: Bool, valid: Bool) -> None:
        self.steps += int(valid.sum())
        self._total_reward[valid] += reward[valid]
        self._length[valid] += 1
        for index in np.flatnonzero(ended):
            episode = Episode(
                self.steps, float(self._total_reward[index]), int(self._length[index]), bool(terminated[index])
            )
            self._episodes.append(episode)
            self._total_reward[index] = 0.0
            self._length[index] = 0
            self._noise[index] = self._exploration.standard_normal(self._shape[1], dtype=np.float32)

    def _require_finite(self, what: str, values: Float) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            bad = np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1))
            raise TrainingError(
                f"environment {bad[0]} returned a non-finite {what} after {self.steps} environment steps: "
                f"{values[bad[0]]}; transitions up to then are kept, the fault is in the environment"
            )
