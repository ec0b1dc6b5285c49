"""`settings.json`: what it says of a run, written; and checked as a whole where it is read: it may be a stranger's."""

import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import polyak
from polyak.errors import UnreadableError, UsageError
from polyak.settings.kinds import Count, Limit
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


# Writing


def stamped(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings with what its folder says besides: the format, the versions and the machine of now."""
    named = {name: value if name == "from_run" else _as_text(value) for name, value in settings.items()}
    return {"format": VERSION, **named, "versions": _versions(), "machine": _machine()}


def _as_text(value: Any) -> Any:
    """A name as it can be shown in a line: that of a file may hold bytes that are no text."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in value)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "polyak": polyak.__version__}
    for package in ("numpy", "gymnasium", "jax", "jaxlib", "torch", "tensorflow", "mujoco", "box2d"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


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
        if not file.exists():
            raise UsageError(f"{file.parent} is not a run: it has no settings.json") from error
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


def _require(
    table: Mapping[str, Any], needed: Sequence[str], kinds: "Mapping[str, Kind]", where: str, prefix: str
) -> None:
    for name in needed:
        if name not in table:
            raise UsageError(f"{where} is not the settings of a run: it has no {prefix}{name}")
    for name, value in table.items():
        kind = kinds.get(name, PLAIN)
        if not is_text(name) or not kind.holds(value):
            shown = ascii(value)
            shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."
            raise UsageError(
                f"{where} is not the settings of a run: {prefix}{name} is {shown}, but must be {kind.words}"
            )


# What a field may hold


@dataclass(frozen=True)
class Kind:
    """What a field may hold."""

    words: str
    holds: Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """A text that can be shown in a line: JSON can spell halves of characters and what moves a terminal's cursor."""
    return isinstance(value, str) and value.isprintable()


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < LARGEST)


def _is_path(value: Any) -> bool:
    """A path may hold bytes that are no text, which Python spells as halves of characters of their own."""
    if not isinstance(value, str):
        return False
    return not any("\ud800" <= letter < "\udc80" or "\udcff" < letter <= "\udfff" for letter in value)


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
    return value is None or isinstance(value, bool) or _is_number(value) or is_text(value)


def _is_setting(value: Any) -> bool:
    """A number, a word, or a list of these."""
    inner: Sequence[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    return all(_is_plain(each) and not isinstance(each, list | dict) for each in inner)


PLAIN = Kind("plain values", _is_plain)
TEXT = Kind("printable text", is_text)
WHOLE = Kind("a whole number", lambda value: type(value) is int and abs(value) < LARGEST)
FINITE = Kind("a finite number", lambda value: _is_number(value) and math.isfinite(value))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
PATH = Kind("a path", _is_path)
KINDS_OF: Mapping[Any, Kind] = {int: WHOLE, float: FINITE, bool: TRUTH, str: TEXT, Path: PATH}


def kind_of(annotation: Any, least: Limit | None = None) -> Kind:
    """What JSON may hold of an option or setting that is declared so; a word need not be one that is known today."""
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        lower = (note for note in notes if isinstance(note, Limit) and note.text.startswith("at least"))
        return kind_of(annotation, next(lower, least))
    if get_origin(annotation) in (Union, UnionType):
        (inner,) = (kind_of(each, least) for each in get_args(annotation) if each is not NoneType)
        return Kind(f"{inner.words}, or null", lambda value: value is None or inner.holds(value))
    if get_origin(annotation) is tuple:
        each = kind_of(get_args(annotation)[0])
        words = each.words.removeprefix("a ").removeprefix("printable ")
        return Kind(f"a list of {words}s", _listed(each.holds))
    kind = TEXT if get_origin(annotation) is Literal else KINDS_OF.get(annotation, PLAIN)
    if least is None:
        return kind
    words = f"{kind.words} of {least.text.partition(', or None')[0]}"
    return Kind(words, lambda value: kind.holds(value) and least.holds(value))


TABLE = Kind("a table of numbers and words", _table(_is_setting))
FACTS = {
    "algorithm": TEXT,
    "environment": TEXT,
    "environment_is_callable": TRUTH,
    "settings": TABLE,
    "versions": Kind("a table of texts", _table(is_text)),
    "machine": Kind("a table of numbers and texts", _table(_is_setting)),
}
"""What a run says besides its options, since the first."""
FIELDS: Mapping[str, Kind] = {
    **{name: kind_of(kind) for name, kind in KINDS.items()},
    **FACTS,
    "resumed": Kind("a list of tables", _listed(_table(_is_plain))),
    "together": kind_of(Count),
}
SETTINGS: Mapping[str, Kind] = {
    name: kind_of(kind) for name, kind in get_type_hints(Settings, include_extras=True).items()
}
NEEDED = (*FACTS, *EARLIEST)
SETTINGS_NEEDED = ("steps", "max_episode_steps")
"""Those that readers take without asking."""
