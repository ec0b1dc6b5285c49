"""The page about which algorithm to take, answered from what has been run: by environment, by steps, by seconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from textwrap import fill

import numpy as np
from curves import general
from curves.cases import LANDER
from curves.numbers import CLEAR, SEVERAL, cell, is_timed, usual_processor
from curves.store import Result, Store
from curves.verified import NEEDED, flags, measured
from scaling_pages import table

from polyak.algorithms import names as known
from polyak.algorithms import titled
from polyak.report.statistics import probability_of_improvement
from polyak.settings import presets
from polyak.settings.presets.verified import digits, spread

STEPS = (2_000, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
SECONDS = (30, 60, 120, 300, 600, 1_200, 3_600)


@dataclass(frozen=True)
class Task:
    """An environment, as one of a kind."""

    environment: str
    kind: str
    reached: float | None = None
    """The return that counts as learned."""


TASKS = (
    Task("Pendulum-v1", "few numbers, a dense reward", -200),
    Task("MountainCarContinuous-v0", "a goal that chance rarely finds", 90),
    Task("InvertedPendulum-v5", "balance", 950),
    Task("InvertedDoublePendulum-v5", "balance, harder", 9_000),
    Task("Reacher-v5", "an arm that reaches, dense reward"),
    Task(LANDER, "a flight with one end, shaped reward", 200),
    Task("BipedalWalker-v3", "walking without falling, two legs", 300),
    Task("Swimmer-v5", "a gait that pays late"),
    Task("Hopper-v5", "a gait that falls", 2_500),
    Task("HalfCheetah-v5", "a gait that cannot fall", 5_000),
    Task("Walker2d-v5", "a gait that falls, more joints"),
    Task("Ant-v5", "many joints"),
    Task("Humanoid-v5", "very many joints"),
    Task("FetchReach-v4", "goals, rewarded only where reached"),
    Task("PointMaze_UMaze-v3", "goals behind walls"),
)

Curve = Sequence[Sequence[float]]
"""Of a seed: [steps, seconds, return], evaluation by evaluation."""


@dataclass(frozen=True)
class Tried:
    """An algorithm in an environment with the preset it has there: a curve a seed."""

    environment: str
    algorithm: str
    curves: Sequence[Curve]
    """Those whose seconds are comparable."""
    stops: float | None = None
    """The return at which the runs end, if they do."""
    untimed: Sequence[Curve] = ()
    """Those of another processor than most there, which count by steps alone."""

    def by(self, column: int) -> list[Curve]:
        """The curves that count by steps (column 0), or by seconds (1)."""
        return [*self.curves, *self.untimed] if column == 0 else [*self.curves]

    @property
    def worth(self) -> tuple[int, float]:
        """Of several ways in which it was tried, that of the most seeds, then the longest."""
        return len(self.by(0)), max(curve[-1][0] for curve in self.by(0))

    def reached(self, wanted: float, column: int) -> list[float]:
        """Steps (column 0) or seconds (1) until an evaluation came to a return, of the seeds in which one did."""
        first = (next((point for point in curve if point[2] >= wanted), None) for curve in self.by(column))
        return [point[column] for point in first if point is not None]

    def within(self, budget: float, column: int) -> list[float]:
        """The return of the last evaluation within a budget: of the seeds that were so long, or had ended by then."""
        found: list[float] = []
        for curve in self.by(column):
            before = [point[2] for point in curve if point[column] <= budget]
            ended = self.stops is not None and curve[-1][2] >= self.stops
            if before and (curve[-1][column] >= budget or ended):
                found.append(before[-1])
        return found


def tried(store: Store) -> dict[str, list[Tried]]:
    """All that counts, by environment; seconds are those of the processor that most runs there had."""
    ways: dict[str, list[tuple[str, str, list[Result]]]] = {}
    for (environment, algorithm, preset, command), runs in measured(store, unrecorded=True).items():
        own = preset == presets.default_for(environment, algorithm) and algorithm not in NEEDED
        if own and "--backend" not in command:
            ordered = [result for _, result in sorted(runs.items())]
            ways.setdefault(environment, []).append((algorithm, command, ordered))
    found: dict[tuple[str, str], Tried] = {}
    for environment, there in ways.items():
        processor = usual_processor(result for _, _, results in there for result in results)
        for algorithm, command, results in there:
            stop = flags(command).get("stop_at_return")
            timed, untimed = (
                [each["curve"] for each in results if is_timed(each, processor) is so] for so in (True, False)
            )
            one = Tried(environment, algorithm, timed, None if stop is None else float(stop), untimed)
            place = (environment, algorithm)
            found[place] = max(one, found.get(place, one), key=lambda each: each.worth)
    return by_environment(found.values())


def by_environment(found: Iterable[Tried]) -> dict[str, list[Tried]]:
    """Sorted into environments."""
    there: dict[str, list[Tried]] = {}
    for each in found:
        there.setdefault(each.environment, []).append(each)
    return there


# Who leads


@dataclass(frozen=True)
class Answer:
    """Who is first or level with the first, the best median first, among how many, and in what."""

    first: Sequence[Tried]
    among: int
    why: str

    def __str__(self) -> str:
        order = "no order: " if len(self.first) == self.among else ""
        return f"{order}**{' or '.join(titled(each.algorithm) for each in self.first)}**: {self.why}"


def compared(found: Sequence[Tried], task: Task, column: int) -> list[Answer]:
    """What these seeds say of an environment; nothing where fewer than two can be told.

    The fewest steps (column 0) or seconds (1) to the return that counts as learned, where somebody's seeds all came to
    it; else the highest return within the largest budget that all had, and within the largest that at least two had.
    """
    several = [each for each in found if len(each.by(column)) >= SEVERAL]
    if len(several) < 2:
        return []
    unit = ("steps", "s")[column]
    if task.reached is not None:
        times = [(each, each.reached(task.reached, column)) for each in several]
        whole = [(each, [-value for value in values]) for each, values in times if len(values) == len(each.by(column))]
        if whole:
            first = level(whole)
            best = -median(next(values for each, values in whole if each is first[0]))
            return [Answer(first, len(several), f"{best:,.0f} {unit} to {task.reached:,.0f}")]
    answers: dict[int, Answer] = {}
    for fewest in (len(several), 2):
        for budget in reversed((STEPS, SECONDS)[column]):
            values = [(each, each.within(budget, column)) for each in several]
            had = [(each, returns) for each, returns in values if len(returns) == len(each.by(column))]
            if len(had) >= fewest:
                first = level(had)
                best = median(next(returns for each, returns in had if each is first[0]))
                answers[budget] = Answer(first, len(had), f"{best:,.0f} after {budget:,} {unit}")
                break
    return [*answers.values()]


def level(scored: Sequence[tuple[Tried, list[float]]]) -> list[Tried]:
    """The best by its median, and whoever is not clearly worse: the best's seed is higher in 9 of 10 pairs of seeds."""
    ordered = sorted(scored, key=lambda each: -median(each[1]))
    best = np.array(ordered[0][1])
    chances = [probability_of_improvement(best, np.array(values)) for _, values in ordered[1:]]
    return [ordered[0][0], *(each for (each, _), chance in zip(ordered[1:], chances, strict=True) if chance < CLEAR)]


def take(found: Sequence[Tried], task: Task, column: int) -> str:
    """A cell: whom to take, and for what."""
    there = [each for each in found if each.by(column)]
    if not there:
        return "no comparison: not timed"
    told = [str(answer) for answer in compared(found, task, column)]
    if not told and sum(len(each.by(column)) >= SEVERAL for each in there) > 1:
        told = ["no budget that two had"]
    elif not told:
        alone = ", ".join(f"{titled(each.algorithm)} ({seeds(len(each.by(column)))})" for each in there)
        told = [f"no comparison: {alone}"]
    others = [titled(each.algorithm) for each in found if len(each.by(0)) >= SEVERAL > len(each.by(column))]
    left = [f"on another processor: {', '.join(others)}"] if others else []
    return "; ".join([*told, *left])


def seeds(number: int) -> str:
    """`3 seeds`."""
    return f"{number} seed{'' if number == 1 else 's'}"


def rests(found: Sequence[Tried], environment: str) -> str:
    """A cell: on how much an answer rests, and what has not been run there."""
    there = ", ".join(f"{titled(each.algorithm)} {len(each.by(0))}" for each in found)
    missing = [titled(name) for name in asked(environment) if name not in [each.algorithm for each in found]]
    return "; ".join(filter(None, (there, f"not run: {', '.join(missing)}" if missing else "")))


def asked(environment: str) -> list[str]:
    """The algorithms that have settings of their own there."""
    return [name for name in known() if presets.default_for(environment, name) == environment and name not in NEEDED]


# The page


def page(store: Store) -> str:
    """The whole text."""
    there = tried(store)
    sections = [
        INTRODUCTION + fill(f"{first_of_all(there)} {BEGIN}", 120),
        answers(there),
        *(environment(task, there[task.environment]) for task in TASKS if task.environment in there),
        budgets(there, 0),
        budgets(there, 1),
        general.section(store),
        READING,
    ]
    return "\n\n".join(sections) + "\n"


def first_of_all(there: Mapping[str, Sequence[Tried]]) -> str:
    """In how many environments each is among the first, by steps."""
    told = [compared(there[task.environment], task, 0) for task in TASKS if task.environment in there]
    firsts = [{each.algorithm for answer in answers for each in answer.first} for answers in told if answers]
    if not firsts:
        return "No environment has had two algorithms with three seeds each yet, so that nothing here prefers one."
    times = {name: sum(name in found for found in firsts) for name in known()}
    ordered = sorted((name for name in times if times[name]), key=lambda name: -times[name])
    counted = ", ".join(f"{titled(name)} in {times[name]}" for name in ordered)
    return (
        f"Two algorithms or more have been run there with three seeds or more in {len(firsts)} environment"
        f"{'s' if len(firsts) > 1 else ''}. First by steps, or level with the first: {counted}."
    )


def answers(there: Mapping[str, Sequence[Tried]]) -> str:
    """A line a kind of task that something was run in; and which have had nothing."""
    heads = ("task", "environment", "where steps cost", "where seconds do", "seeds")
    rows = [
        [
            *(task.kind, task.environment, *(take(found, task, column) for column in (0, 1))),
            rests(found, task.environment),
        ]
        for task in TASKS
        if (found := there.get(task.environment))
    ]
    missing = "; ".join(f"{task.kind} ({task.environment})" for task in TASKS if task.environment not in there)
    left = f"\n\n{fill(f'**Not run yet, so that nothing is known:** {missing}.', 120)}" if missing else ""
    return f"## In one line each\n\n{table(heads, rows)}{left}\n\n{ALSO}"


def environment(task: Task, found: Sequence[Tried]) -> str:
    """The section of one."""
    wanted = [] if task.reached is None else [f"came to {task.reached:,.0f}", "steps until then", "seconds until then"]
    heads = ("", "seeds", *wanted, "steps, the longest", "return at the end")
    rows: list[list[str]] = []
    for each in found:
        curves = each.by(0)
        row = [titled(each.algorithm), str(len(curves))]
        if task.reached is not None:
            steps, seconds = (each.reached(task.reached, column) for column in (0, 1))
            row += [
                f"{len(steps)} of {len(curves)}",
                *(spread(values) if values else "" for values in (steps, seconds)),
            ]
        ends = [curve[-1][2] for curve in curves]
        rows.append([*row, f"{max(curve[-1][0] for curve in curves):,.0f}", spread(ends, digits(ends))])
    return f"## {task.environment}\n\n{table(heads, rows)}"


def budgets(there: Mapping[str, Sequence[Tried]], column: int) -> str:
    """A row an environment and algorithm: the last evaluation within each budget, until the environment's runs end."""
    unit, ladder = (("steps", STEPS), ("seconds", SECONDS))[column]
    rows: list[list[str]] = []
    for task in TASKS:
        found = there.get(task.environment, [])
        end = max((curve[-1][column] for each in found for curve in each.by(column)), default=0)
        last = next((budget for budget in ladder if budget >= end), ladder[-1])
        for each in found:
            cells = [cell(each.within(budget, column)) if budget <= last else "" for budget in ladder]
            rows.append([task.environment, titled(each.algorithm), *cells])
    filled = [number for number in range(2, 2 + len(ladder)) if any(row[number] for row in rows)]
    shown = [[row[number] for number in (0, 1, *filled)] for row in rows if any(row[2:])]
    heads = ("environment", "", *(f"{ladder[number - 2]:,}" for number in filled))
    return f"## By budget in {unit}\n\n{BUDGET[column]}\n\n{table(heads, shown)}"


INTRODUCTION = """# Which algorithm?

Answered from what has been run, and from nothing else: each algorithm with the preset that it has for the environment
(`polyak presets`), in JAX, one thread.

"""

BEGIN = "Where nothing is known, begin with SAC: it explores by itself, and steers how much."

ALSO = """"or" joins those between which these seeds find no order; where some ran longer than others, a second answer
is of those alone. Two more answers come from what an algorithm is, not from these numbers: where demonstrations are
there, [RLPD](algorithms/redq.md#rlpd) has half of each batch from them; where the policy must not draw its actions,
TD3 is DDPG with what repairs it. A step of REDQ, DroQ and RLPD is 20 updates: they are for environments whose steps
cost more than those. [Recipes](recipes.md#which-algorithm) says each in a line."""

BUDGET = (
    """The return of the last evaluation within so many steps: the median over the seeds, the lowest and the highest. A
run that stopped because it had learned counts on with its last evaluation; one that was not so long does not.""",
    """The same by the clock, from the start of training, compilation included, and in each environment of one processor
alone, that of most of its runs: what was run on another counts by steps. The queue runs two trainings beside each other
and other work, so that these are upper bounds, and only large ratios within one environment mean something.""",
)

READING = """## How to read this

This page is written by `benchmarks/learning_pages.py` from [the results](results.md) and grows with them; of
several ways in which an algorithm was run in an environment, it takes that of the most seeds, then the longest.
Three seeds show what is large and nothing that is small: one is called first only if its seed is ahead in nine of
ten pairs of seeds, and seeds are counted in every row. What is not in a table has not been run. Runs from before
results said with which settings verify no preset, and are shown here all the same. A learner's settings matter as
much as its name: these are the presets', and [a search](tuning.md) may find better ones."""
