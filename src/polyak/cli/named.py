"""RUN on a command line: a run's folder, the URL of its mirror, `latest`, or where a policy is enough, a file."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyak.cli.request import value_in
from polyak.errors import UsageError
from polyak.policies.player import Player
from polyak.policies.policy import Policy
from polyak.run.folder import Run
from polyak.run.mirror.fetching import Fetched
from polyak.run.runs import LATEST, find_runs, is_policy_file, load, named, to_go_on

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
"""A text and no path: `./latest` is a folder, and a path would forget how it was written."""
Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
Which = Literal["last", "best"]
"""The policy of a run: its latest, or that of the best evaluation."""


def run_named(name: str, run_dir: Path, *, acting: bool = False) -> Run:
    """The run of a name, which is said where the name is not its folder; `acting` asks for one that has a policy.

    Raises:
        UsageError: there is none.
    """
    return _said(name, named(name, run_dir, acting=acting))


def runs_named(names: Sequence[str], run_dir: Path, command: str) -> list[Run]:
    """Each folder's run, or all runs below it.

    Raises:
        UsageError: no folder was named, or one holds no run.
    """
    if not names:
        raise UsageError(f"{command} needs a run: polyak {command} RUN..., or a folder that holds runs, such as runs/")
    found: list[Run] = []
    for name in names:
        named = run_named(name, run_dir)
        folder = named.folder
        below = [] if (folder / "settings.json").exists() or not folder.is_dir() else list(find_runs(folder))
        found += [load(run) for run in below or [named]]  # says what is wrong with it
    return found


def run_to_go_on(name: str, run_dir: Path) -> Run:
    """The same of a run that is to be trained, which is brought here with its checkpoint if it lies at a mirror."""
    return _said(name, to_go_on(name, run_dir))


def _said(name: str, run: Run) -> Run:
    if isinstance(run, Fetched):
        print(run.said, file=sys.stderr, flush=True)
    elif name == LATEST:
        print(f"{LATEST} is {run.folder}", file=sys.stderr, flush=True)
    return run


def player_named(name: str, run_dir: Path, *, best: bool = False, environment: str | None = None) -> Player:
    """What plays a run's policy, or the policy of a file, in the run's environment or in the one that is given.

    Raises:
        UsageError: there is no such run or file; or for a file, no environment is given.
    """
    file = Path(name)
    if not is_policy_file(name):
        return run_named(name, run_dir, acting=True).player(best=best, environment=environment)
    if best:
        raise UsageError(f"{file} is a policy alone, which has no better one beside it: leave --policy best out")
    policy = Policy.load(file)
    if environment is None:
        made_for = policy.made_for.get("environment")
        told = "" if made_for is None else f" (it says that it was trained on {made_for!r})"
        told += f", or name its run, {file.parent}" if os.path.lexists(file.parent / "settings.json") else ""
        raise UsageError(f"{file} is a policy alone, without an environment: name one with --environment{told}")
    return Player(policy, environment)


def with_from_named(arguments: list[str]) -> list[str]:
    """The arguments of `train` with the folder in place of `--from latest`: what starts later must not be meant by it.

    The same goes for `--demonstrations latest`.

    Raises:
        UsageError: there is none.
    """
    found = arguments
    for flag in ("--from", "--demonstrations"):
        if value_in(found, flag) == LATEST:
            folder = str(run_named(LATEST, Path(value_in(found, "--run-dir") or "runs")).folder)
            before = ["", *found]
            found = [
                f"{flag}={folder}" if word == f"{flag}={LATEST}" else folder if earlier == flag else word
                for earlier, word in zip(before, found, strict=False)
            ]
    return found
