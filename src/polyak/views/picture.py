"""What every view tells of a run: what it was asked for, how far it is, its last numbers, how it ended."""

import time
from collections.abc import Callable, Mapping

from polyak.run.progress import Progress

SHOWN = (
    ("train/return", "train return"),
    ("train/length", "train length"),
    ("eval/return", "eval return"),
    ("eval/length", "eval length"),
    ("eval/cut_off", "eval episodes cut off"),
    ("learner/critic_loss", "critic loss"),
    ("learner/actor_loss", "actor loss"),
    ("learner/q", "Q"),
    ("learner/alpha", "alpha"),
    ("learner/entropy", "entropy"),
)
STOPPING = "interrupted: it saves and ends; a second Ctrl-C kills it"
"""What follows a first Ctrl-C."""
RECENT = 6
"""Of the last training episodes, those that are shown."""
STILL_SECONDS = 2.0
"""Without a step, before the first update: that long, something is being compiled."""
SETTLED_SECONDS = 1.0
"""Measured for so long, a pace is no accident."""


class Pace:
    """How fast a run is, and how long it will take.

    Measured from when its updates come: before, steps are cheaper, and the first update waits for a compilation, which
    says nothing of those that follow. Until then a run that goes on has its earlier pace, and a new one, whose steps
    will only become slower, tells the least that is left.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] | None = None) -> None:
        self._progress, self._clock = progress, clock or time.monotonic
        self._begun = self._moved = self._now
        self._updates, self._earlier = progress.updates, progress.seconds
        self._learns: tuple[float, int] | None = None

    def look(self) -> None:
        """Take notice of how far the run is."""
        now, waits = self._now, self._progress.updates == self._updates
        if now[1] > self._moved[1] and (waits or self._moved == self._begun):
            self._moved = now
        if self._learns is None and not waits:
            self._learns = now

    @property
    def state(self) -> str:
        """What it is doing: saving and ending, evaluating and how far that is, or how many steps a second."""
        if self._progress.stopping:
            return STOPPING
        if self._progress.evaluating:
            return f"evaluating {self._progress.evaluating()}"
        still = self._learns is None and self._now[0] - self._moved[0] >= STILL_SECONDS
        if still and self._begun[1] < self._progress.steps < self._progress.total_steps:
            return "waiting for the first update"
        return f"{self._speed():.0f} {self._progress.unit}/s"

    @property
    def left(self) -> str:
        """`3 min 05 s left`; empty where nobody can know, or where nothing is."""
        steps, first = self._progress.steps, self._begun[1]
        ahead = self._progress.total_steps - steps
        if ahead <= 0:
            return ""
        if first and self._earlier and not self._settled:
            return f"{readable_time(ahead * self._earlier / first)} left"
        if steps == first:
            return ""
        waits = self._progress.updates == self._updates
        least = "at least " if not self._settled and (waits or self._moved != self._now) else ""
        return f"{least}{readable_time(ahead / max(self._speed(), 1e-9))} left"

    @property
    def _now(self) -> tuple[float, int]:
        return self._clock(), self._progress.steps

    @property
    def _settled(self) -> tuple[float, int] | None:
        """Since when its pace is that of a run that learns; None before it can be measured."""
        now = self._now
        long = self._learns is not None and now[0] - self._learns[0] >= SETTLED_SECONDS and now[1] > self._learns[1]
        return self._learns if long else None

    def _speed(self) -> float:
        """Steps a second, evaluations included."""
        (since, before), (until, after) = (self._settled or self._begun), (self._now if self._settled else self._moved)
        return (after - before) / max(until - since, 1e-9)


def facts(progress: Progress) -> dict[str, str]:
    """What is worth knowing at the start, the run's folder last."""
    return {**progress.facts, "folder": str(progress.folder)}


def aligned(facts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names filled up to the same width, and what is said under each."""
    width = max([12, *map(len, facts)]) + 1
    return [(f"{name:<{width}}", fact) for name, fact in facts.items()]


def head(progress: Progress, pace: Pace) -> list[str]:
    """How far it is, in a few words each."""
    steps = f"{progress.steps:,} of {progress.total_steps:,} {progress.unit}"
    updates = f"{progress.updates:,} updates" if progress.unit == "steps" else ""
    return [each for each in (steps, pace.state, pace.left, updates) if each]


def numbers(progress: Progress) -> dict[str, str]:
    """The last returns and losses by their names."""
    record = progress.record
    recent = "  ".join(f"{episode.total_reward:.1f}" for episode in list(progress.episodes)[-RECENT:])
    shown = {"last episodes": recent or "none finished yet"}
    shown |= {label: f"{record[name]:.4g}" for name, label in SHOWN if name in record}
    if progress.best is not None and not progress.untrained:
        shown["best eval return"] = f"{progress.best[1]:.4g} at {progress.unit.removesuffix('s')} {progress.best[0]:,}"
    return shown


def closing(progress: Progress) -> str:
    """How it ended, in a line."""
    unit = progress.unit.removesuffix("s")
    best = f"; best evaluation {progress.best[1]:.1f} at {unit} {progress.best[0]:,}" if progress.best else ""
    said = f"; {progress.untrained}" if progress.untrained else best
    return f"{progress.outcome or 'ended'}{said}"


def readable_time(seconds: float) -> str:
    """`3700` as `1 h 01 min`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
