"""Tiny environments for the tests of the loop and the command line; importing this registers `tiny_cli:Tiny-v0` and others."""

from typing import Any

import gymnasium
import numpy as np


class Tiny(gymnasium.Env[Any, Any]):
    """A point on a line, moved by its action; episodes end after `length` steps. A picture's brightness tells the time."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        length: int = 5,
        raises_at: int | None = None,
        nan_at: int | None = None,
        reward_scale: float = 1.0,
        prints: bool = False,
    ) -> None:
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 3.0, (1,), np.float32)
        self.render_mode = render_mode
        self.taken = 0
        self.actions: list[float] = []
        self.closed = False
        self._length, self._raises_at, self._nan_at = length, raises_at, nan_at
        self._reward_scale, self._prints = reward_scale, prints

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._time, self._place = 0, float(self.np_random.uniform(-1, 1))
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        if self._prints:
            print("the environment prints", flush=True)
        if self.taken == self._raises_at:
            raise RuntimeError("the simulator broke")
        self.actions.append(float(action[0]))
        self._time += 1
        self._place += 0.1 * float(action[0])
        reward = float("nan") if self.taken == self._nan_at else -abs(self._place) * self._reward_scale
        return self._observation(), reward, False, self._time == self._length, {}

    def render(self) -> Any:
        return np.full((41, 65, 3), 20 + 40 * self._time, np.uint8)

    def close(self) -> None:
        self.closed = True

    def _observation(self) -> Any:
        return np.array([np.clip(self._place, -10, 10), self._time], np.float32)


class Unseen(Tiny):
    """One that cannot be drawn."""

    metadata = {"render_modes": []}  # noqa: RUF012


gymnasium.register("Tiny-v0", entry_point=Tiny)
gymnasium.register("Raises-v0", entry_point=Tiny, kwargs={"raises_at": 25})
gymnasium.register("Prints-v0", entry_point=Tiny, kwargs={"prints": True})
gymnasium.register("Unseen-v0", entry_point=Unseen)
