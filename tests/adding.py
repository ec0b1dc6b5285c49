"""Wrappers to be named on the command line and in a run's settings; `adding:Twice` is one."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Twice(gymnasium.ActionWrapper[Any, Any, Any]):
    """Acts twice as strongly."""

    def action(self, action: Any) -> Any:
        return np.clip(2 * action, self.action_space.low, self.action_space.high)


class Counted(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows one number more: 7."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(-10.0, 10.0, (env.observation_space.shape[0] + 1,), np.float32)

    def observation(self, observation: Any) -> Any:
        return np.append(observation, np.float32(7))


class Skipping(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Takes each action three times."""

    def step(self, action: Any) -> Any:
        for _ in range(2):
            self.env.step(action)
        return self.env.step(action)
