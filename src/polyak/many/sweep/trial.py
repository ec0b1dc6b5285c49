"""One run of a sweep: what was asked for, and what has become of it."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from polyak.errors import UsageError
from polyak.many.local import Here
from polyak.many.places import Child, Job, Place
from polyak.run.description import length_in
from polyak.run.folder import Run
from polyak.run.metrics import Record
from polyak.system.prints import LOG_NAME

State = Literal["waiting", "running", "done", "failed", "interrupted"]
News = Literal["started", "recorded", "ended"]

INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a run that a signal ended in order: after it had saved, or before it had begun."""


class Trial:
    """A job and what has become of it; watchers only read it."""

    def __init__(self, job: Job, run_dir: Path, place: Place | None = None) -> None:
        """Of a job that is to be done at a place, by default on this machine."""
        self.job = job
        self.state: State = "waiting"
        self.run: Run | None = None
        """Its folder, once its process has made it."""
        self.total_steps = job.steps
        self.steps = 0
        """As of the last record, as are all numbers here."""
        self.record: Record = {}
        self.evaluated: float | None = None
        """Mean return of the last evaluation."""
        self.best: tuple[int, float] | None = None
        """Step and mean return of the best evaluation."""
        self.reason = ""
        """Why it failed, in a line."""
        self.tail: list[str] = []
        """The last lines of its log, once it has failed."""
        self._run_dir = run_dir
        self._place = place or Here()
        self._child: Child | None = None
        self._records, self._metrics_size, self._heard = 0, 0, 0.0

    @property
    def log(self) -> Path | None:
        """What its process wrote to standard error: `train.log` in its folder."""
        return self._child.log if self._child and self.run else None

    @property
    def resumable(self) -> bool:
        """Whether it has a checkpoint to go on from."""
        return self.run is not None and any(self.run.checkpoints.glob("checkpoint-*.json"))

    @property
    def is_over(self) -> bool:
        """Whether it has ended, however that was."""
        return self.state not in ("waiting", "running")

    def seconds_left(self) -> float | None:
        """Until its last step, at its mean speed so far; None where that is not known."""
        if not self.steps or not self.total_steps:
            return None
        left = (self.total_steps - self.steps) * self.record.get("seconds", 0.0) / self.steps
        return max(0.0, left - (time.monotonic() - self._heard))

    # While it runs

    def start(self) -> None:
        """Begin it; where that cannot be, it has failed."""
        try:
            self._child = self._place.begin(self.job, self._run_dir)
            self.state = "waiting" if self._child.is_waiting() else "running"
        except OSError as error:
            self.state, self.reason = "failed", f"its process could not be started: {error.strerror or error}"

    def news(self) -> Iterator[News]:
        """What has happened since the last call, one by one, the trial being as it was then."""
        if self._child is None:
            yield "ended"
            return
        code = self._child.exit_code()  # before the rest is read, so that nothing written at the end is missed
        if self.state == "waiting" and not self._child.is_waiting():
            self.state = "running"
        if self.run is None and (folder := self._child.folder()) is not None:
            self._begin(Run(folder))
            yield "started"
        for record in self._new_records():
            self._take(record)
            yield "recorded"
        if code is not None:
            self._conclude(self._child, code)
            yield "ended"

    def stop(self) -> None:
        """Ask it to save and end."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """End it where it is; it goes on from its last checkpoint."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """Leave no process behind: if it has begun and not ended, ask it to end, wait, and take what it wrote last."""
        if self._child is not None and not self.is_over:
            self._child.stop()
            self._child.wait()
            for _ in self.news():
                pass

    def _begin(self, run: Run) -> None:
        self.run = run
        with suppress(UsageError):
            self.total_steps = length_in(run.settings)

    def _new_records(self) -> list[Record]:
        if self.run is None:
            return []
        try:
            size = self.run.metrics_file.stat().st_size
            records = self.run.metrics if size != self._metrics_size else []
        except (OSError, UsageError):  # not there yet; or spoiled by somebody, which its readers in earnest will say
            return []
        new = records[self._records :]
        self._records, self._metrics_size = self._records + len(new), size
        return new

    def _take(self, record: Record) -> None:
        self.record, self.steps, self._heard = record, int(record["step"]), time.monotonic()
        if "eval/return" in record:
            self.evaluated = record["eval/return"]
            if self.best is None or self.evaluated > self.best[1]:
                self.best = (self.steps, self.evaluated)

    def _conclude(self, child: Child, code: int) -> None:
        """Settle what became of it from its exit code and its log."""
        if code == 0 and self.run is not None:
            self.state = "done"
        elif child.killed or code in INTERRUPTED:
            self.state = "interrupted"
        else:
            self.state, said = "failed", child.tail()
            self.reason = _reason(code, said)
            self.tail = [] if code == -signal.SIGKILL else said  # which leaves no time to say anything about it
            log = self.run.folder / LOG_NAME if self.run else None
            if code < 0 and log is not None and log.is_file():
                self.reason += f"; what its environment printed is in {log}"
        child.close()


def _reason(code: int, said: list[str]) -> str:
    """Why a process failed, in a line."""
    if code == -signal.SIGKILL:
        return "killed by SIGKILL, as the system does when memory runs out"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return said[-1].removeprefix("polyak: ") if said else f"ended with exit code {code}"
