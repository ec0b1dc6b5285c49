"""Runs put into groups: the seeds of the same settings, which may be averaged, and what tells the groups apart."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from polyak.algorithms import titled
from polyak.report.statistics import Scores
from polyak.run.description import unit_in
from polyak.run.folder import Run
from polyak.run.metrics import Record
from polyak.run.origin import label_of

DIFFERENT = ("algorithm", "environment", "backend", "fast", "envs", "vectorization", "from_run")
"""Facts of a run, besides its settings, that make it another experiment."""
ADDED = ("environment_settings", "wrappers", "demonstrations")
"""The same where there are any: such an environment is another, and so is what is learned from."""
FREE = ("steps", "offline_updates")
"""Settings that do not: a longer run begins as a shorter one does."""
SHOWN = 3
"""Differences that a label names at most."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    runs: tuple[Run, ...]
    """In the order of their seeds."""
    label: str
    """What tells this group from the others, as short as that is possible."""
    left_out: tuple[Run, ...] = ()
    """Further runs of a seed that is there already, which would count the same luck twice; and, where others have an
    evaluation, runs without any."""
    colour: int = field(default=0, compare=False)

    @property
    def first(self) -> Mapping[str, Any]:
        """The settings of its first run; but for the seed, they are all the same."""
        return self.runs[0].settings

    @cached_property
    def records(self) -> tuple[list[Record], ...]:
        """What each run measured."""
        return tuple(run.metrics for run in self.runs)

    @cached_property
    def metrics(self) -> list[str]:
        """The names of all that any of its runs measured."""
        return list(dict.fromkeys(name for records in self.records for record in records for name in record))

    @property
    def environment(self) -> str:
        """What they were trained on, with what was added to it."""
        return label_of(self.first)

    def column(self, name: str) -> tuple[Scores, Scores]:
        """[T] steps at which any run measured `name`, and [n, T] the values, NaN where a run did not."""
        found = [{record["step"]: record[name] for record in records if name in record} for records in self.records]
        steps = sorted(set[float]().union(*found))
        rows = [[values.get(step, np.nan) for step in steps] for values in found]
        return np.array(steps, float), np.array(rows, float).reshape(len(self.runs), len(steps))

    def common(self, name: str) -> tuple[Scores, Scores]:
        """The same at the steps at which all runs measured it."""
        steps, values = self.column(name)
        whole = ~np.isnan(values).any(axis=0)
        return steps[whole], values[:, whole]

    @property
    def unit(self) -> str:
        """What their steps count: "steps" of the environment, or offline "updates"."""
        return unit_in(self.first)

    @property
    def evaluated(self) -> bool:
        """Whether there is a step at which all its runs were evaluated."""
        return len(self.common("eval/return")[0]) > 0


def grouped(runs: Iterable[Run]) -> list[Group]:
    """The runs as groups, sorted by environment, then in the order in which their first runs were given."""
    parts: dict[str, list[Run]] = {}
    seen: set[Any] = set()
    for run in runs:
        place = run.folder.resolve()
        if place not in seen:
            seen.add(place)
            parts.setdefault(json.dumps(experiment(run.settings), sort_keys=True, default=str), []).append(run)
    several = sorted(parts.values(), key=lambda part: label_of(part[0].settings))
    labels = _labels([part[0].settings for part in several])
    found: list[Group] = []
    for part, label in zip(several, labels, strict=True):
        kept, left = _counted(part)
        environment = label_of(kept[0].settings)
        colour = sum(group.environment == environment for group in found)
        found.append(Group(tuple(kept), label, tuple(left), colour))
    return found


def experiment(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's results depend on, seed, versions and machine apart: one flat table."""
    facts: dict[str, Any] = {name: settings.get(name) for name in DIFFERENT}
    facts |= {name: settings[name] for name in ADDED if settings.get(name)}
    if settings.get("collectors"):
        facts |= {name: settings.get(name) for name in ("collectors", "collection")}
    if unit_in(settings) == "updates":
        facts |= {"counts": "updates"}
    facts |= changed_on_resume(settings)
    return facts | {name: value for name, value in settings["settings"].items() if name not in FREE}


def changed_on_resume(settings: Mapping[str, Any]) -> dict[str, str]:
    """Of each setting that became another when a run was resumed: the values that it had until then, and the steps."""
    found: dict[str, str] = {}
    for entry in settings.get("resumed", []):
        others: Any = entry.get("settings", {})
        for name, values in cast(dict[str, Any], others).items() if isinstance(others, dict) else ():
            before: Any = next(iter(cast(list[Any], values)), None) if isinstance(values, list) else values
            told = f"{before} until step {entry.get('step')}"
            key = f"{name} before"
            found[key] = f"{found[key]}, {told}" if key in found else told
    return found


def differences(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names whose values are not the same in all tables, in their order."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    return [name for name in names if len({json.dumps(table.get(name), default=str) for table in tables}) > 1]


def _counted(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """For each seed the run that was evaluated last, if it was, or if none was; and the others."""
    ordered = sorted(runs, key=lambda run: (run.settings["seed"], -last_evaluation(run)))
    kept: dict[int, Run] = {}
    for run in ordered:
        kept.setdefault(run.settings["seed"], run)
    evaluated = [run for run in kept.values() if last_evaluation(run)]
    chosen = evaluated or list(kept.values())
    return chosen, [run for run in ordered if run not in chosen]


def last_evaluation(run: Run) -> float:
    """The step of a run's last evaluation, 0 without one."""
    return max((record["step"] for record in run.metrics if "eval/return" in record), default=0.0)


def _labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """`SAC`, or `SAC, backend torch` where another group of the same environment is SAC as well."""
    labels: list[str] = []
    for own in settings:
        rivals = [
            experiment(other)
            for other in settings
            if (label_of(other), other["algorithm"]) == (label_of(own), own["algorithm"])
        ]
        names = differences(rivals)
        said = [f"{name} {_short(experiment(own).get(name))}" for name in names[:SHOWN]]
        label = ", ".join([titled(str(own["algorithm"])), *said])
        same = sum(
            label == earlier and label_of(own) == label_of(other)
            for earlier, other in zip(labels, settings, strict=False)
        )
        labels.append(f"{label} ({same + 1})" if same else label)
    return labels


def _short(value: object) -> str:
    shown = str(value)
    return shown if len(shown) <= 24 else f"{shown[:23]}…"
