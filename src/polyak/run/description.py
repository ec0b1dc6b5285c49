"""`settings.json`: what it says of a run, written; and checked as a whole where it is read: it may be a stranger's."""

import datetime
import json
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import polyak
from polyak.errors import UnreadableError, UsageError
from polyak.settings.kinds import Count, checked, require
from polyak.settings.options import EARLIEST, KINDS
from polyak.settings.shared import Settings
from polyak.system.files import read_plain_file, write_atomically
from polyak.system.threads import physical_cores
from polyak.types import Spec

VERSION = 1
SIZE_LIMIT = 1_000_000
"""Bytes of the file at most."""
LARGEST = 2**63
"""Whole numbers are smaller than this."""
SHOWN = 60
"""Characters of a wrong value that are shown."""
_NAME = r"[^\W_][\w+.=-]{0,199}"
PLACE = re.compile(rf"{_NAME}(/{_NAME}){{0,3}}")
"""Where a run lies below a folder of runs, and below a mirror: by plain names, which lead to nowhere else."""


# Writing


def stamped(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings with what its folder says besides: the format, the versions and the machine of now."""
    named = {name: value if name == "from_run" else _as_text(value) for name, value in settings.items()}
    machine = {**_machine(), **settings.get("machine", {})}
    return {"format": VERSION, **named, "versions": _versions(), "machine": machine}


def _as_text(value: Any) -> Any:
    """A name as it can be shown in a line: that of a file may hold bytes that are no text."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in value)


def _versions() -> dict[str, str]:
    packages = ("numpy", "gymnasium", "jax", "jaxlib", "torch", "tensorflow", "mujoco", "box2d")
    installed = {package: found for package in packages if (found := _installed(package)) is not None}
    return {"python": platform.python_version(), "polyak": polyak.__version__, **installed}


@cache
def _installed(package: str) -> str | None:
    """Its version, looked up once in a process."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, Any]:
    return {"system": platform.platform(), "processor": platform.machine(), "cores": physical_cores()}


def write_settings(file: Path, settings: Mapping[str, Any]) -> None:
    """Write the file; `settings` are as `stamped` gives them.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_atomically(file, (json.dumps(settings, indent=2) + "\n").encode())
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from error


# Reading


def read_settings(file: Path) -> dict[str, Any]:
    """What the file holds.

    Raises:
        UsageError: it is missing, broken, of a newer format, or a field holds what it cannot; the field is named.
    """
    try:
        settings: Any = json.loads(read_plain_file(file, SIZE_LIMIT))
    except UnreadableError as error:
        if not os.path.lexists(file):
            raise UsageError(f"{file.parent} is not a run: {_what_it_is(file.parent)}") from error
        raise
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    if not isinstance(settings, dict) or type(cast(dict[str, Any], settings).get("format")) is not int:
        raise UsageError(f"{file} is not the settings of a run")
    settings = cast(dict[str, Any], settings)
    if settings["format"] > VERSION:
        raise UsageError(
            f"{file.parent} is a run of format {settings['format']}, but this polyak reads up to {VERSION}: "
            "upgrade polyak"
        )
    require_description(settings, str(file))
    return settings


def _what_it_is(folder: Path) -> str:
    """What is at a path, where it is no run."""
    if os.path.isfile(folder):  # noqa: PTH113 - a name of any length is asked for
        if os.path.lexists(folder.parent / "settings.json"):
            return f"it is a file of one, which is {folder.parent}"
        return "it is a file; a policy's alone is played by polyak.Player(FILE, ENVIRONMENT)"
    if not os.path.isdir(folder):  # noqa: PTH112 - as above
        return "there is no such folder"
    ways = (f"{'*/' * depth}settings.json" for depth in (1, 2, 3))  # as deep as polyak makes them
    first = next((path.parent for way in ways for path in folder.glob(way)), None)
    return "it has no settings.json" + ("" if first is None else f"; it holds runs, such as {first}")


def require_description(found: Mapping[str, Any], where: str) -> None:
    """Check the kinds of all that describes a run, so that no reader meets another.

    Raises:
        UsageError: a field is missing, or holds what it cannot; `where` and the field are named.
    """
    try:
        _require(found, NEEDED, FIELDS, where, "")
        _require(found["settings"], SETTINGS_NEEDED, SETTINGS, where, "settings.")
        _ = spaces_of(found)
    except RecursionError as error:
        raise UsageError(f"{where} is not the settings of a run: it is nested too deep") from error
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UsageError(f"{where} is not the settings of a run: spaces are none: {str(error)[:SHOWN]}") from error


def spaces_of(description: Mapping[str, Any]) -> Spec | None:
    """What the run's environment shows and takes; None of a run from before that was written down."""
    spaces = description.get("spaces")
    return None if spaces is None else Spec.from_json(spaces)


def length_in(description: Mapping[str, Any]) -> int:
    """How long a run is to be, in what it counts: environment steps, or offline the updates."""
    settings = description["settings"]
    return int(settings.get("offline_updates") or settings["steps"])


def unit_in(description: Mapping[str, Any]) -> str:
    """What a run counts: "steps", or offline "updates"."""
    return "updates" if description["settings"].get("offline_updates") else "steps"


def _require(found: Mapping[str, Any], needed: Sequence[str], kinds: Mapping[str, Any], where: str, of: str) -> None:
    for name in needed:
        if name not in found:
            raise UsageError(f"{where} is not the settings of a run: it has no {of}{name}")
    for name, value in found.items():
        holds, words = OTHERS.get(name, (_is_plain, PLAIN[isinstance(value, str)]))
        try:
            require(f"{of}{name}", value, is_text(name) and holds(value), words)
            if name in kinds:
                checked(f"{of}{name}", value, kinds[name])
        except UsageError as error:
            raise UsageError(f"{where} is not the settings of a run: {error}") from error


def is_text(value: Any) -> bool:
    """A text that can be shown in a line: JSON can spell halves of characters and what moves a terminal's cursor."""
    return isinstance(value, str) and value.isprintable()


def _is_path(value: Any) -> bool:
    """A path may hold bytes that are no text, which Python spells as halves of characters of their own; or none is."""
    if not isinstance(value, str):
        return value is None
    return not any("\ud800" <= letter < "\udc80" or "\udcff" < letter <= "\udfff" for letter in value)


def _is_time(value: Any) -> bool:
    """A moment, in whatever zone of time."""
    try:
        return is_text(value) and datetime.datetime.fromisoformat(value).utcoffset() is not None
    except ValueError:
        return False


def _listed(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(each, cast(list[Any], value)))


def _table(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Of whatever names, which must be text."""

    def holds(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        return all(is_text(name) and each(inner) for name, inner in cast(dict[Any, Any], value).items())

    return holds


def _is_plain(value: Any) -> bool:
    """What JSON can hold and a reader may show."""
    if isinstance(value, list | tuple | dict):
        return _listed(_is_plain)(value) or _table(_is_plain)(value)
    number = type(value) is float or (type(value) is int and abs(value) < LARGEST)
    return value is None or isinstance(value, bool) or number or is_text(value)


def _is_setting(value: Any) -> bool:
    """A number, a word, or a list of these."""
    inner: Sequence[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    return all(_is_plain(each) and not isinstance(each, list | dict) for each in inner)


def _read(annotation: Any) -> Any:
    """An option's or setting's kind as it is read: a word may be any, for one that is not known here is a later one."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return str
    if origin is Annotated:
        return Annotated[_read(arguments[0]), *arguments[1:]]
    if origin is tuple:
        return tuple[_read(arguments[0]), ...]
    return Union[tuple(map(_read, arguments))] if origin in (Union, UnionType) else annotation  # noqa: UP007


OTHERS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "settings": (_table(_is_setting), "a table of numbers and words"),
    "versions": (_table(is_text), "a table of texts"),
    "machine": (_table(_is_setting), "a table of numbers and texts"),
    "from_run": (_is_path, "a path"),
    "environment_settings": (_table(_is_plain), "a table of plain values"),
    "begun": (_is_time, "a time, as 2026-01-31T12:00:00+00:00"),
    "place": (lambda value: is_text(value) and PLACE.fullmatch(value) is not None, "plain names with slashes between"),
    "resumed": (_listed(_table(_is_plain)), "a list of tables"),
}
PLAIN = ("plain values", "printable text")
FACTS = {"algorithm": str, "environment": str, "environment_is_callable": bool}
FIELDS = {**{name: _read(kind) for name, kind in KINDS.items()}, **FACTS, "together": Count}
NEEDED = (*FACTS, "settings", "versions", "machine", *EARLIEST)
SETTINGS = {name: _read(kind) for name, kind in get_type_hints(Settings, include_extras=True).items()}
SETTINGS_NEEDED = ("steps", "max_episode_steps")
"""Those that readers take without asking."""
