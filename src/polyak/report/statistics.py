"""Honest numbers from a few seeds (Agarwal et al. 2021, arXiv 2108.13264): IQM, bootstrap, probability of improvement.

The functions give what the paper's own library, rliable, gives; a test compares them with its output.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""[n seeds, ...]: one score a seed, for each of the rest (evaluations, for instance)."""

REPEATS = 2_000
"""Bootstrap samples: the ends of a 95 % interval then vary by about 2 % of its length."""
_BLOCK = 4_000_000
"""Numbers that are resampled at once."""


def iqm(scores: Scores) -> Scores:
    """The interquartile mean over the first axis: without the lowest and the highest quarter, rounded down.

    With fewer than four seeds it is the mean.
    """
    cut = len(scores) // 4
    ordered = np.sort(scores, axis=0)
    return ordered[cut : len(scores) - cut].mean(axis=0)


def interval(
    scores: Scores, statistic: Callable[[Scores], Scores] = iqm, confidence: float = 0.95, seed: int = 0
) -> tuple[Scores, Scores]:
    """Ends of the percentile bootstrap interval of a statistic over the first axis, resampling seeds.

    Each of the other axes' places is a stratum of its own: its interval is for itself.

    Args:
        scores: [n, ...]
        statistic: from [n, ...] to [...].
        confidence: in (0, 1).
        seed: of the resampling; the same gives the same interval.

    Returns:
        [...] low, [...] high.
    """
    generator = np.random.default_rng(seed)
    width = max(1, int(np.prod(scores.shape[1:])))
    block = max(1, _BLOCK // (len(scores) * width))
    drawn: list[Scores] = []
    for start in range(0, REPEATS, block):
        count = min(block, REPEATS - start)
        chosen = generator.integers(len(scores), size=(len(scores), count))
        drawn.append(statistic(scores[chosen]))  # [n, count, ...] -> [count, ...]
    low, high = np.quantile(np.concatenate(drawn), [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def probability_of_improvement(ours: Scores, theirs: Scores) -> float:
    """P(a seed of ours scores higher than one of theirs), ties counting one half: Mann and Whitney's U over n m.

    Args:
        ours: [n]
        theirs: [m]
    """
    return float(_wins(ours[:, None], theirs[None, :]).mean())


def improvement_interval(ours: Scores, theirs: Scores, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Ends of the percentile bootstrap interval of `probability_of_improvement`, resampling each side by itself."""
    generator = np.random.default_rng(seed)
    wins = _wins(ours[:, None], theirs[None, :])
    rows = generator.integers(len(ours), size=(REPEATS, len(ours), 1))
    columns = generator.integers(len(theirs), size=(REPEATS, 1, len(theirs)))
    drawn = wins[rows, columns].mean(axis=(1, 2))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _wins(ours: Scores, theirs: Scores) -> Scores:
    return np.where(ours > theirs, 1.0, np.where(ours == theirs, 0.5, 0.0))
