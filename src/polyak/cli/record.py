"""`polyak record RUN`: a video of the deterministic policy of a run, or of a file."""

import sys
from pathlib import Path

from polyak.cli.named import Name, player_named
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.policies.recording.filming import make_film_view


def record(
    run: Name,
    *,
    episodes: int = 1,
    seed: int = 0,
    best: bool = False,
    environment: str | None = None,
    output: Path | None = None,
    run_dir: Path = Path("runs"),
    plain: bool = False,
) -> None:
    """Record a video (mp4) of a run's deterministic policy and print its path.

    Args:
        run: the run's folder, or latest; or the file of a policy, which needs --environment.
        episodes: how many, one after another in one video.
        seed: from which the episodes' seeds are drawn.
        best: use the policy of the best evaluation instead of the latest.
        environment: another environment than the run's, as an id or module:Id.
        output: the video's path; by default in the run's videos folder, or for a policy's file here.
        run_dir: where latest, the run begun last, is looked for.
        plain: print lines instead of the live view.
    """
    here = Path.cwd()
    with own_output():
        player = player_named(run, run_dir, best=best, environment=environment)
        made = player.film(episodes, seed=seed, output=output, observer=make_film_view(plain=plain))
    returns = ", ".join(f"{value:.1f}" for value in made.evaluation.returns)
    print(f"returns: {returns}", file=sys.stderr)
    as_given = not (output or player.videos).is_absolute() and made.path.is_relative_to(here)
    print(made.path.relative_to(here) if as_given else made.path)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(record, arguments, "record")
