"""An environment's observations on scales that nobody would choose."""

from typing import Any

import gymnasium
import numpy as np


class Scales(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Multiplies an observation's numbers by 1e-3 to 1e3, from the first to the last in equal ratios."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, gymnasium.spaces.Box)
        self._by = np.geomspace(1e-3, 1e3, space.shape[0]).astype(np.float32)
        self.observation_space = gymnasium.spaces.Box(space.low * self._by, space.high * self._by, dtype=np.float32)

    def observation(self, observation: Any) -> Any:
        """Of the environment's own."""
        return observation * self._by
