"""A study: which trials there are, what is drawn for the next, what the pruner thinks. Optuna's, behind few words."""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from polyak.errors import UsageError
from polyak.many.tune.asked import WORDS, Budget, Pruner, Sampler
from polyak.many.tune.storage import opened, shown
from polyak.settings.spaces import DIGITS, Drawn, Space

ASKED = "polyak"
"""The study's attribute that says what was asked for: trials of something else cannot be compared with its own."""
ABANDONED = "abandoned"
"""The attribute of a trial that came to nothing because its process was killed as it was drawn: it does not count."""
DIVERGED = "diverged"
"""The attribute of a trial whose numbers ceased to be finite: its value is below all others, for the sampler's sake."""
STARTUP = 10
"""Trials drawn at random before TPE learns from them; Optuna's own number, and the zoo's."""
BEFORE_PRUNING = 5
"""Trials that are done before the first is pruned."""


def existing(storage: str, name: str | None) -> optuna.Study:
    """A study that is there; without a name, the only one.

    Raises:
        UsageError: there is none, or it is not polyak's; or there are several.
    """
    there = opened(storage, make=False)
    names = [each.study_name for each in there.get_all_studies()]
    if name is None and len(names) > 1:
        raise UsageError(f"there are several studies in {shown(storage)}: say which, as --study {names[0]}")
    if name not in names and (name is not None or not names):
        listed = f"it has {', '.join(names)}" if names else "it has none"
        raise UsageError(f"there is no study {name or ''} in {shown(storage)}: {listed}".replace("  ", " "))
    study = optuna.load_study(study_name=name or names[0], storage=there)
    if ASKED not in study.user_attrs:
        raise UsageError(f"the study {study.study_name} in {shown(storage)} was not made by polyak tune")
    return study


def begun(storage: str, name: str, asked: Mapping[str, Any]) -> optuna.Study:
    """The study of a name, new or to be gone on with.

    Raises:
        UsageError: it cannot be opened, or is there and was asked for something else, which is told.
    """
    study = optuna.create_study(study_name=name, storage=opened(storage), load_if_exists=True, direction="maximize")
    before: Any = study.user_attrs.get(ASKED)
    if before is None:
        if study.get_trials(deepcopy=False):
            raise UsageError(f"the study {name} in {shown(storage)} was not made by polyak tune: name another --study")
        study.set_user_attr(ASKED, dict(asked))
        return study
    now, had = json.loads(json.dumps(asked)), cast(Mapping[str, Any], before)
    for key in now:
        if key != WORDS and now[key] != had.get(key):
            what, other, one = _difference(key, had.get(key), now[key])
            raise UsageError(
                f"the study {name} in {shown(storage)} was begun with {what} {_short(other)}, but {_short(one)} is "
                "asked for, so that its trials could not be compared: ask for the same, or name another --study"
            )
    return study


def _difference(key: str, had: Any, now: Any) -> tuple[str, Any, Any]:
    """What differs, by its name, and how: of tables, the first entry that does."""
    if not isinstance(had, dict) or not isinstance(now, dict):
        return key, cast(Any, had), now
    before, after = cast(dict[str, Any], had), cast(dict[str, Any], now)
    name = next(each for each in (*before, *after) if before.get(each) != after.get(each))
    return (f"{key}: {name}" if key == "space" else name), before.get(name), after.get(name)


def _short(value: Any) -> str:
    text = " ".join(map(str, cast(list[Any], value))) if isinstance(value, list) else json.dumps(value)
    return text[:200] or "nothing"


class Trials:
    """The trials of a study, drawn from a space."""

    def __init__(self, study: optuna.Study, space: Space, budget: Budget, sampler: Sampler, pruner: Pruner) -> None:
        self.study, self.space = study, space
        # Another seed each time that a search goes on: the same would draw the same once more.
        seed = zlib.crc32(f"{study.study_name} {len(study.get_trials(deepcopy=False))}".encode())
        study.sampler = _sampler(sampler, seed)
        study.pruner = _pruner(pruner, budget)

    def ask(self) -> optuna.Trial:
        """A new one, all of its parameters drawn."""
        return self.study.ask({_called(each): _distribution(each) for each in self.space})

    def again(self, trial: FrozenTrial) -> optuna.Trial:
        """One that is running, to go on with it."""
        return optuna.Trial(self.study, cast(int, getattr(trial, "_trial_id")))  # noqa: B009 - Optuna has no other name

    def is_whole(self, trial: FrozenTrial) -> bool:
        """Whether all of its parameters have been drawn."""
        return {_called(each) for each in self.space} <= trial.params.keys()

    @property
    def counted(self) -> list[FrozenTrial]:
        """All that count among those that were asked for."""
        found = self.study.get_trials(deepcopy=False)
        return [trial for trial in found if trial.state != TrialState.WAITING and ABANDONED not in trial.user_attrs]

    @property
    def running(self) -> list[FrozenTrial]:
        """Those that nobody has told the end of."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def abandon(self, trial: FrozenTrial) -> None:
        """Give one up that was never whole; what had been drawn of it is asked for again."""
        self.again(trial).set_user_attr(ABANDONED, "its process was killed as it was drawn")
        if trial.params:
            self.study.enqueue_trial(trial.params)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def known(self) -> list[float]:
        """All scores that there are, of trials and of their steps."""
        trials = self.study.get_trials(deepcopy=False)
        steps = [value for trial in trials for value in trial.intermediate_values.values()]
        return steps + [trial.value for trial in trials if trial.value is not None]


def best_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The trial of the highest score among those that are done; None where none is."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE and DIVERGED not in trial.user_attrs]
    return max(done, key=lambda trial: trial.value or 0.0, default=None)


def drawn(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """What was drawn of a space, by the names that it has there."""
    there = [each for each in space if _called(each) in params]  # not all, where its process was killed as it was drawn
    return {each.name: _value(each, params[_called(each)]) for each in there}


def settings_of(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that get these values."""
    return {name: values[each.name] for each in space if each.name in values for name in each.settings}


def _called(drawn: Drawn) -> str:
    return f"1 - {drawn.name}" if drawn.scale == "log of 1 - value" and not drawn.choices else drawn.name


def _distribution(drawn: Drawn) -> BaseDistribution:
    if drawn.choices:
        return CategoricalDistribution([_storable(each) for each in drawn.choices])
    if drawn.scale == "log of 1 - value":
        return FloatDistribution(round(1 - drawn.high, DIGITS), round(1 - drawn.low, DIGITS), log=True)
    if drawn.whole:
        return IntDistribution(int(drawn.low), int(drawn.high), log=drawn.scale == "log")
    return FloatDistribution(drawn.low, drawn.high, log=drawn.scale == "log")


def _storable(choice: Any) -> Any:
    """Storages hold single values only: a list of widths is a text there."""
    return ", ".join(map(str, cast(Sequence[Any], choice))) if isinstance(choice, tuple) else choice


def _value(drawn: Drawn, raw: Any) -> Any:
    if drawn.choices:
        return next(each for each in drawn.choices if _storable(each) == raw)
    return round(1 - raw, DIGITS) if drawn.scale == "log of 1 - value" else raw


def _sampler(name: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)


def _pruner(name: Pruner, budget: Budget) -> optuna.pruners.BasePruner:
    """Steps are environment steps; the median prunes from a third of a run on, as the zoo's does."""
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=budget.steps_per_epoch, max_resource=budget.steps)
    return optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING, n_warmup_steps=budget.steps // 3)
