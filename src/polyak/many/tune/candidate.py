"""A trial of a study: its settings, and an ordinary run with each seed."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import optuna

from polyak.errors import UsageError
from polyak.many.places import Job
from polyak.many.sweep import Trial
from polyak.many.tune.asked import Search
from polyak.many.tune.scores import final, robust
from polyak.many.tune.study import drawn, settings_of
from polyak.many.words import words_of
from polyak.run.folder import Run
from polyak.run.runs import begun, find_runs, has_checkpoint
from polyak.run.states import standing_of
from polyak.system.locking import in_use

State = Literal["running", "done", "pruned", "diverged", "failed", "unfinished"]
"""Of a trial: unfinished is one that the search's end has stopped, and that the next command goes on with."""
RUNS, REASON = "runs", "reason"
"""Attributes of a trial in the study: its runs' folders by their seeds, and why it ended otherwise than done."""
DIVERGED = "training diverged"
"""What a run says first that ended because its numbers were no longer finite."""


class Seeded:
    """A trial's run with one seed: to be begun, to be gone on with, or done before."""

    def __init__(self, seed: int, earlier: Run | None) -> None:
        self.seed, self.earlier = seed, earlier
        self.trial: Trial | None = None
        """What became of its process, once there is one."""
        self.returns: list[float] = []
        """Of its evaluations, in their order."""
        self.done = False
        self.over = False
        """Whether its process has ended and been heard."""

    @property
    def run(self) -> Run | None:
        """Its folder, once there is one."""
        return self.trial.run if self.trial is not None and self.trial.run is not None else self.earlier

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.trial is not None and not self.over

    def look(self) -> bool:
        """Find out what an earlier run has come to; False while a process that is about to end still writes to it."""
        if self.earlier is None:
            return True
        try:
            if in_use(self.earlier.folder):
                return False
            self.done = standing_of(self.earlier).state == "done"
            if self.done:
                self.returns = [each["eval/return"] for each in self.earlier.metrics if "eval/return" in each]
            elif not has_checkpoint(self.earlier):
                self.earlier = None
        except (UsageError, OSError):  # it is no run any more
            self.earlier = None
        return True


class Candidate:
    """A trial, as it is trained."""

    def __init__(self, search: Search, trial: optuna.Trial) -> None:
        self.trial = trial
        self.drawn = drawn(search.space, trial.params)
        """What was drawn for it, by the names of the space."""
        self.state: State = "running"
        self.score: float | None = None
        """Of the whole, once it is done."""
        self.reason = ""
        """Why it ended otherwise."""
        self.reported = dict[int, float](trial.storage.get_trial(trial._trial_id).intermediate_values)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        """Score at each step that all seeds have been evaluated at."""
        self._search = search
        self.folder = search.folder / f"trial-{trial.number:04}"
        earlier = _newest(self.folder)
        self.seeded = [Seeded(seed, earlier.get(seed)) for seed in search.seeds]

    @property
    def number(self) -> int:
        """Counted from 0 in the study."""
        return self.trial.number

    @property
    def steps(self) -> int:
        """Environment steps of all its runs so far."""
        whole = self._search.config.length
        return sum(whole if each.done else each.trial.steps if each.trial else 0 for each in self.seeded)

    def job(self, seeded: Seeded) -> Job:
        """What is to be done for one of its seeds."""
        return Job(
            self._search.algorithm.name,
            self._search.environment,
            seeded.seed,
            (*self._search.words, *words_of(settings_of(self._search.space, self.drawn))),
            self._search.config.length,
            f"trial {self.number}",
            resumed="" if seeded.earlier is None else str(seeded.earlier.folder),
        )

    def note_runs(self) -> None:
        """Keep in the study where its runs are."""
        self.trial.set_user_attr(RUNS, {str(each.seed): str(each.run.folder) for each in self.seeded if each.run})

    def evaluated(self) -> Iterator[tuple[int, float]]:
        """Steps and scores that are new, since every seed has been evaluated there by now; each is reported then."""
        budget = self._search.budget
        for index, returns in enumerate(zip(*(each.returns for each in self.seeded), strict=False)):
            step = min((index + 1) * budget.steps_per_epoch, budget.steps)
            if step not in self.reported:
                self.reported[step] = robust(returns)
                yield step, self.reported[step]

    @property
    def is_done(self) -> bool:
        """Whether each of its runs is."""
        return all(each.done for each in self.seeded)

    def final(self) -> float:
        """The score of the whole, once each run is done.

        Raises:
            ValueError: a run was never evaluated.
        """
        if not all(each.returns for each in self.seeded):
            raise ValueError("a run was never evaluated")
        return robust([final(each.returns) for each in self.seeded])

    def stop(self) -> None:
        """Ask its runs to save and end."""
        for each in self.seeded:
            if each.trial is not None and each.is_running:
                each.trial.stop()


def _newest(folder: Path) -> dict[int, Run]:
    """The newest run of each seed below a trial's folder."""
    found = dict[int, Run]()
    if folder.is_dir():
        for run in sorted(find_runs(folder), key=_begun):
            with suppress(UsageError, KeyError, TypeError):
                found[int(run.settings["seed"])] = run
    return found


def _begun(run: Run) -> float:
    try:
        return begun(run).timestamp()
    except UsageError:
        return 0.0


def reason_of(trial: Trial) -> tuple[State, str]:
    """What a run that has failed makes of its trial, and why."""
    return ("diverged" if trial.reason.startswith(DIVERGED) else "failed"), f"seed {trial.job.seed}: {trial.reason}"


def running(candidates: Sequence[Candidate]) -> list[tuple[Candidate, Seeded]]:
    """All runs whose processes are there."""
    return [(each, seeded) for each in candidates for seeded in each.seeded if seeded.is_running]
