"""The training loop: the only file that knows everyone.

Data flows one way: environments -> collector -> replay -> learner -> policy -> environments.
"""

import dataclasses
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from polyak import learners, runs
from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.checkpoint import load_learner, save_learner
from polyak.collector import Collector, Episode
from polyak.configuration import resolve
from polyak.environments import Environment, Environments, Vectorization, make_environments
from polyak.errors import Interrupted, TrainingError, UsageError
from polyak.evaluation import evaluate
from polyak.learners.edge import Device, Execution
from polyak.policy import Policy
from polyak.progress import Observer, Progress, Silent
from polyak.randomness import Streams
from polyak.replay import Replay, memory_needed, readable_bytes
from polyak.runs import MetricsWriter, Record, Run
from polyak.schedule import UpdateSchedule
from polyak.signals import signals_noted
from polyak.threads import one_numpy_thread
from polyak.types import Arrays, Metrics


def train(
    algorithm: str,
    environment: Environment,
    *,
    config: Settings | None = None,
    preset: str | None = None,
    seed: int = 0,
    backend: str = "jax",
    device: Device = "auto",
    threads: int | None = None,
    fast: bool = True,
    envs: int = 1,
    vectorization: Vectorization = "sync",
    from_run: str | Path | None = None,
    run_dir: str | Path = "runs",
    stop_at_return: float | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Run:
    """Train a policy and return its run; `polyak.train("sac", "Pendulum-v1", steps=20_000, seed=0)`.

    Args:
        algorithm: "ddpg", "td3" or "sac".
        environment: an id, `module:Id`, or a callable that makes a Gymnasium environment or a whole VectorEnv.
        config: all settings at once, instead of `preset` and `settings`.
        preset: "book", "paper", an environment's, or a TOML file; by default the environment's own, else "paper".
        seed: from which every random stream of the run is drawn.
        backend: the framework that learns: "jax", "torch" or "tensorflow".
        device: "cpu", "cuda", or "auto": an NVIDIA GPU where the framework sees one.
        threads: of the framework on the CPU; by default the physical cores.
        fast: compiled or fused updates; False computes each operation by itself, as it is written.
        envs: environments stepped side by side; the updates per environment step stay the same.
        vectorization: "sync", or "async" with a process for each environment.
        from_run: a run whose learner this one goes on from, whichever framework it learned in; its settings are the
            default then. Replay, episodes and random streams are new.
        run_dir: where the run's folder is made.
        stop_at_return: stop once an evaluation's mean return reaches this.
        observer: watches the run; by default nobody does.
        **settings: single settings by name, over the preset's: `steps=20_000`, `batch_size=128`.

    Raises:
        UsageError: something asked for cannot be; nothing has been trained.
        TrainingError: a loss or an environment's number was not finite; the last good policy is saved.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    module = algorithm_module(algorithm)
    algorithm = algorithm.lower()
    if seed < 0:
        raise UsageError(f"seed is {seed}, but must be at least 0")
    execution = learners.start(backend, Execution(device, threads, fast))
    streams = Streams(seed)
    with ExitStack() as stack:
        stack.enter_context(one_numpy_thread())
        earlier = runs.load(from_run) if from_run is not None else None
        preset, config = resolve(algorithm, environment, config, preset, settings, earlier)
        limit = config.max_episode_steps
        environments = make_environments(
            environment, envs, streams.environment, vectorization=vectorization, max_episode_steps=limit
        )
        stack.callback(environments.close)
        test_environments = make_environments(environment, 1, streams.evaluation, max_episode_steps=limit)
        stack.callback(test_environments.close)
        spec = environments.spec
        arrays: Arrays = module.initial_state(streams.weights, spec, config)
        if earlier is not None:
            arrays = load_learner(earlier.learner_file, algorithm, arrays)
        replay = Replay(config.replay_size, spec.observation_size, spec.action_size)
        name = environment if isinstance(environment, str) else _name_of(environment)
        description = {
            "algorithm": algorithm,
            "environment": name,
            "environment_is_callable": not isinstance(environment, str),
            "backend": backend,
            "device": execution.device,
            "threads": execution.threads,
            "fast": execution.fast,
            "preset": preset,
            "from_run": str(earlier.folder.resolve()) if earlier else None,
            "seed": seed,
            "envs": environments.count,
            "vectorization": vectorization,
            "stop_at_return": stop_at_return,
            "settings": dataclasses.asdict(config),
        }
        run = runs.create(Path(run_dir), name, algorithm, seed, description)
        writer = MetricsWriter(run)
        stack.callback(writer.close)
        progress = Progress(
            title=f"{algorithm.upper()} on {name}, seed {seed}",
            facts=_facts(description, config, replay),
            folder=run.folder,
            total_steps=config.steps,
        )
        observer = observer or Silent()
        observer.started(progress)
        stack.callback(observer.ended, progress)
        learner = learners.make_learner(backend, algorithm, spec, config, arrays, execution)
        policy = Policy(learner.actor(), spec, module.POLICY_KIND, getattr(config, "exploration_noise", 0.0))
        collector = Collector(environments, streams.warm_up, streams.exploration, config.exploration_correlation)
        loop = _Loop(
            run=run,
            algorithm=algorithm,
            config=config,
            streams=streams,
            collector=collector,
            replay=replay,
            learner=learner,
            draw_noise=module.draw_noise,
            policy=policy,
            test_environments=test_environments,
            writer=writer,
            progress=progress,
            observer=observer,
            stop_at_return=stop_at_return,
        )
        loop.run_to_the_end()
    return run


def _name_of(environment: Any) -> str:
    return str(getattr(environment, "__qualname__", type(environment).__name__)).replace("<", "").replace(">", "")


def _facts(description: Mapping[str, Any], config: Settings, replay: Replay) -> dict[str, str]:
    memory = readable_bytes(memory_needed(replay.capacity, replay.observation_size, replay.action_size))
    count = description["envs"]
    threads = description["threads"]
    device = "cuda" if description["device"] == "cuda" else f"cpu, {threads} thread{'s' * (threads != 1)}"
    rhythm = "every step" if config.update_every == 1 else f"every {config.update_every} steps"
    return {
        "preset": description["preset"],
        **({"from": description["from_run"]} if description["from_run"] else {}),
        "backend": f"{description['backend']} on {device}" + ("" if description["fast"] else ", plain"),
        "replay": f"{replay.capacity:,} transitions; replay will use {memory}",
        "environments": f"{count} ({description['vectorization']})",
        "updates": f"{config.updates_per_step:g} per environment step, however many environments; "
        f"batch {config.batch_size}, {rhythm} from step {config.update_after:,}",
    }


@dataclasses.dataclass
class _Loop:
    """One run's moving parts."""

    run: Run
    algorithm: str
    config: Settings
    streams: Streams
    collector: Collector
    replay: Replay
    learner: Any
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
