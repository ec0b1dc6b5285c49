"""Callbacks that tests name as `callers:Class`; each run makes its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyak.callbacks import Stateless, Training


class Counts:
    """Keeps whole numbers, arrays and what it has seen of the run; logs all of it."""

    last: "Counts | None" = None

    def __init__(self, scale: float = 1.0, *, words: Sequence[str] = ()) -> None:
        self.scale, self.words = scale, list(words)
        self.steps, self.rewards, self.learned = 0, np.zeros(3), np.zeros((), np.int64)
        Counts.last = self

    def stepped(self, training: Training) -> None:
        self.steps += 1
        self.rewards[self.steps % 3] += training.transitions.reward.sum()
        training.log("counts/steps", self.steps * self.scale)

    def updated(self, training: Training) -> None:
        self.learned += 1
        training.log("counts/bias", training.policy.parameters["0/bias"].sum())

    def evaluated(self, training: Training) -> None:
        training.log("counts/rewards", self.rewards[0])

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "rewards": self.rewards, "learned": self.learned, "nested": {"a": [1, None, "x"]}}

    def restore(self, state: dict[str, Any]) -> None:
        assert state["nested"] == {"a": [1, None, "x"]}
        self.steps, self.rewards, self.learned = state["steps"], state["rewards"], np.array(state["learned"])


class StopsAt(Stateless):
    """Stops in a hook once there have been so many steps."""

    def __init__(self, step: int, hook: str = "stepped") -> None:
        self.step = step
        setattr(self, hook, self._stop)

    def stepped(self, training: Training) -> None:
        """One of them, so that it is a callback."""

    def _stop(self, training: Training) -> None:
        if training.steps >= self.step:
            training.stop(f"step {training.steps}\nhas come")
            training.stop("another reason")
