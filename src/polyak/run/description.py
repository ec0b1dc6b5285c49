"""What `settings.json` says of a run, checked as a whole where it is read: it may be a stranger's."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, cast, get_args, get_type_hints

from polyak.errors import UsageError
from polyak.settings.shared import Settings
from polyak.types import Spec

LARGEST = 2**63
"""Whole numbers are smaller than this."""
SHOWN = 60
"""Characters of a wrong value that are shown."""


@dataclass(frozen=True)
class Kind:
    """What a field may hold."""

    words: str
    holds: Callable[[Any], bool]


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value < LARGEST


def _number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < LARGEST)


def is_text(value: Any) -> bool:
    """A text that can be shown in a line: JSON can spell halves of characters and what moves a terminal's cursor."""
    return isinstance(value, str) and value.isprintable()


def _path(value: str) -> bool:
    """A path may hold bytes that are no text, which Python spells as halves of characters of their own."""
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


def _plain(value: Any) -> bool:
    """What JSON can hold and a reader may show."""
    if isinstance(value, list | tuple | dict):
        return _listed(_plain)(value) or _table(_plain)(value)
    return value is None or isinstance(value, bool) or _number(value) or is_text(value)


def _setting(value: Any) -> bool:
    """A number, a word, or a list of these."""
    inner: Sequence[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    return all(_plain(each) and not isinstance(each, list | dict) for each in inner)


def _or_none(kind: Kind) -> Kind:
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.holds(value))


TEXT = Kind("printable text", is_text)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a number", _number)
COUNT = Kind("a whole number of at least 1", _whole(1))
PATH = Kind("a path", lambda value: isinstance(value, str) and _path(value))

NEEDED = {
    "algorithm": TEXT,
    "environment": TEXT,
    "environment_is_callable": TRUTH,
    "backend": TEXT,
    "preset": TEXT,
    "seed": Kind("a whole number of at least 0", _whole(0)),
    "envs": COUNT,
    "vectorization": TEXT,
    "threads": _or_none(COUNT),
    "settings": Kind("a table of numbers and words", _table(_setting)),
    "versions": Kind("a table of texts", _table(is_text)),
    "machine": Kind("a table of numbers and texts", _table(_setting)),
}
"""Fields that every run has had since the first, and what they hold."""
OTHERS = {
    "device": _or_none(TEXT),
    "fast": TRUTH,
    "from_run": _or_none(PATH),
    "stop_at_return": _or_none(NUMBER),
    "checkpoint_every": _or_none(COUNT),
    "step_timeout": _or_none(NUMBER),
    "track": Kind("a list of texts", _listed(is_text)),
    "resumed": Kind("a list of tables", _listed(_table(_plain))),
    "together": COUNT,
}
"""Fields that some runs have."""
SETTINGS = ("steps", "max_episode_steps")
"""Those within `settings` that readers take without asking."""


def require_description(found: Mapping[str, Any], where: str) -> None:
    """Check the kinds of all that describes a run, so that no reader meets another.

    Raises:
        UsageError: a field is missing, or holds what it cannot; `where` and the field are named.
    """
    try:
        _require_fields(found, where)
        _require_settings(found["settings"], where)
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


def _require_fields(found: Mapping[str, Any], where: str) -> None:
    for name in NEEDED:
        if name not in found:
            raise UsageError(f"{where} is not the settings of a run: it has no {name}")
    for name, value in found.items():
        kind = NEEDED.get(name) or OTHERS.get(name) or Kind("plain values", _plain)
        if not is_text(name) or not kind.holds(value):
            raise _wrong(where, name, value, kind.words)


def _require_settings(settings: Mapping[str, Any], where: str) -> None:
    kinds = get_type_hints(Settings)
    for name in SETTINGS:
        if name not in settings:
            raise UsageError(f"{where} is not the settings of a run: it has no settings.{name}")
    for name in kinds.keys() & settings.keys():
        if not _fits(settings[name], kinds[name]):
            raise _wrong(where, f"settings.{name}", settings[name], _words(kinds[name]))
    for name in ("steps", "evaluation_episodes", "max_episode_steps"):
        value = settings.get(name)
        if value is not None and value < 1:
            raise _wrong(where, f"settings.{name}", value, "at least 1")


def _fits(value: Any, annotated: Any) -> bool:
    """Whether JSON's value is one for a field of `Settings` that is annotated so."""
    kinds = get_args(annotated) or (annotated,)
    if value is None:
        return NoneType in kinds
    if Ellipsis in kinds:
        return _listed(_whole(0))(value)
    if bool in kinds or isinstance(value, bool):
        return bool in kinds and isinstance(value, bool)
    if float in kinds:
        return _number(value) and math.isfinite(value)
    return _whole(-LARGEST)(value) if int in kinds else is_text(value)


def _words(annotated: Any) -> str:
    kinds = get_args(annotated) or (annotated,)
    words = {int: "a whole number", float: "a finite number", bool: "true or false"}
    named = next((words[kind] for kind in kinds if kind in words), "text")
    named = "a list of whole numbers" if Ellipsis in kinds else named
    return f"{named}, or null" if NoneType in kinds else named


def _wrong(where: str, name: str, value: object, limit: str) -> UsageError:
    shown = ascii(value)
    shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."
    return UsageError(f"{where} is not the settings of a run: {name} is {shown}, but must be {limit}")
