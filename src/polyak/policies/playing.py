"""The transitions of an evaluation's episodes, noted as they come."""

from typing import Any, cast

import numpy as np

from polyak.environments.stepping import Environments, Step
from polyak.errors import UsageError
from polyak.types import Bool, Float, Transitions


class Noting:
    """One environment that notes what happens in it, and is otherwise as it is."""

    def __init__(self, environments: Environments) -> None:
        """Note what happens in these.

        Raises:
            UsageError: there are several, of which some would be in an episode when the last one ends.
        """
        if environments.count != 1:
            raise UsageError(
                f"the environment is a vector of {environments.count}, but episodes are noted of a single one: name one"
            )
        self._environments = environments
        self.episodes: list[list[Transitions]] = []
        """The steps of each, in order; the last may be empty, where none followed."""

    @property
    def itself(self) -> Environments:
        """As whoever plays knows it."""
        return cast(Environments, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environments, name)

    def reset(self) -> Float:
        """As it is, and a new episode is noted."""
        return self._begun(self._environments.reset())

    def start_anew(self, which: Bool) -> Float:
        """The same."""
        return self._begun(self._environments.start_anew(which))

    def step(self, action: Float) -> Step:
        """As it is, noted where it was a step of an episode and no reset."""
        step = self._environments.step(action)
        if step.valid[0]:
            self.episodes[-1].append(
                Transitions(
                    observation=self._shown,
                    action=action.copy(),
                    reward=step.reward.copy(),
                    next_observation=step.next_observation.copy(),
                    terminated=step.terminated.copy(),
                    truncated=step.truncated.copy(),
                    episode=np.full(1, len(self.episodes) - 1, np.int32),
                )
            )
        if step.ended[0]:
            self.episodes.append([])
        self._shown = step.observation.copy()
        return step

    def noted(self) -> list[Transitions]:
        """The episodes, each in one piece."""
        return [Transitions(*map(np.concatenate, zip(*steps, strict=True))) for steps in self.episodes if steps]

    def _begun(self, observation: Float) -> Float:
        self.episodes.append([])
        self._shown = observation.copy()
        return observation
