"""The section of the page about what came after SAC, beside it: over steps, and over seconds."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from curves.compared import line
from curves.experience import spread
from curves.numbers import PUBLISHED, Done, Scores, done, seeds_told, told, usual_processor
from curves.store import Store
from scaling_pages import GRAY, table

from polyak.algorithms import titled
from polyak.report.statistics import interval, iqm

COLOURS = {"sac": "#5b8dd9", "tqc": "#e07b39", "crossq": "#1f9d8a", "droq": "#c05fa8"}
PICTURE = "learning-successors.svg"
MARKS = (10_000, 20_000, 30_000, 50_000, 100_000)
"""Steps that the tables have a column for, where somebody was evaluated there."""
REFERENCE = "sac"
"""By whose seconds the others are measured."""


def environments(store: Store) -> dict[str, list[Done]]:
    """The cases that have a result, by environment, in the queue's order."""
    found: dict[str, list[Done]] = {}
    for each in done(store, "successors"):
        if each.results:
            found.setdefault(each.case.environment, []).append(each)
    return found


def section(store: Store) -> str:
    """All environments that there are results of; empty before there is one."""
    there = environments(store)
    if not there:
        return ""
    parts = [
        f"### {name}, the first steps\n\nSeconds: {clock(found) or 'no processor recorded'}.\n\n{compared(found)}"
        for name, found in there.items()
    ]
    return "\n\n".join([HEAD, fill(TEXT, 120, break_on_hyphens=False), SHOWN.format(PICTURE), *parts])


def clock(found: Sequence[Done]) -> str:
    """The processor whose seconds count in an environment."""
    return usual_processor(result for each in found for result in each.results.values())


def compared(found: Sequence[Done]) -> str:
    """An environment's table; seconds are those of one processor."""
    processor = clock(found)
    marks = [mark for mark in MARKS if any(mark in each.curves()[0] for each in found)]
    reference = (each.timed(processor) for each in found if each.case.algorithm == REFERENCE)
    end = next((float(np.median(each.ends[:, 1])) for each in reference if each.results), None)
    limit = [] if end is None else [f"within {end:,.0f} s"]
    heads = ("", "seeds", *(f"{mark:,} steps" for mark in marks), "seconds", *limit, "return a second", "published, v4")
    return table(heads, [row(each, each.timed(processor), marks, end) for each in found])


def row(each: Done, timed: Done, marks: Sequence[int], end: float | None) -> list[str]:
    """Of an algorithm: its returns after so many steps, its seconds, and its return by when SAC had ended."""
    steps, values = each.curves()
    cells = [told(values[:, steps == mark][:, 0]) if mark in steps else "" for mark in marks]
    return [
        titled(each.case.algorithm),
        seeds_told([each]),
        *cells,
        *by_seconds(timed, len(each.results), end),
        PUBLISHED.get((each.case.environment, each.case.algorithm), ""),
    ]


def by_seconds(timed: Done, seeds: int, end: float | None) -> list[str]:
    """The cells of a row that rest on seconds: empty where no seed has any, and said where only some have."""
    if not timed.results:
        return [""] * (2 if end is None else 3)
    seconds = timed.ends[:, 1]
    some = "" if len(seconds) == seeds else f", {len(seconds)} seed{'s' if len(seconds) > 1 else ''}"
    return [
        spread(seconds, 0) + some,
        *([] if end is None else [told(within(timed, end))]),
        f"{float(iqm(timed.scores)) / float(np.median(seconds)):.1f}",
    ]


def within(each: Done, end: float) -> Scores:
    """Of each seed the return of the last evaluation within so many seconds, where it has one."""
    curves = ([value for _, at, value in result["curve"] if at <= end] for result in each.results.values())
    return np.array([values[-1] for values in curves if values])


def by_the_clock(each: Done, points: int = 50) -> tuple[Scores, Scores]:
    """[T] seconds at which all seeds were training, and [n, T] the return between the evaluations around."""
    curves = [np.array([point[1:] for point in result["curve"]], float).T for result in each.results.values()]
    seconds = np.linspace(max(at[0] for at, _ in curves), min(at[-1] for at, _ in curves), points)
    return seconds, np.array([np.interp(seconds, at, values) for at, values in curves])


HEAD = "## What came after SAC"
TEXT = """SAC, TQC, CrossQ and DroQ, each with its own preset for the environment: `python benchmarks/learning.py --part
successors`. Interquartile means over seeds with 95 % bootstrap intervals, which of three seeds are too narrow. Seconds
are from the start of training, compilation and evaluations included, one thread, with another training on the other
core: the median and the range, an upper bound. In each environment they are those of one processor: seeds that were
trained on another count by steps alone. "Within" is what each had learned by when SAC had ended its steps; the return a
second is the mean of the last three evaluations over the seconds. Published are the ten seeds of CrossQ's authors ±
1.96 standard errors, on v4 of the environments after 100,000 steps; of these HalfCheetah alone compares directly. Their
CrossQ has critics of 2,048 units a layer and one update of 256 rows a step, polyak's preset 256 units and two updates
of 128 rows ([why](algorithms/crossq.md#width))."""
SHOWN = "![Return of each algorithm over steps, and below over seconds](results/{})"


def draw(store: Store, path: Path) -> None:
    """A column an environment: over steps, and below over seconds; bands are 95 % intervals."""
    import matplotlib
    from matplotlib.figure import Figure

    there = environments(store)
    if not there:
        return
    gray = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GRAY)
    with matplotlib.rc_context({**gray, "svg.fonttype": "none", "svg.hashsalt": "polyak", "font.size": 8}):
        figure = Figure(figsize=(max(5.0, 3.6 * len(there)), 4.8), layout="constrained")
        panels = figure.subplots(2, len(there), squeeze=False)
        for column, (name, found) in enumerate(there.items()):
            for panel, curves, unit in (
                (panels[0, column], Done.curves, "steps"),
                (panels[1, column], by_the_clock, "seconds"),
            ):
                shown = found if unit == "steps" else [each.timed(clock(found)) for each in found]
                for each in shown:
                    if each.results:
                        draw_curve(panel, each, *curves(each))
                panel.set(title=name if unit == "steps" else "", xlabel=unit, ylabel="return")
                panel.grid(color=GRAY, alpha=0.25)
                panel.spines[["top", "right"]].set_visible(False)
                panel.ticklabel_format(axis="x", style="plain")
                panel.locator_params(axis="x", nbins=5)
            panels[0, column].legend(frameon=False)
        figure.savefig(path, transparent=True, metadata={"Date": None})


def draw_curve(panel: Any, each: Done, at: Scores, values: Scores) -> None:
    """An algorithm's line and band."""
    band = interval(values) if len(values) > 1 else None
    label = f"{titled(each.case.algorithm)} ({seeds_told([each])})"
    line(panel, at, iqm(values), band, COLOURS[each.case.algorithm], label)
