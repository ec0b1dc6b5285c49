"""Small environments with goals; `tiny_goals:Points-v0` is one."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

NEAR = 0.5


class Points(gymnasium.Env[Any, Any]):
    """A point in the plane, moved by its action; a goal within `NEAR` is reached, which is worth 0, and all else -1.

    Its function of goals takes one pair or many. An episode that `ends` at its goal, or behind the `edge`, terminates.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self, *, length: int = 6, ends: bool = True, edge: float = 100.0, render_mode: str | None = None
    ) -> None:
        plane = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        parts = {"observation": spaces.Box(-np.inf, np.inf, (3,)), "achieved_goal": plane, "desired_goal": plane}
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.length, self.ends, self.edge, self.render_mode = length, ends, edge, render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.goal = np.zeros(2), self.np_random.uniform(-1.0, 1.0, 2)
        self.steps = 0
        return self._shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = self.place + action
        self.steps += 1
        reward = float(self.compute_reward(self.place, self.goal, {}))
        reached = reward == 0.0
        over = (reached and self.ends) or bool(np.abs(self.place).max() > self.edge)
        return self._shown(), reward, over, self.steps >= self.length, {"is_success": reached}

    def render(self) -> Any:
        return np.full((64, 64, 3), 20 * self.steps, np.uint8)

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -(np.linalg.norm(achieved - desired, axis=-1) > NEAR).astype(np.float64)

    def _shown(self) -> dict[str, Any]:
        kept = np.array([*self.place, self.steps], np.float32)
        return {"observation": kept, "achieved_goal": self.place.copy(), "desired_goal": self.goal.copy()}


class Ending(Points):
    """With a `compute_terminated` that takes one pair alone, as the mazes of gymnasium-robotics have it."""

    def compute_terminated(self, achieved: Any, desired: Any, info: Any) -> bool:
        return bool(self.ends and np.linalg.norm(achieved - desired) <= NEAR)


class AtOnce(Points):
    """With one that takes many."""

    def compute_terminated(self, achieved: Any, desired: Any, info: Any) -> Any:
        return self.ends & (np.linalg.norm(achieved - desired, axis=-1) <= NEAR)


class Needy(Ending):
    """Needs an info."""

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return super().compute_reward(achieved, desired, info) - info["fuel"]

    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], {"fuel": 0.0}


class Dense(Ending):
    """Pays for each step nearer, and takes something for the action, which `compute_reward` knows nothing of."""

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -np.linalg.norm(achieved - desired, axis=-1)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        shown, reward, *rest = super().step(action)
        return shown, reward - 1.0, *rest


gymnasium.register("Points-v0", Ending)
gymnasium.register("PointsAtOnce-v0", AtOnce)
gymnasium.register("PointsWithoutEnd-v0", Points)
gymnasium.register("PointsNeedy-v0", Needy)
gymnasium.register("PointsDense-v0", Dense)
