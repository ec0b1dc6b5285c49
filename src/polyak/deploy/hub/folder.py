"""What a repository on the Hub holds of runs, written into a folder of this machine."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyak.deploy.export import export
from polyak.deploy.hub.card import Measured, card
from polyak.errors import TrainingError, UsageError
from polyak.report.page import write_report
from polyak.run.folder import Run
from polyak.system.files import write_atomically

if TYPE_CHECKING:
    from polyak.environments.handed import Given

KEPT = ("metrics.jsonl", "policy.safetensors", "best.safetensors", "ending.json")
"""Files of a run that are pushed as they are."""
OWN = ("mirror", "place", "run_dir", "on", "track")
"""What settings say of places of whoever trained it, which are nobody else's."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    best: bool
    episodes: int
    seed: int
    video: bool
    license: str | None
    environment: "Given | None"
    told: Callable[[str], None]


@dataclass(frozen=True)
class Content(_Asked):
    """What is to be pushed."""

    runs: tuple[Run, ...]
    repo: str


def fill(folder: Path, content: Content) -> tuple[str, ...]:
    """Write everything into an empty folder, the card last.

    Returns:
        What could not be made, and why, each in a line.

    Raises:
        UsageError: a run has no policy, or its environment cannot be made.
        TrainingError: an environment raised while it was evaluated.
    """
    measured = _measured(content)
    for run, place in zip(content.runs, _places(folder, content.runs), strict=True):
        _copy(run, place)
    left_out = [*_report(folder, content), *_video(folder, content), *_onnx(folder, content)]
    names = sorted(path.name for path in folder.iterdir())
    settings = [run.settings for run in content.runs]
    write_atomically(folder / "README.md", card(settings, content.repo, measured, names, content.license).encode())
    return tuple(left_out)


def _places(folder: Path, runs: tuple[Run, ...]) -> list[Path]:
    return [folder, *(folder / f"seed-{run.settings['seed']}" for run in runs[1:])]


def _measured(content: Content) -> Measured:
    returns, successes = list[tuple[float, ...]](), list[bool]()
    for run in content.runs:
        content.told(f"evaluating {run.folder}: {content.episodes} episodes")
        found = run.evaluate(content.episodes, seed=content.seed, best=content.best, environment=content.environment)
        returns.append(found.returns)
        successes += [each for each in found.successes if each is not None]
    rate = sum(successes) / len(successes) if successes else None
    return Measured(tuple(returns), rate, content.seed, content.best)


def _copy(run: Run, place: Path) -> None:
    place.mkdir(exist_ok=True)
    settings = {name: value for name, value in run.settings.items() if name not in OWN}
    write_atomically(place / "settings.json", (json.dumps(settings, indent=2) + "\n").encode())
    for name in KEPT:
        if (run.folder / name).is_file():
            shutil.copyfile(run.folder / name, place / name, follow_symlinks=False)


def _report(folder: Path, content: Content) -> list[str]:
    content.told("writing the report")
    write_report(list(content.runs), folder / "report.html")
    return []


def _video(folder: Path, content: Content) -> list[str]:
    if not content.video:
        return []
    content.told("recording a video")
    run, made = content.runs[0], folder / "replay.mp4"
    try:
        run.record(1, seed=content.seed, best=content.best, output=made, environment=content.environment)
    except (UsageError, TrainingError) as error:  # no screen, no render mode, no renderer
        with suppress(OSError):
            made.unlink(missing_ok=True)
        return [f"no video: {error}"]
    return []


def _onnx(folder: Path, content: Content) -> list[str]:
    content.told("exporting to ONNX")
    given: dict[str, Any] = {"best": content.best, "environment": content.environment}
    try:
        export(content.runs[0], folder / "policy.onnx", **given)
    except UsageError as error:
        return [f"no ONNX copy: {error}"]
    return []
