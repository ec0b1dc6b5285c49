"""The report's tables."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyak.metrics import best_evaluation
from polyak.pages import number, table, text
from polyak.report.groups import FREE, Group, differences, experiment
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
    note += "".join(f'<p class="note">{text(said)}</p>' for said in filter(None, map(_fell_short, groups)))
    if any(len(group.runs) < FEW for group in groups):
        note += f'<p class="note">Fewer than {FEW} seeds prove little: train more before believing a difference.</p>'
    return table(head, rows) + note


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
            if (one.label, other.label) == (ours, theirs) and one.first["environment"] == other.first["environment"]
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
    """What the critic expected beside what was obtained, over the last quarter of the evaluations."""
    rows: list[list[Any]] = []
    for group in groups:
        expected, obtained = group.column("eval/q")[1], group.column("eval/discounted_return")[1]
        if expected.size and expected.shape == obtained.shape:
            late = slice(-max(1, expected.shape[1] // 4), None)
            q, really = float(np.nanmean(expected[:, late])), float(np.nanmean(obtained[:, late]))
            rows.append([group.label, q, really, q - really])
    head = ["over the last quarter of the evaluations", "Q expected", "discounted return obtained", "over-estimation"]
    return table(head, rows) if rows else ""


def settings(groups: Sequence[Group]) -> str:
    """Every setting, one column a group, those that differ first and highlighted."""
    shown = [experiment(group.first) | {name: group.first["settings"].get(name) for name in FREE} for group in groups]
    return _side_by_side(groups, shown) + (
        '<p class="faint">Highlighted: what differs between the groups.</p>' if len(groups) > 1 else ""
    )


def machines(groups: Sequence[Group]) -> str:
    """Versions and machines, one column a group; where a group's runs differ, all are named."""
    return _side_by_side(groups, [_merged([_where(run.settings) for run in group.runs]) for group in groups])


def runs(groups: Sequence[Group]) -> str:
    """Every run with its folder and how far it went."""
    rows: list[list[Any]] = []
    for group in groups:
        for run in (*group.runs, *group.left_out):
            records = run.metrics
            best = best_evaluation(records)
            rows.append(
                [
                    group.label,
                    str(run.settings["environment"]),
                    str(run.settings["seed"]),
                    f"{int(records[-1]['step']):,} of {run.settings['settings']['steps']:,}" if records else "none",
                    f"{records[-1]['seconds']:.0f} s" if records else "",
                    f"{best[1]:.1f} at step {best[0]:,}" if best else "none",
                    f"resumed {len(run.settings['resumed'])} x" if run.settings.get("resumed") else "",
                    run.folder.resolve().name,
                    "left out: its seed is there already" if run in group.left_out else "",
                ]
            )
    return table(["", "environment", "seed", "steps", "time", "best evaluation", "", "folder", ""], rows)


def _side_by_side(groups: Sequence[Group], shown: Sequence[Mapping[str, Any]]) -> str:
    different = differences(shown)
    names = list(dict.fromkeys(name for each in shown for name in each))
    ordered = [*different, *(name for name in names if name not in different)]
    rows = [[name, *(_plain(each.get(name)) for each in shown)] for name in ordered]
    heads = [_heading(group, groups) for group in groups] if len(groups) > 1 else [""]
    return table(["", *heads], rows, marked=range(len(different)))


def _heading(group: Group, groups: Sequence[Group]) -> str:
    environments = {each.first["environment"] for each in groups}
    return group.label if len(environments) == 1 else f"{group.label} on {group.first['environment']}"


def _merged(tables: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = list(dict.fromkeys(name for each in tables for name in each))
    return {name: ", ".join(dict.fromkeys(_plain(each.get(name)) for each in tables)) for name in names}


def _where(described: Mapping[str, Any]) -> dict[str, Any]:
    computed = {"device": described.get("device"), "threads": described["threads"]}
    return {**described["versions"], **described["machine"], **computed}


def _plain(value: object) -> str:
    return "" if value is None else str(value)


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
