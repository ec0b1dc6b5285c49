"""`train`: from what was asked for to a run's moving parts; `loop.py` moves them.

Data flows one way: environments -> collector -> replay -> learner -> policy -> environments.
"""

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from polyak import learners, runs
from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.checkpoint import load_learner
from polyak.collector import Collector
from polyak.configuration import resolve
from polyak.environments import Environment, Vectorization, make_environments
from polyak.errors import UsageError
from polyak.learners.edge import Device, Execution, count_of_threads
from polyak.loop import Loop
from polyak.policy import Policy
from polyak.progress import Observer, Progress, Silent
from polyak.randomness import Streams
from polyak.replay import Replay, memory_needed, readable_bytes
from polyak.runs import MetricsWriter, Run
from polyak.threads import one_numpy_thread
from polyak.types import Arrays


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
            facts=_facts(description, execution, config, replay),
            folder=run.folder,
            total_steps=config.steps,
        )
        observer = observer or Silent()
        observer.started(progress)
        stack.callback(observer.ended, progress)
        learner = learners.make_learner(backend, algorithm, spec, config, arrays, execution)
        policy = Policy(learner.actor(), spec, module.POLICY_KIND, getattr(config, "exploration_noise", 0.0))
        collector = Collector(environments, streams.warm_up, streams.exploration, config.exploration_correlation)
        loop = Loop(
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


def _facts(description: Mapping[str, Any], execution: Execution, config: Settings, replay: Replay) -> dict[str, str]:
    memory = readable_bytes(memory_needed(replay.capacity, replay.observation_size, replay.action_size))
    count = description["envs"]
    device = "cuda" if execution.device == "cuda" else f"cpu, {count_of_threads(execution)}"
    rhythm = "every step" if config.update_every == 1 else f"every {config.update_every} steps"
    return {
        "preset": description["preset"],
        **({"from": description["from_run"]} if description["from_run"] else {}),
        "backend": f"{description['backend']} on {device}" + ("" if execution.fast else ", plain"),
        "replay": f"{replay.capacity:,} transitions; replay will use {memory}",
        "environments": f"{count} ({description['vectorization']})",
        "updates": f"{config.updates_per_step:g} per environment step, however many environments; "
        f"batch {config.batch_size}, {rhythm} from step {config.update_after:,}",
    }
