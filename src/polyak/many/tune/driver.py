"""The one process of a search: asks for trials, trains them side by side, reports, prunes, tells, and ends in order."""

import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from polyak.errors import TrainingError
from polyak.many.places import Place
from polyak.many.sweep import Trial
from polyak.many.tune.asked import Search
from polyak.many.tune.candidate import REASON, Candidate, Seeded, State, reason_of, running
from polyak.many.tune.owner import NOTE, Owner, myself
from polyak.many.tune.scores import below_all
from polyak.many.tune.storage import prepare, quiet, shown, told
from polyak.many.tune.study import DIVERGED, Trials, begun, best_of
from polyak.run.states import tell_stopped
from polyak.system.files import prepare_to_write
from polyak.system.locking import locked
from polyak.system.signals import signals_noted

POLL_SECONDS = 0.1
"""Between two looks at the processes."""
FAILED_AT_MOST = 3
"""Trials that may fail one after another, before one has ended otherwise: then it is no matter of settings."""
News = Literal["asked", "started", "reported", "ended"]


class Watcher(Protocol):
    """Watches a search: a terminal view, a log, a test. Called in the thread that runs it."""

    def begun(self, progress: "Progress") -> None:
        """The study is open; nothing has been started. It changes while the search runs."""

    def news(self, candidate: Candidate, news: News) -> None:
        """A trial has been drawn (or is gone on with), has a folder or a score more, or has ended."""

    def said(self, text: str) -> None:
        """What else is worth knowing, in a line."""

    def stopping(self, running: int, why: str) -> None:
        """So many processes have been asked to save and end."""

    def closed(self) -> None:
        """Called once, whatever ended the search."""


class Silent(Watcher):
    """Watches nothing."""


@dataclass
class Progress:
    """A search as its watchers see it."""

    search: Search
    counted: int = 0
    """Trials of the study that count, those that are running with them."""
    finished: int = 0
    """Of them, those that have ended."""
    best: tuple[int, float] | None = None
    """Number and score of the best trial that is done."""
    running: list[Candidate] = field(default_factory=list[Candidate])
    began: float = field(default_factory=time.monotonic)
    done_here: int = 0
    """Trials that have ended since this command began."""

    @property
    def is_whole(self) -> bool:
        """Whether all trials that were asked for have ended."""
        return self.finished >= self.search.trials

    def seconds_left(self) -> float | None:
        """Until all trials have ended, as those of this command took; None where none has."""
        if not self.done_here:
            return None
        spent, steps = time.monotonic() - self.began, self.search.config.length * len(self.search.seeds)
        behind = self.done_here + sum(each.steps for each in self.running) / steps
        return spent / behind * max(self.search.trials - self.finished - (behind - self.done_here), 0.0)


@dataclass(frozen=True)
class Outcome:
    """How a search has ended."""

    study: optuna.Study
    progress: Progress
    signal_number: int = 0
    """Of the signal that ended it; 0 where none did."""
    why: str = ""
    """What ended it before its time, otherwise."""


def run(search: Search, watcher: Watcher | None = None, place: Place | None = None) -> Outcome:
    """Train trials until there are as many as were asked for, the time is over, or a signal comes.

    Raises:
        UsageError: the study cannot be opened, was asked for something else, or is run by another process.
        TrainingError: the storage or the first trials have failed, or another process has taken the study; all runs
            have saved.
    """
    prepare(search.storage)
    prepare_to_write(search.folder / "report.html")
    with quiet(), locked(search.folder), signals_noted() as signals:
        study = begun(search.storage, search.study, search.described())
        owner = Owner(study)
        owner.take()
        trials = Trials(study, search.space, search.budget, search.sampler, search.pruner)
        driver = _Driver(search, trials, owner, watcher or Silent(), place, signals)
        try:
            why = driver.drive()
        except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
            raise TrainingError(
                f"the study in {shown(search.storage)} cannot be kept: {told(error, search.storage)}; its runs are "
                "saved, and the same command goes on"
            ) from None
        return Outcome(study, driver.progress, signals[0] if signals else 0, "" if signals else why)


class _Driver:
    """The loop, and what it knows."""

    def __init__(
        self,
        search: Search,
        trials: Trials,
        owner: Owner,
        watcher: Watcher,
        place: Place | None,
        signals: Sequence[int],
    ) -> None:
        self._search, self._trials, self._owner = search, trials, owner
        self._watcher, self._place, self._signals = watcher, place, signals
        self.progress = Progress(search)
        self._candidates = self.progress.running
        self._waiting = deque[tuple[Candidate, Seeded]]()
        self._until = None if search.timeout is None else time.monotonic() + search.timeout
        self._failed_in_a_row = 0

    def drive(self) -> str:
        """Until it is over; why it was before its time."""
        try:
            self._count()
            self._watcher.begun(self.progress)
            self._go_on_with_earlier()
            return self._until_over()
        except KeyboardInterrupt:  # a second signal: the first is noted
            for _, seeded in running(self._candidates):
                if seeded.trial is not None:
                    seeded.trial.kill()
            return "killed"
        finally:
            self._close()

    def _close(self) -> None:
        """Leave no process behind; trials that have not ended are gone on with by the next command."""
        for candidate in self._candidates:
            candidate.stop()
        for candidate, seeded in running(self._candidates):
            candidate.state = "unfinished"
            if seeded.trial is not None:
                seeded.trial.close()
        with suppress(SQLAlchemyError, optuna.exceptions.OptunaError):
            self._owner.release()
        self._watcher.closed()

    def _until_over(self) -> str:
        why = ""
        while True:
            self._owner.beat()
            if not why and (why := self._why_to_end()):
                self._watcher.stopping(len(running(self._candidates)), why)
                for candidate in self._candidates:
                    candidate.stop()
            if not why:
                self._begin_runs()
            for candidate in list(self._candidates):
                self._listen(candidate)
            if not running(self._candidates) and (why or not (self._waiting or self._is_more_to_ask)):
                return why
            time.sleep(POLL_SECONDS)

    def _why_to_end(self) -> str:
        if self._signals:
            return "interrupted"
        return "the time is over" if self._until is not None and time.monotonic() >= self._until else ""

    # What begins

    @property
    def _is_more_to_ask(self) -> bool:
        return self.progress.counted < self._search.trials

    def _go_on_with_earlier(self) -> None:
        """Trials that an earlier command has left: from their runs' checkpoints, or from the beginning."""
        for frozen in self._trials.running:
            if not self._trials.is_whole(frozen):
                self._trials.abandon(frozen)
                self._watcher.said(f"trial {frozen.number} was never whole: its process was killed as it was drawn")
                self._count()
            else:
                self._watcher.said(f"trial {frozen.number} goes on, which an earlier command had left")
                self._take_on(self._trials.again(frozen))

    def _take_on(self, trial: optuna.Trial) -> None:
        trial.set_user_attr(NOTE, myself())
        candidate = Candidate(self._search, trial)
        candidate.folder.mkdir(parents=True, exist_ok=True)
        self._candidates.append(candidate)
        self._waiting += [(candidate, seeded) for seeded in candidate.seeded]
        self._watcher.news(candidate, "asked")

    def _begin_runs(self) -> None:
        """As many as there is room for; all seeds of a trial before the next is drawn."""
        while len(running(self._candidates)) < self._search.at_once and self._is_room:
            if not self._waiting:
                if not self._is_more_to_ask:
                    return
                self._take_on(self._trials.ask())
                self._count()
            ready = next((pair for pair in self._waiting if pair[1].look()), None)
            if ready is None:  # an earlier command's processes are still saving
                return
            self._waiting.remove(ready)
            candidate, seeded = ready
            if not seeded.done:
                seeded.trial = Trial(candidate.job(seeded), candidate.folder, self._place)
                seeded.trial.start()

    @property
    def _is_room(self) -> bool:
        """Whether the place has room: what waits there would have been drawn knowing less than is possible."""
        begun = (seeded.trial for _, seeded in running(self._candidates))
        return all(trial is None or trial.state != "waiting" for trial in begun)

    # What is heard

    def _listen(self, candidate: Candidate) -> None:
        for seeded in candidate.seeded:
            if seeded.trial is not None and not seeded.over:
                for news in seeded.trial.news():
                    self._hear(candidate, seeded, seeded.trial, news)
        self._report(candidate)
        waits = any(each is candidate for each, _ in self._waiting)
        if not waits and not running([candidate]) and (candidate.is_done or candidate.state != "running"):
            self._conclude(candidate)

    def _hear(self, candidate: Candidate, seeded: Seeded, trial: Trial, news: str) -> None:
        if news == "started":
            candidate.note_runs()
            self._watcher.news(candidate, "started")
        elif news == "recorded":
            seeded.returns += [trial.record["eval/return"]] if "eval/return" in trial.record else []
        else:
            seeded.over, seeded.done = True, trial.state == "done"
            if candidate.state == "running" and trial.state == "failed":
                self._give_up(candidate, *reason_of(trial))
            elif candidate.state == "running" and trial.state == "interrupted" and not self._why_to_end():
                self._give_up(candidate, "failed", f"seed {seeded.seed} was stopped by somebody else")

    def _report(self, candidate: Candidate) -> None:
        """Tell the study the scores that are new, and stop a trial that others have left behind."""
        for step, score in candidate.evaluated():
            candidate.trial.report(score, step)
            self._watcher.news(candidate, "reported")
            going = candidate.state == "running" and not candidate.is_done and step < self._search.config.length
            if going and candidate.trial.should_prune():
                self._give_up(candidate, "pruned", f"pruned at step {step:,} with a score of {score:.4g}")

    def _give_up(self, candidate: Candidate, state: State, reason: str) -> None:
        candidate.state, candidate.reason = state, reason
        self._waiting = deque(pair for pair in self._waiting if pair[0] is not candidate)
        candidate.stop()

    # What ends

    def _conclude(self, candidate: Candidate) -> None:
        """Tell the study what became of a trial, each of whose runs has ended."""
        self._candidates.remove(candidate)
        if candidate.state == "running":
            self._score(candidate)
        if candidate.reason:
            candidate.trial.set_user_attr(REASON, candidate.reason)
        study = self._trials.study
        if candidate.state == "diverged":
            candidate.trial.set_user_attr(DIVERGED, True)
            candidate.score = below_all(self._trials.known())
        if candidate.state in ("done", "diverged"):
            study.tell(candidate.trial, candidate.score)
        else:
            study.tell(candidate.trial, state=TrialState.PRUNED if candidate.state == "pruned" else TrialState.FAIL)
        self._put_away(candidate)
        self.progress.done_here += 1
        self._count()
        self._watcher.news(candidate, "ended")
        self._require_some_to_work(candidate)

    def _score(self, candidate: Candidate) -> None:
        try:
            candidate.score, candidate.state = candidate.final(), "done"
        except ValueError as error:
            candidate.state, candidate.reason = "failed", f"{error}: it has no score"

    def _put_away(self, candidate: Candidate) -> None:
        """Say in the folders of runs that were stopped why, and drop what only going on with them would need."""
        for seeded in candidate.seeded:
            stopped = seeded.trial is None or seeded.trial.state == "interrupted"
            if candidate.reason and seeded.run is not None and not seeded.done and stopped:
                tell_stopped(seeded.run.folder, candidate.reason)
            if candidate.state == "pruned" and seeded.run is not None and not self._search.keep_pruned:
                shutil.rmtree(seeded.run.checkpoints, ignore_errors=True)

    def _require_some_to_work(self, candidate: Candidate) -> None:
        """Stop where the first trials have all failed.

        Raises:
            TrainingError: they have.
        """
        self._failed_in_a_row = self._failed_in_a_row + 1 if candidate.state == "failed" else 0
        only = self._failed_in_a_row == self.progress.done_here
        if only and self._failed_in_a_row >= FAILED_AT_MOST:
            raise TrainingError(
                f"{self._failed_in_a_row} trials have failed and none has worked, so that it is no matter of settings: "
                f"{candidate.reason}"
            )

    def _count(self) -> None:
        counted = self._trials.counted
        self.progress.counted = len(counted)
        self.progress.finished = sum(trial.state.is_finished() for trial in counted)
        best = best_of(counted)
        self.progress.best = None if best is None else (best.number, best.value or 0.0)
