"""`polyak record RUN...`: a video of the policy of a run, of several side by side, or of a file."""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from polyak.cli.named import Names, Which, player_named, runs_named
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.errors import UsageError
from polyak.policies.evaluation import Evaluation
from polyak.policies.recording.filming import make_film_view
from polyak.run.filming import film_side_by_side
from polyak.run.folder import Run
from polyak.run.runs import find_runs, is_policy_file


def record(
    run: Names,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    policy: Which = "last",
    best: bool = False,
    stochastic: bool = False,
    gif: bool = False,
    overlay: bool = False,
    environment: str | None = None,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    run_dir: Path = Path("runs"),
    plain: bool = False,
) -> None:
    """Record a video (mp4) of a run's policy, deterministic unless asked otherwise, and print its path.

    Several runs are side by side, each with its seed in the corner; of an episode that ends earlier, the last frame
    stays.

    Args:
        run: the run's folder, or latest; several, or a folder that holds runs, for a grid of up to 16; or the file of
            a policy, which needs --environment.
        episodes: how many, one after another in one video; 1 unless --steps is given.
        steps: of all episodes together, after which the video ends, in the middle of an episode or not.
        seed: from which the episodes' seeds are drawn.
        policy: last, or best: that of the best evaluation.
        best: the same as --policy best.
        stochastic: draw each action: SAC's is sampled, to DDPG's and TD3's exploration noise is added.
        gif: write a GIF, of at most 480 pixels a side (960 for several runs) and 50 frames a second.
        overlay: draw the episode's return so far, its step and its seconds in the corner.
        environment: another environment than the run's, as an id or module:Id.
        output: the video's path, which ends in .mp4 or .gif; by default in the run's videos folder, or for a policy's
            file or several runs here. Its folder must be there.
        run_dir: where latest, the run begun last, is looked for.
        plain: print lines instead of the live view.
    """
    here = Path.cwd()
    chosen: dict[str, Any] = {"steps": steps, "seed": seed, "deterministic": not stochastic, "gif": gif}
    chosen |= {"overlay": overlay, "output": output, "observer": make_film_view(plain=plain)}
    best = best or policy == "best"
    with own_output():
        names = _names(run, run_dir)
        if len(names) == 1:
            player = player_named(names[0], run_dir, best=best, environment=environment)
            made = player.film(episodes, **chosen)
            evaluations, usual = {"": made.evaluation}, player.videos
        else:
            runs = runs_named(names, run_dir, "record")
            made = film_side_by_side(runs, episodes, best=best, environment=environment, **chosen)
            evaluations, usual = dict(zip(made.labels, made.evaluations, strict=True)), Path()
    _tell_returns(evaluations)
    as_given = not (output or usual).is_absolute() and made.path.is_relative_to(here)
    print(made.path.relative_to(here) if as_given else made.path)


def _names(given: tuple[str, ...], run_dir: Path) -> tuple[str, ...]:
    """The runs' names, those below a folder in its place.

    Raises:
        UsageError: there is none, or a policy's file among several.
    """
    files = [name for name in given if is_policy_file(name)]
    if files and len(given) > 1:
        raise UsageError(f"{files[0]} is a policy alone, but several are recorded by their runs: name its run")
    if files or (len(given) == 1 and not _holds_runs(given[0])):
        return given
    if not given:
        return tuple(map(str, runs_named(given, run_dir, "record")))  # says that one is needed
    return tuple(
        str(run.folder) for name in given for run in sorted(runs_named((name,), run_dir, "record"), key=_order)
    )


def _order(run: Run) -> tuple[str, str, int]:
    """Of the runs below one folder: their seeds in their order as numbers."""
    return run.settings["environment"], run.settings["algorithm"], run.settings["seed"]


def _holds_runs(name: str) -> bool:
    folder = Path(name)
    return folder.is_dir() and not (folder / "settings.json").exists() and any(find_runs(folder))


def _tell_returns(evaluations: dict[str, Evaluation]) -> None:
    for label, evaluation in evaluations.items():
        returns = ", ".join(f"{value:.1f}" for value in evaluation.returns)
        print(f"{label}{': ' * bool(label)}returns: {returns}", file=sys.stderr)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(record, arguments, "record")
