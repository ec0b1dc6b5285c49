"""The numbers of a page about several seeds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from curves.cases import BLOCKS, Case
from curves.store import Result, Store

from polyak.report.statistics import REPEATS, Scores, interval, iqm
from polyak.settings.presets.verified import digits, spread

LAST = 3
"""Evaluations at the end whose mean is a seed's score: one alone is mostly luck."""
SEVERAL = 3
"""Seeds without which nothing is compared."""
CLEAR = 0.9
"""The part of pairs of seeds in which one is ahead."""

PUBLISHED = {
    ("Hopper-v5", "sac"): "1,104 ± 240",
    ("Hopper-v5", "crossq"): "2,764 ± 510",
    ("HalfCheetah-v5", "sac"): "6,156 ± 457",
    ("HalfCheetah-v5", "crossq"): "8,112 ± 585",
    ("Walker2d-v5", "sac"): "690 ± 157",
    ("Walker2d-v5", "crossq"): "3,914 ± 1,072",
    ("Ant-v5", "sac"): "747 ± 327",
    ("Ant-v5", "crossq"): "2,299 ± 835",
    ("Humanoid-v5", "sac"): "632 ± 111",
    ("Humanoid-v5", "crossq"): "2,603 ± 1,534",
}
"""After 100,000 steps of the v4 environment, by CrossQ's authors: the mean of ten seeds ± 1.96 standard errors."""


@dataclass(frozen=True)
class Done:
    """What there is of a case."""

    case: Case
    seeds: int
    """That are wanted."""
    results: Mapping[int, Result]
    """By seed."""

    @property
    def scores(self) -> Scores:
        """[n] the mean of each seed's last evaluations."""
        return np.array([np.mean([point[2] for point in each["curve"][-LAST:]]) for each in self.results.values()])

    @property
    def fresh(self) -> Scores:
        """[n] the mean of each seed's fresh episodes."""
        return np.array([each["fresh_mean"] for each in self.results.values()])

    @property
    def ends(self) -> Scores:
        """[n, 2] steps and seconds at which each seed ended."""
        return np.array([each["curve"][-1][:2] for each in self.results.values()], float)

    def timed(self, processor: str) -> "Done":
        """What there is whose seconds are those of a processor."""
        return replace(self, results={seed: each for seed, each in self.results.items() if is_timed(each, processor)})

    def curves(self, measure: str = "return") -> tuple[Scores, Scores]:
        """[T] the steps at which all seeds were evaluated, and [n, T] what they had there: the return, or success rate.

        Raises:
            KeyError: the evaluations have no success rate.
        """
        name = "curve" if measure == "return" else "successes"
        found = [{point[0]: point[-1] for point in each[name]} for each in self.results.values()]
        steps = sorted(set(found[0]).intersection(*found)) if found else []
        return np.array(steps, float), np.array([[each[step] for step in steps] for each in found])


def done(store: Store, group: str) -> list[Done]:
    """Every case of a group in the queue's order, with what there is of it."""
    found: list[Done] = []
    for block in BLOCKS:
        for case in block.cases:
            if case.group == group:
                results = {seed: store.read(case.named(seed)) for seed in range(block.seeds)}
                there = {seed: result for seed, result in results.items() if result is not None}
                found.append(Done(case, block.seeds, there))
    return found


def usual_processor(results: Iterable[Result]) -> str:
    """The processor that most of these had: their seconds are compared on it alone. Empty where most tell none."""
    counts = Counter(map(processor_of, results))
    return max(counts, key=lambda name: counts[name], default="")


def is_timed(result: Result, processor: str) -> bool:
    """Whether a result's seconds are those of a processor."""
    return processor_of(result) == processor


def processor_of(result: Result) -> str:
    """On which it was trained; the first results tell none, and are compared with each other alone."""
    return result.get("processor", "")


def difference(ours: Scores, theirs: Scores, seed: int = 0) -> tuple[Scores, Scores, Scores]:
    """Of the interquartile means of [n, ...] and [m, ...]: ours less theirs, and its 95 % interval.

    A percentile bootstrap that resamples the seeds of each side by itself: both are strata.
    """
    generator = np.random.default_rng(seed)
    drawn = [side[generator.integers(len(side), size=(len(side), REPEATS))] for side in (ours, theirs)]
    low, high = np.quantile(iqm(drawn[0]) - iqm(drawn[1]), [0.025, 0.975], axis=0)
    return iqm(ours) - iqm(theirs), low, high


def told(scores: Scores, digits: int = 0) -> str:
    """`123 (110 to 140)`: the interquartile mean, and its interval where there are several seeds."""
    if not len(scores):
        return ""
    middle = f"{float(iqm(scores)):,.{digits}f}"
    if len(scores) == 1:
        return middle
    low, high = interval(scores)
    return f"{middle} ({float(low):,.{digits}f} to {float(high):,.{digits}f})"


def seeds_told(found: Sequence[Done]) -> str:
    """`5`, or `2 of 5` where some have not run."""
    least, wanted = min(len(each.results) for each in found), found[0].seeds
    return str(wanted) if least == wanted else f"{least} of {wanted}"


def cell(values: Sequence[float]) -> str:
    """Median, lowest and highest, and of how many seeds where it is one."""
    if not values:
        return ""
    return spread(values, digits(values)) + (" (1 seed)" if len(values) == 1 else "")
