"""Makes small models in Stable-Baselines3, and what they do: `.venv-peers/bin/python tests/data/sb3/make.py`.

`make bench` makes that environment. Each model is as `model.save` leaves it after a few steps; `expected.json` has the
actions of its own `predict` to the same observations.
"""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import DDPG, SAC, TD3

HERE = Path(__file__).parent
SMALL = {"seed": 1, "learning_starts": 8, "buffer_size": 50, "batch_size": 8, "device": "cpu"}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sac": (SAC, {"policy_kwargs": {"net_arch": [6, 5]}}),
    "td3": (TD3, {"policy_kwargs": {"net_arch": {"pi": [6], "qf": [4]}, "activation_fn": torch.nn.Tanh}}),
    "ddpg": (DDPG, {"policy_kwargs": {"net_arch": [6, 5, 4]}}),
    "gsde": (SAC, {"policy_kwargs": {"net_arch": [4]}, "use_sde": True}),
}


class Place(gymnasium.Env[Any, Any]):
    """Shows a matrix, takes two numbers between bounds that are not alike."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 2), np.float32)
    action_space = gymnasium.spaces.Box(np.array([-1.0, 0.1], np.float32), np.array([3.0, 1 / 3], np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.normal(size=(2, 2)).astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation = self.np_random.normal(size=(2, 2)).astype(np.float32)
        return observation, float(action[0] * observation[0, 0]), False, bool(self.np_random.integers(5) == 0), {}


def main() -> None:
    """Write the models and what they do."""
    observations = np.random.default_rng(0).normal(size=(6, 2, 2), scale=2.0).astype(np.float32)
    expected: dict[str, Any] = {"observations": observations.tolist()}
    for name, (algorithm, options) in MODELS.items():
        model = algorithm("MlpPolicy", Place(), **options, **SMALL)
        model.learn(30)
        model.save(HERE / f"{name}.zip")
        expected[name] = model.predict(observations, deterministic=True)[0].tolist()
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
