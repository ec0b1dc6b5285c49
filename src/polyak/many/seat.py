"""A run that trains together with others in this process, as the views of many runs see one."""

import traceback
from pathlib import Path

from polyak.errors import TrainingError
from polyak.many.sweep import Job, Trial, Watcher
from polyak.run.folder import Run
from polyak.run.progress import Progress

TAIL_LINES = 8
"""Of the traceback of an environment's own fault."""


class Seat(Trial):
    """Observes its run, and passes on the news."""

    def __init__(self, job: Job, run_dir: Path, watcher: Watcher) -> None:
        super().__init__(job, run_dir)
        self._watcher = watcher

    def started(self, progress: Progress) -> None:
        """Its folder is there."""
        self.state, self.run, self.total_steps = "running", Run(progress.folder), progress.total_steps
        self._watcher.news(self, "started")

    def epoch_ended(self, progress: Progress) -> None:
        """It has a new record."""
        self._take(progress.record)
        self._watcher.news(self, "recorded")

    def stopping(self, progress: Progress, running: int) -> None:
        """A signal asks all that are running to stop."""
        self._watcher.stopping(running)

    def ended(self, progress: Progress) -> None:
        """It has ended, however that was."""
        if progress.record.get("step", 0) > self.steps:
            self._take(progress.record)
        error = progress.error
        if isinstance(error, KeyboardInterrupt):
            self.state = "interrupted"
        elif error is not None:
            self.state, self.reason = "failed", str(error) or type(error).__name__
            self.tail = _tail(error)
        else:
            self.state = "done"
        self._watcher.news(self, "ended")


def _tail(error: BaseException) -> list[str]:
    """The end of the traceback of what an environment raised, which its author wants to see."""
    if not isinstance(error, TrainingError) or error.__cause__ is None:
        return []
    lines = "".join(traceback.format_exception(error.__cause__)).splitlines()
    return lines[-TAIL_LINES:]
