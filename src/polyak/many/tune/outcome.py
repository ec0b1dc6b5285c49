"""What came out of a search: its trials as plain data, the best one's settings as a preset, how to train with it."""

import json
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, TrialState

from polyak.errors import UsageError
from polyak.many.tune.asked import WORDS
from polyak.many.tune.candidate import REASON, RUNS
from polyak.many.tune.study import ABANDONED, ASKED, DIVERGED, best_of, drawn, settings_of
from polyak.many.words import flags_of, passed_on
from polyak.run.folder import Run
from polyak.settings.spaces import drawn_of
from polyak.system.files import prepare_to_write, write_atomically

ENOUGH = 10
"""Trials with a value from which on something can be said about what mattered."""
FRESH = 5
"""Seeds that the best trial's settings are to be trained with."""


@dataclass(frozen=True)
class Result:
    """One trial, as the study has it."""

    number: int
    state: str
    """done, pruned, diverged, failed or running."""
    score: float | None
    params: dict[str, Any]
    """As they are called in the study."""
    drawn: dict[str, Any]
    """Values by the names of the space."""
    settings: dict[str, Any]
    """Those that got these values."""
    steps: dict[int, float]
    """Scores by steps."""
    seconds: float | None
    runs: dict[int, str]
    """Folders by seed."""
    reason: str = ""


@dataclass(frozen=True)
class Findings:
    """All that a page or a summary tells of a study."""

    study: str
    asked: dict[str, Any]
    """As `Search.described` has it."""
    results: list[Result]
    best: Result | None = None
    importance: dict[str, float] = field(default_factory=dict[str, float])
    """What share of the difference between good trials and the others each parameter has; adds up to 1."""
    preset: Path | None = None
    """The file of the best trial's settings, which `train` takes as `preset`; None where no trial is done."""
    report: Path | None = None
    """The page; None where no trial is done."""

    @property
    def seeds(self) -> list[int]:
        """Those of each trial."""
        return list(self.asked["seeds"])

    def counted(self) -> str:
        """`12 done, 5 pruned`."""
        states = [result.state for result in self.results]
        told = [f"{states.count(state)} {state}" for state in dict.fromkeys(("done", *states)) if state in states]
        return ", ".join(told) or "none"


def findings(study: optuna.Study) -> Findings:
    """What a study has."""
    asked = cast(dict[str, Any], study.user_attrs[ASKED])
    space = cast(dict[str, Any], asked["space"])
    trials = [each for each in study.get_trials(deepcopy=False) if ABANDONED not in each.user_attrs]
    results = [_result(trial, space) for trial in trials if trial.state != TrialState.WAITING]
    best = best_of(trials)
    return Findings(
        study.study_name, asked, results, None if best is None else _result(best, space), _importance(study)
    )


def _result(trial: FrozenTrial, space: Mapping[str, Any]) -> Result:
    states = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    diverged = DIVERGED in trial.user_attrs
    whole = tuple(drawn_of(name, each) for name, each in space.items())
    values = drawn(whole, trial.params)
    runs = cast(dict[str, str], trial.user_attrs.get(RUNS, {}))
    return Result(
        trial.number,
        "diverged" if diverged else states.get(trial.state, "running"),
        trial.value if trial.state == TrialState.COMPLETE and not diverged else None,
        dict(trial.params),
        values,
        settings_of(whole, values),
        dict(trial.intermediate_values),
        trial.duration.total_seconds() if trial.duration else None,
        {int(seed): folder for seed, folder in runs.items()},
        str(trial.user_attrs.get(REASON, "")),
    )


def _importance(study: optuna.Study) -> dict[str, float]:
    """By PED-ANOVA (Watanabe et al. 2023), which needs no further package; empty where there are too few trials."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < ENOUGH or len({trial.value for trial in done}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how few trials there are is said by the page
        return optuna.importance.get_param_importances(study)


# The best one


def preset_text(found: Findings) -> str | None:
    """The settings that the best trial was trained with, as a file that --preset takes; None where none is done.

    Raises:
        UsageError: its runs' folders are not there any more.
    """
    if found.best is None:
        return None
    run = _run_of(found.best)
    asked, settings = found.asked, cast(dict[str, Any], run.settings["settings"])
    searched = {name for each in cast(dict[str, Any], asked["space"]).values() for name in each["settings"]}
    algorithm = str(asked["algorithm"])
    head = algorithm if algorithm.isidentifier() else json.dumps(algorithm)
    seeds = ", ".join(map(str, found.seeds))
    search = (
        f"the best of {len(found.results)} trials of polyak tune {algorithm} {asked['environment']} (study "
        f"{found.study}, trial {found.best.number}, seeds {seeds}): score {found.best.score or 0.0:.4g}"
    )
    before = f"not searched: preset {run.settings['preset']}, or as given to polyak tune"
    lines = [
        f"# {search}.",
        "# A score that was chosen as the best of many is higher than what new seeds will give: train with new ones.",
        "",
        f"[{head}]",
        *(
            f'{name} = {{ value = {_toml(value)}, source = "{"search" if name in searched else "before"}" }}'
            for name, value in settings.items()
            if value is not None
        ),
        "",
        "[sources]",
        f"search = {json.dumps(search)}",
        f"before = {json.dumps(before)}",
    ]
    return "\n".join(lines) + "\n"


def write_preset(found: Findings, folder: Path) -> Path | None:
    """Write it into a study's folder; None where no trial is done.

    Raises:
        UsageError: it cannot be written.
    """
    text, path = preset_text(found), folder / "best.toml"
    if text is None:
        return None
    prepare_to_write(path)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def command(found: Findings, preset_file: Path) -> str:
    """What trains with the best settings, with seeds that the search has not seen."""
    asked, first = found.asked, max(found.seeds) + 1
    known = _known_settings(found)
    options = passed_on(cast(list[str], asked[WORDS]), [*flags_of([*known, "preset"]), "--threads"])
    seeds = f"{first}-{first + FRESH - 1}"
    fixed = ["--preset", str(preset_file), "--seeds", seeds]
    return shlex.join(["polyak", "train", asked["algorithm"], asked["environment"], *options, *fixed])


def _known_settings(found: Findings) -> Sequence[str]:
    best = found.best
    return [] if best is None else list(cast(Mapping[str, Any], _run_of(best).settings["settings"]))


def _run_of(result: Result) -> Run:
    for folder in result.runs.values():
        if (Path(folder) / "settings.json").is_file():
            return Run(Path(folder))
    raise UsageError(f"the runs of trial {result.number} are not where they were: {', '.join(result.runs.values())}")


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, cast(list[Any], value)))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value)
