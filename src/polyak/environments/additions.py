"""What is added to an environment: arguments of its constructor, wrappers by their names, how long an action lasts."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium

from polyak.errors import UsageError
from polyak.system.foreign import foreign, not_imported, told

RESERVED = {
    "render_mode": "polyak chooses it where it records",
    "max_episode_steps": "it is a setting of its own, --max-episode-steps",
    "id": "the environment itself is named first",
    "disable_env_checker": "polyak checks by itself what an environment returns",
    "vectorization_mode": "it is an option of its own, --vectorization",
}
"""Arguments that are no environment's to be given, and why."""


@dataclass(frozen=True)
class Additions:
    """What an environment has besides what its id says."""

    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of its constructor, over those that it is registered with; of ids alone."""
    wrappers: tuple[str, ...] = ()
    """`module:Class` of each wrapper, the innermost first; of ids alone."""
    action_repeat: int = 1
    """Its own steps that each action is taken for, where it is stepped (`Guard`)."""
    hindsight: bool = False
    """Whether it is to have goals, which are read for others to be set in hindsight (`polyak.environments.goals`)."""
    parts: tuple[str, ...] = ()
    """Otherwise, where it shows a dictionary that has them all: the parts that are read, in this order."""


NOTHING = Additions()


def require_names(additions: Additions, environment: object) -> None:
    """Check what can be checked before anything is imported.

    Raises:
        UsageError: the environment is none that Gymnasium makes of an id, an argument is not to be given so, or a
            wrapper is not named as module:Class.
    """
    given = {"environment_settings": additions.settings, "wrappers": additions.wrappers}
    for name, value in given.items():
        if value and not isinstance(environment, str):
            raise UsageError(
                f"{name} is {value!s:.100}, but the environment is no id: give it there, as in lambda: "
                'MyWrapper(gymnasium.make("Pendulum-v1", g=5.0))'
            )
    for name in additions.settings.keys() & RESERVED:
        raise UsageError(f"environment_settings has {name!r}, but {RESERVED[name]}")
    for name in additions.wrappers:
        _parts(name)


def module_of_wrapper(name: str) -> str:
    """The module in `module:Class`."""
    return _parts(name)[0]


def wrapped(environment: Any, wrappers: tuple[str, ...]) -> Any:
    """The environment in each of the wrappers.

    Raises:
        UsageError: there is no such module or class, it is no wrapper, or it cannot be made with the environment alone.
    """
    for name in wrappers:
        kind = _class(name)
        with foreign(lambda error, name=name: _not_made(name, error)):
            environment = kind(environment)
    return environment


def _parts(name: str) -> tuple[str, str]:
    module, _, kind = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), kind]) or module.endswith(".py"):
        raise UsageError(
            f"wrapper {name!r} is not named as module:Class: write gymnasium.wrappers:FlattenObservation, or "
            "my_file:MyWrapper for one in my_file.py"
        )
    return module, kind


def _class(name: str) -> Any:
    module, called = _parts(name)
    with foreign(lambda error: not_imported(f"wrapper {name!r}", module, error)):
        kind: Any = getattr(importlib.import_module(module), called, None)
    if not isinstance(kind, type) or not issubclass(kind, gymnasium.Wrapper):
        found = "has no such name" if kind is None else f"has {type(cast(Any, kind)).__name__} {called} there"
        if isinstance(kind, type):
            found = f"has a class {called}, which is none"
        raise UsageError(f"wrapper {name!r} must be a class of gymnasium.Wrapper, but {module!r} {found}")
    return cast(Any, kind)


def _not_made(name: str, error: BaseException) -> str:
    said = f"wrapper {name!r} raised {type(error).__name__} around the environment{told(error)}"
    if isinstance(error, TypeError) and "required" in str(error) and "argument" in str(error):
        _, kind = _parts(name)
        return (
            f"{said}; it is given the environment alone: write a class of your own that fills in the rest, as class "
            f"Mine({kind}) with `def __init__(self, env): super().__init__(env, ...)`, and name that (my_file:Mine)"
        )
    return said
