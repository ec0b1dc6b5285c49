"""The section of the page about equal settings: both libraries' curves, and the interval of their difference."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from curves.cases import OURS, PEER
from curves.luck import luck
from curves.numbers import LAST, PUBLISHED, Done, difference, done, seeds_told, told
from curves.store import Store
from scaling_pages import GRAY, table

from polyak.algorithms import titled
from polyak.report.statistics import interval, iqm, probability_of_improvement

COLOURS = {OURS: "#1f9d8a", PEER: "#e07b39"}
ACROSS = 3
"""Comparisons beside each other in the picture."""
PICTURE = "learning-equal.svg"

Pair = tuple[Done, Done]


def pairs(store: Store) -> list[Pair]:
    """polyak's case and the peer's, where both have a result."""
    found = done(store, "equal")
    sides = [[each for each in found if each.case.library == library] for library in (OURS, PEER)]
    return [(ours, theirs) for ours, theirs in zip(*sides, strict=True) if ours.results and theirs.results]


def compared(store: Store) -> str:
    """The section; empty before there is a pair."""
    found = pairs(store)
    if not found:
        return ""
    heads = ("", "steps", "seeds: polyak, SB3", "polyak", "SB3", "difference", "P(polyak's seed is higher)")
    return TEXT.format(last=LAST, table=table(heads, map(row, found)) + luck(store), picture=PICTURE)


def published(store: Store) -> str:
    """The section about SAC beside somebody else's published curve; empty before there is a result."""
    found = [each for each in done(store, "published") if each.results]
    if not found:
        return ""
    zoos = {each.case.name.removeprefix("equal/"): each for each in done(store, "equal")}
    presets = {each.case.environment: each for each in done(store, "successors") if each.case.algorithm == "sac"}
    heads = ("", "seeds", "polyak, v5", "published, v4", "with the preset, v5", "seeds", "with the zoo's, v5", "seeds")
    rows: list[list[str]] = []
    for each in found:
        zoo, name = zoos[f"sac-{each.case.environment}-{OURS}"], each.case.environment
        others = (
            [told(other.scores), seeds_told([other])] if other.results else ["", ""] for other in (presets[name], zoo)
        )
        rows.append([name, seeds_told([each]), told(each.scores), PUBLISHED[name, "sac"], *chain.from_iterable(others)])
    return f"""## SAC beside a published curve

100,000 steps with the settings with which the authors of CrossQ trained SAC for their comparison (step sizes of 1e-3,
5,000 random steps, the rest as above). They used the v4 environments, of which HalfCheetah alone compares directly, and
their command leaves Adam's first beta open, 0.5 or 0.9; here it is 0.9. SAC's preset for MuJoCo has these step sizes
and steps, too, in place of the zoo's 3e-4 and 10,000; its runs differ from these in the step of the first update
alone, so that they are more seeds of the same. On Hopper a seed has either found a gait by
then or has not, and six of them lie apart as far as that.

{table(heads, rows)}"""


def row(pair: Pair) -> list[str]:
    """Of the table."""
    ours, theirs = pair
    middle, low, high = (float(value) for value in difference(ours.scores, theirs.scores))
    several = min(len(side.results) for side in pair) > 1
    return [
        f"{titled(ours.case.algorithm)}, {ours.case.environment}",
        f"{ours.ends[:, 0].max():,.0f}",
        f"{seeds_told([ours])}, {seeds_told([theirs])}",
        *(told(side.scores) for side in pair),
        f"{middle:,.0f} ({low:,.0f} to {high:,.0f})" if several else f"{middle:,.0f}",
        f"{probability_of_improvement(ours.scores, theirs.scores):.2f}" if several else "",
    ]


TEXT = """## Equal settings, equal learning

polyak (JAX) and Stable-Baselines3 ("SB3"; PyTorch) with the same settings: those of rl-baselines3-zoo, in
`benchmarks/curves/zoo.toml`, of which Stable-Baselines3's arguments are made. Both begin with weights drawn alike
(kernels and biases uniform in ±1/sqrt(inputs)), use Adam with an epsilon of 1e-8, act at random for the first 10,000
steps, update after each step from step 10,001 on, bootstrap where a time limit ends an episode, begin with a
temperature of 1, and are evaluated alike: ten episodes without noise in an environment of their own.

What remains of difference: Stable-Baselines3 adds exploration noise to the random actions as well (TD3, DDPG). Its loss
of the temperature has log alpha where polyak's has alpha, that of SAC's critics a factor of 1/2, and its logarithm of
the probability 1e-6 inside. Its temperature is stepped before critics and actor, polyak's after them, which use the old
one in both. It evaluates before the updates that belong to the step.

A seed's score is the mean of its last {last} evaluations. Scores are interquartile means over seeds with 95 % bootstrap
intervals; that of the difference resamples the seeds of each side by itself. An interval of three seeds is too narrow,
and one that holds 0 says that nothing was found, not that there is nothing.

{table}

![Learning curves of both libraries over steps, and below each the difference with its interval](results/{picture})"""


def draw(store: Store, path: Path) -> None:
    """For each pair both curves, and below them the difference; bands are 95 % intervals."""
    import matplotlib
    from matplotlib.figure import Figure

    found = pairs(store)
    if not found:
        return
    gray = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GRAY)
    settings = {**gray, "svg.fonttype": "none", "svg.hashsalt": "polyak", "font.size": 8}
    across = min(ACROSS, len(found))
    rows = -(-len(found) // across)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(3.4 * across, 4.2 * rows), layout="constrained")
        panels = figure.subplots(2 * rows, across, squeeze=False, height_ratios=[2, 1] * rows)
        for panel in panels.flat:
            panel.set_visible(False)
        for number, pair in enumerate(found):
            high, low = (panels[2 * (number // across) + below, number % across] for below in (0, 1))
            draw_pair(pair, high, low)
        figure.savefig(path, transparent=True, metadata={"Date": None})


def draw_pair(pair: Pair, high: Any, low: Any) -> None:
    """Curves into the one panel, their difference into the other."""
    for side in pair:
        steps, values = side.curves()
        label = f"{side.case.library} ({seeds_told([side])})"
        line(high, steps, iqm(values), interval(values) if len(values) > 1 else None, COLOURS[side.case.library], label)
    steps, ours, theirs = together(pair)
    middle, bottom, top = difference(ours, theirs)
    line(low, steps, middle, (bottom, top) if min(len(ours), len(theirs)) > 1 else None, GRAY, "")
    low.axhline(0, color=GRAY, linewidth=0.8, linestyle=":")
    case = pair[0].case
    high.set(title=f"{titled(case.algorithm)}, {case.environment}", ylabel="return")
    low.set(xlabel="environment steps", ylabel="difference")
    high.legend(frameon=False)
    for panel in (high, low):
        panel.set_visible(True)
        panel.grid(color=GRAY, alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.ticklabel_format(axis="x", style="plain")
        panel.locator_params(axis="x", nbins=5)


def together(pair: Sequence[Done]) -> tuple[Any, Any, Any]:
    """The steps at which both sides were evaluated, and [n, T] and [m, T] what they had there."""
    (ours_at, ours), (theirs_at, theirs) = (side.curves() for side in pair)
    steps, left, right = np.intersect1d(ours_at, theirs_at, return_indices=True)
    return steps, ours[:, left], theirs[:, right]


def line(panel: Any, steps: Any, middle: Any, band: Any, colour: str, label: str) -> None:
    """A line with its band."""
    panel.plot(steps, middle, color=colour, linewidth=1.4, label=label or None)
    if band is not None:
        panel.fill_between(steps, *band, color=colour, alpha=0.2, linewidth=0)
