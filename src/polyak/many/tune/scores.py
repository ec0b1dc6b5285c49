"""What a trial is worth: one number from the evaluations of its seeds, which no single lucky seed can raise."""

from collections.abc import Sequence

LAST = 5
"""The last fifth of a run's evaluations is what it is judged by."""


def robust(values: Sequence[float]) -> float:
    """The mean of the lower half of one or more seeds, the one in the middle included.

    Of two it is the smaller, of three the mean of the smaller two. A search compares many trials by few seeds each and
    takes the best: by the mean, it would take the one whose luckiest seed was luckiest. What is left out here is the
    upper half, so that a trial is only good where most of its seeds are.
    """
    lowest = sorted(values)[: -(-len(values) // 2)]
    return sum(lowest) / len(lowest)


def final(returns: Sequence[float]) -> float:
    """What a run has come to: the mean of the last fifth of its evaluations, one at least.

    Not the best of them, which is the highest of many noisy numbers, the more so the noisier they are.
    """
    last = returns[-max(1, -(-len(returns) // LAST)) :]
    return sum(last) / len(last)


def below_all(known: Sequence[float]) -> float:
    """A value for a trial that diverged: finite, since storages hold no other, and below all that are `known`.

    The sampler goes by the order alone, and keeps away from there.
    """
    if not known:
        return -1.0
    lowest, highest = min(known), max(known)
    return lowest - max(highest - lowest, abs(lowest), 1.0)
