"""The race from a cold command to a return, each library with its best published settings: who runs, in which order."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curves.cases import OURS, PEER, Block, Case, Training

GROUP = "race"
LIBRARIES = (OURS, PEER, "SBX")
ALGORITHMS = ("sac", "tqc", "crossq")
"""Every library races with the same three, so that none has more tries than another."""
EPISODES, FRESH = 10, 50
"""Of an evaluation, and of what the policy is asked afterwards, untimed."""
PUBLISHED = Path(__file__).with_name("race.toml")


@dataclass(frozen=True)
class Course:
    """An environment, and when a run there has arrived."""

    environment: str
    goal: float
    """The mean return of an evaluation that ends a run."""
    seeds: int
    look: int
    """Environment steps between evaluations."""
    steps: int
    """After which a run has not arrived: the zoo's length, to which learning rates fall where they do."""
    seconds: int
    """After which it has not either."""

    @property
    def block(self) -> Block:
        """Everybody's first seed, then everybody's second."""
        told = f"--stop-at-return {self.goal:g} --steps {self.steps} --steps-per-epoch {self.look}"
        flags = f"{told} --evaluation-episodes {EPISODES}"
        return Block(
            [
                Case(GROUP, algorithm, self.environment, flags, library, FRESH, library, threads=None)
                for algorithm in ALGORITHMS
                for library in LIBRARIES
            ],
            self.seeds,
        )


COURSES = (
    Course("Pendulum-v1", -200, 5, 1_000, 20_000, 180),
    Course("InvertedDoublePendulum-v5", 9_000, 5, 2_500, 300_000, 900),
    Course("LunarLanderContinuous-v3", 200, 5, 5_000, 500_000, 1_800),
    Course("BipedalWalker-v3", 300, 3, 10_000, 500_000, 3_600),
    Course("Hopper-v5", 2_500, 3, 5_000, 1_000_000, 3_600),
    Course("HalfCheetah-v5", 5_000, 3, 5_000, 1_000_000, 3_600),
)
"""From the shortest to the longest."""


def course(environment: str) -> Course:
    """An environment's."""
    return next(each for each in COURSES if each.environment == environment)


def entries(only: str = "") -> list[Training]:
    """Those whose name contains `only`, in their order."""
    return [entry for each in COURSES for entry in each.block if only in entry.name]


def published(environment: str, algorithm: str) -> tuple[dict[str, Any], str]:
    """The arguments of a peer's model, and where they were published."""
    found: dict[str, Any] = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))[environment][algorithm]
    return {name: value for name, value in found.items() if name != "source"}, found["source"]


def sources() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Environment, algorithm, arguments and source of all that the peers race with."""
    for each in COURSES:
        for algorithm in ALGORITHMS:
            yield each.environment, algorithm, *published(each.environment, algorithm)
