"""From what replay holds to what a learner learns from, in five stages.

1. choose: which transitions (`choosers`).
2. relabel: what would have been rewarded had another goal been meant. Nobody does yet.
3. accumulate: from raw transitions to targets' parts, as (8.5) has them: reward, next observation, discount. One step.
4. mix: batches of several replays. There is one.
5. normalize: observations and rewards by their statistics. As they are.
"""

import numpy as np

from polyak.experience.choosers import Chooser, Chosen, Uniform
from polyak.experience.replay import Replay
from polyak.types import Batch

UNIFORM = Uniform()


def sample_batch(
    replay: Replay,
    generator: np.random.Generator,
    updates: int,
    batch_size: int,
    discount: float,
    chooser: Chooser = UNIFORM,
) -> Batch:
    """K batches of B transitions [K, B], of which `chooser` says which, with what `generator` draws.

    Raises:
        UsageError: replay is empty.
    """
    return accumulated(replay, chooser.choose(replay, generator, updates, batch_size), discount)


def accumulated(replay: Replay, chosen: Chosen, discount: float) -> Batch:
    """The chosen transitions, in one gather; what follows one counts `discount`, or nothing where it terminated."""
    layout, records = replay.layout, replay.gathered(chosen.numbers)
    going_on = 1 - records[..., layout.terminated]
    np.multiply(np.float32(discount), going_on, out=records[..., layout.discount])
    records[..., layout.weight] = chosen.weight
    return Batch(records, layout)
