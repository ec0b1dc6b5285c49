"""How those who race stand on a course: medians in which what has not arrived is slower than all that has."""

import math
import statistics
from collections.abc import Sequence

from curves.cases import Case, Training
from curves.races import LIBRARIES, Course, course
from curves.store import Result, Store

from polyak.algorithms import titled


class Runner:
    """A library with an algorithm on a course, and what there is of its runs."""

    def __init__(self, case: Case, where: Course, store: Store) -> None:
        self.case, self.course = case, where
        found = (store.read(case.named(seed)) for seed in range(where.seeds))
        self.results: list[Result] = [result for result in found if result is not None]

    @property
    def library(self) -> str:
        """Whose it is."""
        return self.case.library

    @property
    def algorithm(self) -> str:
        """As it is written."""
        return titled(self.case.algorithm)

    @property
    def arrived(self) -> list[Result]:
        """The runs that did."""
        return [result for result in self.results if result["arrived"]]

    @property
    def seconds(self) -> list[float]:
        """Of each run, from the shortest; infinite where it has not arrived."""
        return self._of("seconds")

    @property
    def median(self) -> float:
        """Of the seconds: infinite where half of the runs or more have not arrived."""
        return statistics.median(self.seconds)

    @property
    def whole(self) -> bool:
        """Whether every seed has run."""
        return len(self.results) == self.course.seeds

    @property
    def settled(self) -> bool:
        """Whether no run can change the median: all have run, or more than half have not arrived."""
        return self.whole or 2 * (len(self.results) - len(self.arrived)) > self.course.seeds

    def told(self, what: str, digits: int) -> str:
        """`5.3 (4.9 to 6.1)`: median and range of `seconds` or `steps`."""
        return ranged(self._of(what), digits)

    def _of(self, what: str) -> list[float]:
        return sorted(float(result[what]) if result["arrived"] else math.inf for result in self.results)


def number(value: float, digits: int = 1) -> str:
    """`1,234.5`, or what it means not to have one."""
    return "not arrived" if math.isinf(value) else f"{value:,.{digits}f}"


def ranged(values: Sequence[float], digits: int = 1) -> str:
    """`5.3 (4.9 to 6.1)`: the median and the range of values from the lowest to the highest."""
    middle, low, high = (number(value, digits) for value in (statistics.median(values), values[0], values[-1]))
    return middle if low == high else f"{middle} ({low} to {high})"


def runners(store: Store, where: Course) -> list[Runner]:
    """Those of a course that have a run, the fastest first."""
    found = [Runner(case, where, store) for case in where.block.cases]
    return sorted((each for each in found if each.results), key=lambda each: (each.median, -len(each.arrived)))


def needless(entry: Training, store: Store) -> bool:
    """Whether the entry's run could no longer change a median."""
    return Runner(entry.case, course(entry.case.environment), store).settled


def fastest(found: Sequence[Runner]) -> dict[str, Runner]:
    """Of each library, in the libraries' order, the algorithm that was the fastest."""
    return {library: mine[0] for library in LIBRARIES if (mine := [each for each in found if each.library == library])}
