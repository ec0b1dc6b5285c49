"""The report's charts: what the groups of one environment measured, over environment steps."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyak.html import BREAK, COLOURS, Chart, broken, line
from polyak.report.advice import time_spent
from polyak.report.groups import Group
from polyak.report.statistics import interval, iqm
from polyak.run.metrics import is_own
from polyak.system.stopwatch import PARTS

STEPS, UPDATES = "environment steps", "updates, without environment steps"
FEW = 100
"""Evaluations up to which each is a dot."""


@dataclass(frozen=True)
class Measure:
    """A chart of one metric, or of a solid and a dashed one."""

    title: str
    unit: str
    name: str
    dashed: str = ""
    caption: str = ""
    log: bool = False
    lines: tuple[str, str] = ("", "")
    """What the solid and the dashed line are called beside their group."""


CRITIC = Measure(
    "Q-value against the return really obtained",
    "discounted return",
    "eval/q",
    "eval/discounted_return",
    "What the critic expected at the first observations of the evaluation episodes, and the discounted return that "
    "followed: solid above dashed is over-estimation. Where a time limit cut an episode off, the critic's "
    "own value stands for the rest; a policy that is rewarded for entropy has it in its Q. Compare within a group: "
    "another discount makes other numbers.",
    lines=("expected", "obtained"),
)
LEARNER = (
    Measure("Critic loss", "reward squared", "learner/critic_loss", log=True),
    Measure("Actor loss", "reward", "learner/actor_loss"),
    Measure("Q and target on the batch", "reward", "learner/q", "learner/target", lines=("Q", "target")),
    Measure("Spread of Q on the batch", "reward, standard deviation", "learner/q_std"),
    Measure(
        "Gradient norms",
        "norm",
        "learner/critic_gradient_norm",
        "learner/actor_gradient_norm",
        log=True,
        lines=("critic", "actor"),
    ),
    Measure(
        "Saturated actions",
        "fraction",
        "learner/saturated",
        caption="Components of the policy's actions within 0.01 of the ends of their range, -1 to 1. Where nearly all "
        "are, the actor pushes against its limits and its gradient vanishes.",
    ),
    Measure("Temperature", "alpha, reward per nat", "learner/alpha"),
    Measure("Entropy of the policy", "nats", "learner/entropy"),
)
TRAINING = (
    Measure("Return of training episodes", "return", "train/return", caption="With exploration; undiscounted."),
    Measure("Length of training episodes", STEPS, "train/length"),
)
IN_BOTH = ("evaluation", "training")
SUCCESS = Measure(
    "Success rate",
    "fraction of episodes",
    "eval/success_rate",
    "train/success_rate",
    "Episodes whose last step's info says is_success or success; in training with exploration.",
    lines=IN_BOTH,
)
SPEED = Measure("Speed", "environment steps per second", "speed/steps_per_second", caption="Evaluation not counted.")


def returns(groups: Sequence[Group], name: str) -> Chart:
    """Learning curves: the interquartile mean over seeds of the evaluations' mean return, with its interval.

    Where some seeds ended before the others, the rest is dotted, without an interval.
    """
    traces: list[dict[str, Any]] = []
    for group in groups:
        steps, values = group.common("eval/return")
        if len(steps):
            low, high = interval(values)
            band = (low.tolist(), high.tolist()) if len(values) > 1 else None
            label = f"{group.label} ({seeds(len(group.runs))})"
            traces += line(
                label, steps.tolist(), iqm(values).tolist(), group.colour, band=band, markers=len(steps) <= FEW
            )
        rest = _beyond(group, steps[-1] if len(steps) else -np.inf)
        if rest:
            label = f"{group.label} (those seeds that went further)"
            traces += line(label, [step for step, _ in rest], [mean for _, mean in rest], group.colour, dash="dot")
    return Chart(name, "Learning curves: evaluation return", traces, _axis(groups), "return", _spread(groups))


def _beyond(group: Group, last: float) -> list[tuple[float, float]]:
    """Steps and interquartile means of those seeds that were evaluated after the last step that all have reached."""
    steps, values = group.column("eval/return")
    later = [index for index in np.flatnonzero(steps > last) if np.isfinite(values[:, index]).any()]
    return [(float(steps[i]), float(iqm(values[np.isfinite(values[:, i]), i]))) for i in later]


def measured(groups: Sequence[Group], measure: Measure, name: str) -> Chart | None:
    """The mean of a metric over seeds, its band from the lowest seed to the highest; None where nobody measured it."""
    traces: list[dict[str, Any]] = []
    for group in groups:
        for metric, dash, word in zip((measure.name, measure.dashed), ("solid", "dash"), measure.lines, strict=True):
            steps, values = group.column(metric) if metric else (np.zeros(0), np.zeros((0, 0)))
            if len(steps):
                label = f"{group.label}: {word}" if word else group.label
                low, mean, high = (of(values, axis=0).tolist() for of in (np.nanmin, np.nanmean, np.nanmax))
                band = (low, high) if len(values) > 1 and dash == "solid" else None
                traces += line(label, steps.tolist(), mean, group.colour, band=band, dash=dash)
    if not traces:
        return None
    layout = {"yaxis": {"type": "log"}} if measure.log else {}
    named = f"Solid: {measure.name}. Dashed: {measure.dashed}." if measure.dashed else f"{measure.name}."
    several = any(len(group.runs) > 1 for group in groups)
    band_says = "Line: mean over seeds; band: lowest to highest." if several else ""
    caption = " ".join(filter(None, (named, measure.caption, band_says)))
    return Chart(name, measure.title, traces, _axis(groups), measure.unit, caption, layout)


def time_shares(groups: Sequence[Group], name: str) -> Chart | None:
    """Where the time went, in per cent; one bar a group."""
    spent = [(group, found) for group in groups if (found := time_spent(group.records))]
    if not spent:
        return None
    labels = [broken(group.label) for group, _ in spent]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "y": labels,
            "width": 0.7,
            "x": [100 * found[part] / sum(found.values()) for _, found in spent],
            "marker": {"color": COLOURS[index]},
            "hovertemplate": "%{x:.1f} %",
        }
        for index, part in enumerate(PARTS)
        if any(found[part] for _, found in spent)
    ]
    height = 6 + sum(1.5 + 1.2 * (1 + label.count(BREAK)) for label in labels)
    layout: dict[str, Any] = {"barmode": "stack", "hovermode": "y unified"}
    layout |= {"xaxis": {"range": [0, 100]}, "yaxis": {"autorange": "reversed"}}
    return Chart(name, "Where the time went", traces, "share of the time, %", "", "", layout, height)


def all_measured(groups: Sequence[Group], measures: Sequence[Measure], prefix: str) -> Iterator[Chart]:
    """The charts of those measures that anybody measured."""
    for measure in measures:
        chart = measured(groups, measure, f"{prefix}-{measure.name.replace('/', '-')}")
        if chart is not None:
            yield chart


def logged(groups: Sequence[Group], prefix: str) -> Iterator[Chart]:
    """A chart for each number that callbacks logged."""
    names = dict.fromkeys(name for group in groups for name in group.metrics if not is_own(name))
    for index, name in enumerate(names):
        chart = measured(groups, Measure(name, name, name), f"{prefix}-logged-{index}")
        if chart is not None:
            yield chart


def asked_of_infos(groups: Sequence[Group], prefix: str) -> Iterator[Chart]:
    """A chart for each number of infos that anybody asked for (`info_metrics`)."""
    found = [re.fullmatch("(?:train|eval)/info/(.+)", name) for group in groups for name in group.metrics]
    for index, name in enumerate(dict.fromkeys(match[1] for match in found if match)):
        caption = "In the info of each episode's last step; in training with exploration."
        measure = Measure(name, name, f"eval/info/{name}", f"train/info/{name}", caption, lines=IN_BOTH)
        chart = measured(groups, measure, f"{prefix}-info-{index}")
        if chart is not None:
            yield chart


def _axis(groups: Sequence[Group]) -> str:
    """What the groups' steps count."""
    found = [STEPS] * any(group.unit == "steps" for group in groups)
    return "; or ".join([*found, *[UPDATES] * any(group.unit == "updates" for group in groups)])


def seeds(count: int) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{count} seed{'s' * (count != 1)}"


def _spread(groups: Sequence[Group]) -> str:
    """How the numbers of a learning curve came about."""
    episodes = sorted({group.first["settings"].get("evaluation_episodes", 0) for group in groups})
    each = f"Each evaluation is the mean of {' or '.join(map(str, episodes))} episodes of the deterministic policy."
    if all(len(group.runs) == 1 for group in groups):
        return f"{each} One seed: there is no interval, and one seed proves nothing."
    counts = ", ".join(f"{group.label} {len(group.runs)}" for group in groups)
    return (
        f"{each} Line: interquartile mean over seeds ({counts}); band: 95 % interval by a stratified bootstrap over "
        "seeds. With fewer than five seeds such intervals are too narrow."
    )
