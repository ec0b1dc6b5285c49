"""`polyak evaluate RUN`: fresh episodes with the deterministic policy."""

import json
from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.output import own_output
from polyak.run.folder import load


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    *,
    episodes: int = 10,
    seed: int = 0,
    best: bool = False,
    environment: str | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Run fresh episodes with the deterministic policy of a run.

    Args:
        run: the run's folder.
        episodes: how many.
        seed: from which the episodes' seeds are drawn.
        best: use the policy of the best evaluation instead of the latest.
        environment: another environment than the run's, as an id or module:Id.
        as_json: print one JSON object with mean, std, returns, lengths, seed.
    """
    with own_output():
        result = load(run).evaluate(episodes, seed=seed, best=best, environment=environment)
    if as_json:
        print(json.dumps(result.to_json()))
        return
    for number, (total, length) in enumerate(zip(result.returns, result.lengths, strict=True), start=1):
        print(f"episode {number:>3}  return {total:>10.2f}  length {length:>6}")
    print(f"mean {result.mean:.2f}  std {result.std:.2f}  over {episodes} episodes, seed {seed}")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    tyro.cli(evaluate, args=arguments, prog="polyak evaluate")
