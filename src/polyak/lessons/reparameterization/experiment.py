"""The experiment: each estimate repeated many times for each number of samples, in bounded memory."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from polyak.lessons.common import Measured, Progress, require_count, require_list, require_number
from polyak.lessons.reparameterization import formulas
from polyak.lessons.reparameterization.formulas import Array
from polyak.system.randomness import stream
from polyak.system.threads import physical_cores

SAMPLES = (10, 100, 1_000, 10_000, 100_000)
BLOCK = 2**16
"""Normals in memory at once, per thread: 512 KiB, within a core's cache."""
UNIT = 2**22
"""Normals from one stream, at most, unless a single estimate takes more."""

Estimator = Literal["score-function", "pathwise"]
TERMS: dict[Estimator, Callable[[float, Array], Array]] = {
    "score-function": formulas.score_function_terms,
    "pathwise": formulas.pathwise_terms,
}


@dataclass(frozen=True, eq=False)
class Row:
    """What was measured with one number of samples."""

    samples: int
    score_mean: Measured
    score_variance: Measured
    pathwise_mean: Measured
    pathwise_variance: Measured
    ratio: Measured
    """Of the score function's variance to the pathwise one; its error is the first-order one."""
    score_estimates: Array = field(repr=False)
    """[R] float64"""
    pathwise_estimates: Array = field(repr=False)
    """[R] float64"""

    @property
    def measured(self) -> tuple[Measured, ...]:
        """Everything measured."""
        return self.score_mean, self.score_variance, self.pathwise_mean, self.pathwise_variance, self.ratio


@dataclass(frozen=True, eq=False)
class Result:
    """The experiment: one row for each number of samples."""

    theta: float
    repeats: int
    seed: int
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything but the single estimates."""
        names = ("score_mean", "score_variance", "pathwise_mean", "pathwise_variance", "ratio")
        rows = [{"samples": row.samples} | {name: getattr(row, name).to_json() for name in names} for row in self.rows]
        return {"theta": self.theta, "repeats": self.repeats, "seed": self.seed, "rows": rows}


@dataclass(frozen=True)
class _Unit:
    """Estimates that one stream draws."""

    estimator: Estimator
    samples: int
    first: int
    count: int


def run(
    theta: float = 2.0,
    samples: Sequence[int] = SAMPLES,
    repeats: int = 10_000,
    seed: int = 0,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Repeat both estimates, each from draws of its own, and compare mean and variance with the exact ones.

    A thread holds three blocks of 2^16 float64 numbers at most, 1.5 MB, whatever is asked for; the estimates take
    16 bytes a repeat and a number of samples. The streams belong to parts of the work, not to threads: the result
    depends on theta, samples, repeats and seed alone.

    Args:
        theta: the mean of x.
        samples: the numbers of samples N of an estimate.
        repeats: how often each estimate is repeated.
        seed: from which every stream is drawn.
        threads: by default the physical cores.
        progress: told the normals drawn and the normals to draw.

    Raises:
        UsageError: a number outside its limits.
    """
    require_number("theta", theta, -1e6, 1e6)
    require_list("samples", samples, 100)
    for n in samples:
        require_count("samples", n, 1, 10**9)
    require_count("repeats", repeats, 2, 10**6)
    require_count("seed", seed, 0, 2**63)
    threads = physical_cores() if threads is None else threads
    require_count("threads", threads, 1, 1024)
    found: dict[tuple[Estimator, int], Array] = {(name, n): np.empty(repeats) for n in samples for name in TERMS}
    _draw(theta, seed, _units(samples, repeats), 2 * repeats * sum(samples), found, threads, progress)
    rows = (_row(theta, n, found["score-function", n], found["pathwise", n]) for n in samples)
    return Result(float(theta), repeats, seed, tuple(rows))


def _units(samples: Sequence[int], repeats: int) -> Iterator[_Unit]:
    for n in samples:
        count = max(1, UNIT // n)
        for first in range(0, repeats, count):
            for name in TERMS:
                yield _Unit(name, n, first, min(count, repeats - first))


def _draw(
    theta: float,
    seed: int,
    units: Iterator[_Unit],
    total: int,
    found: dict[tuple[Estimator, int], Array],
    threads: int,
    progress: Progress | None,
) -> None:
    """Fill in every estimate; whatever interrupts the caller ends the threads within a block."""
    done, pending = 0, dict[Future[Array], _Unit]()
    stop = threading.Event()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                # A few at a time: there may be millions of units.
                for unit in itertools.islice(units, 4 * threads - len(pending)):
                    pending[pool.submit(_estimates, theta, seed, unit, stop)] = unit
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    unit = pending.pop(future)
                    found[unit.estimator, unit.samples][unit.first : unit.first + unit.count] = future.result()
                    done += unit.samples * unit.count
                    if progress is not None:
                        progress(done, total)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _estimates(theta: float, seed: int, unit: _Unit, stop: threading.Event) -> Array:
    """Means of terms, [count]: blocks are summed pairwise by NumPy, in float64."""
    generator = stream(seed, f"lesson/reparameterization/{unit.estimator}/{unit.samples}/{unit.first}")
    terms = TERMS[unit.estimator]
    sums = np.zeros(unit.count)
    width = min(unit.samples, BLOCK)
    height = max(1, BLOCK // unit.samples)
    for top in range(0, unit.count, height):
        rows = sums[top : top + height]
        for left in range(0, unit.samples, width):
            if stop.is_set():
                return sums
            eps = generator.standard_normal((len(rows), min(width, unit.samples - left)))
            rows += terms(theta, eps).sum(axis=1)
    return sums / unit.samples


def _row(theta: float, n: int, score: Array, pathwise: Array) -> Row:
    score_mean, score_variance = _moments(
        score, theta, formulas.score_function_variance(theta, n), formulas.score_function_kurtosis(theta, n)
    )
    pathwise_mean, pathwise_variance = _moments(pathwise, theta, formulas.pathwise_variance(n), 0.0)
    ratio = formulas.variance_ratio(theta)
    error = math.hypot(*(each.standard_error / each.exact for each in (score_variance, pathwise_variance)))
    return Row(
        n,
        score_mean,
        score_variance,
        pathwise_mean,
        pathwise_variance,
        Measured(score_variance.value / pathwise_variance.value, ratio, ratio * error),
        score,
        pathwise,
    )


def _moments(estimates: Array, theta: float, variance: float, kurtosis: float) -> tuple[Measured, Measured]:
    repeats = len(estimates)
    mean = Measured(float(estimates.mean()), formulas.gradient(theta), (variance / repeats) ** 0.5)
    error = formulas.standard_error_of_variance(variance, kurtosis, repeats)
    return mean, Measured(float(estimates.var(ddof=1)), variance, error)
