"""From what replay holds to what a learner learns from."""

import numpy as np

from polyak.errors import UsageError
from polyak.experience.replay import Replay
from polyak.types import Batch


def sample_batch(
    replay: Replay, generator: np.random.Generator, updates: int, batch_size: int, discount: float
) -> Batch:
    """K batches of B transitions [K, B], each drawn uniformly with replacement, whose weight is 1.

    Raises:
        UsageError: replay is empty.
    """
    if replay.size == 0:
        raise UsageError("cannot sample from an empty replay: add transitions first")
    layout = replay.layout
    records = replay.gathered(generator.integers(0, replay.size, size=(updates, batch_size)))
    going_on = 1 - records[..., layout.terminated]
    np.multiply(np.float32(discount), going_on, out=records[..., layout.discount])
    records[..., layout.weight] = 1
    return Batch(records, layout)
