"""A single environment as its author's code makes it, what is missing in it, and what that code raised."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import VectorEnv

from polyak.environments.registry import registered, remedy
from polyak.environments.rewards import require_one_number
from polyak.errors import UsageError
from polyak.system.foreign import code_that_raised, message_of, missing, told


def name_of(make: Callable[..., Any]) -> str:
    """A callable's name in messages."""
    return getattr(make, "__qualname__", None) or repr(make)


def make_by_call(make: Callable[..., Any], render_mode: str | None) -> Any:
    """What a callable makes; it is given the render mode if it takes one.

    Raises:
        UsageError: it is no callable, or makes no environment.
    """
    if not callable(make):
        raise UsageError(
            f"environment is {_a(make)}, but must be an id (Pendulum-v1), module:Id, or a callable that makes a new "
            "environment each time it is called"
        )
    made: Any = make(render_mode=render_mode) if render_mode is not None and _takes_render_mode(make) else make()
    if not isinstance(made, gymnasium.Env | VectorEnv):
        kind = "one of the old gym" if type(made).__module__.partition(".")[0] == "gym" else _a(made)
        raise UsageError(f"{make!r} made {kind}, but must make a gymnasium.Env or VectorEnv")
    return cast(Any, made)


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def _takes_render_mode(make: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # of some built-in callables nothing is known
        return False
    return any(each.name == "render_mode" or each.kind is each.VAR_KEYWORD for each in parameters)


def make_registered(name: str, max_episode_steps: int | None, render_mode: str | None) -> Any:
    """The environment of an id (`module:Id`), with its wrappers and the time limit.

    Raises:
        UsageError: there is no such id, or something that it needs is missing.
    """
    plain = registered(name)
    options: dict[str, Any] = {"max_episode_steps": max_episode_steps, "disable_env_checker": True}
    if render_mode is not None:
        options["render_mode"] = render_mode
    try:
        return gymnasium.make(plain, **options)
    except gymnasium.error.InvalidMetadata:
        return _make_without_metadata(gymnasium.registry[plain], options)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(f"environment {name!r} needs what is not installed: {remedy(plain, error)}") from error
    except gymnasium.error.Error as error:
        raise UsageError(f"environment {name!r} cannot be made: {message_of(error)}") from error


def _make_without_metadata(spec: EnvSpec, options: dict[str, Any]) -> Any:
    """As `gymnasium.make`, which refuses a class whose metadata is no dict (None, for one): here it is an empty one."""
    creator: Any = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point

    def create(**arguments: Any) -> Any:
        return creator(**arguments)

    made = gymnasium.make(dataclasses.replace(spec, entry_point=create), **options)
    cast(Any, made.unwrapped.spec).entry_point = spec.entry_point
    return made


def complete(made: Any, name: str) -> None:
    """Check what polyak and Gymnasium read of every environment; metadata that are none become empty ones.

    Raises:
        UsageError: a space or a vector's count is missing or of another kind, or the reward is a vector.
    """
    for layer in cast(tuple[Any, ...], (made.unwrapped, made)):
        if not isinstance(layer.metadata, Mapping):
            layer.metadata = {}
    prefix = "single_" if isinstance(made, VectorEnv) else ""
    for what in (f"{prefix}observation_space", f"{prefix}action_space"):
        space: Any = getattr(cast(Any, made), what, None)
        if not isinstance(space, gymnasium.Space):
            kind = f"{type(space).__module__}.{type(space).__qualname__}"
            found = "is not set" if space is None else f"is a {kind}"
            raise UsageError(f"environment {name!r}: its {what} {found}, but must be a space of gymnasium.spaces")
    count: Any = getattr(cast(Any, made), "num_envs", None) if prefix else 1
    if not isinstance(count, int | np.integer) or count < 1:
        raise UsageError(f"environment {name!r}: its num_envs is {count!r}, but must be a number of environments")
    require_one_number(made, name)


def not_made(name: str, error: BaseException, render_mode: str | None = None) -> str:
    """What to say of an error in the code that makes an environment."""
    if isinstance(error, ModuleNotFoundError) and error.name and code_that_raised(error):
        return f"environment {name!r} cannot be made: {missing(error)}"
    if isinstance(error, TypeError) and error.__cause__ is not None and "environment creator" in message_of(error):
        error = error.__cause__  # Gymnasium's own sentence around it ends in a list of all arguments
    text, called = message_of(error), _raised_by_the_call(error)
    if render_mode is not None and "unexpected keyword argument 'render_mode'" in text:
        return (
            f"environment {name!r} cannot be recorded: it takes no render_mode, and a video needs one made with "
            f"render_mode={render_mode!r}"
        )
    asked = re.search(r"missing \d+ required .*?arguments?: (.*)", text) if called else None
    if asked:
        return f"environment {name!r} raised TypeError while it was made: {text}; {_give(asked[1])}"
    return f"environment {name!r} raised {type(error).__name__} while it was made{told(error)}"


def _raised_by_the_call(error: BaseException) -> bool:
    """Whether the constructor was called wrongly: the code that raised is Gymnasium's, or polyak's own."""
    return isinstance(error, TypeError) and all(
        module.partition(".")[0] == "gymnasium" for module, _, _ in code_that_raised(error)[-1:]
    )


def _give(arguments: str) -> str:
    given = ", ".join(f"{each}=..." for each in re.findall(r"'(\w+)'", arguments))
    return (
        f"give it by gymnasium.register(..., kwargs=dict({given})) in a file of your own, named as my_file:Id, or from "
        f"Python by a callable: lambda: MyEnv({given})"
    )
