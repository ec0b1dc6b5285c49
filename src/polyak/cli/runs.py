"""`polyak runs [DIR]`: a table of runs, sorted and chosen as asked; those that hold nothing can be removed."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from polyak.algorithms import is_built_in
from polyak.cli.parsing import call
from polyak.errors import UsageError
from polyak.run.description import length_in
from polyak.run.folder import Run
from polyak.run.metrics import best_evaluation
from polyak.run.pruning import holds_nothing, prune
from polyak.run.runs import begun, find_runs
from polyak.run.states import State, standing_of

HEAD = ("state", "steps", "last eval", "best eval", "preset", "folder")
Sort = Literal["folder", "begun", "steps", "last", "best"]
Facts = dict[str, Any]
"""Of a run, as `--json` prints them."""
UNREADABLE = "unreadable"


def list_runs(
    directory: Annotated[Path, tyro.conf.Positional] = Path("runs"),
    *,
    sort: Sort = "folder",
    algorithm: tuple[str, ...] = (),
    environment: tuple[str, ...] = (),
    state: tuple[State, ...] = (),
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
    prune_empty: Annotated[bool, tyro.conf.arg(name="prune")] = False,
    yes: bool = False,
) -> None:
    """List the runs below a folder; the last column is what the other commands take.

    A run is running, interrupted (by a signal, or killed), failed, stopped (by a search, before its time), or done.

    Args:
        directory: where the runs are.
        sort: by folder; or the newest, the longest, or those of the highest last or best evaluation first.
        algorithm: only runs of these.
        environment: only runs in these, by their ids.
        state: only runs in these states.
        as_json: print a JSON list, with an object for each run.
        prune_empty: remove the runs that hold nothing (no policy, no record, nothing trained in a checkpoint, and
            nothing of yours in the folder), after asking; never one that is running.
        yes: with --prune, do not ask.
    """
    chosen = [
        (run, facts)
        for run, facts in ((run, _facts(run)) for run in find_runs(directory))
        if _is_asked_for(facts, [_same(name) for name in algorithm], environment, state)
    ]
    chosen.sort(key=lambda pair: _place(pair[1], sort))
    if prune_empty:
        _prune([run for run, _ in chosen], directory, ask=not yes)
    elif as_json:
        print(json.dumps([facts for _, facts in chosen], indent=2))
    elif not chosen:
        filtered = algorithm or environment or state
        print(
            f"no such runs in {directory}"
            if filtered
            else f"no runs in {directory}: polyak train sac Pendulum-v1 makes one"
        )
    else:
        _print_table([HEAD, *(_row(facts) for _, facts in chosen)])


def _facts(run: Run) -> Facts:
    try:
        settings, records, standing = run.settings, run.metrics, standing_of(run)
    except UsageError as error:  # some other program's settings.json, or a broken run: say so and go on
        return {"folder": str(run.folder), "state": UNREADABLE, "reason": str(error)}
    evaluated = [record["eval/return"] for record in records if "eval/return" in record]
    best = best_evaluation(records)
    return {
        "folder": str(run.folder),
        "state": standing.state,
        "reason": standing.reason,
        "begun": begun(run).isoformat(),
        "algorithm": settings["algorithm"],
        "environment": settings["environment"],
        "seed": settings["seed"],
        "preset": settings["preset"],
        "steps": int(records[-1]["step"]) if records else 0,
        "of_steps": length_in(settings),
        "last": evaluated[-1] if evaluated else None,
        "best": best[1] if best else None,
        "best_step": best[0] if best else None,
        "policy": run.policy_file.exists(),
    }


def _is_asked_for(facts: Facts, algorithms: Sequence[str], environments: Sequence[str], states: Sequence[str]) -> bool:
    known = _same(facts.get("algorithm", "")), facts.get("environment"), facts["state"]
    return all(not asked or own in asked for own, asked in zip(known, (algorithms, environments, states), strict=True))


def _same(algorithm: str) -> str:
    return algorithm.lower() if is_built_in(algorithm) else algorithm


def _place(facts: Facts, sort: Sort) -> tuple[bool, float, str]:
    """Where a run stands in the order: the highest first, and last what a run does not have."""
    value = facts.get(sort)
    if value is None or sort == "folder":
        return value is None, 0.0, facts["folder"]
    number = datetime.fromisoformat(value).timestamp() if sort == "begun" else float(value)
    return False, -number, facts["folder"]


def _row(facts: Facts) -> tuple[str, ...]:
    if facts["state"] == UNREADABLE:
        return "?", "", "", "", "", f"{facts['folder']} (cannot be read)"
    last, best = facts["last"], facts["best"]
    return (
        facts["state"],
        f"{facts['steps']:,} of {facts['of_steps']:,}",
        f"{last:.1f}" if last is not None else "",
        f"{best:.1f} at {facts['best_step']:,}" if best is not None else "",
        str(facts["preset"]),
        facts["folder"],
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # by hand: a library would fold or cut folders on a narrow terminal
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _prune(runs: Sequence[Run], directory: Path, *, ask: bool) -> None:
    """Remove those that hold nothing, once somebody has agreed; each that was is a line of the output.

    Raises:
        UsageError: nobody can be asked.
    """
    bare = [run for run in runs if _or_not(holds_nothing, run)]
    if not bare:
        print(f"nothing to prune: every run in {directory} holds something", file=sys.stderr)
        return
    if ask:
        for run in bare:
            print(run.folder, file=sys.stderr)
        if not _agreed(f"remove {'these ' if len(bare) > 1 else 'this '}{len(bare)} of {len(runs)}? [y/N] "):
            print("nothing was removed", file=sys.stderr)
            return
    for run in prune(bare, directory):
        print(run.folder)


def _or_not(holds: Callable[[Run], bool], run: Run) -> bool:
    try:
        return holds(run)
    except UsageError:  # who cannot be read may hold something
        return False


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("--prune asks before it removes, but standard input is no terminal: add --yes")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(list_runs, arguments, "runs")
