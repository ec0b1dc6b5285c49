"""One run's loop: collect, update, evaluate, record, save; however it ends, what there is is saved."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from polyak.algorithms.settings import Settings
from polyak.checkpoint import save_learner
from polyak.collector import Collector, Episode
from polyak.environments import Environments
from polyak.errors import Interrupted, TrainingError
from polyak.evaluation import evaluate
from polyak.policy import Policy
from polyak.progress import Observer, Progress
from polyak.randomness import Streams
from polyak.replay import Replay
from polyak.runs import MetricsWriter, Record, Run
from polyak.schedule import UpdateSchedule
from polyak.signals import signals_noted
from polyak.types import Learner, Metrics


@dataclasses.dataclass
class Loop:
    """One run's moving parts."""

    run: Run
    algorithm: str
    config: Settings
    streams: Streams
    collector: Collector
    replay: Replay
    learner: Learner
    draw_noise: Any
    policy: Policy
    test_environments: Environments
    writer: MetricsWriter
    progress: Progress
    observer: Observer
    stop_at_return: float | None
    episodes: list[Episode] = dataclasses.field(default_factory=list[Episode])
    measured: list[Metrics] = dataclasses.field(default_factory=list[Metrics])

    def run_to_the_end(self) -> None:
        """Train until the steps are done, the wanted return is reached, or something ends the run; always save."""
        self._started = self._epoch_started = time.monotonic()
        self._epoch_first_step = 0
        with signals_noted() as signals:
            try:
                self._until_done(signals)
            except BaseException as error:
                self.progress.outcome = str(error) or type(error).__name__
                self._save_what_there_is()
                raise
        if signals:
            self._save_what_there_is()
            self.progress.outcome = f"interrupted after {self.collector.steps:,} steps; everything is saved"
            raise Interrupted(signals[0], str(self.run.folder))

    def _until_done(self, signals: list[int]) -> None:
        schedule = UpdateSchedule(self.config)
        epoch = self.config.steps_per_epoch
        while self.collector.steps < self.config.steps and not signals:
            before = self.collector.steps
            self._collect()
            after = self.collector.steps
            due = schedule.due(before, after)
            if due:
                self._update(due)
            if after // epoch > before // epoch or after >= self.config.steps:
                reached = self._end_epoch()
                if reached:
                    return
        self.progress.outcome = f"done after {self.collector.steps:,} steps"

    def _collect(self) -> None:
        warming_up = self.collector.steps < self.config.start_steps
        self.replay.add(self.collector.step(None if warming_up else self.policy))
        self.progress.steps = self.collector.steps
        episodes = self.collector.finished()
        if episodes:
            self.episodes += episodes
            self.progress.episodes.extend(episodes)

    def _update(self, updates: int) -> None:
        batch_size = self.config.batch_size
        batches = self.replay.sample(self.streams.replay, updates, batch_size)
        noise = self.draw_noise(self.streams.learner, updates, batch_size, self.replay.action_size)
        metrics = self.learner.update(batches, noise)
        policy = dataclasses.replace(self.policy, parameters=self.learner.actor())
        critic_loss = metrics.values[:, metrics.names.index("critic_loss")]
        if not np.isfinite(critic_loss).all() or not policy.finite():
            raise TrainingError(
                f"training diverged: a loss or the actor is not finite after {self.collector.steps:,} steps "
                f"({self.progress.updates + updates:,} updates); the last finite policy is kept in {self.run.folder}. "
                "Lower the learning rates, or check the rewards' scale"
            )
        self.policy = policy
        self.measured.append(metrics)
        self.progress.updates += updates

    def _end_epoch(self) -> bool:
        """Evaluate, write a record, save the policies; True once the wanted return is reached."""
        steps, seconds = self.collector.steps, time.monotonic() - self._epoch_started
        speed = (steps - self._epoch_first_step) / max(seconds, 1e-9)
        self.progress.evaluating = True
        result = evaluate(self.policy, self.test_environments, self.config.evaluation_episodes)
        self.progress.evaluating = False
        if self.progress.best is None or result.mean > self.progress.best[1]:
            self.progress.best = (steps, result.mean)
            self.policy.save(self.run.best_policy_file)
        self._write_record(
            {
                "eval/return": result.mean,
                "eval/return_std": result.std,
                "eval/length": result.mean_length,
                "speed/steps_per_second": speed,
            }
        )
        self._save_latest()
        self._epoch_started, self._epoch_first_step = time.monotonic(), steps
        self.observer.epoch_ended(self.progress)
        if self.stop_at_return is not None and result.mean >= self.stop_at_return:
            self.progress.outcome = (
                f"reached an evaluation return of {result.mean:.1f} (asked for {self.stop_at_return:g}) "
                f"after {steps:,} steps"
            )
            return True
        return False

    def _write_record(self, evaluation: Mapping[str, float]) -> None:
        """Write what was measured since the previous record."""
        self.progress.seconds = time.monotonic() - self._started
        record: Record = {"step": self.collector.steps, "seconds": round(self.progress.seconds, 3)}
        if self.episodes:
            record["train/return"] = float(np.mean([episode.total_reward for episode in self.episodes]))
            record["train/length"] = float(np.mean([episode.length for episode in self.episodes]))
            record["train/episodes"] = len(self.episodes)
        record |= evaluation
        if self.measured:
            values = np.concatenate([metrics.values for metrics in self.measured])
            for name, column in zip(self.measured[0].names, values.T, strict=True):
                if not np.isnan(column).all():
                    record[f"learner/{name}"] = float(np.nanmean(column, dtype=np.float64))
        record["learner/updates"] = self.progress.updates
        self.writer.write(record)
        self.progress.record = record
        self.episodes, self.measured = [], []

    def _save_what_there_is(self) -> None:
        """What the epoch cut short has measured, the latest policy and the learner."""
        if self.collector.steps > self.progress.record.get("step", 0):
            self._write_record({})
        self._save_latest()

    def _save_latest(self) -> None:
        self.policy.save(self.run.policy_file)
        arrays = self.learner.arrays()
        if all(np.isfinite(value).all() for value in arrays.values()):  # else the last good one is kept
            save_learner(self.run.learner_file, self.algorithm, arrays)
