"""The report's tables of facts: settings and where they differ, versions and machines, the runs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, cast

from polyak.html import table, text
from polyak.report.groups import FREE, Group, differences, experiment, last_evaluation
from polyak.run.description import length_in, unit_in
from polyak.run.folder import Run
from polyak.run.metrics import Record, best_evaluation


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
                    group.environment,
                    str(run.settings["seed"]),
                    f"{int(records[-1]['step']):,} of {_length(run)}" if records else "none",
                    f"{records[-1]['seconds']:.0f} s" if records else "",
                    _best(best, trained=not records or records[-1].get("learner/updates") != 0),
                    f"resumed {len(run.settings['resumed'])} x" if run.settings.get("resumed") else "",
                    run.folder.resolve().name,
                    _why_left_out(run) if run in group.left_out else "",
                ]
            )
    head = ["", "environment", "seed", "steps", "time", "best evaluation", "", "folder", ""]
    every = (run for group in groups for run in (*group.runs, *group.left_out))
    return table(head, rows) + "".join(f'<p class="note">{text(each)}</p>' for run in every for each in _told_of(run))


def _length(run: Run) -> str:
    """What it is to be, with the unit where that is not the column's."""
    return f"{length_in(run.settings):,}{' updates' * (unit_in(run.settings) == 'updates')}"


def _best(best: tuple[int, float] | None, *, trained: bool) -> str:
    told = f"{best[1]:.1f} at step {best[0]:,}" if best else "none"
    return told if trained else f"{told}; nothing was learned: there was no gradient step"


def _told_of(run: Run) -> Iterator[str]:
    """That a run is not reproducible, what was another each time that it was resumed, and that it learns no more."""
    if run.settings.get("collectors") and run.settings.get("collection") == "free":
        yield f"{run.folder.resolve().name}: its collectors were free, so that the same seed would give other numbers"
    driven: Any = run.settings.get("driven")
    if isinstance(driven, dict):
        rate: Any = cast(dict[str, Any], driven).get("rate")
        how = f" at {rate:g} Hz" if isinstance(rate, int | float) else ""
        yield f"{run.folder.resolve().name}: driven by a control loop{how}: the same seed would give other numbers"
    for entry in run.settings.get("resumed", []):
        changed: Any = entry.get("changed")
        if isinstance(changed, list) and changed:
            what = "; ".join(map(str, cast(list[Any], changed)))
            yield f"{run.folder.resolve().name}, resumed at step {entry.get('step')}: {what}"

    if (since := _stuck_since(run.metrics)) is not None:
        stuck = f"since step {since:,} its policy gives the bounds of the action box and nothing else"
        remedy = "smaller actor and critic learning rates, or another seed"
        yield f"{run.folder.resolve().name}: {stuck}, where its gradient is 0: it cannot learn any more; {remedy}"


def _stuck_since(records: Sequence[Record]) -> int | None:
    """The step of the first of the last records in which every action was at its bounds, and no gradient was left.

    None where there are fewer than two of them: one may be an epoch of few updates.
    """
    learning = [each for each in records if "learner/actor_gradient_norm" in each]
    stuck = [*takewhile(_is_stuck, reversed(learning))]
    return int(stuck[-1]["step"]) if len(stuck) > 1 else None


def _is_stuck(record: Record) -> bool:
    return record["learner/actor_gradient_norm"] == 0 and record.get("learner/saturated", 0.0) == 1


def _why_left_out(run: Run) -> str:
    return f"left out: {'its seed is there already' if last_evaluation(run) else 'no evaluation'}"


def _side_by_side(groups: Sequence[Group], shown: Sequence[Mapping[str, Any]]) -> str:
    different = differences(shown)
    names = list(dict.fromkeys(name for each in shown for name in each))
    ordered = [*different, *(name for name in names if name not in different)]
    rows = [[name, *(_plain(each.get(name)) for each in shown)] for name in ordered]
    heads = [_heading(group, groups) for group in groups] if len(groups) > 1 else [""]
    return table(["", *heads], rows, marked=range(len(different)))


def _heading(group: Group, groups: Sequence[Group]) -> str:
    environments = {each.environment for each in groups}
    return group.label if len(environments) == 1 else f"{group.label} on {group.environment}"


def _merged(tables: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = list(dict.fromkeys(name for each in tables for name in each))
    return {name: ", ".join(dict.fromkeys(_plain(each.get(name)) for each in tables)) for name in names}


def _where(described: Mapping[str, Any]) -> dict[str, Any]:
    computed = {"device": described.get("device"), "threads": described["threads"]}
    return {**described["versions"], **described["machine"], **computed}


def _plain(value: object) -> str:
    return "" if value is None else str(value)
