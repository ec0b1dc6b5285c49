"""Single environments, one after another in this process: Gymnasium's SyncVectorEnv with a shorter step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from polyak.environments.guard import Guard
from polyak.types import Bool, Float


class SideBySide(SyncVectorEnv):
    """N guarded environments without autoreset.

    Guards give float32 vectors of one length, and an info only where an episode ends, so that a step writes them into
    one array [N, O], where Gymnasium goes through both spaces, copies all once more and batches what is in `info`.
    """

    def __init__(self, guards: Sequence[Guard]) -> None:
        """Take environments whose spaces are equal."""
        super().__init__([lambda guard=guard: guard for guard in guards], autoreset_mode=AutoresetMode.DISABLED)
        self._size = guards[0].size
        self._shown: Float = np.zeros((self.num_envs, self._size), np.float32)
        self._infos = dict[int, dict[str, Any]]()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float, dict[str, Any]]:
        """Begin an episode everywhere, or where `options["reset_mask"]` [N] says, from its seed: [N, O].

        Elsewhere it is what was shown last. The array is the caller's, here and in `step`.
        """
        seeds = seed if isinstance(seed, Sequence) else [seed] * self.num_envs
        which = (options or {}).get("reset_mask")
        shown = self._shown.copy()
        for index, environment in enumerate(self.envs):
            if which is None or which[index]:
                shown[index], _ = environment.reset(seed=seeds[index])
        self._shown = shown
        return shown, {}

    def step(self, actions: NDArray[Any]) -> tuple[Float, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Take actions [N, *S] in environment units: observations [N, O], the rest [N]."""
        shown: Float = np.empty((self.num_envs, self._size), np.float32)
        rewards: list[float] = []
        terminated: list[bool] = []
        truncated: list[bool] = []
        self._infos = {}
        for index, environment in enumerate(self.envs):
            shown[index], reward, terminates, truncates, info = environment.step(actions[index])
            rewards.append(float(reward))
            terminated.append(terminates)
            truncated.append(truncates)
            if info:
                self._infos[index] = info
        self._shown = shown
        return shown, np.array(rewards), np.array(terminated, np.bool_), np.array(truncated, np.bool_), {}

    def last_infos(self, ended: Bool, *, final: bool) -> dict[int, dict[str, float]]:
        """The numbers in the last info of each environment whose episode has `ended` [N] in the last step."""
        return self._infos
