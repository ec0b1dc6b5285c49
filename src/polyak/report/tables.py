"""The report's tables of scores: evaluations, comparisons, over-estimation."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from polyak.html import number, table, text
from polyak.report.groups import Group
from polyak.report.statistics import improvement_interval, interval, iqm, probability_of_improvement

FEW = 5
"""Seeds below which an interval says little."""


def evaluations(groups: Sequence[Group]) -> str:
    """One row a group: the last evaluation that all its seeds had, and the best ones."""
    rows: list[list[Any]] = []
    for group in groups:
        steps, values = group.common("eval/return")
        if not len(steps):
            continue
        last = values[:, -1]
        ends = interval(last) if len(last) > 1 else None
        episodes = group.first["settings"].get("evaluation_episodes")
        rows.append(
            [
                group.label,
                f"{len(last)} x {episodes}",
                f"{int(steps[-1]):,}",
                float(last.mean()),
                float(iqm(last)),
                f"{number(float(ends[0]), 4)} to {number(float(ends[1]), 4)}" if ends else "one seed: none",
                f"{number(float(last.min()), 4)} to {number(float(last.max()), 4)}" if ends else "",
                float(values.max(axis=1).mean()),
            ]
        )
    head = [
        "",
        "seeds x episodes",
        "at step",
        "mean",
        "IQM",
        "95 % interval of the IQM",
        "lowest to highest seed",
        "best",
    ]
    note = (
        '<p class="faint">Evaluation returns, undiscounted. Mean and IQM (interquartile mean): of the seeds at that '
        "step. Best: each seed's best evaluation, averaged over seeds; as the luckiest of many it flatters.</p>"
    )
    said = [note_of(group) for group in groups for note_of in (_missing, _fell_short)]
    note += "".join(f'<p class="note">{text(each)}</p>' for each in said if each)
    if any(len(group.runs) < FEW for group in groups):
        note += f'<p class="note">Fewer than {FEW} seeds prove little: train more before believing a difference.</p>'
    return table(head, rows) + note


def _missing(group: Group) -> str:
    """Which seeds were never evaluated, where others were."""
    there = {run.settings["seed"] for run in group.runs}
    numbers = [str(run.settings["seed"]) for run in group.left_out if run.settings["seed"] not in there]
    if not numbers:
        return ""
    return (
        f"{group.label}: seed {', '.join(numbers)} ended before its first evaluation and is not in these numbers, "
        "which may flatter them."
    )


def _fell_short(group: Group) -> str:
    """Which seeds ended before the others, where some did."""
    steps, values = group.column("eval/return")
    if not len(steps) or np.isfinite(values[:, -1]).all():
        return ""
    short = [run for run, row in zip(group.runs, values, strict=True) if not np.isfinite(row[-1])]
    numbers = ", ".join(str(run.settings["seed"]) for run in short)
    return (
        f"{group.label}: seed {numbers} ended before step {int(steps[-1]):,}, so that the statistics end there too. A "
        f"seed that failed belongs into them: complete it, as in `polyak resume {short[0].folder.resolve().name}`."
    )


def improvement(groups: Sequence[Group]) -> str:
    """Probability of improvement between any two groups that both have several seeds."""
    rows: list[list[Any]] = []
    for ours, theirs in itertools.combinations(groups, 2):
        compared = _at_a_common_step(ours, theirs)
        if compared is None:
            continue
        step, one, other = compared
        low, high = improvement_interval(one, other)
        chance = probability_of_improvement(one, other)
        rows.append([f"{ours.label} over {theirs.label}", f"{step:,}", f"{chance:.2f}", f"{low:.2f} to {high:.2f}"])
    if not rows:
        return ""
    return (
        "<h3>Probability of improvement</h3>"
        + table(["", "at step", "P(better)", "95 % interval"], rows)
        + '<p class="faint">How probable it is that a seed of the one reaches a higher evaluation return than a seed '
        "of the other (Mann and Whitney's U); 0.5 is no difference.</p>"
    )


def improvement_over_all(groups: Sequence[Group]) -> str:
    """The same between labels that stand in several environments, each counting the same."""
    labels = list(dict.fromkeys(group.label for group in groups))
    rows: list[list[Any]] = []
    for ours, theirs in itertools.combinations(labels, 2):
        pairs = [
            compared
            for one, other in itertools.product(groups, groups)
            if (one.label, other.label) == (ours, theirs) and one.environment == other.environment
            if (compared := _at_a_common_step(one, other)) is not None
        ]
        if len(pairs) > 1:
            chance = float(np.mean([probability_of_improvement(one, other) for _, one, other in pairs]))
            rows.append([f"{ours} over {theirs}", len(pairs), f"{chance:.2f}"])
    if not rows:
        return ""
    note = (
        '<p class="faint">Mean of the probabilities of improvement in the environments that both were trained in.</p>'
    )
    return "<h2>All environments</h2>" + table(["", "environments", "P(better)"], rows) + note


def bias(groups: Sequence[Group]) -> str:
    """What critics expected beside what was obtained, over the last quarter of the evaluations that all seeds had."""
    rows: list[list[Any]] = []
    for group in groups:
        expected, obtained = group.common("eval/q")[1], group.common("eval/discounted_return")[1]
        if expected.size and expected.shape == obtained.shape:
            late = slice(-max(1, expected.shape[1] // 4), None)
            q, really = expected[:, late].mean(axis=1), obtained[:, late].mean(axis=1)
            gap = q - really
            spread = f"{number(float(gap.min()), 3)} to {number(float(gap.max()), 3)}" if len(gap) > 1 else ""
            rows.append([group.label, float(q.mean()), float(really.mean()), float(gap.mean()), spread])
    head = ["over the last quarter of the evaluations", "Q expected", "discounted return obtained", "over-estimation"]
    return table([*head, "lowest to highest seed"], rows) if rows else ""


def _at_a_common_step(ours: Group, theirs: Group) -> tuple[int, Any, Any] | None:
    """The last step at which all seeds of both were evaluated, and their returns there; None with single seeds."""
    if len(ours.runs) < 2 or len(theirs.runs) < 2:
        return None
    one, other = ours.common("eval/return"), theirs.common("eval/return")
    common = np.intersect1d(one[0], other[0])
    if not len(common):
        return None
    return (
        int(common[-1]),
        one[1][:, list(one[0]).index(common[-1])],
        other[1][:, list(other[0]).index(common[-1])],
    )
