"""What a library's process is asked to do, the same for every library: read from the command line."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
from clock import Clock, Meter

BATCH, DISCOUNT, TAU, REPLAY, HIDDEN = 256, 0.99, 0.005, 1_000_000, [256, 256]
EXPLORATION_NOISE = 0.1  # of DDPG and TD3, as a fraction of the action's half-range
FOREVER = 100_000_000  # environment steps; the process is ended long before


@dataclass
class Job:
    """One training run."""

    algorithm: str
    environment: str
    envs: int = 1
    collect: int = 1
    """Steps that each environment takes before the updates that belong to them."""
    updates: int = 1
    """For each environment step."""
    start_steps: int = 1_000
    """Environment steps with random actions; updates begin with the burst that completes them."""
    learning_rate: float = 3e-4
    """Of actor, critics and temperature."""
    quota: int = 0
    """Steps of one environment that the first round has; 0 clocks nothing."""
    seed: int = 0
    threads: int = 1
    goal: float | None = None
    """Train until the mean return of `episodes` without noise, looked at every `look` steps, reaches this."""
    look: int = 1_000
    episodes: int = 5
    limit: int = FOREVER
    """Environment steps after which training ends anyway."""
    options: dict[str, Any] = field(default_factory=dict)
    """What only one library knows."""

    def __post_init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")  # a library's own words must not come between
        os.dup2(2, 1)
        self._meter = Meter(self.quota, sys.stdin, self._answers)

    @property
    def burst(self) -> int:
        """Environment steps between bursts of updates."""
        return self.collect * self.envs

    def make(self) -> gymnasium.Env[Any, Any]:
        """An environment; the one that is stepped first keeps the time."""
        made = gymnasium.make(self.environment)
        return Clock(made, self._meter) if self.quota else made

    def say(self, *words: object) -> None:
        """Answer the process that started this one."""
        print(*words, file=self._answers, flush=True)

    def reached(self, steps: int, mean: float) -> None:
        """Say after how many steps which mean return ended the training."""
        self.say("reached", steps, round(mean, 3))


def serve(train: Callable[[Job], None]) -> None:
    """Do what the command line says, as JSON."""
    train(Job(**json.loads(sys.argv[1])))
