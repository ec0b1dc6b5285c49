"""A pendulum that writes each of its steps into a file, which is what a killed control loop's replay is held to."""

import os
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

LOG = "POLYAK_DRIVEN_LOG"
"""The variable that names the file."""
COLUMNS = 8
"""float32s of a line: observation (3), reward, next observation (3), whether the episode was cut off."""


class Logged(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Pendulum-v1; a step's line is in the file before anybody else hears of the step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(gymnasium.make("Pendulum-v1", **options))
        self._file = os.open(os.environ[LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def reset(self, **options: Any) -> Any:
        self._seen, info = super().reset(**options)
        return self._seen, info

    def step(self, action: Any) -> Any:
        before = self._seen
        self._seen, reward, terminated, truncated, info = super().step(action)
        os.write(self._file, np.array([*before, reward, *self._seen, truncated], np.float32).tobytes())
        return self._seen, reward, terminated, truncated, info

    def close(self) -> None:
        super().close()
        os.close(self._file)


def lines(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """All that was written."""
    return np.fromfile(path, np.float32).reshape(-1, COLUMNS)


gymnasium.register("Logged-v0", entry_point=Logged, disable_env_checker=True)
