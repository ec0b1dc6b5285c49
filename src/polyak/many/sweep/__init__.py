"""Many runs, each `polyak train` in a process of its own, here or elsewhere; one that fails stops no other.

`run([Job("sac", "Pendulum-v1", seed, ("--steps", "3000", "--threads", "1")) for seed in range(5)], at_once=2)` trains
five seeds, two at a time, and returns what became of each.
"""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from polyak.errors import Interrupted
from polyak.many.places import Job, Place
from polyak.many.sweep.trial import News, State, Trial
from polyak.settings.kinds import Count, checked
from polyak.system.files import prepare_to_write
from polyak.system.signals import signals_noted

__all__ = ["Job", "News", "Silent", "State", "SweepInterrupted", "Trial", "Watcher", "run"]

POLL_SECONDS = 0.1
"""Between two looks at the processes."""


class Watcher(Protocol):
    """Watches a sweep: a terminal view, a log, a test. Called in the thread that runs the sweep."""

    def begun(self, trials: Sequence[Trial]) -> None:
        """All trials there will be; none has started. They change while the sweep runs."""

    def news(self, trial: Trial, news: News) -> None:
        """A trial has its folder, has a new record, or has ended."""

    def say(self, text: str) -> None:
        """Something worth a line has happened, such as the death of a node."""

    def stopping(self, running: int) -> None:
        """A signal has been passed on to so many processes, which are saving."""

    def closed(self) -> None:
        """Called once, whatever ended the sweep."""


class Silent(Watcher):
    """Watches nothing."""


class SweepInterrupted(Interrupted):
    """A signal ended the sweep; each run that was under way has saved, or was killed by a second Ctrl-C."""

    def __init__(self, signal_number: int, trials: list[Trial]) -> None:
        super().__init__(signal_number, "RUN")
        self.trials = trials
        """All of them; those in state "waiting" were never started."""


def run(
    jobs: Sequence[Job],
    *,
    at_once: int = 1,
    run_dir: str | Path = "runs",
    watcher: Watcher | None = None,
    place: Place | None = None,
) -> list[Trial]:
    """Train every job in a process of its own, in this order, and return what became of each.

    A run that fails, is killed or runs out of memory is told by its trial's `state` and `reason`; the others go on. The
    processes are started afresh by this Python, from this folder: they import polyak and `module:Id` themselves, and a
    script that calls this needs no `if __name__ == "__main__"`. Should this process be killed, they save and end.

    Args:
        jobs: what to train.
        at_once: processes at a time. Give the jobs `--threads` so that together they take no more than the cores.
        run_dir: where the runs' folders are made; each gets what its process wrote to standard error as `train.log`.
        watcher: watches the sweep; by default nobody does.
        place: where they run; by default processes of this machine.

    Raises:
        UsageError: `at_once` is below 1, or `run_dir` cannot be written; nothing has been started.
        SweepInterrupted: Ctrl-C or SIGTERM, passed on to the processes once, which have saved and ended.
    """
    at_once, folder = checked("at_once", at_once, Count), checked("run_dir", run_dir, Path)
    prepare_to_write(folder / "train.log")
    trials, watching = [Trial(job, folder, place) for job in jobs], watcher or Silent()
    with signals_noted() as signals:
        try:
            watching.begun(trials)
            _run_all(trials, at_once, watching, signals)
        except KeyboardInterrupt:  # the second one: the first is noted
            for trial in trials:
                trial.kill()
        finally:
            for trial in trials:
                trial.close()
            watching.closed()
    if signals:
        raise SweepInterrupted(signals[0], trials)
    return trials


def _run_all(trials: Sequence[Trial], at_once: int, watcher: Watcher, signals: Sequence[int]) -> None:
    waiting, running, told = deque(trials), list[Trial](), False
    while running or (waiting and not signals):
        if signals and not told:
            told = True
            for trial in running:
                trial.stop()
            watcher.stopping(len(running))
        while waiting and len(running) < at_once and not signals:
            running.append(waiting.popleft())
            running[-1].start()
        for trial in running:
            for news in trial.news():
                watcher.news(trial, news)
        running = [trial for trial in running if not trial.is_over]
        if running:
            time.sleep(POLL_SECONDS)
