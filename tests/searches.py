"""Searches without processes: a place where runs do what a test says, in folders as real ones have them."""

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from polyak.algorithms import algorithm
from polyak.many.places import Job
from polyak.many.tune import asked
from polyak.many.tune.asked import Search
from polyak.many.tune.candidate import Candidate
from polyak.many.tune.driver import Progress, Watcher
from polyak.run.folder import Run
from polyak.settings.options import Options

SPACE = """
discount = { low = 0.9, high = 0.999, scale = "log of 1 - value" }
batch_size = { choices = [4, 8] }
hidden_sizes = { choices = [[4], [8, 8]] }
"""
STEPS, EPOCH = 40, 10
CONFIG = {"steps": STEPS, "steps_per_epoch": EPOCH, "update_after": 8, "batch_size": 8, "start_steps": 0}
Script = Callable[[Job], Sequence[float | str]]
"""What a run does: its evaluations in order, and where it does not come to its end, how: "diverges", "killed" ..."""
REASONS = {
    "diverges": "training diverged: a loss or the actor is not finite after 20 steps",
    "killed": "",
    "breaks": "the environment raised RuntimeError",
}
CODES = {"done": 0, "killed": -signal.SIGKILL}


class Acting:
    """A run's process that does what it was told, one thing each time that it is asked whether it has ended."""

    def __init__(self, job: Job, run_dir: Path, settings: dict[str, Any], does: Sequence[float | str]) -> None:
        self.job, self.killed, self.stopped = job, False, False
        self.log = run_dir / "train.log"
        self._run = Run(Path(job.resumed)) if job.resumed else _made(job, run_dir, settings)
        (self._run.folder / "ending.json").unlink(missing_ok=True)
        self._does, self._told = list(does), len(self._run.metrics)
        self._code: int | None = None

    @property
    def runs(self) -> bool:
        return self._code is None

    def is_waiting(self) -> bool:
        return False

    def exit_code(self) -> int | None:
        if self._code is None:
            if self.stopped:
                self._end("interrupted", 128 + signal.SIGTERM)
            elif self._told < len(self._does) and isinstance(self._does[self._told], float):
                self._record(float(self._does[self._told]))
            else:
                way = str(self._does[self._told]) if self._told < len(self._does) else "done"
                self._end("done" if way == "done" else "failed", CODES.get(way, 1))
        return self._code

    def folder(self) -> Path:
        return self._run.folder

    def tail(self) -> list[str]:
        return [f"polyak: {REASONS[str(self._does[-1])]}"]

    def stop(self) -> None:
        self.stopped = True

    kill = stop

    def wait(self) -> None:
        self.exit_code()

    def close(self) -> None:
        """Nothing to let go of."""

    def _end(self, state: str, code: int) -> None:
        self._code = code
        (self._run.folder / "ending.json").write_text(json.dumps({"state": state, "reason": ""}))

    def _record(self, value: float) -> None:
        self._told += 1
        step = self._told * EPOCH
        with self._run.metrics_file.open("a") as file:
            print(json.dumps({"step": step, "seconds": step / 10, "eval/return": value}), file=file)


def _made(job: Job, run_dir: Path, settings: dict[str, Any]) -> Run:
    run = Run(run_dir / f"run-seed{job.seed}-{len(list(run_dir.iterdir()))}")
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "checkpoint-000001.json").write_text("{}")
    run.settings_file.write_text(json.dumps({**settings, "seed": job.seed}))
    run.metrics_file.touch()
    return run


class Stage:
    """The place where they run."""

    def __init__(self, settings: dict[str, Any], script: Script) -> None:
        self._settings, self.script = settings, script
        self.begun: list[Acting] = []

    def begin(self, job: Job, run_dir: Path) -> Acting:
        self.begun.append(Acting(job, run_dir, self._settings, self.script(job)))
        return self.begun[-1]


class Noting(Watcher):
    """Keeps what it is told, and does something about it."""

    def __init__(self, act: Callable[[Candidate, str], None] = lambda candidate, news: None) -> None:
        self.heard: list[tuple[int, str]] = []
        self.lines: list[str] = []
        self.act, self.closings = act, 0

    def begun(self, progress: Progress) -> None:
        self.progress = progress

    def news(self, candidate: Candidate, news: str) -> None:
        self.heard.append((candidate.number, news))
        self.act(candidate, news)

    def said(self, text: str) -> None:
        self.lines.append(text)

    def stopping(self, running: int, why: str) -> None:
        self.lines.append(f"{why}: {running}")

    def closed(self) -> None:
        self.closings += 1


def search(folder: Path, name: str = "ddpg", **changed: Any) -> Search:
    """A small one; `changed` is what is asked for otherwise."""
    folder.mkdir(exist_ok=True)
    (folder / "space.toml").write_text(changed.pop("toml", SPACE))
    found = algorithm(name)
    usual: dict[str, Any] = {
        "algorithm": found,
        "config": found.Config(**CONFIG),
        "given": (),
        "space": folder / "space.toml",
        "options": changed.pop("options", Options()),
        "words": ("--threads=1",),
        "environment": "E-v0",
        "seeds": (0, 1),
        "trials": 3,
        "study": "s",
        "storage": str(folder / "study.memory"),
        "run_dir": folder / "runs",
        "at_once": 2,
    }
    return asked.settled(**{**usual, **changed})[0]
