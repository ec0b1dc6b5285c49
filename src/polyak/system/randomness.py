"""One seed, many named and independent NumPy streams.

A stream depends on the seed and on its own name alone, so that adding one never changes another.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator that `seed` gives to `name`, for example `stream(0, "replay")` or `stream(0, "environment/3")`."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(name.encode()))))


class Streams:
    """Every stream that a run draws from, named."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.weights = stream(seed, "weights")
        self.replay = stream(seed, "replay")
        self.warm_up = stream(seed, "warm-up")
        self.exploration = stream(seed, "exploration")
        self.learner = stream(seed, "learner")

    def environment(self, index: int) -> np.random.Generator:
        """The stream that seeds the episodes of training environment `index`."""
        return stream(self.seed, f"environment/{index}")

    def warm_up_of(self, index: int) -> np.random.Generator:
        """The stream of the uniform actions of training environment `index`, where each has its own."""
        return stream(self.seed, f"warm-up/{index}")

    def exploration_of(self, index: int) -> np.random.Generator:
        """The stream of the exploration noise of training environment `index`, where each has its own."""
        return stream(self.seed, f"exploration/{index}")

    def evaluation(self, index: int) -> np.random.Generator:
        """The stream that seeds the episodes of evaluation environment `index`."""
        return stream(self.seed, f"evaluation/{index}")

    def evaluation_actions(self) -> np.random.Generator:
        """The stream from which an evaluation draws actions, where they are not to be deterministic."""
        return stream(self.seed, "evaluation-actions")


def episode_seed(generator: np.random.Generator) -> int:
    """A seed to reset an environment with: below 2**31, which every simulator takes."""
    return int(generator.integers(2**31))


def state_of(generator: np.random.Generator) -> dict[str, Any]:
    """Where a stream is, as JSON can hold it."""
    return dict(generator.bit_generator.state)


def go_on_from(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put a stream where `state_of` found it.

    Raises:
        ValueError, TypeError, KeyError: this is no state of a stream.
    """
    generator.bit_generator.state = dict(state)
