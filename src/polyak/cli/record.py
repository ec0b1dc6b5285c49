"""`polyak record RUN`: a video of the policy of a run, or of a file."""

import sys
from pathlib import Path
from typing import Any

from polyak.cli.named import Name, Which, player_named
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.policies.recording.filming import make_film_view


def record(
    run: Name,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    policy: Which = "last",
    best: bool = False,
    stochastic: bool = False,
    environment: str | None = None,
    output: Path | None = None,
    run_dir: Path = Path("runs"),
    plain: bool = False,
) -> None:
    """Record a video (mp4) of a run's policy, deterministic unless asked otherwise, and print its path.

    Args:
        run: the run's folder, or latest; or the file of a policy, which needs --environment.
        episodes: how many, one after another in one video; 1 unless --steps is given.
        steps: of all episodes together, after which the video ends, in the middle of an episode or not.
        seed: from which the episodes' seeds are drawn.
        policy: last, or best: that of the best evaluation.
        best: the same as --policy best.
        stochastic: draw each action: SAC's is sampled, to DDPG's and TD3's exploration noise is added.
        environment: another environment than the run's, as an id or module:Id.
        output: the video's path; by default in the run's videos folder, or for a policy's file here. Its folder
            must be there.
        run_dir: where latest, the run begun last, is looked for.
        plain: print lines instead of the live view.
    """
    here = Path.cwd()
    with own_output():
        player = player_named(run, run_dir, best=best or policy == "best", environment=environment)
        chosen: dict[str, Any] = {"steps": steps, "seed": seed, "deterministic": not stochastic, "output": output}
        made = player.film(episodes, observer=make_film_view(plain=plain), **chosen)
    returns = ", ".join(f"{value:.1f}" for value in made.evaluation.returns)
    print(f"returns: {returns}", file=sys.stderr)
    as_given = not (output or player.videos).is_absolute() and made.path.is_relative_to(here)
    print(made.path.relative_to(here) if as_given else made.path)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(record, arguments, "record")
