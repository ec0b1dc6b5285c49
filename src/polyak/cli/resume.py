"""`polyak resume RUN`: go on with a run; its folder is the only line on standard output."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro

from polyak import training
from polyak.cli.apart import PrintsFolder, environments_apart
from polyak.cli.flags import changes_in, flags_of_changes
from polyak.cli.named import Name, run_named
from polyak.cli.parsing import HINTED, read
from polyak.system.prints import LOG_NAME
from polyak.views.choice import make_view

F = TypeVar("F")


@dataclass(frozen=True)
class Asked(Generic[F]):
    """Go on with a run that was interrupted, killed or failed, from its last whole checkpoint, as if nothing had been.

    A run that has ended is extended with --steps.
    """

    run: Name
    """The run's folder, or latest."""
    changes: Annotated[F, tyro.conf.arg(name="")]
    """Options in force from now on."""
    steps: Annotated[int | None, HINTED] = None
    """Environment steps of the whole run, if they are to be other than before."""
    environment: Annotated[str | None, HINTED] = None
    """What it trains on (an id or module:Id), where that was a callable; an id's run goes on with its id."""
    replay_seconds: float = training.REPLAY_SECONDS
    """How long the running episodes may take to be enacted again; new ones are started otherwise."""
    run_dir: Path = Path("runs")
    """Where latest, the run begun last, is looked for."""
    plain: bool = False
    """Print lines instead of the live view."""


def main(arguments: list[str]) -> None:
    """Parse and run."""
    kind = Asked[flags_of_changes()]
    asked = read(kind, arguments, "resume")
    folder = run_named(asked.run, asked.run_dir).folder
    with environments_apart(folder.absolute(), folder.absolute() / LOG_NAME) as prints:
        training.resume(
            folder,
            steps=asked.steps,
            environment=asked.environment,
            replay_seconds=asked.replay_seconds,
            progress=False,
            observer=PrintsFolder(prints, make_view(prints.errors, plain=asked.plain), folder),
            **changes_in(asked.changes),
        )
