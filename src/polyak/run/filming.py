"""Videos of one run, or of several side by side, each with its seed in the corner."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from polyak.environments.handed import Given
from polyak.errors import UsageError
from polyak.policies.evaluation import Evaluation
from polyak.run.folder import Run
from polyak.settings.door import door
from polyak.settings.kinds import Seed, checked, require

if TYPE_CHECKING:
    from polyak.policies.recording.filming import FilmObserver


@dataclass(frozen=True)
class SideBySide:
    """A video of several runs, and what the episodes of each gave."""

    path: Path
    labels: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]


@door
def record(
    runs: Run | Sequence[Run],
    episodes: int | None = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    best: bool = False,
    deterministic: bool = True,
    gif: bool = False,
    overlay: bool = False,
    output: str | os.PathLike[str] | None = None,
    environment: Given | None = None,
) -> Path:
    """Record one video of several runs side by side, each with its seed in the corner, and return its path.

    The arguments are those of `Run.record`, and mean the same for each run; one run alone is recorded by it. Episodes
    begin together, and the last frame of one that ends earlier stays. Runs that differ in more than their seed say so
    in the corner: their environment, their algorithm, or the name of their folder.

    Args:
        runs: one, or up to 16, in rows of three, or of as many as there are rows.
        episodes: how many of each; 1 unless `steps` is given.
        steps: of all episodes of a run together, after which its part ends.
        seed: from which the episodes' seeds are drawn, the same for all.
        best: of each, the policy of its best evaluation.
        deterministic: whether policies take their best action, or draw one.
        gif: write a GIF, which has at most 960 pixels a side (480 of one run) and 50 frames a second.
        overlay: draw the return so far, the step and the seconds in the corner.
        output: the video's path; by default `policies-seed0.mp4` here, or for one run in its videos folder.
        environment: another than that of each run.

    Raises:
        UsageError: there is no run, or too many; or as `Run.record` says.
        TrainingError: an environment raised, or returned a number that is not finite.
    """
    several = [runs] if isinstance(runs, Run) else runs
    kind: Any = several
    require("runs", runs, isinstance(kind, Sequence) and not isinstance(kind, str | bytes), "a list of runs")
    for each in several:
        require("runs", each, isinstance(cast(Any, each), Run), "runs, as polyak.train and polyak.load give them")
    chosen: dict[str, Any] = {"best": best, "gif": gif, "overlay": overlay, "output": output}
    chosen |= {"seed": seed, "deterministic": deterministic, "environment": environment}
    if len(several) == 1:
        return several[0].record(episodes, steps=steps, **chosen)
    return film_side_by_side(several, episodes, steps=steps, **chosen).path


def film_side_by_side(
    runs: Sequence[Run],
    episodes: int | None = None,
    *,
    seed: int = 0,
    best: bool = False,
    gif: bool = False,
    output: str | os.PathLike[str] | None = None,
    environment: Given | None = None,
    observer: "FilmObserver | None" = None,
    **chosen: Any,
) -> SideBySide:
    """`record` of several, watched by an observer: the video and what its episodes gave. `chosen` as `Player.film`."""
    from polyak.policies.recording.grid import MOST, write_grid
    from polyak.policies.recording.paths import path_asked

    if not 2 <= len(runs) <= MOST:
        raise UsageError(f"{len(runs)} runs cannot be recorded side by side: name 1 to {MOST} runs")
    called = "best" if checked("best", best, bool) else "policies"
    path = path_asked(output, Path(f"{called}-seed{checked('seed', seed, Seed)}"), gif=gif)
    players, labels = [run.player(best=best, environment=environment) for run in runs], labels_of(runs)
    with TemporaryDirectory() as folder:
        films = [
            player.film(
                episodes, seed=seed, output=Path(folder) / f"{index}.mkv", label=label, observer=observer, **chosen
            )
            for index, (player, label) in enumerate(zip(players, labels, strict=True))
        ]
        write_grid(path, films)
    return SideBySide(path, labels, tuple(film.evaluation for film in films))


def labels_of(runs: Sequence[Run]) -> tuple[str, ...]:
    """What tells runs from one another: their seed, with environment and algorithm before it where these differ."""
    told = [[str(run.settings[name]) for name in ("environment", "algorithm")] for run in runs]
    different = [len(set(names)) > 1 for names in zip(*told, strict=True)]
    shown = [[name for name, differs in zip(names, different, strict=True) if differs] for names in told]
    labels = [" ".join([*names, f"seed {run.settings['seed']}"]) for names, run in zip(shown, runs, strict=True)]
    often = Counter(labels)
    return tuple(
        label if often[label] == 1 else f"{label} {run.folder.absolute().name}"
        for label, run in zip(labels, runs, strict=True)
    )
