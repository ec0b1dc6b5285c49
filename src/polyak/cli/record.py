"""`polyak record RUN`: a video of the deterministic policy."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.policies.recording.filming import make_film_view
from polyak.run.folder import load


def record(
    run: Annotated[Path, tyro.conf.Positional],
    *,
    episodes: int = 1,
    seed: int = 0,
    best: bool = False,
    environment: str | None = None,
    output: Path | None = None,
    plain: bool = False,
) -> None:
    """Record a video (mp4) of a run's deterministic policy and print its path.

    Args:
        run: the run's folder.
        episodes: how many, one after another in one video.
        seed: from which the episodes' seeds are drawn.
        best: use the policy of the best evaluation instead of the latest.
        environment: another environment than the run's, as an id or module:Id.
        output: the video's path; by default in the run's videos folder.
        plain: print lines instead of the live view.
    """
    here = Path.cwd()
    with own_output():
        made = load(run).film(
            episodes, seed=seed, best=best, output=output, environment=environment, observer=make_film_view(plain=plain)
        )
    returns = ", ".join(f"{value:.1f}" for value in made.evaluation.returns)
    print(f"returns: {returns}", file=sys.stderr)
    as_given = not (output or run).is_absolute() and made.path.is_relative_to(here)
    print(made.path.relative_to(here) if as_given else made.path)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(record, arguments, "record")
