"""Gymnasium environments as polyak sees them: one to many, float32 observations, actions in [-1, 1]."""

import difflib
import functools
import importlib
import inspect
import multiprocessing
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FlattenObservation, TimeLimit

from polyak.errors import TrainingError, UsageError
from polyak.randomness import episode_seed
from polyak.spaces import needs_flattening, spec_of
from polyak.types import Bool, Float, Spec

Environment = str | Callable[..., Any]
"""An id (`Pendulum-v1`), `module:Id`, or a callable that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`."""

GeneratorOf = Callable[[int], np.random.Generator]
"""Gives environment i of N its random stream."""

Vectorization = Literal["sync", "async"]
"""Where environments run: one after another in this process, or each in a process of its own."""


class Step(NamedTuple):
    """What one step of N environments gave."""

    observation: Float
    """[N, O]: what to act on next; the first of a new episode where one has ended."""
    next_observation: Float
    """[N, O]: the true successor, also where the episode ended."""
    reward: Float
    """[N]"""
    terminated: Bool
    """[N]"""
    truncated: Bool
    """[N]"""
    valid: Bool
    """[N]: False where the step was only a reset (autoreset mode NEXT_STEP) and is no transition."""


class Environments:
    """N environments behind one `reset` and `step`, whatever their autoreset mode.

    Environments that polyak makes run without autoreset (DISABLED): every episode starts from a seed drawn from the
    environment's own stream. A vector environment of the user's keeps its mode and seeds its later episodes itself.
    """

    def __init__(self, vector: Any, generator_of: GeneratorOf) -> None:
        """Take a vector environment and what gives each of its environments a random stream for its episodes' seeds.

        Raises:
            UsageError: spaces that polyak does not take, or no autoreset mode in the metadata.
        """
        mode = vector.metadata.get("autoreset_mode")
        try:
            self._mode = AutoresetMode(mode)
        except ValueError as error:
            raise UsageError(
                "the vector environment does not say how it resets: set metadata['autoreset_mode'] "
                f"({mode!r}) to a value of gymnasium.vector.AutoresetMode"
            ) from error
        if needs_flattening(vector.single_observation_space):
            raise UsageError(
                f"the vector environment's observation space is {vector.single_observation_space}, but must be a flat "
                "Box: wrap it in gymnasium.wrappers.vector.FlattenObservation"
            )
        self.vector: VectorEnv[Any, Any, Any] = vector
        self.count: int = vector.num_envs
        self.spec: Spec = spec_of(vector.single_observation_space, vector.single_action_space)
        self._action_shape = (self.count, *self.spec.action_shape)
        self._action_space: Any = vector.single_action_space
        self.steps = 0
        """Environment steps so far, summed over all environments."""
        self._generators = [generator_of(index) for index in range(self.count)]
        self._ended: Bool = np.zeros(self.count, np.bool_)

    def reset(self) -> Float:
        """Start a new episode everywhere: [N, O]."""
        with self._named_faults():
            raw, _ = self.vector.reset(seed=self._seeds(np.ones(self.count, np.bool_)))
        observation = np.array(raw, np.float32)
        self._require_finite("observation", observation)
        self._ended = np.zeros(self.count, np.bool_)
        return observation

    def step(self, action: Float) -> Step:
        """Take normalized actions [N, A]; environments whose episode ends begin the next one.

        Raises:
            TrainingError: an environment raised, or an observation or a reward is not finite; the step and the
                environment are named.
        """
        with self._named_faults():
            raw, reward, terminated, truncated, info = self.vector.step(self._to_environment(action))
        next_observation = observation = np.array(raw, np.float32)  # copied, as all: the next step may reuse the memory
        terminated, truncated = np.array(terminated, np.bool_), np.array(truncated, np.bool_)
        reward = np.array(reward, np.float32)
        valid = np.ones(self.count, np.bool_)
        if self._mode is AutoresetMode.NEXT_STEP:
            valid = ~self._ended
        ended = (terminated | truncated) & valid
        if ended.any():
            if self._mode is AutoresetMode.DISABLED:
                with self._named_faults():
                    raw, _ = self.vector.reset(seed=self._seeds(ended), options={"reset_mask": ended})
                observation = np.array(raw, np.float32)
            elif self._mode is AutoresetMode.SAME_STEP:
                next_observation = observation.copy()
                for index in np.flatnonzero(ended):
                    next_observation[index] = info["final_obs"][index]
        self._ended = ended
        step = Step(observation, next_observation, reward, terminated, truncated, valid)
        self._require_finite("reward", step.reward)
        self._require_finite("observation", next_observation)
        if observation is not next_observation:
            self._require_finite("observation", observation)
        self.steps += int(valid.sum())
        return step

    def _to_environment(self, action: Float) -> Any:
        """Normalized actions [N, A] as the environment's own space takes them."""
        given = self.spec.to_environment(action).reshape(self._action_shape)
        if self._action_space.dtype == np.float32:
            return given
        given = given.astype(self._action_space.dtype)  # whose bounds float32 may have rounded
        return np.clip(given, self._action_space.low, self._action_space.high)

    @contextmanager
    def _named_faults(self) -> Generator[None]:
        """Say when an environment raised; what it raised is the cause."""
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            raise TrainingError(
                f"the environment raised {type(error).__name__} after {self.steps} environment steps: {error}"
            ) from error

    def _require_finite(self, what: str, values: Float) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            bad = np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1))[0]
            raise TrainingError(
                f"environment {bad} returned a non-finite {what} after {self.steps} environment steps: {values[bad]}; "
                "the fault is in the environment"
            )

    def _seeds(self, wanted: Bool) -> Any:
        return [
            episode_seed(generator) if want else None for generator, want in zip(self._generators, wanted, strict=True)
        ]

    def close(self) -> None:
        """Close all environments and the processes they run in."""
        self.vector.close()


def make_environments(
    environment: Environment,
    count: int,
    generator_of: GeneratorOf,
    *,
    vectorization: Vectorization = "sync",
    autoreset: AutoresetMode = AutoresetMode.DISABLED,
    max_episode_steps: int | None = None,
) -> Environments:
    """`count` environments, or the whole VectorEnv that a callable makes, with as many as it has.

    Raises:
        UsageError: an unknown environment, a missing dependency, spaces that polyak does not take.
    """
    make = functools.partial(make_environment, environment, max_episode_steps=max_episode_steps)
    if count < 1:
        raise UsageError(f"envs is {count}, but must be at least 1")
    first = make()  # in this process, so that its errors are plain; reused below where environments run here
    try:
        if isinstance(first, VectorEnv):
            return Environments(first, generator_of)
        spec_of(first.observation_space, first.action_space)
        if vectorization == "async":
            first.close()
            workers: list[Callable[[], Any]] = [functools.partial(_in_worker, make)] * count
            return Environments(
                AsyncVectorEnv(workers, autoreset_mode=autoreset, context=_start_method()), generator_of
            )
        ready = [lambda: first, *[make] * (count - 1)]
        return Environments(SyncVectorEnv(ready, autoreset_mode=autoreset), generator_of)
    except BaseException:
        first.close()
        raise


def _start_method() -> str:
    """How worker processes start: never by a plain fork, which a process that runs JAX's threads does not survive."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _in_worker(make: Callable[[], Any]) -> Any:
    """Make an environment in a worker process, which leaves Ctrl-C to the main process."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return make()


def make_environment(
    environment: Environment, *, max_episode_steps: int | None = None, render_mode: str | None = None
) -> Any:
    """One environment with a flat observation, or the VectorEnv that a callable makes.

    Raises:
        UsageError: an unknown environment, a missing dependency, an observation that cannot be a vector.
    """
    if isinstance(environment, str):
        made = _make_registered(environment, max_episode_steps, render_mode)
    else:
        made = _make_by_call(environment, render_mode)
        if isinstance(made, VectorEnv):
            if max_episode_steps is not None:
                made.close()
                raise UsageError(
                    f"max_episode_steps is {max_episode_steps}, but a VectorEnv keeps its own time limit: set it there"
                )
            return cast(Any, made)
        if max_episode_steps is not None:
            while isinstance(made, TimeLimit):
                made = cast(Any, made).env
            made = TimeLimit(made, max_episode_steps)
    try:
        return FlattenObservation(made) if needs_flattening(made.observation_space) else made
    except UsageError:
        made.close()
        raise


def _make_by_call(make: Callable[..., Any], render_mode: str | None) -> Any:
    takes_mode = render_mode is not None and "render_mode" in inspect.signature(make).parameters
    made: Any = make(render_mode=render_mode) if takes_mode else make()
    if not isinstance(made, gymnasium.Env | VectorEnv):
        raise UsageError(f"{make!r} made a {type(made).__name__}, but must make a gymnasium.Env or VectorEnv")
    return cast(Any, made)


def _make_registered(name: str, max_episode_steps: int | None, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    module, _, plain = name.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"environment {name!r}: cannot import {error.name!r}; install it or mend the path"
            ) from error
    if plain not in gymnasium.registry:
        raise UsageError(f"unknown environment {name!r}.{_suggestion(plain)}")
    try:
        shown = {} if render_mode is None else {"render_mode": render_mode}
        return gymnasium.make(plain, max_episode_steps=max_episode_steps, disable_env_checker=True, **shown)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(f"environment {name!r} needs what is not installed: {_remedy(plain, error)}") from error
    except (gymnasium.error.Error, ImportError) as error:
        raise UsageError(f"environment {name!r} cannot be made: {error}") from error


def _suggestion(name: str) -> str:
    names = list(gymnasium.registry)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    base = name.partition("-v")[0].lower()
    near = sorted((known for known in names if known.partition("-v")[0].lower() == base), reverse=True) or near
    return f" Did you mean {' or '.join(near)}?" if near else " `gymnasium.pprint_registry()` lists those installed."


def _remedy(name: str, error: Exception) -> str:
    entry = str(gymnasium.registry[name].entry_point)
    for extra in ("box2d", "mujoco"):
        if f"envs.{extra}" in entry:
            return f'pip install "polyak[{extra}]"'
    return str(error)
