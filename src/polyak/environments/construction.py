"""A single environment as its author's code makes it, what is missing in it, and what that code raised."""

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import TimeLimit

from polyak.environments.additions import NOTHING, RESERVED, Additions, wrapped
from polyak.environments.closing import close
from polyak.environments.names import id_of
from polyak.environments.registry import ROBOTICS, package_of, registered, remedy
from polyak.environments.rewards import require_one_number
from polyak.environments.simulators import let_mujoco_warn_by_python
from polyak.errors import UsageError
from polyak.settings.options import NO_SETTINGS
from polyak.system.foreign import code_that_raised, message_of, missing, told

NO_LIMIT = -1
"""With which Gymnasium puts no time limit around an environment."""
FAILING_MUJOCO = 3, 12
"""From this version on, models of gymnasium-robotics 1.4.2 are other than its constructors believe."""


def name_of(make: Callable[..., Any]) -> str:
    """A callable's name in messages."""
    return getattr(make, "__qualname__", None) or repr(make)


def make_by_call(make: Callable[..., Any], render_mode: str | None, settings: Mapping[str, Any] = NO_SETTINGS) -> Any:
    """What a callable makes of `settings`; it is given the render mode if it takes one.

    Raises:
        UsageError: it is no callable, takes none of these settings, or makes no environment.
    """
    if not callable(make):
        raise UsageError(
            f"environment is {_a(make)}, but must be an id (Pendulum-v1), module:Id, or a callable that makes a new "
            "environment each time it is called"
        )
    for name in settings:
        if not _takes(make, name):
            raise UsageError(
                f"what makes the environment takes no argument {name!r}: write one that does, as in lambda {name}=...: "
                f"MyEnv({name}={name})"
            )
    shown = {} if render_mode is None or not _takes(make, "render_mode") else {"render_mode": render_mode}
    let_mujoco_warn_by_python()  # which has been imported by now, where the callable uses it
    made: Any = make(**shown, **settings)
    if not isinstance(made, gymnasium.Env | VectorEnv):
        kind = "one of the old gym" if type(made).__module__.partition(".")[0] == "gym" else _a(made)
        raise UsageError(f"{make!r} made {kind}, but must make a gymnasium.Env or VectorEnv")
    return cast(Any, made)


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def _takes(make: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # of some built-in callables nothing is known
        return False
    return any(each.name == name or each.kind is each.VAR_KEYWORD for each in parameters)


def make_registered(
    name: str, max_episode_steps: int | None, render_mode: str | None, additions: Additions = NOTHING
) -> Any:
    """The environment of an id (`module:Id`), with its wrappers and what is added to it, and the time limit around all.

    Raises:
        UsageError: there is no such id, something that it needs is missing, or something cannot be added.
    """
    if additions.wrappers:
        made = make_registered(name, NO_LIMIT, render_mode, Additions(additions.settings))
        try:
            limit = max_episode_steps or gymnasium.registry[registered(name)].max_episode_steps
            made = wrapped(made, additions.wrappers)
            return made if limit is None else TimeLimit(made, limit)
        except BaseException:
            close(made)
            raise
    plain = registered(name)
    options: dict[str, Any] = {"max_episode_steps": max_episode_steps, "disable_env_checker": True}
    options |= additions.settings
    if render_mode is not None:
        options["render_mode"] = render_mode
    try:
        creator = gymnasium.registry[plain].entry_point
        if isinstance(creator, str):
            load_env_creator(creator)  # which imports the simulator
        let_mujoco_warn_by_python()
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


def not_made(
    name: str, error: BaseException, render_mode: str | None = None, settings: Mapping[str, Any] = NO_SETTINGS
) -> str:
    """What to say of an error in the code that makes an environment, with these settings given."""
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
    unknown = [each for each in settings if f"unexpected keyword argument {each!r}" in text] if called else []
    if unknown:
        return f"environment {name!r} takes no argument {unknown[0]!r} (environment_settings){_arguments(name)}"
    asked = re.search(r"missing \d+ required .*?arguments?: (.*)", text) if called else None
    if asked:
        return f"environment {name!r} raised TypeError while it was made: {text}; {_give(asked[1])}"
    return f"environment {name!r} raised {type(error).__name__} while it was made{told(error)}{_too_new(name)}"


def _too_new(name: str) -> str:
    """What helps where gymnasium-robotics has not come after a new MuJoCo, as the end of a sentence."""
    spec, mujoco = gymnasium.registry.get(id_of(name)), sys.modules.get("mujoco")
    if spec is None or mujoco is None or package_of(spec) != ROBOTICS[0]:
        return ""
    version = str(mujoco.__version__)
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < FAILING_MUJOCO:
        return ""
    return f"; Fetch and the hands fail from MuJoCo 3.12 on, and {version} is installed: pip install {ROBOTICS[2]}"


def _arguments(name: str) -> str:
    """Those that an id's constructor names, as the end of a sentence."""
    made_by: Any = gymnasium.registry[registered(name)].entry_point
    with suppress(Exception):  # it is a stranger's, and only a help
        parameters = inspect.signature(load_env_creator(made_by) if isinstance(made_by, str) else made_by).parameters
        named = [
            each.name for each in parameters.values() if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        shown = [each for each in named if each not in RESERVED]
        return f"; it takes {', '.join(shown)}" if shown else "; it takes none"
    return ""


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
