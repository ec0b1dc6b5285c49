"""Makes the environments that were asked for: by an id or by a callable, one to many, in one process or in several."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any, cast, get_args

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit

from polyak.environments.additions import NOTHING, Additions
from polyak.environments.closing import close
from polyak.environments.construction import complete, make_by_call, make_registered, name_of, not_made
from polyak.environments.distinct import Claim, parts_of
from polyak.environments.elsewhere import Elsewhere
from polyak.environments.goals import of_parts, with_goals
from polyak.environments.guard import Guard
from polyak.environments.handed import Given, Handed, Lent, callable_of
from polyak.environments.history import NONE, Isolation, isolated
from polyak.environments.pools import make_pool
from polyak.environments.registry import registered
from polyak.environments.sidebyside import SideBySide
from polyak.environments.spaces import Flat, require_flattenable, spec_of
from polyak.environments.stepping import Environments, GeneratorOf
from polyak.environments.traits import traits_of
from polyak.environments.workers import Workers, end_a_script_run_again, sendable
from polyak.errors import UsageError
from polyak.settings.options import NO_SETTINGS, Vectorization
from polyak.system.foreign import foreign
from polyak.system.signals import Limit

Environment = str | Callable[..., Any]
"""An id (`Pendulum-v1`), `module:Id`, or a callable that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`."""


def make_environments(
    environment: Given,
    count: int,
    generator_of: GeneratorOf,
    *,
    vectorization: Vectorization = "sync",
    autoreset: AutoresetMode = AutoresetMode.DISABLED,
    max_episode_steps: int | None = None,
    isolation: Isolation = NONE,
    additions: Additions = NOTHING,
    limit: Limit = nullcontext,
    first: int = 0,
) -> Environments:
    """`count` environments, or the whole VectorEnv that a callable makes, with as many as it has.

    Each is kept apart as `isolation` says; `limit` makes the block in which each of their answers is waited for. They
    are numbered from `first` on, in what they draw from and in messages.

    Raises:
        UsageError: an unknown environment or vectorization, a missing dependency, spaces that polyak does not take.
    """
    end_a_script_run_again()
    environment = callable_of(environment)
    if isinstance(environment, Handed):
        environment.require(envs=count, vectorization=vectorization, afresh=isolation.afresh)
    name = _name(environment)
    make = functools.partial(
        make_environment,
        environment,
        max_episode_steps=max_episode_steps,
        isolation=isolation,
        additions=additions,
    )
    if count < 1:
        raise UsageError(f"envs is {count}, but must be at least 1")
    if vectorization not in get_args(Vectorization):
        raise UsageError(f"vectorization is {vectorization!r}, but must be {', '.join(get_args(Vectorization))}")
    # The first is made in this process, so that its errors are plain; it is used below where environments run here.
    made = [make(index=first)]
    try:
        one, traits = made[0], traits_of(made[0])
        if vectorization == "envpool":
            _require_once(additions, "EnvPool steps all its environments by itself")
            with foreign(lambda error: not_made(name, error)):
                pool = make_pool(environment, count, one)
            close(made.pop())
            return Environments(pool, generator_of, limit, traits=traits)
        if isinstance(one, VectorEnv):
            whole = Environments(one, generator_of, limit, Claim(made, name), traits=traits)
            whole.is_one_vector = True
            return whole
        spec_of(Flat(one.observation_space), one.action_space)
        if vectorization == "async":
            claim = Claim(made, name)
            close(made.pop())
            workers = Workers(name, _guarded_there(make, environment, additions), count, one, autoreset)
            return Environments(workers, generator_of, limit, claim, can_be_made_again=True, traits=traits)
        made += [make(index=index) for index in range(first + 1, first + count)]
        claim = Claim(made, name)
        beside = _beside(made, name, autoreset, functools.partial(_guarded, make, additions.action_repeat), first)
        again = not isinstance(environment, Handed)
        return Environments(beside, generator_of, limit, claim, can_be_made_again=again, traits=traits, first=first)
    except BaseException:
        for each in made:
            close(each)
        raise


def make_apart(
    environment: Environment,
    like: Environments | Elsewhere,
    generator_of: GeneratorOf,
    *,
    max_episode_steps: int | None = None,
    isolation: Isolation = NONE,
    additions: Additions = NOTHING,
    limit: Limit = nullcontext,
) -> Environments:
    """One environment in a process of its own, `like` those that there are already: none is made in this process.

    Raises:
        UsageError: those are a whole VectorEnv; or it cannot be made there.
    """
    if like.is_one_vector:
        raise UsageError("a VectorEnv cannot be put into a process of its own, only a single environment")
    make = functools.partial(
        make_environment,
        environment,
        max_episode_steps=max_episode_steps,
        isolation=isolation,
        additions=additions,
    )
    vector, name = like.vector, _name(environment)
    declared = getattr(vector.single_observation_space, "declared", vector.single_observation_space)
    alike = SimpleNamespace(observation_space=declared, action_space=vector.single_action_space)
    worker = Workers(name, _guarded_there(make, environment, additions), 1, alike, AutoresetMode.DISABLED)
    return Environments(worker, generator_of, limit, traits=like.traits)


def make_elsewhere(
    environment: Environment,
    count: int,
    *,
    max_episode_steps: int | None = None,
    isolation: Isolation = NONE,
    additions: Additions = NOTHING,
) -> Elsewhere:
    """What is known of `count` environments that will be made in other processes; one is made here, to look at it.

    Raises:
        UsageError: as for `make_environments`; or it is a whole VectorEnv, is there already, or cannot be sent.
    """
    end_a_script_run_again()
    environment, name = callable_of(environment), _name(environment)
    if isinstance(environment, Handed):
        raise UsageError(
            f"collectors make environments in processes of their own, but {name} was handed over as an object, which "
            "cannot be made again there: give its id, or a callable that makes it"
        )
    how: dict[str, Any] = {"max_episode_steps": max_episode_steps, "isolation": isolation, "additions": additions}
    made = make_environment(environment, **how)
    try:
        if isinstance(made, VectorEnv):
            raise UsageError(
                f"collectors step single environments, but {name} makes a whole VectorEnv: give what makes one of them"
            )
        traits, space, actions = traits_of(made), Flat(made.observation_space), made.action_space
        spec = spec_of(space, actions)
    finally:
        close(made)
    make = sendable(name, _known_there(functools.partial(make_environments, environment, **how), environment))
    spaces = SimpleNamespace(single_observation_space=space, single_action_space=actions)
    return Elsewhere(count, spec, traits, make, spaces)


def _known_there(make: Callable[..., Any], environment: Environment) -> Callable[..., Any]:
    """What makes it in a process that may not know its id, or may know another by it."""
    if not isinstance(environment, str):
        return make
    return functools.partial(_registered_there, make, environment, gymnasium.registry[registered(environment)])


def _guarded_there(make: Callable[..., Any], environment: Environment, additions: Additions) -> Callable[..., Any]:
    """What makes it there, and guards it."""
    return functools.partial(_guarded, _known_there(make, environment), additions.action_repeat)


def _guarded(make: Callable[..., Any], action_repeat: int, *, index: int, made: Any = None) -> Guard:
    """What `make` makes, or has made, in its guard, which makes it again by it."""
    return Guard(make(index=index) if made is None else made, index, make, action_repeat=action_repeat)


def _beside(
    made: Sequence[Any], name: str, autoreset: AutoresetMode, guarded: Callable[..., Guard], first: int
) -> SyncVectorEnv:
    """Environments that were made in this process, each `guarded`, numbered from `first` on, as a vector.

    Raises:
        UsageError: their spaces are not equal.
    """
    guards: list[Guard] = []
    with foreign(lambda error: not_made(name, error)):
        for index, each in enumerate(made, first):
            for kind in ("observation_space", "action_space"):
                one, other = getattr(made[0], kind), getattr(each, kind)
                if one != other:
                    raise UsageError(
                        f"environment {index} that {name} made has the {kind} {other}, but environment {first} has "
                        f"{one}: they must be equal"
                    )
            guards.append(guarded(index=index, made=each))
        if autoreset is AutoresetMode.DISABLED:
            return SideBySide(guards)
        return SyncVectorEnv([lambda guard=guard: guard for guard in guards], autoreset_mode=autoreset)


def _registered_there(make: Callable[..., Any], name: str, spec: EnvSpec, **how: Any) -> Any:
    """Make an environment in a process that may not know its id, or may know another by it."""
    with suppress(UsageError):
        registered(name)  # which imports its module
    gymnasium.registry[spec.id] = spec
    return make(**how)


def make_environment(
    environment: Environment,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    isolation: Isolation = NONE,
    additions: Additions = NOTHING,
    index: int = 0,
    changed: Mapping[str, Any] = NO_SETTINGS,
) -> Any:
    """One environment as it is, but kept apart as asked, or the VectorEnv that a callable makes.

    It is number `index` of those that are made alike, and has the settings that have `changed` since.

    Raises:
        UsageError: as `_made` says; or a VectorEnv is to be made afresh for each episode.
    """
    added = dataclasses.replace(additions, settings={**additions.settings, **changed})
    return isolated(lambda: _made(environment, max_episode_steps, render_mode, added), isolation, index)


def _made(
    environment: Environment, max_episode_steps: int | None, render_mode: str | None, additions: Additions
) -> Any:
    """One environment as it is, or the VectorEnv that a callable makes.

    Raises:
        UsageError: an unknown environment, a missing dependency, an observation that cannot be a vector, a reward of
            several numbers; or the environment's own code raised something, which is the cause.
    """
    name = _name(environment)
    with foreign(lambda error: not_made(name, error, render_mode, additions.settings)):
        if isinstance(environment, str):
            made = make_registered(environment, max_episode_steps, render_mode, additions)
        else:
            made = make_by_call(environment, render_mode, additions.settings)
        try:
            complete(made, name)
            if additions.hindsight:
                made = with_goals(made, name)
            if isinstance(made, VectorEnv):
                _require_once(additions, "a VectorEnv steps all its environments by itself")
                return _keeping_its_limit(made, max_episode_steps)
            require_flattenable(made.observation_space)
            limited = made if max_episode_steps is None else _limited(made, max_episode_steps)
            return of_parts(limited, additions.parts)
        except BaseException:
            close(made)
            raise


def _name(environment: Environment) -> str:
    return environment if isinstance(environment, str) else name_of(environment)


def _require_once(additions: Additions, why: str) -> None:
    """Check that no action is to be repeated where that cannot be, because of `why`."""
    if additions.action_repeat > 1:
        raise UsageError(
            f"action_repeat is {additions.action_repeat}, but {why}: repeat actions within each, or train in single "
            "ones (--vectorization sync or async)"
        )


def _keeping_its_limit(vector: Any, max_episode_steps: int | None) -> Any:
    if max_episode_steps is not None:
        raise UsageError(
            f"max_episode_steps is {max_episode_steps}, but a VectorEnv keeps its own time limit: set it there"
        )
    return vector


def _limited(made: Any, steps: int) -> Any:
    """The environment with episodes of at most so many steps; a TimeLimit anywhere within, if it is lower, is raised.

    Raises:
        UsageError: a TimeLimit within cannot be raised.
    """
    while isinstance(made, TimeLimit):
        made = cast(Any, made).env
    within: list[Any] = [part for part in parts_of(made).values() if isinstance(part, TimeLimit)]
    for part in within:
        limit = getattr(part, "_max_episode_steps", None)  # as Gymnasium's own wrappers read it
        if limit is None:
            raise UsageError(
                f"max_episode_steps is {steps}, but the {type(part).__name__} within {made} keeps a limit of its own: "
                "set it there, or take that wrapper away"
            )
        if limit < steps and isinstance(made, Lent):
            raise UsageError(
                f"max_episode_steps is {steps}, but the environment that was handed over ends its episodes after "
                f"{limit} steps: set it there"
            )
        if limit < steps:
            part._max_episode_steps = steps  # noqa: SLF001 - wrappers above may hold this very object
    return TimeLimit(made, steps)
