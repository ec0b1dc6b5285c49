"""Environments by their id: the module that registers it is imported; an unknown one is answered with what there is."""

import difflib
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any, cast

import gymnasium

from polyak.environments.names import id_of, module_of
from polyak.errors import UsageError
from polyak.system.foreign import foreign, message_of, not_imported

SHOWN = 8
"""Ids that a message lists at most."""
ROBOTICS = ("gymnasium_robotics", "gymnasium-robotics", '"polyak[robotics]"')
ELSEWHERE = (
    (r"Fetch(Reach|Push|Slide|Pick)|Hand(Reach|Manipulate)|Adroit|(Point|Ant)Maze_|FrankaKitchen", *ROBOTICS),
    (r"Panda(Reach|Push|Slide|PickAndPlace|Stack|Flip)", "panda_gym", "panda-gym", "panda-gym"),
    (r"parking-v|racetrack-", "highway_env", "highway-env", "highway-env"),
)
"""How ids begin that people ask for without their module; the module that registers them, its package, the install."""
_brought: dict[str, set[str]] = {}
"""The ids that each module registered when it was imported here."""


def registered(name: str) -> str:
    """The id in `name` (`module:Id`, or an id alone) as Gymnasium's registry has it, once its module is imported.

    Raises:
        UsageError: the module cannot be imported, or the id is unknown.
    """
    module, plain = module_of(name), id_of(name)
    if module:
        _import(name, module)
    if plain not in gymnasium.registry:
        raise UsageError(_unknown(name, module, plain))
    return plain


def _import(name: str, module: str) -> None:
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts) or (parts[-1] == "py" and len(parts) > 1):
        if re.fullmatch(r"\w[\w.-]*\w", module) and "-" in module and not module.endswith(".py"):
            raise UsageError(f"environment {name!r}: cannot import {module!r}; install it or mend the name")
        raise UsageError(
            f"environment {name!r}: {module!r} is no module's name: write {_as_module(module)}:{id_of(name) or 'Id'}"
        )
    before = set(gymnasium.registry)
    with foreign(lambda error: _not_imported(name, module, error)):
        importlib.import_module(module)
    _brought.setdefault(module, set()).update(set(gymnasium.registry) - before)


def _as_module(path: str) -> str:
    """What a file is imported as, where that can be told from its path; else what that looks like."""
    file = PurePath(path)
    dotted = ".".join(file.with_suffix("").parts)
    if file.suffix == ".py" and all(part.isidentifier() for part in dotted.split(".")):
        return dotted
    if file.suffix == ".py" and file.is_absolute() and file.stem.isidentifier():
        return f"in the folder {file.parent}, {file.stem}"
    return "my_file:Id for an Id that my_file.py registers, my_folder.my_file:Id for one in a folder; here my_file"


def _not_imported(name: str, module: str, error: BaseException) -> str:
    said = not_imported(f"environment {name!r}", module, error)
    install = next((install for _, known, _, install in ELSEWHERE if known == module), "")
    absent = install and isinstance(error, ModuleNotFoundError) and error.name == module
    return f"{said}: pip install {install}" if absent else said


def _elsewhere(plain: str) -> str:
    """What to write for an id that a package is known to register, if one is."""
    for pattern, module, package, install in ELSEWHERE:
        if re.match(pattern, plain):
            absent = "" if find_spec(module) else f", once it is installed (pip install {install})"
            return f"It is one of {package}'s, named with its module: {module}:{plain}{absent}"
    return ""


def _unknown(name: str, module: str, plain: str) -> str:
    said = f"unknown environment {name!r}."
    if module:
        return f"{said} {_of_module(module, plain)}"
    near = _nearest(plain, gymnasium.registry)
    if not near and (known := _elsewhere(plain)):
        return f"{said} {known}"
    hint = f" Did you mean {' or '.join(map(_with_module, near))}?" if near else ""
    return (
        f"{said}{hint} One that another package or a file registers is named with its module, as in "
        f"gymnasium_robotics:FetchReach-v4 (here module:{plain}); `gymnasium.pprint_registry()` lists Gymnasium's own"
    )


def _of_module(module: str, plain: str) -> str:
    """What a module that was imported has, where `plain` is not among it."""
    known = _ids_of(module)
    if not known:
        return (
            f"{module!r} was imported and registered no environment: look for a submodule that does"
            f"{_submodules(module)}, or call its register function{_register_functions(module)} in a file of your own "
            f"and name that (my_file:{plain or 'Id'})"
        )
    near = _nearest(plain, known) or (known if len(known) == 1 else [])
    hint = f"Did you mean {' or '.join(f'{module}:{each}' for each in near)}? " if near else ""
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"{hint}{module!r} registered {', '.join(known[:SHOWN])}{more}"


def _ids_of(module: str) -> list[str]:
    """What a module registered: when it was imported here, or else, what is made by its package's code."""
    top = module.partition(".")[0]
    own = {name for name, spec in gymnasium.registry.items() if package_of(spec) == top}
    return sorted((own | _brought.get(module, set())) & gymnasium.registry.keys())


def package_of(spec: Any) -> str:
    """The top package of the code that makes an environment."""
    made_by: Any = spec.entry_point or spec.vector_entry_point
    where = made_by if isinstance(made_by, str) else getattr(getattr(made_by, "func", made_by), "__module__", None)
    return str(where or "").partition(":")[0].partition(".")[0]


def _with_module(known: str) -> str:
    """A registered id as it must be asked for: Gymnasium's own as it is, another's with its module."""
    top = package_of(gymnasium.registry[known])
    return known if top in ("", "gymnasium") or top not in sys.modules else f"{top}:{known}"


def _nearest(plain: str, names: Iterable[str]) -> list[str]:
    known = list(names)
    base = plain.partition("-v")[0].lower()
    same = [each for each in known if each.partition("-v")[0].lower() == base]
    return sorted(same, reverse=True)[:3] or difflib.get_close_matches(plain, known, n=3, cutoff=0.75)


def _submodules(module: str) -> str:
    places = getattr(sys.modules[module], "__path__", None)
    names = [each.name for each in pkgutil.iter_modules(places) if not each.name.startswith("_")] if places else []
    return f" (it has {', '.join(f'{module}.{name}' for name in names[:SHOWN])})" if names else ""


def _register_functions(module: str) -> str:
    names = [name for name, value in [*vars(sys.modules[module]).items()] if "register" in name and callable(value)]
    public = [f"{module}.{name}" for name in names if not name.startswith("_") and name != "register"]
    return f" ({', '.join(public[:3])})" if public else ""


def remedy(name: str, error: Exception) -> str:
    """What to install for a registered environment that says that something is missing."""
    entry = str(cast(Any, gymnasium.registry[name]).entry_point)
    for extra in ("box2d", "mujoco"):
        if f"envs.{extra}" in entry:
            return f'pip install "polyak[{extra}]"'
    return message_of(error)
