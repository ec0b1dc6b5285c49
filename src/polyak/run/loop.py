"""One run's loop: collect, update, evaluate, record, save; however it ends, what there is is saved."""

import dataclasses
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from polyak.errors import Interrupted, SavingError, TrainingError
from polyak.experience.offline import Offline
from polyak.experience.remote import InStep, Remote
from polyak.policies.policy import Policy
from polyak.run.callbacks import Callbacks
from polyak.run.callbacks.view import Training
from polyak.run.checkpoints import Checkpoints, Content
from polyak.run.collecting import Collecting
from polyak.run.evaluating import Evaluations, GivenUp, measured
from polyak.run.facts import warn_of_missing
from polyak.run.folder import Run
from polyak.run.learning import Updates
from polyak.run.ledger import Ledger
from polyak.run.metrics import MetricsWriter
from polyak.run.mirror.sending import Mirror
from polyak.run.plan import Plan
from polyak.run.progress import Observer, Progress, tell_stopping
from polyak.system.files import write_atomically
from polyak.system.signals import signals_noted
from polyak.system.stopwatch import CALLBACKS
from polyak.types import Arrays


@dataclasses.dataclass
class LoopState:
    """What a loop has come to; its parts have states of their own."""

    evaluated: int = 0
    """Steps at the last evaluation."""
    best: tuple[int, float] | None = None
    """Step and mean return of the best evaluation."""
    best_policy: bytes | None = None
    """The file of its policy."""
    reached: bool = False
    """Whether the wanted return has been reached."""
    saved: int = 0
    """Steps at the last checkpoint."""
    whole: bool = True
    """Whether all parts are between two steps, so that a run can go on from them."""


@dataclasses.dataclass
class Loop:
    """One run's moving parts."""

    run: Run
    plan: Plan
    collector: Collecting
    updates: Updates
    ledger: Ledger
    evaluations: Evaluations
    writer: MetricsWriter
    checkpoints: Checkpoints
    progress: Progress
    """What the observer is shown; nothing of the run follows from it."""
    observer: Observer
    callbacks: Callbacks
    training: Training
    """The run as they see it."""
    mirror: Mirror | None = None
    """What brings each checkpoint elsewhere too, if anything does."""
    state: LoopState = dataclasses.field(default_factory=LoopState)

    def run_to_the_end(self) -> None:
        """Train until the steps are done, the wanted return is reached, or something ends the run; always save."""
        with signals_noted(lambda: tell_stopping(self.observer, self.progress)) as signals:
            for _ in self.bursts(signals):
                pass

    def bursts(self, signals: list[int]) -> Generator[None]:
        """`run_to_the_end`, but yield after each burst's launch, before it is waited for.

        Raises:
            Interrupted: a signal has been noted.
        """
        try:
            yield from self._until_done(signals)
        except BaseException as error:
            self._save_what_there_is(error)
            raise
        if signals:
            self.progress.outcome = f"interrupted after {self._so_far}; everything is saved"
            self.progress.error = Interrupted(signals[0], str(self.run.folder))
            raise self.progress.error

    def _until_done(self, signals: list[int]) -> Generator[None]:
        every = self.plan.checkpoint_every or self.plan.config.steps_per_epoch
        if self.checkpoints.latest is None:
            self.checkpoint()
        self._begin()
        while not signals:
            steps = self.collector.steps
            evaluates = self._epoch_ends and self.evaluations.may_begin
            if evaluates:
                self._end_epoch(signals)
            # One that was given up, and is done by a run that goes on, comes after its step's checkpoint.
            if steps // every > self.state.saved // every or (evaluates and self.state.saved == steps):
                self.checkpoint()
            if self._is_over or signals:
                break
            yield from self._iterate()
        self._conclude(signals)

    def _conclude(self, signals: list[int]) -> None:
        """Save, evaluate the last policy, and say how it went."""
        if self.state.saved < self.collector.steps:
            self.checkpoint()
        if not signals and self.state.evaluated < self.collector.steps:
            # After the checkpoint: to a run that is extended, its end here is no end of an epoch.
            self._end_epoch(signals)
        if signals:
            self._write_what_was_measured()
        if self.training.stopped:
            self.progress.outcome = f"stopped after {self._so_far}: {self.training.stopped}"
        elif not self.state.reached:
            self.progress.outcome = f"done after {self._so_far}"

    @property
    def _so_far(self) -> str:
        return f"{self.collector.steps:,} {self.plan.config.unit}"

    @property
    def _epoch_ends(self) -> bool:
        epoch = self.plan.config.steps_per_epoch
        return self.collector.steps // epoch > self.state.evaluated // epoch

    @property
    def _is_over(self) -> bool:
        return self.collector.steps >= self.plan.config.length or self.state.reached or self.training.stopped != ""

    def _begin(self) -> None:
        """Tell callbacks; what they set in the environments of a new run holds from its first episodes on.

        The first checkpoint is before it, so that a run which goes on from there is told the same once more.
        """
        self.callbacks.begin()
        self._tell("started")
        if self.collector.steps == 0 and self.collector.environments.changed:
            self.collector.begin()
        self.callbacks.require_all_well()

    def _iterate(self) -> Generator[None]:
        """One step of every environment, or a round of collectors, and the updates due then; offline, these alone."""
        before = self.collector.steps
        with _Torn(self, stepping=True):
            self._collect()
            if self.updates.launch(before, self.collector.steps):
                yield
                self._take(behind=self.plan.config.lag)
        if self.callbacks.failure is not None:
            self.callbacks.require_all_well()

    def _tell(self, hook: str) -> None:
        if hook in self.callbacks.heard:
            self.callbacks.tell(hook, self.training)
            self.ledger.stopwatch.lap(CALLBACKS)

    @property
    def _acting(self) -> Policy | None:
        """Who acts next; None is who acts at random."""
        return None if self.collector.steps < self.plan.config.start_steps else self.updates.policy

    def _collect(self) -> None:
        before = self.collector.steps
        if isinstance(self.collector, Offline):
            self.collector.advance()
            self.progress.steps = self.collector.steps
            return
        transitions = self.collector.step(self._acting, self.ledger.stopwatch.lap)
        if isinstance(self.collector, Remote):
            self.ledger.given_up += self.collector.given_up()
        if isinstance(self.collector, InStep):
            self._go_ahead(self.collector, before)
        self.updates.batches.add(transitions)
        self.ledger.stopwatch.lap("replay")
        self.progress.steps = self.collector.steps
        episodes = self.collector.finished()
        if episodes:
            self.ledger.episodes += episodes
            self.progress.episodes.extend(episodes)
        if self.callbacks.stepped:
            self.training.took(transitions, episodes)
            self._tell("stepped")

    def _go_ahead(self, collectors: InStep, before: int) -> None:
        """Let collectors begin the next round before this one's updates are launched, unless something comes first.

        Their policy is the one that they would get after the launch: that of the bursts before.
        """
        if self._is_over or self._epoch_ends or self.callbacks.stepped or self.callbacks.updated:
            return
        if self.updates.will_launch(before, collectors.steps):
            self._take()
        collectors.ahead(self._acting)
        self.ledger.stopwatch.lap("acting")

    def _take(self, behind: int = 0) -> None:
        """Take over the burst that is done, if one is: of those launched, the last `behind` are not waited for."""
        before = self.updates.count
        self.updates.take(self.collector.steps, behind)
        self.progress.updates = self.updates.count
        if self.callbacks.updated and self.updates.count > before:
            self._tell("updated")

    def _end_epoch(self, signals: list[int]) -> None:
        """Evaluate, save the policies, write a record: all of the newest policy, also where the collector's lags.

        Where a signal comes meanwhile, the evaluation is given up, and is due again when the run goes on.
        """
        with _Torn(self):
            self._take()
        steps, policy = self.collector.steps, self.updates.policy
        speed = self.ledger.speed(steps)
        try:
            result = self.evaluations.evaluated(signals)
        except GivenUp:
            return
        finally:
            self.ledger.stopwatch.lap("evaluation")
        with _Torn(self):
            self.state.evaluated = steps
            if result is not None and (self.state.best is None or result.mean > self.state.best[1]):
                self.state.best, self.state.best_policy = (steps, result.mean), policy.content()
                self.progress.best = self.state.best
                self._write(self.run.best_policy_file, self.state.best_policy)
            self._write(self.run.policy_file, policy.content())
            self._write_record({**measured(result), "speed/steps_per_second": speed}, tell=True)
        wanted = self.plan.stop_at_return
        if result is not None and wanted is not None and result.mean >= wanted:
            self.state.reached = True
            self.progress.outcome = (
                f"reached an evaluation return of {result.mean:.1f} (asked for {wanted:g}) after {self._so_far}"
            )
        self.observer.epoch_ended(self.progress)
        self.callbacks.require_all_well()

    def _write_record(self, evaluation: Mapping[str, float], *, tell: bool = False) -> None:
        """Write what was measured since the previous record, with what callbacks that are told of it have to add."""
        first = self.ledger.first_step == 0
        record = self.ledger.record(self.collector.steps, self.updates.count, evaluation)
        if tell:
            self.training.recorded(record, done=False)
            self._tell("evaluated")
        record |= self.updates.batches.measured()
        if isinstance(self.collector, Remote):
            record |= self.collector.measured()
        record |= self.ledger.logged()
        self.training.recorded(record, done=True)
        self.progress.seconds = record["seconds"]
        with self._writing(self.run.metrics_file):
            self.writer.write(record)
        self.ledger.stopwatch.lap("saving")
        self.progress.record = record
        if first and "train/episodes" in record:
            warn_of_missing(self.plan.info_metrics, record, self.progress.episodes)

    # Saving

    def checkpoint(self) -> None:
        """Save everything from which the run can go on.

        Raises:
            TrainingError: a number of the learner is not finite.
            SavingError: the files cannot be written.
            ReplacedError: another attempt goes on with this run at its mirror.
        """
        learner = self.updates.learner.arrays()
        with _Torn(self):
            self._require_finite(learner)
        state, arrays = self._state()
        (advanced, moved), (told, kept) = self.updates.batches.state(), self.callbacks.state()
        content = Content(
            step=self.collector.steps,
            run=self.run.settings,
            state=state | ({"batches": advanced} if advanced else {}) | ({"callbacks": told} if told else {}),
            algorithm=self.plan.algorithm.name,
            learner=learner,
            loop=arrays,
            metrics=self.writer.content,
            best=self.state.best_policy,
            batches=moved,
            callbacks=kept,
        )
        self.checkpoints.save(content, self.updates.batches.replay, self.updates.batches.demonstrations)
        self.ledger.stopwatch.lap("saving")
        self.state.saved = content.step
        if self.mirror is not None:
            self.mirror.send(self.checkpoints.latest)
            self.ledger.stopwatch.lap("saving")

    def _require_finite(self, learner: Arrays) -> None:
        bad = [name for name, value in learner.items() if not np.isfinite(value).all()]
        if bad:
            raise TrainingError(
                f"training diverged: {bad[0]} is not finite after {self._so_far}; the checkpoint of "
                f"step {self.state.saved:,} is kept. A new run may have lower learning rates; check the rewards' scale"
            )

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        collector, episodes = self.collector.state()
        updates, launched = self.updates.state()
        ledger, measured = self.ledger.state()
        state = {
            "spec": self.collector.environments.spec.to_json(),
            "collector": collector,
            "environments": self.collector.environments.state(),
            "test_environments": self.evaluations.state(),
            "evaluated": self.state.evaluated,
            "reached": self.state.reached,
            "stopped": self.training.stopped,
            "best": self.state.best,
            **updates,
            **ledger,
        }
        return state, {**episodes, **launched, "measured": measured}

    def restore(self, state: Mapping[str, Any], arrays: Arrays, best_policy: bytes | None) -> None:
        """Go on from a checkpoint's state, with a collector, replay and learner that are restored already.

        The policies' files are written anew: the folder is then as it was at the checkpoint.

        Raises:
            ValueError, TypeError, KeyError: this is no state of a loop.
        """
        self.evaluations.restore(state["test_environments"])
        steps = self.collector.steps
        self.state = LoopState(int(state["evaluated"]), best_policy=best_policy, saved=steps)
        if state["best"] is not None:
            step, mean = state["best"]
            self.state.best = (int(step), float(mean))
        self.ledger.restore(state, arrays["measured"])
        self._write(self.run.policy_file, self.updates.policy.content())
        if best_policy is not None:
            self._write(self.run.best_policy_file, best_policy)
        self.updates.restore(state, arrays)
        self.progress.steps, self.progress.updates = steps, self.updates.count
        self.progress.best, self.progress.seconds = self.state.best, self.ledger.seconds

    def _save_what_there_is(self, error: BaseException) -> None:
        """Whatever ended the run: a checkpoint if all parts are between two steps, what was measured, the policy."""
        self.progress.error = error
        try:
            if self.state.whole and self.state.saved < self.collector.steps:
                self.checkpoint()
            self._write_what_was_measured()
        except TrainingError as another:
            error.add_note(str(another))
        kept = f"; `polyak resume` goes on from step {self.state.saved:,}" if self.checkpoints.latest else ""
        self.progress.outcome = f"{str(error) or type(error).__name__}{kept}"

    def _write_what_was_measured(self) -> None:
        """The record of an epoch that was cut short, and the latest policy; a run that goes on writes them anew."""
        if self.state.whole:  # callbacks are told of this burst in the run that goes on
            self.updates.take(self.collector.steps)
            self.progress.updates = self.updates.count
        if self.collector.steps > self.ledger.first_step:
            self._write_record({})
        self._write(self.run.policy_file, self.updates.policy.content())

    def _write(self, path: Path, content: bytes) -> None:
        with self._writing(path):
            write_atomically(path, content)

    @contextmanager
    def _writing(self, path: Path) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise SavingError(
                f"cannot write {path}: {error.strerror or error}; the checkpoint of step {self.state.saved:,} is whole"
            ) from error


class _Torn(AbstractContextManager[None]):
    """A block in which some parts are ahead of others: where it fails, the run cannot go on from them.

    Except where its own step has failed, `stepping`: then the collector is as it was before, and so is all else.
    A class, because a generator costs several times as much at every step.
    """

    def __init__(self, loop: Loop, *, stepping: bool = False) -> None:
        self._loop, self._stepping = loop, stepping

    def __enter__(self) -> None:
        self._before, self._loop.state.whole = self._loop.collector.steps, False

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        refused = (
            self._stepping
            and isinstance(error, TrainingError | Interrupted)
            and self._loop.collector.steps == self._before
        )
        self._loop.state.whole = error is None or refused
