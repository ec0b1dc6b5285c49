"""Half-finished episodes, enacted again: from the same seeds, with the recorded actions, checked number by number.

A simulator's inner state is not saved. Its episode began from a recorded seed, and replay holds every action since, so
that a deterministic environment can be brought to where it was; whether it got there is compared with what replay holds
of each step. An environment that did not is reported, never passed off as restored.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from polyak.environments.stepping import Environments
from polyak.experience.collector import Collector
from polyak.experience.replay import Replay
from polyak.types import Arrays, Batch, Bool, Float, Layout

SHOWED = "it showed another"
"""How the reasons begin of environments that are not deterministic."""


class Past(Protocol):
    """The newest transitions of N environments, as far back as they are held."""

    @property
    def held(self) -> NDArray[np.int64]:
        """[N]: of how many steps."""
        ...

    def step(self, left: int) -> Batch:
        """Those of the step that is followed by `left - 1` others: [1, N] records; of no account where none is held."""
        ...


class InReplay:
    """Those that replay holds, N a step in the environments' order."""

    def __init__(self, replay: Replay, count: int) -> None:
        self._replay, self._count = replay, count

    @property
    def held(self) -> NDArray[np.int64]:
        """[N]"""
        return np.full(self._count, self._replay.size // self._count)

    def step(self, left: int) -> Batch:
        """[1, N] records."""
        first = self._replay.added - left * self._count
        return Batch(self._replay.records(first, first + self._count)[np.newaxis], self._replay.layout)


class OfEpisodes(NamedTuple):
    """Those of each environment's running episode alone, wherever they were in replay: plain arrays, to be sent."""

    records: Float
    """[T, N, 2 O + A + 3]: the newest last."""
    held: NDArray[np.int64]
    """[N]"""
    layout: Layout

    @classmethod
    def found(cls, replay: Replay, numbers: Sequence[int]) -> Self:
        """In replay, by the episodes' numbers [N]."""
        each = [replay.of_episode(number) for number in numbers]
        held = np.array([len(rows) for rows in each])
        records = np.zeros((max(held), len(each), replay.layout.width), np.float32)
        for index, rows in enumerate(each):
            records[len(records) - len(rows) :, index] = rows
        return cls(records, held, replay.layout)

    def step(self, left: int) -> Batch:
        """[1, N] records."""
        return Batch(self.records[np.newaxis, len(self.records) - left], self.layout)


def brought_back(
    collector: Collector, state: Mapping[str, Any], arrays: Arrays, past: Past, seconds: float
) -> Mapping[int, str]:
    """Bring a collector in newly made environments to where it was, by its state and that of its environments.

    Returns:
        For each environment that does not show the same again: why; a new episode has been started there.

    Raises:
        TrainingError: an environment raised or did not answer.
        ValueError, TypeError, KeyError: this is no state of them.
    """
    environments = collector.environments
    environments.restore(state["environments"])
    collector.restore(state["collector"], arrays)
    with environments.told_as(lambda: f"while its episode was enacted again for step {environments.steps:,}"):
        reasons = reenact(environments, past, collector.lengths, arrays["observation"], seconds)
    if reasons:
        collector.start_anew(np.isin(np.arange(environments.count), list(reasons)))
    return reasons


def reenact(
    environments: Environments,
    past: Past,
    lengths: NDArray[np.int64],
    observation: Float,
    seconds: float,
) -> Mapping[int, str]:
    """Bring environments to where their running episodes were; their seeds are `environments.seeds`.

    They are stepped side by side. An episode that is shorter than the longest waits in an episode of no account, and is
    started when as many steps are left as it had. The first episode of an instance may be another than later ones: one
    that was not the run's first is none here either, and where one does not show the same, all is enacted once more.

    Args:
        environments: newly made, as many as there were.
        past: holds what they were given, and what they showed.
        lengths: [N], steps of the running episodes.
        observation: [N, O], what was to be acted on next.
        seconds: the longest that this may take.

    Returns:
        For each environment whose episode is not where it was: the reason. What these show now is of no account.

    Raises:
        TrainingError: an environment raised or did not answer.
    """
    if not environments.every_episode_has_a_seed:
        return dict.fromkeys(
            range(environments.count),
            "its vector environment starts episodes by itself (autoreset mode DISABLED would not)",
        )
    lost = lengths > past.held
    beyond = {
        int(index): f"replay holds fewer than the {lengths[index]:,} steps of its episode"
        for index in np.flatnonzero(lost)
    }
    lengths = np.where(lost, 0, lengths)
    if lengths.max() < environments.steps // environments.count:  # in its first episode, one would have as many
        environments.start(environments.seeds)
    begun = time.monotonic()
    reasons = _enacted(environments, past, lengths, observation, seconds, beyond)
    took = time.monotonic() - begun
    if reasons.keys() > beyond.keys() and 2 * took < seconds:
        reasons = _enacted(environments, past, lengths, observation, seconds - took, beyond)
    return reasons


def _enacted(
    environments: Environments,
    past: Past,
    lengths: NDArray[np.int64],
    observation: Float,
    seconds: float,
    beyond: Mapping[int, str],
) -> Mapping[int, str]:
    """Enact once; the reasons for those that are not where they were, with those who are `beyond` that."""
    reasons = dict(beyond)
    longest, deadline = int(lengths.max()), time.monotonic() + seconds
    shown = environments.start(environments.seeds)
    for left in range(longest, 0, -1):
        if time.monotonic() > deadline:
            late = f"to enact its {longest - left:,} steps of {longest:,} took all of the {seconds:g} s allowed"
            return {index: reasons.get(index, late) for index in range(environments.count)}
        if left < longest:
            shown = _started(environments, lengths == left, shown)
        recorded = past.step(left)
        enacted = lengths >= left
        before = f"step {longest - left:,} of {longest:,}"
        _note(reasons, enacted & _differ(shown, recorded.observation[0]), f"{SHOWED} observation at {before}")
        outcome = environments.advance(np.where(enacted[:, np.newaxis], recorded.action[0], np.float32(0)))
        shown, ended = outcome.observation, outcome.terminated | outcome.truncated
        other = _differ(shown, recorded.next_observation[0]) | (outcome.reward != recorded.reward[0]) | ended
        _note(reasons, enacted & other, f"{SHOWED} observation, reward or end after {before}")
        shown = _started(environments, ended, shown)
    if longest:
        shown = _started(environments, lengths == 0, shown)
    _note(reasons, _differ(shown, observation), f"{SHOWED} observation at its end")
    return reasons


def _started(environments: Environments, which: Bool, shown: Float) -> Float:
    """What all environments show after those in `which` [N] have started from their seeds."""
    if not which.any():
        return shown
    return environments.start(
        [seed if wanted else None for seed, wanted in zip(environments.seeds, which, strict=True)]
    )


def _differ(ours: Float, theirs: Float) -> Bool:
    """[N]: whether the rows of two arrays [N, O] differ in any bit."""
    return (np.ascontiguousarray(ours).view(np.uint32) != np.ascontiguousarray(theirs).view(np.uint32)).any(axis=1)


def _note(reasons: dict[int, str], which: Bool, reason: str) -> None:
    for index in np.flatnonzero(which):
        reasons.setdefault(int(index), reason)
