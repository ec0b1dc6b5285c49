"""Half-finished episodes, enacted again: from the same seeds, with the recorded actions, checked number by number.

A simulator's inner state is not saved. Its episode began from a recorded seed, and replay holds every action since, so
that a deterministic environment can be brought to where it was; whether it got there is compared with what replay holds
of each step. An environment that did not is reported, never passed off as restored.
"""

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polyak.environments.stepping import Environments
from polyak.experience.replay import Replay
from polyak.types import Batch, Bool, Float

SHOWED = "it showed another"
"""How the reasons begin of environments that are not deterministic."""


def reenact(
    environments: Environments,
    replay: Replay,
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
        replay: holds the newest transitions, N a step in the environments' order.
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
    lost = lengths > replay.size // environments.count
    beyond = {
        int(index): f"replay holds fewer than the {lengths[index]:,} steps of its episode"
        for index in np.flatnonzero(lost)
    }
    lengths = np.where(lost, 0, lengths)
    if lengths.max() < environments.steps // environments.count:  # in its first episode, one would have as many
        environments.start(environments.seeds)
    begun = time.monotonic()
    reasons = _enacted(environments, replay, lengths, observation, seconds, beyond)
    took = time.monotonic() - begun
    if reasons.keys() > beyond.keys() and 2 * took < seconds:
        reasons = _enacted(environments, replay, lengths, observation, seconds - took, beyond)
    return reasons


def _enacted(
    environments: Environments,
    replay: Replay,
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
        recorded = _recorded(replay, environments.count, left)
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


def _recorded(replay: Replay, count: int, left: int) -> Batch:
    """What replay holds of the step that is followed by `left - 1` others, [1, N] records."""
    first = replay.added - left * count
    return Batch(replay.records(first, first + count)[np.newaxis], replay.layout)


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
