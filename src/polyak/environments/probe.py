"""Tries, before a run begins, whether an environment's episode follows from its seed alone.

A short episode is played again and again in an instance of its own, others in between, and once in a second instance.
What is found never moves a number of the run by how long it took: see docs/design.md.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np

from polyak.environments.closing import close
from polyak.environments.guard import Guard
from polyak.environments.history import SHARED, Isolation, draws_noted
from polyak.system.prints import environments_speak
from polyak.system.signals import MARK, Limit, NoAnswer, came_by_signal

STEPS = 20
"""Of each episode at most. What environments remember shows at once: in those of Box2D, PyBullet and Panda where it was
found, ten steps were nearly always enough. A run should not wait for more, nor a simulator be worn by it."""
SECONDS = 5.0
"""After which no further step is taken."""
SEEDS = (1_234_567, 7_654_321, 1_234_567, 7_654_321, 1_234_567)
"""Of the episodes of one instance; the last, in case only its first is different."""

Make = Callable[[Isolation], Any]
"""Makes an environment that is kept apart so."""
Trace = list[bytes]
"""What an environment showed, step by step."""


class Found(NamedTuple):
    """What a probe found."""

    draws: tuple[str, ...] = ()
    """Of `SHARED`, those that the environment draws from, or may draw from, where that could not be tried to the end:
    to keep a state of what it does not draw from changes none of its numbers."""
    said: str = ""
    """What the user should know; empty where all is well."""
    wrong: bool = False
    """Whether that is of the environment, and not of the probe."""


class _CutShort(Exception):  # noqa: N818 - named for what happened
    """The clock, or an environment that does not answer, ended the probe; the message says which."""


def probe(make: Make, *, afresh: bool, limit: Limit, clock: Callable[[], float] = time.monotonic) -> Found:
    """Try an environment, in instances that are closed again; the process's generators are afterwards as before.

    Args:
        make: makes it.
        afresh: the run makes one for each episode.
        limit: makes the block in which each of its answers is waited for.
        clock: tells the seconds.
    """
    trial = _Trial(make, limit, clock)
    try:
        return trial.run(afresh=afresh)
    except _CutShort as error:
        return unknown(f"cut short, because {error}")
    except BaseException as error:  # a stranger's code, its exit included; what it raises in the run is said there
        if came_by_signal(error):
            if isinstance(error, KeyboardInterrupt) or hasattr(error, MARK):
                raise
            raise KeyboardInterrupt from error  # of which the environment has made something else
        why = f"left out, because another instance raised {type(error).__name__} ({str(error)[:200]})"
        return Found(tuple(trial.draws), f"{why}: whether resume will be exact is not known")


def unknown(why: str) -> Found:
    """What is found where nothing could be tried, or nobody knows how much."""
    return Found(
        SHARED,
        f"{why}: whether resume will be exact is not known; each environment keeps a state of its own of np.random and "
        "random, should it draw from them",
    )


class _Trial:
    """One environment, tried."""

    def __init__(self, make: Make, limit: Limit, clock: Callable[[], float]) -> None:
        self._make, self._limit, self._clock = make, limit, clock
        self._deadline = clock() + SECONDS
        self.draws: list[str] = []
        """What has been drawn from, of `SHARED`."""

    def run(self, *, afresh: bool) -> Found:
        """Play, and judge what was seen."""
        with environments_speak, draws_noted() as self.draws:
            played, other = self._traces(Isolation(afresh))
        draws = tuple(self.draws)
        if draws:  # once more, as the run will have it
            played, other = self._traces(Isolation(afresh, draws))
        verdict = _judged(played, other, afresh=afresh)
        said = (
            f"it draws from {' and '.join(draws)} instead of its own generator (self.np_random): each environment "
            "keeps a state of its own, seeded from each episode's seed"
        )
        told = "; ".join(filter(None, [said if draws else "", verdict]))
        return Found(draws, told, wrong=bool(told))

    def _traces(self, isolation: Isolation) -> tuple[list[Trace], Trace]:
        """What one instance showed in five episodes, of two seeds in turn, and another one in the first of them."""
        played = [self._played(environment, seed) for environment in self._made(isolation) for seed in SEEDS]
        (other,) = [self._played(environment, SEEDS[0]) for environment in self._made(isolation)]
        return played, other

    def _made(self, isolation: Isolation) -> Generator[Guard]:
        """One environment, as the run sees it, which is closed afterwards."""
        with self._answered():
            environment = Guard(self._make(isolation))
        try:
            yield environment
        finally:
            close(environment)

    def _played(self, environment: Guard, seed: int) -> Trace:
        """The observations of an episode from `seed`, with rewards and ends, always with the same actions."""
        space: Any = environment.action_space
        generator = np.random.default_rng(seed)
        with self._answered():
            observation, _ = environment.reset(seed=seed)
        trace = [observation.tobytes()]
        while len(trace) <= STEPS:
            action: Any = cast(Any, generator.uniform(space.low, space.high)).astype(space.dtype)
            with self._answered():
                observation, reward, terminated, truncated, _ = environment.step(action)
            trace.append(observation.tobytes() + np.array([reward, terminated, truncated], np.float64).tobytes())
            if terminated or truncated:
                break
        return trace

    @contextmanager
    def _answered(self) -> Generator[None]:
        """A block in which the environment is asked for something, if there is still time for it."""
        if self._clock() > self._deadline:
            raise _CutShort(f"it took longer than {SECONDS:g} s")
        try:
            with self._limit():
                yield
        except NoAnswer as error:
            raise _CutShort("the environment did not answer within the time limit (step_timeout)") from error


def _judged(played: list[Trace], other: Trace, *, afresh: bool) -> str:
    """What there is to say of five episodes of one instance and one of another."""
    first, later = played[0], played[2]
    if first != other:
        return (
            f"two instances give different episodes for one seed, from step {_parted(first, other)}, so that neither "
            "the same seed nor resume will give the same: what decides is neither the seed nor np.random or random"
        )
    if later != played[4] or played[1] != played[3] or (afresh and first != later):
        place = _parted(first, later) if first != later else _parted(later, played[4])
        hint = "even in an instance of its own" if afresh else "--fresh-environments makes one for each episode"
        return f"an episode depends on those before it (from step {place} on), so that resume will not be exact: {hint}"
    if first != later:
        return (
            f"an instance's first episode is another than later ones (from step {_parted(first, later)} on): resume "
            "enacts it once more, or --fresh-environments makes every episode a first one"
        )
    return ""


def _parted(one: Trace, another: Trace) -> int:
    """The step at which two episodes part; 0 is the reset."""
    pairs = enumerate(zip(one, another, strict=False))
    return next((step for step, (ours, theirs) in pairs if ours != theirs), min(len(one), len(another)))
