"""The parts that a run's loop is made of, for a loop of one's own.

`make_...` make each part as `polyak.train` makes it: the same seed gives the same environments, weights and draws. What
a run adds around them (a folder, checkpoints, evaluation, the view) is left to whoever writes the loop.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import numpy as np

from polyak import frameworks
from polyak.algorithm import Algorithm, drawn, first_state
from polyak.algorithms import algorithm as algorithm_named
from polyak.algorithms import with_page
from polyak.algorithms.checks import require_parts
from polyak.environments.additions import Additions, require_names
from polyak.environments.handed import Given
from polyak.environments.make import make_environments as made
from polyak.environments.stepping import Environments
from polyak.errors import TrainingError, UsageError
from polyak.experience.batches import Batches, batches_of, first_snapshot, sample_batch
from polyak.experience.collector import Collector, Episode
from polyak.experience.replay import Replay
from polyak.frameworks.execution import Execution
from polyak.policies.critic import Q, q_of
from polyak.policies.evaluation import evaluate
from polyak.policies.normalizer import RAW, Snapshot
from polyak.policies.policy import Policy, policy_of
from polyak.run.collecting import manner_of
from polyak.run.learning import UpdateSchedule
from polyak.run.plan import planned
from polyak.settings.kinds import Count, Seed, checked, require
from polyak.settings.options import Device, Options, Vectorization
from polyak.settings.shared import REPEATED, Settings
from polyak.system.randomness import Streams
from polyak.types import Arrays, Batch, Float, Metrics, Spec, Transitions
from polyak.types import Learner as Computing

__all__ = [
    "Batch",
    "Batches",
    "Collector",
    "Environments",
    "Episode",
    "Learner",
    "Metrics",
    "Policy",
    "Replay",
    "Streams",
    "Transitions",
    "UpdateSchedule",
    "evaluate",
    "make_batches",
    "make_collector",
    "make_config",
    "make_environments",
    "make_learner",
    "make_replay",
    "sample_batch",
]


def make_environments(
    environment: Given,
    count: int = 1,
    *,
    seed: int = 0,
    vectorization: Vectorization = "sync",
    max_episode_steps: int | None = None,
    action_repeat: int = 1,
    environment_settings: Mapping[str, Any] | None = None,
    wrappers: Sequence[str] = (),
) -> Environments:
    """`count` environments behind one `reset` and `step`, each with the stream of episode seeds that a run's has.

    `close()` ends them; within `contextlib.closing(...)` they always are.

    Args:
        environment: as for `polyak.train`: an id, `module:Id`, a callable, or one that is there already.
        count: how many; of a callable that makes a whole VectorEnv, there are as many as it has.
        seed: of their episodes. An evaluation takes environments of its own, of another seed.
        vectorization: "sync", "async" (each in a process of its own) or "envpool".
        max_episode_steps: time limit of an episode, in the environment's own steps; None keeps its own.
        action_repeat: the environment's own steps that each action is taken for.
        environment_settings: arguments of the environment's constructor, where it is an id.
        wrappers: classes around it as `module:Class`, the innermost first, where it is an id.

    Raises:
        UsageError: they cannot be made.
    """
    options = Options(
        vectorization=vectorization, environment_settings=environment_settings or {}, wrappers=tuple(wrappers)
    )
    repeat = checked("action_repeat", action_repeat, Annotated[int, REPEATED])
    additions = Additions(options.environment_settings, options.wrappers, repeat)
    require_names(additions, environment)
    return made(
        environment,
        checked("count", count, Count),
        Streams(checked("seed", seed, Seed)).environment,
        vectorization=options.vectorization,
        max_episode_steps=checked("max_episode_steps", max_episode_steps, Count | None),
        additions=additions,
    )


def make_config(
    algorithm: str,
    environment: str | None = None,
    *,
    preset: str | None = None,
    spec: Spec | None = None,
    **settings: Any,
) -> Settings:
    """All settings, as `polyak.train` settles them: those of the preset, with single `settings` over them.

    Args:
        algorithm: "ddpg", "td3", "sac", or the name of a module of your own.
        environment: an id, whose preset is taken; without one, `general` is, or an algorithm's own `defaults`.
        preset: the name of another, or a file's.
        spec: `environments.spec`, where the preset states noise in environment units, as `book` does.
        **settings: by name: `steps=20_000`, `batch_size=128`.

    Raises:
        UsageError: an unknown preset or setting, or a setting out of its limits.
    """
    named = checked("environment", environment, str | None) or "of your own"
    plan = planned(algorithm, named, None, Options(preset=preset), settings)
    if plan.in_environment_units and spec is None:
        raise UsageError(
            f"the preset {plan.preset} states {plan.in_environment_units[0]} in environment units: "
            "give spec=environments.spec, by which it becomes a fraction of the action's half-range"
        )
    return plan.config if spec is None else plan.with_fractions(spec.action_half_range).config


def make_collector(environments: Environments, config: Settings, *, seed: int = 0) -> Collector:
    """What steps the environments, its first episodes begun: at random, or with a policy's exploration.

    Raises:
        TrainingError: an environment is at fault.
    """
    streams = Streams(checked("seed", seed, Seed))
    collector = Collector(environments, streams.warm_up, streams.exploration, manner_of(config))
    collector.begin()
    return collector


def make_replay(spec: Spec, config: Settings) -> Replay:
    """An empty replay of `config.replay_size` transitions.

    Raises:
        UsageError: more than the memory that is free.
    """
    return Replay(config.replay_size, spec.observation_size, spec.action_size)


def make_batches(spec: Spec, config: Settings, replay: Replay, envs: int = 1) -> Batches:
    """Batches of what a replay holds, as the settings make them for a run: `add` transitions there, and `sample`.

    Args:
        spec: `environments.spec`.
        config: the settings, of `make_config`.
        replay: an empty one; what enters it enters by `add` alone.
        envs: `environments.count`, by which an episode's number tells its environment.
    """
    require("replay", replay, isinstance(cast(Any, replay), Replay), "a replay, as make_replay makes it")
    return batches_of(config, spec, checked("envs", envs, Count), replay)


def make_learner(
    backend: str,
    algorithm: str,
    spec: Spec,
    config: Settings,
    seed: int = 0,
    *,
    device: Device = "auto",
    threads: int | None = None,
    fast: bool = True,
    arrays: Arrays | None = None,
) -> "Learner":
    """A learner in a framework, before its first update, or one that goes on from `arrays` of an earlier one.

    Args:
        backend: "jax", "torch" or "tensorflow".
        algorithm: "ddpg", "td3", "sac", or the name of a module of your own.
        spec: `environments.spec`.
        config: the settings of this algorithm, of `make_config`.
        seed: of the first weights, and of what its updates draw.
        device: "cpu", "cuda", or "auto".
        threads: of the CPU; None is the physical cores.
        fast: compiled or fused; False computes each operation by itself, as the page has it.
        arrays: `Learner.arrays()` of this algorithm and these sizes, from any framework.

    Raises:
        UsageError: the framework is not installed, the algorithm has no page for it, or the settings are another's.
    """
    backend, seed = checked("backend", backend, str), checked("seed", seed, Seed)
    require("spec", spec, isinstance(cast(Any, spec), Spec), "environments.spec")
    frameworks.require_backend(backend)
    what = with_page(algorithm_named(checked("algorithm", algorithm, str)), backend)
    if not isinstance(cast(Any, config), what.Config):
        raise UsageError(f"config is a {type(config).__name__}: make_config({what.name!r}, ...) makes what it takes")
    require_parts(what, spec, config)
    streams = Streams(seed)
    state = first_state(what.state(spec, config), streams.weights)
    if arrays is not None:
        require_alike(arrays, state)
    computing = frameworks.make_learner(backend, what, spec, config, arrays or state, Execution(device, threads, fast))
    return Learner(computing, what, spec, config, streams.learner)


def require_alike(arrays: Arrays, expected: Arrays) -> None:
    """Check that arrays have the names and shapes that are expected.

    Raises:
        UsageError: they do not.
    """
    shapes, wanted = ({name: np.shape(value) for name, value in each.items()} for each in (arrays, expected))
    wrong = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if wrong:
        found, needed = shapes.get(wrong[0], "missing"), wanted.get(wrong[0], "not there")
        raise UsageError(f"arrays: {wrong[0]} is {found}, but in this algorithm and of these sizes {needed}")


class Learner:
    """A framework's learner with all that its updates need besides batches: settings, and a stream to draw from."""

    def __init__(
        self, computing: Computing, algorithm: Algorithm, spec: Spec, config: Settings, generator: np.random.Generator
    ) -> None:
        self.spec, self.config, self.algorithm = spec, config, algorithm
        self.updates = 0
        """Updates made."""
        self.errors: Float | None = None
        """[K, B], of the newest updates, where replay is prioritized: for `batches.learned`."""
        self._computing, self._generator = computing, generator
        self._draws = algorithm.draws(spec, config)
        self._snapshot = first_snapshot(config, spec)
        self._policy = policy_of(algorithm, config, spec, computing.actor(), {}, self._snapshot.normalizer)
        self._q: Q | None = None

    @property
    def policy(self) -> Policy:
        """The newest policy, in NumPy: `act` to use it, `save` to keep it, `collector.step` to explore with it."""
        return self._policy

    def update(self, batches: Batch) -> Metrics:
        """Make K updates, one on each of the batches [K, B, ...], in one call of the framework.

        B is `config.batch_size`. The batches' columns may be written to before: `batches.reward[:] *= 0.1`. The policy
        sees observations through what these were normalized by.

        Raises:
            UsageError: the batches are of another size, or raw where the settings say that they are normalized.
            TrainingError: a loss or the actor is not finite; `policy` is the last finite one.
        """
        found, expected = batches.records.shape[1:], (self.config.batch_size, self.spec.layout.width)
        if found != expected:
            raise UsageError(f"the batches are {found} each, but the settings and the environment make them {expected}")
        snapshot = self._snapshot_of(batches)
        draws = drawn(self._draws, self._generator, len(batches.records))
        metrics, actor, errors = self._computing.launch(batches, draws)()
        policy = dataclasses.replace(self._policy, parameters=actor, normalizer=snapshot.normalizer)
        loss = metrics.values[:, metrics.names.index("critic_loss")]
        if not (np.isfinite(loss).all() and policy.finite()):
            raise TrainingError(f"training diverged: a loss or the actor is not finite after {self.updates} updates")
        self._policy, self._snapshot, self._q, self.errors = policy, snapshot, None, errors
        self.updates += len(metrics.values)
        return metrics

    def _snapshot_of(self, batches: Batch) -> Snapshot:
        wanted = [name for name in ("normalize_observations", "normalize_rewards") if getattr(self.config, name)]
        if wanted and batches.snapshot is None:
            raise UsageError(f"{wanted[0]} is True, but these batches are raw: make_batches makes what samples such")
        if self.config.prioritized != "none" and not batches.wants_errors:
            raise UsageError(
                f"prioritized is {self.config.prioritized}, but these batches were not drawn so: make_batches makes "
                "what samples such, and its `learned` takes what `errors` of the learner says"
            )
        return batches.snapshot or RAW

    def q(self, observations: Any, actions: Any) -> Float:
        """Q(s, a) as the critic expects it now; observations, actions, result and errors as for `polyak.Run.q`."""
        if self._q is None:
            self._q = q_of(self.algorithm, self.config, self.spec, self.arrays(), self._snapshot)
        return self._q(observations, actions)

    def arrays(self) -> Arrays:
        """The whole state, copied: networks, targets, Adam's moments, temperature; `make_learner` takes it back."""
        return self._computing.arrays()
