"""Steps the environments with a policy and emits transitions."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from polyak.environments import Environments, Step
from polyak.policy import Policy
from polyak.types import Float, Transitions


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

    @property
    def steps(self) -> int:
        """Environment steps so far, summed over all environments."""
        return self.environments.steps

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
        result = self.environments.step(action)
        transitions = Transitions(self._observation, action, result.reward, result.next_observation, result.terminated)
        if not result.valid.all():
            transitions = transitions.only(result.valid)
        self._observation = result.observation
        self._count(result)
        return transitions

    def finished(self) -> list[Episode]:
        """The episodes finished since the last call, in order."""
        episodes, self._episodes = self._episodes, []
        return episodes

    def _count(self, result: Step) -> None:
        self._total_reward[result.valid] += result.reward[result.valid]
        self._length[result.valid] += 1
        for index in np.flatnonzero((result.terminated | result.truncated) & result.valid):
            episode = Episode(
                step=self.steps,
                total_reward=float(self._total_reward[index]),
                length=int(self._length[index]),
                terminated=bool(result.terminated[index]),
            )
            self._episodes.append(episode)
            self._total_reward[index] = 0.0
            self._length[index] = 0
            self._noise[index] = self._exploration.standard_normal(self._shape[1], dtype=np.float32)
