"""What a run's policy was shown: observations in the replay of its newest checkpoint, without what learns from them."""

import dataclasses

import numpy as np

from polyak.errors import UnreadableError
from polyak.experience.replay import Replay
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.folder import Run
from polyak.run.learned import sensible
from polyak.types import Float, Spec

MOST = 10_000
"""The last so many transitions are drawn from, so that no more than their files are read."""


def observations_seen(run: Run, count: int, generator: np.random.Generator) -> Float:
    """Up to `count` observations as the environment shows them, flat, drawn without replacement: [n, O].

    O is what is stored, which may go on behind what the policy is shown.

    Raises:
        UsageError: there is no checkpoint, none is whole, or no transition is in it; or it cannot be read just now.
    """
    run.require_no_links()
    checkpoints = Checkpoints(run.checkpoints)

    def read(made: Manifest) -> Float:
        with sensible(run.checkpoints / made.name):
            spec, kept = Spec.from_json(made.state["spec"]), _last_segments(made)
            replay = checkpoints.replay(kept, Replay(MOST, spec.observation_size, spec.action_size, made.added or 1))
        numbers = replay.oldest + generator.permutation(replay.size)[:count]
        records = replay.records(replay.oldest, replay.added)
        return records[np.sort(numbers) - replay.oldest][:, replay.layout.observation]

    found = checkpoints.newest(read, run.settings_if_whole)
    if len(found) == 0:
        raise UnreadableError(f"the checkpoints in {run.checkpoints} hold no transition")
    return found


def _last_segments(made: Manifest) -> Manifest:
    """The same with no more segments than hold the last transitions."""
    first = next((place for place, each in enumerate(made.segments) if each.end > made.added - MOST), 0)
    return dataclasses.replace(made, segments=made.segments[first:])
