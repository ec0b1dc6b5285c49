"""`polyak resume RUN`: go on with a run; its folder is the only line on standard output."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from polyak import training
from polyak.algorithms import NAMES, algorithm
from polyak.cli import driver
from polyak.cli.apart import PrintsFolder, environments_apart
from polyak.cli.flags import changes_in, flags_of_changes
from polyak.cli.named import Name, run_to_go_on
from polyak.cli.parsing import HINTED, read
from polyak.cli.request import value_in
from polyak.errors import UsageError
from polyak.run.changes import begins_anew, kept, what_may
from polyak.run.mirror.fetching import address_of, settings_at
from polyak.run.origin import algorithm_of
from polyak.run.runs import LATEST, named
from polyak.settings.kinds import URL
from polyak.settings.shared import Settings
from polyak.system.prints import LOG_NAME
from polyak.views.choice import make_view

F = TypeVar("F")


@dataclass(frozen=True)
class Asked(Generic[F]):
    """Go on with a run that was interrupted, killed or failed, from its last whole checkpoint, as if nothing had been.

    A run that has ended is extended with --steps. `polyak resume RUN --help` lists the settings that may be others.
    """

    run: Name
    """The run's folder, the URL or folder of its mirror, or latest."""
    changes: Annotated[F, tyro.conf.arg(name="")]
    """Options in force from now on."""
    steps: Annotated[int | None, HINTED] = None
    """Environment steps of the whole run, if they are to be other than before."""
    environment: Annotated[str | None, HINTED] = None
    """What it trains on (an id or module:Id), where that was a callable; an id's run goes on with its id."""
    replay_seconds: float = training.REPLAY_SECONDS
    """How long the running episodes may take to be enacted again; new ones are started otherwise."""
    run_dir: Path = Path("runs")
    """Where latest, the run begun last, is looked for, and where a run is brought to that lies at a mirror."""
    plain: bool = False
    """Print lines instead of the live view."""


def _run_among(arguments: list[str]) -> tuple[Mapping[str, Any] | None, Path]:
    """What the run says that the words name, as far as can be told before they are parsed; and its folder."""
    run_dir = Path(value_in(arguments, "--run-dir") or "runs")
    for before, word in zip(["", *arguments], arguments, strict=False):
        if URL.fullmatch(word) and before != "--mirror":
            return settings_at(str(address_of(word))), run_dir
        if word == LATEST or os.path.lexists(Path(word, "settings.json")):
            run = named(word, run_dir)
            return run.settings_if_whole, run.folder
    return None, Path("RUN")


def _configs(settings: Mapping[str, Any] | None, folder: Path) -> list[type[Settings]]:
    """The settings of a run; of one that does not tell its algorithm, those of every algorithm of polyak's."""
    if settings is None:
        return [algorithm(name).Config for name in NAMES]
    return [algorithm_of(settings["algorithm"], folder.absolute()).Config]


def _require_changeable(arguments: list[str], config: type[Settings], folder: Path) -> None:
    """Answer a flag of `train` that no run takes once it has begun.

    Raises:
        UsageError: there is one.
    """
    flags = (word.partition("=")[0] for word in arguments if word.startswith("--"))
    for flag in flags:
        name = flag[2:].replace("-", "_")
        if name != "run_dir" and kept(name, config):
            raise UsageError(
                f"resume has no {flag}: a run keeps the {name} that it began with; {what_may(config)}; "
                f"{begins_anew(folder)}"
            )


def main(arguments: list[str]) -> int:
    """Parse and run."""
    settings, place = _run_among(arguments)
    configs = _configs(settings, place)
    _require_changeable(arguments, configs[0], place)
    asked = read(Asked[flags_of_changes(*configs)], arguments, "resume")
    if (asked.changes.on or (settings or {}).get("on")) and not driver.is_watched():
        return driver.drive(["resume", *arguments])
    run = run_to_go_on(asked.run, asked.run_dir)
    folder = run.folder
    with environments_apart(folder.absolute(), folder.absolute() / LOG_NAME) as prints:
        training.resume(
            run,
            steps=asked.steps,
            environment=asked.environment,
            replay_seconds=asked.replay_seconds,
            progress=False,
            observer=PrintsFolder(prints, make_view(prints.errors, plain=asked.plain), folder),
            **changes_in(asked.changes),
        )
    return 0
