"""Hand-made environments, so small that every number they give is known.

They are in a module of their own because worker processes import them.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import Space, spaces

from polyak.policies.contents import Kind
from polyak.policies.policy import Policy
from polyak.types import Spec

LENGTHS = (3, 1, 4, 2)


class Numbers:
    """Stands in for a stream of episode seeds: environment i starts its episodes with seeds 1000 i, 1000 i + 1, ..."""

    def __init__(self, index: int) -> None:
        self.state = {"next": 1000 * index}
        self.bit_generator = self

    def integers(self, high: int) -> int:
        self.state = {"next": self.state["next"] + 1}
        return self.state["next"] - 1


class Diary(gymnasium.Env[Any, Any]):
    """Writes down where it is: observes [its index, episode, step, *the action it got]; the reward is the action's sum.

    The index is the last seed // 1000. Episode e of environment i lasts LENGTHS[(i + e) % 4] steps; even episodes
    terminate, odd ones are truncated.
    """

    def __init__(self, action_space: spaces.Box | None = None) -> None:
        default = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))
        self.action_space: Space[Any] = action_space or default
        size = 3 + int(np.prod(self.action_space.shape or ()))
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.index, self.episode, self.steps = 0, -1, 0
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        if seed is not None:
            self.index = seed // 1000
        self.episode += 1
        self.steps = 0
        return self._observation(np.zeros(self.action_space.shape)), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        action = np.asarray(action)  # a scalar arrives as a NumPy number
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        assert self.steps < self.length, "stepped after the episode's end"
        self.steps += 1
        ended, even = self.steps == self.length, self.episode % 2 == 0
        return self._observation(action), float(np.sum(action)), ended and even, ended and not even, {}

    @property
    def length(self) -> int:
        return LENGTHS[(self.index + self.episode) % len(LENGTHS)]

    def _observation(self, action: Any) -> Any:
        return np.array([self.index, self.episode, self.steps, *np.ravel(action)], np.float32)


class Shown(gymnasium.Env[Any, Any]):
    """Shows samples of any observation space, takes any action space, and never ends by itself."""

    def __init__(self, observation_space: Space[Any] | None = None, action_space: Space[Any] | None = None) -> None:
        self.observation_space = observation_space or spaces.Box(-1.0, 1.0, (3,))
        self.action_space = action_space or spaces.Box(-1.0, 1.0, (2,))
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.shown = self.observation_space.sample()
        return self.shown, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.shown = self.observation_space.sample()
        return self.shown, 1.0, False, False, {}

    def close(self) -> None:
        self.closed = True


class Broken(Shown):
    """Goes wrong in its step `at` (counted from 1): gives `observation` or `reward`, or raises `error`."""

    def __init__(
        self, at: int, *, observation: float = 0.0, reward: float = 0.0, error: Exception | None = None
    ) -> None:
        super().__init__()
        self.at, self.observation, self.reward, self.error = at, observation, reward, error
        self.steps = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        observation, reward, *rest = super().step(action)
        if self.steps == self.at:
            if self.error is not None:
                raise self.error
            observation[1], reward = self.observation, self.reward
        return observation, reward, *rest


def make_policy(spec: Spec, kind: Kind = "deterministic", *, noise: float = 0.0, seed: int = 0) -> Policy:
    """A policy with one hidden layer of four units and random weights."""
    generator = np.random.default_rng(seed)
    sizes = (spec.observation_size, 4, spec.action_size * (2 if kind == "squashed_gaussian" else 1))
    parameters = {}
    for layer in range(2):
        parameters[f"{layer}/kernel"] = generator.normal(size=sizes[layer : layer + 2]).astype(np.float32)
        parameters[f"{layer}/bias"] = generator.normal(size=sizes[layer + 1]).astype(np.float32)
    return Policy(parameters, spec, kind, noise)


def constant_policy(spec: Spec, action: list[float]) -> Policy:
    """A deterministic policy that always takes this normalized action."""
    kernel = np.zeros((spec.observation_size, spec.action_size), np.float32)
    return Policy({"0/kernel": kernel, "0/bias": np.arctanh(np.array(action, np.float32))}, spec, "deterministic")
