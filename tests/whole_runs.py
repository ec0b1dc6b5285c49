"""What a run comes to, for comparison bit by bit, and snapshots of its folder as SIGKILL would leave it."""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyak import Run
from polyak.run import loop
from polyak.run.checkpoints import Checkpoints
from polyak.run.saved import Saved, read_checkpoint
from polyak.system import stopwatch

TIMES = (
    *("seconds", "speed/steps_per_second", "epoch_seconds", "times", *(f"time/{part}" for part in stopwatch.PARTS)),
    *(f"collectors/{name}" for name in ("steps_per_second", "slowest", "waiting")),
    *(f"collectors/{name}" for name in ("bytes_received", "bytes_sent", "restarts")),  # by this process alone
)


def saved(run: Run) -> Saved:
    """The newest checkpoint."""
    checkpoints = Checkpoints(run.checkpoints)
    return checkpoints.newest(lambda made: read_checkpoint(checkpoints, made))


def contents(run: Run) -> dict[str, Any]:
    """Everything that two runs must agree on: policies, metrics, learner, replay, streams, counters."""
    newest = saved(run)
    replay = newest.replay
    return {
        "policy": run.policy_file.read_bytes(),
        "best": run.best_policy_file.read_bytes(),
        "metrics": [without_times(record) for record in run.metrics],
        "step": newest.manifest.step,
        "state": without_times(newest.manifest.state),
        "learner": bits(newest.learner),
        "loop": bits(newest.loop),
        "batches": bits(newest.batches),
        "replay": (replay.added, replay.records(replay.oldest, replay.added).tobytes()),
        "episodes": replay.episodes(replay.oldest, replay.added).tolist(),
        "settings": run.settings["settings"],
    }


def bits(arrays: dict[str, Any]) -> dict[str, bytes]:
    return {name: np.asarray(value).tobytes() for name, value in sorted(arrays.items())}


def without_times(table: Any) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name not in TIMES}


def assert_same(ours: Run, theirs: Run) -> None:
    one, other = contents(ours), contents(theirs)
    for name in one:
        assert one[name] == other[name], name


class Snapshots:
    """Copies a run's folder whenever the loop is about to do one of its steps."""

    def __init__(self, folder: Path, at: Callable[[int], bool]) -> None:
        self.taken: dict[int, Path] = {}
        self._folder, self._at, self._count = folder, at, 0

    def notice(self, run: Run) -> None:
        self._count += 1
        if self._at(self._count):
            self.taken[self._count] = Path(shutil.copytree(run.folder, self._folder / f"{self._count}"))


def snapshots(monkeypatch: pytest.MonkeyPatch, folder: Path, *at: int) -> Snapshots:
    """Of every training from now on, before its steps of these numbers, counted from 1 over all of them."""
    taking = Snapshots(folder, at.__contains__)
    iterate = loop.Loop._iterate

    def watched(self: loop.Loop) -> Generator[None]:
        taking.notice(self.run)
        return iterate(self)

    monkeypatch.setattr(loop.Loop, "_iterate", watched)
    return taking
