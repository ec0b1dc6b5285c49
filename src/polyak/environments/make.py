"""Makes the environments that were asked for: by an id or by a callable, one to many, in one process or in several."""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, Literal, cast, get_args

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FlattenObservation, TimeLimit

from polyak.environments.closing import close
from polyak.environments.construction import complete, make_by_call, make_registered, name_of, not_made
from polyak.environments.foreign import foreign
from polyak.environments.pools import make_pool
from polyak.environments.registry import registered
from polyak.environments.spaces import needs_flattening, spec_of
from polyak.environments.stepping import Environments, GeneratorOf
from polyak.environments.workers import Workers, end_a_script_run_again
from polyak.errors import UsageError
from polyak.system.signals import Limit

Environment = str | Callable[..., Any]
"""An id (`Pendulum-v1`), `module:Id`, or a callable that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`."""

Vectorization = Literal["sync", "async", "envpool"]
"""Where environments run: one after another in this process, each in a process of its own, or in EnvPool's threads."""


def make_environments(
    environment: Environment,
    count: int,
    generator_of: GeneratorOf,
    *,
    vectorization: Vectorization = "sync",
    autoreset: AutoresetMode = AutoresetMode.DISABLED,
    max_episode_steps: int | None = None,
    limit: Limit = nullcontext,
) -> Environments:
    """`count` environments, or the whole VectorEnv that a callable makes, with as many as it has.

    `limit` makes the block in which each of their answers is waited for.

    Raises:
        UsageError: an unknown environment or vectorization, a missing dependency, spaces that polyak does not take.
    """
    end_a_script_run_again()
    make = functools.partial(make_environment, environment, max_episode_steps=max_episode_steps)
    if count < 1:
        raise UsageError(f"envs is {count}, but must be at least 1")
    if vectorization not in get_args(Vectorization):
        raise UsageError(f"vectorization is {vectorization!r}, but must be {', '.join(get_args(Vectorization))}")
    made = [make()]  # in this process, so that its errors are plain; reused below where environments run here
    try:
        first = made[0]
        if vectorization == "envpool":
            pool = make_pool(environment, count, first)
            close(made.pop())
            return Environments(pool, generator_of, limit)
        if isinstance(first, VectorEnv):
            return Environments(first, generator_of, limit)
        spec_of(first.observation_space, first.action_space)
        if vectorization == "async":
            close(made.pop())
            if isinstance(environment, str):
                known = gymnasium.registry[registered(environment)]
                make = functools.partial(_registered_there, make, environment, known)
            apart = Workers(_name(environment), make, count, first, autoreset)
            return _in_shape(Environments(apart, generator_of, limit), first)
        ready = [lambda: first, *[make] * (count - 1)]
        with foreign(lambda error: not_made(_name(environment), error)):  # which compares them
            together = SyncVectorEnv(ready, autoreset_mode=autoreset)
        return _in_shape(Environments(together, generator_of, limit), first)
    except BaseException:
        for each in made:
            close(each)
        raise


def _in_shape(environments: Environments, one: Any) -> Environments:
    """With the shape of what each of them shows in their spec, where polyak makes a vector of it."""
    if isinstance(one, _Flattened):
        environments.spec = dataclasses.replace(environments.spec, observation_shape=one.shape_shown)
    return environments


class _Flattened(FlattenObservation[Any, Any, Any]):
    """What polyak itself makes a vector of; whoever wraps an environment so himself means the vector."""

    @property
    def shape_shown(self) -> tuple[int, ...]:
        """The observation's own shape, where it is one array of as many numbers; else the vector's."""
        space: Any = self.env.observation_space
        whole = isinstance(space, spaces.Box | spaces.MultiBinary)
        return tuple(map(int, cast(Any, space if whole else self.observation_space).shape))


def _registered_there(make: Callable[[], Any], name: str, spec: EnvSpec) -> Any:
    """Make an environment in a process that may not know its id, or may know another by it."""
    with suppress(UsageError):
        registered(name)  # which imports its module
    gymnasium.registry[spec.id] = spec
    return make()


def make_environment(
    environment: Environment, *, max_episode_steps: int | None = None, render_mode: str | None = None
) -> Any:
    """One environment with a flat observation, or the VectorEnv that a callable makes.

    Raises:
        UsageError: an unknown environment, a missing dependency, an observation that cannot be a vector, a reward of
            several numbers; or the environment's own code raised something, which is the cause.
    """
    name = _name(environment)
    with foreign(lambda error: not_made(name, error, render_mode)):
        if isinstance(environment, str):
            made = make_registered(environment, max_episode_steps, render_mode)
        else:
            made = make_by_call(environment, render_mode)
        try:
            complete(made, name)
            if isinstance(made, VectorEnv):
                return _keeping_its_limit(made, max_episode_steps)
            return _flat(_limited(made, environment, max_episode_steps))
        except BaseException:
            close(made)
            raise


def _name(environment: Environment) -> str:
    return environment if isinstance(environment, str) else name_of(environment)


def _keeping_its_limit(vector: Any, max_episode_steps: int | None) -> Any:
    if max_episode_steps is not None:
        raise UsageError(
            f"max_episode_steps is {max_episode_steps}, but a VectorEnv keeps its own time limit: set it there"
        )
    return vector


def _limited(made: Any, environment: Environment, max_episode_steps: int | None) -> Any:
    """With the time limit that was asked for; an id's is in it already."""
    if max_episode_steps is None or isinstance(environment, str):
        return made
    while isinstance(made, TimeLimit):
        made = cast(Any, made).env
    return TimeLimit(made, max_episode_steps)


def _flat(made: Any) -> Any:
    return _Flattened(made) if needs_flattening(made.observation_space) else made
