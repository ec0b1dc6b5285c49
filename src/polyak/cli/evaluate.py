"""`polyak evaluate RUN`: fresh episodes with the policy of a run, or of a file."""

import json
from pathlib import Path
from typing import Annotated, Any

import tyro

from polyak.cli.named import Name, Which, player_named
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.policies.evaluation import MOST_STEPS
from polyak.views.evaluation import evaluation_shown

DRAWN = {False: "", True: ", actions drawn"}
SUCCESS = {None: "", True: "  success", False: "  no success"}


def evaluate(
    run: Name,
    *,
    episodes: int = 10,
    seed: int = 0,
    policy: Which = "last",
    best: bool = False,
    stochastic: bool = False,
    environment: str | None = None,
    info_metrics: tuple[str, ...] | None = None,
    run_dir: Path = Path("runs"),
    plain: bool = False,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Run fresh episodes with a run's policy, deterministic unless asked otherwise.

    Args:
        run: the run's folder, or latest; or the file of a policy, which needs --environment.
        episodes: how many.
        seed: from which the episodes' seeds are drawn.
        policy: last, or best: that of the best evaluation.
        best: the same as --policy best.
        stochastic: draw each action: SAC's is sampled, to DDPG's and TD3's exploration noise is added.
        environment: another environment than the run's, as an id or module:Id.
        info_metrics: numbers in the info of each episode's last step, by name; by default those of the run.
        run_dir: where latest, the run begun last, is looked for.
        plain: print lines instead of the live line.
        as_json: print one JSON object with mean, std, returns, lengths, seed; success_rate and info_metrics if any.
    """
    with own_output():
        player = player_named(run, run_dir, best=best or policy == "best", environment=environment)
        with evaluation_shown(plain=plain) as watched:
            chosen: dict[str, Any] = {"seed": seed, "deterministic": not stochastic, "info_metrics": info_metrics}
            result = player.evaluate(episodes, watched=watched, **chosen)
    if as_json:
        print(json.dumps(result.to_json()))
        return
    told = zip(result.returns, result.lengths, result.successes, strict=True)
    for number, (total, length, success) in enumerate(told, start=1):
        print(f"episode {number:>3}  return {total:>10.2f}  length {length:>6}{SUCCESS[success]}")
    print(f"mean {result.mean:.2f}  std {result.std:.2f}  over {episodes} episodes, seed {seed}{DRAWN[stochastic]}")
    if result.cut_off:
        print(
            f"{result.cut_off} of {episodes} episodes cut off after {MOST_STEPS:,} steps: no time limit is known; "
            "`polyak train --max-episode-steps` gives a run one"
        )
    if result.success_rate is not None:
        said = sum(success is not None for success in result.successes)
        print(f"success rate {result.success_rate:.1%}  of {said} episodes")
    for name, mean in result.info_metrics.items():
        print(f"{name}: mean {mean:.6g}  at the episodes' last steps")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(evaluate, arguments, "evaluate")
