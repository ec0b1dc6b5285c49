"""`polyak dataset RUN -o DATASET`: a Minari dataset of a run's replay, or of fresh episodes of its policy."""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from polyak.cli.named import Name, Which, run_named
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.run.dataset import write_dataset
from polyak.views.evaluation import evaluation_shown


def dataset(
    run: Name,
    *,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    episodes: int | None = None,
    seed: int | None = None,
    policy: Which = "last",
    best: bool = False,
    stochastic: bool = False,
    environment: str | None = None,
    run_dir: Path = Path("runs"),
    plain: bool = False,
) -> None:
    """Write a Minari dataset of what a run has in replay, or of fresh episodes of its policy, and print its path.

    Args:
        run: the run's folder, latest, or the URL of its mirror.
        output: the dataset's folder, which must not be there: its name ends in a version, as lander-v0. Where Minari
            keeps its datasets (~/.minari/datasets, or MINARI_DATASETS_PATH), it finds it by this name.
        episodes: play so many fresh ones with the policy; by default, what is in replay is written.
        seed: from which the episodes' seeds are drawn; 0 by default. evaluate plays the same with the same.
        policy: last, or best: that of the best evaluation.
        best: the same as --policy best.
        stochastic: draw each action: SAC's is sampled, to DDPG's and TD3's exploration noise is added.
        environment: another environment than the run's, as an id or module:Id.
        run_dir: where latest, the run begun last, is looked for.
        plain: print lines instead of the live line.
    """
    found = run_named(run, run_dir, acting=episodes is not None)
    chosen: dict[str, Any] = {
        "seed": seed,
        "best": best or policy == "best",
        "deterministic": not stochastic,
        "environment": environment,
    }
    with own_output():
        if episodes is None:
            made = write_dataset(found, output, **chosen)
        else:
            with evaluation_shown(plain=plain) as watched:
                made = write_dataset(found, output, episodes, watched=watched, **chosen)
    result = made.evaluation
    returns = "" if result is None else f"; return: mean {result.mean:.2f}, std {result.std:.2f}"
    print(f"{made.transitions:,} transitions in {made.episodes:,} episodes{returns}", file=sys.stderr)
    print(made.path)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(dataset, arguments, "dataset")
