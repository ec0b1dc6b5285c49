"""What a search was asked for, settled and checked before anything is started."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from polyak.algorithm import Algorithm
from polyak.errors import UsageError
from polyak.settings.kinds import Count, checked, require
from polyak.settings.options import Options, described
from polyak.settings.shared import Settings
from polyak.settings.spaces import Drawn, Space, load, without

Sampler = Literal["tpe", "random"]
Pruner = Literal["median", "hyperband", "none"]

WORDS = "words"
"""Of what a study keeps, what may be written otherwise the next time."""
FREE = (
    *(
        "preset",
        "seed",
        "run_dir",
        "device",
        "threads",
        "track",
        "step_timeout",
        "checkpoint_every",
        "probe",
        "mirror",
        "on",
    ),
)
"""Options that may be others when a study is gone on with; what a preset comes to is in the settings."""
FOLDER = "tune"
"""Within the folder of runs: a folder for each study."""
UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "": 1.0}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h|d|)\s*")


@dataclass(frozen=True)
class Budget:
    """Of each run: steps of the whole, and steps between evaluations."""

    steps: int
    steps_per_epoch: int


@dataclass(frozen=True, kw_only=True)
class Search:
    """Everything that a search depends on."""

    algorithm: Algorithm
    environment: str
    """An id or `module:Id`, which a fresh process in this folder can import."""
    config: Settings
    """The settings in force, but for those that are drawn."""
    space: Space
    """What is drawn, without what was set."""
    options: Options
    """Those of `train`, which all runs share."""
    words: tuple[str, ...]
    """What all runs share, as on the command line of `train`."""
    seeds: tuple[int, ...]
    """Of each trial."""
    trials: int
    """Of the whole study."""
    study: str
    storage: str
    """A file or a URL."""
    run_dir: Path
    at_once: int
    """Runs at a time."""
    timeout: float | None = None
    """Seconds after which no more is done."""
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    keep_pruned: bool = False
    """Whether the checkpoints of pruned trials are kept."""

    @property
    def folder(self) -> Path:
        """Of the study: its trials' runs and its report are in it, and by default its file."""
        return folder_of(self.run_dir, self.study)

    @property
    def budget(self) -> Budget:
        """Of each run."""
        return Budget(self.config.length, self.config.steps_per_epoch)

    def described(self) -> dict[str, Any]:
        """What all trials of a study have in common, as JSON can hold it."""
        drawn = {name for each in self.space for name in each.settings}
        settings = dataclasses.asdict(self.config).items()
        return {
            "algorithm": self.algorithm.name,
            "environment": self.environment,
            "seeds": list(self.seeds),
            "steps": self.config.steps,
            "space": {each.name: each.described() for each in self.space},
            "settings": {name: value for name, value in settings if name not in drawn},
            "options": {name: value for name, value in described(self.options).items() if name not in FREE},
            WORDS: list(self.words),
        }


def settled(
    *,
    algorithm: Algorithm,
    config: Settings,
    given: Sequence[str],
    space: str | Path | None,
    options: Options,
    words: Sequence[str],
    **rest: Any,
) -> tuple[Search, list[str]]:
    """A search, and what is to be said of how it was settled: settings that are not drawn, or had to be others.

    Args:
        algorithm: whose settings are searched.
        config: what preset and caller come to.
        given: the settings that the caller set, which are not drawn.
        space: the path of the user's own file, or None.
        options: those of `train`.
        words: of its command line, what all runs share.
        **rest: the rest of a `Search`.

    Raises:
        UsageError: something asked for cannot be.
    """
    if options.evaluate_in == "never":
        raise UsageError("evaluate_in is never, but a search goes by evaluations: leave it out")
    whole = load(algorithm, space)
    left = without(whole, given)
    if not left:
        raise UsageError("there is nothing to search: every setting of the space is given; leave some out")
    fixed = [name for each in whole for name in each.settings if name in given]
    said = [f"not searched, because given: {', '.join(fixed)}"] if fixed else []
    largest = max((max(each.choices or (each.high,)) for each in left if "batch_size" in each.settings), default=0)
    if largest > config.update_after and "update_after" not in given:
        config = dataclasses.replace(config, update_after=int(largest), batch_size=min(config.batch_size, int(largest)))
        words = (*words, f"--update-after={int(largest)}")
        said.append(f"update_after is {int(largest):,} for all trials: the largest batch_size has to be there by then")
    _require_possible(left, config)
    for name, kind in (("sampler", Sampler), ("pruner", Pruner)):
        checked(name, rest.get(name, get_args(kind)[0]), kind)
    checked("trials", rest["trials"], Count)
    return Search(algorithm=algorithm, config=config, space=left, options=options, words=tuple(words), **rest), said


def _require_possible(space: Space, config: Settings) -> None:
    """Check that each end of what is drawn can be trained with."""
    for each in space:
        for value in each.choices or (each.low, each.high):
            drawn: dict[str, Any] = dict.fromkeys(each.settings, value)
            try:
                dataclasses.replace(config, **drawn)
            except UsageError as error:
                raise UsageError(f"space: {each.name} may be {_shown(each, value)}, but then {error}") from error


def _shown(drawn: Drawn, value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and drawn.choices == () else str(value)


def folder_of(run_dir: Path, study: str) -> Path:
    """A study's folder within that of runs."""
    return run_dir / FOLDER / study


def named(study: str | None, algorithm: str, environment: str) -> str:
    """The study's name, by default that of what is searched, as a folder can have it.

    Raises:
        UsageError: no folder can be called so.
    """
    if study is None:
        return re.sub(r"[^\w.+=-]", "_", f"{algorithm}-{environment}")[:100]
    whole = study not in (".", "..") and re.fullmatch(r"[\w.+=-]{1,100}", study) is not None
    require("study", study, whole, "a name of at most 100 letters, digits and . _ + = -, since a folder is called so")
    return study


def seconds(text: str | float | None) -> float | None:
    """`2h`, `90m`, `1h30m`, `1d` or a number of seconds; None is no limit.

    Raises:
        UsageError: it is none of these.
    """
    if text is None:
        return None
    found = list(DURATION.finditer(str(text).strip()))
    whole = "".join(match[0] for match in found) == str(text).strip()
    total = sum(float(match[1]) * UNITS[match[2]] for match in found)
    require("timeout", text, whole and total > 0, "a time above 0, as 2h, 90m, 1h30m, 45s or a number of seconds")
    return total
