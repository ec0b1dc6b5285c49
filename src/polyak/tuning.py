"""`tune`: the command, called from Python. What it is asked for becomes the words of a command line, as of its runs.

So there is one door, one check and one behaviour; a study that was begun here goes on there, and the other way around.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from polyak.errors import Interrupted, UsageError
from polyak.many.tune.asked import Pruner, Sampler
from polyak.many.words import option_words, words_of
from polyak.run.plan import planned
from polyak.settings.door import door
from polyak.settings.kinds import ABOVE_0, FILLED, Address, Count, Limit, checked, require
from polyak.settings.options import KINDS, options_of
from polyak.views.choice import is_wanted

if TYPE_CHECKING:
    from polyak.many.tune.outcome import Findings


SECONDS = Annotated[float | None, ABOVE_0]
SEEDS = Annotated[tuple[int, ...], Limit("at least one, none below 0", lambda seeds: min(seeds, default=-1) >= 0)]


class SearchInterrupted(Interrupted):
    """A signal ended a search; its runs have saved, and the same call goes on."""

    def __init__(self, signal_number: int, found: "Findings") -> None:
        super().__init__(signal_number, "")
        self.args = ("interrupted; everything is saved, and the same call goes on",)
        self.found = found
        """What there is so far."""


@door
def tune(
    algorithm: str,
    environment: str,
    *,
    trials: int = 40,
    seeds: Sequence[int] = (0, 1),
    storage: str | Path | None = None,
    study: str | None = None,
    jobs: int | None = None,
    gpus: float | None = None,
    timeout: float | str | None = None,
    space: str | Path | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    keep_pruned: bool = False,
    progress: bool | None = None,
    **given: Any,
) -> "Findings":
    """Search for settings with Optuna; `polyak.tune("sac", "Pendulum-v1", trials=40, steps=10_000).best.settings`.

    Each trial is trained with every seed as an ordinary run in a process of its own, as `polyak tune` does it: see
    docs/tuning.md for how trials are judged, pruned and gone on with. The same call goes on with a study.

    Args:
        algorithm: as for `train`.
        environment: an id or `module:Id`, since each run is a process of its own.
        trials: of the whole study, those of earlier calls included.
        seeds: those of each trial.
        storage: where the study is kept: a SQLite file, a file.journal, or a database's URL; by default study.db in the
            study's folder below `run_dir`.
        study: its name, by default ALGORITHM-ENVIRONMENT.
        jobs: runs at a time; by default as many as the cores serve, and whole trials; on a cluster, as it has room for.
        gpus: with `on`, the share of a GPU that each run asks for.
        timeout: seconds, or a text as "2h", after which the search ends in order.
        space: a TOML file that says what is searched.
        sampler: "tpe" or "random".
        pruner: "median", "hyperband" or "none".
        keep_pruned: keep the checkpoints of pruned trials.
        progress: a view of the search, as for `train`.
        **given: options and settings of `train`, which are the same for all trials; a setting that is given is not
            searched.

    Returns:
        What was found: `best` (its number, score, settings, and the folders of its runs), `results`, `importance`, and
        the paths `preset`, which `train` takes as `preset`, and `report`, the page.

    Raises:
        UsageError: something asked for cannot be; nothing has been started.
        TrainingError: the storage, or the first trials, have failed; all runs have saved.
        SearchInterrupted: an Interrupted; Ctrl-C or SIGTERM, all runs have saved.
    """
    _require_named(environment)
    if "seed" in given or "config" in given:
        raise UsageError("tune takes seeds, those of each trial, and single settings instead of a config and a seed")
    asked = {name: value for name, value in given.items() if name in KINDS}
    options = options_of(asked)
    settings = {name: value for name, value in given.items() if name not in KINDS}
    plan = planned(algorithm, environment, None, options, settings)
    own = {
        "trials": checked("trials", trials, Count),
        "sampler": checked("sampler", sampler, Sampler),
        "pruner": checked("pruner", pruner, Pruner),
        "keep_pruned": checked("keep_pruned", keep_pruned, bool),
        "seeds": ",".join(str(each) for each in checked("seeds", seeds, SEEDS)),
    }
    optional = {
        "storage": checked("storage", storage, Annotated[Address | None, FILLED]),
        "study": checked("study", study, Annotated[str | None, FILLED]),
        "jobs": checked("jobs", jobs, Count | None),
        "gpus": checked("gpus", gpus, Annotated[float | None, ABOVE_0]),
        "timeout": checked("timeout", timeout, Annotated[str | None, FILLED] if isinstance(timeout, str) else SECONDS),
        "space": checked("space", space, Path | None),
    }
    words = [
        *option_words({name: getattr(options, name) for name in asked}),
        *words_of({name: getattr(plan.config, name) for name in settings}),
        *words_of(own | {name: value for name, value in optional.items() if value is not None}),
    ]
    return _searched(algorithm, environment, words, shows=is_wanted(progress))


def _require_named(environment: object) -> None:
    limit = "an id or module:Id, which other processes can import"
    require("environment", environment, isinstance(environment, str) and environment != "", limit)


def _searched(algorithm: str, environment: str, words: list[str], *, shows: bool) -> "Findings":
    from polyak.cli import tune as command

    outcome, found = command.searched(command.asked_for(algorithm, environment, words), shows=shows)
    if outcome.signal_number:
        raise SearchInterrupted(outcome.signal_number, found)
    return found
