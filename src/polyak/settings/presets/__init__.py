"""Presets: named sets of settings, each value with its source, as the TOML files beside this one.

`general` is for environments that none is tuned for, `book` the chapter's, `paper` each paper's, `sbx` CrossQ's of two
other libraries, `simba` SAC's with residual blocks, `defaults` what an algorithm has without any; every other name is
an environment that a file is tuned for. A file reads

    environments = ["Swimmer-v5"]                       # what it is tuned for; absent from general ones
    algorithms = ["ddpg", "td3", "sac"]                 # those of polyak that have what is outside of tables
    batch_size = { value = 256, source = "zoo" }        # for all of these; a bare `batch_size = 256` does as well
    [sac]                                               # for one algorithm, over the former
    ["my_folder.my_algorithm"]                          # for one of the user's own, by its module, in quotes
    [only.Swimmer-v5], [only.Swimmer-v5.sac]            # for one environment, over both
    [droq], [only.Swimmer-v5.droq]                      # for one that is named after a preset, over its own file
    [sources]
    zoo = "where every value that says `zoo` comes from"

Noise with `unit = "environment"` is divided by the action's half-range, since polyak's settings state fractions of it.
A setting that a file leaves out keeps the default of the algorithm's `Config`. Without `algorithms`, its values are for
every algorithm; a user's own always has them.
"""

import functools
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike

from polyak.algorithm import Algorithm
from polyak.algorithms import names as algorithms_there
from polyak.algorithms import presets_by_name
from polyak.errors import UsageError
from polyak.settings.names import hint, nearest
from polyak.system.files import read_plain_file

SIZE_LIMIT = 100_000
"""Bytes of a preset's file at most."""
Table = dict[str, Any]
DEFAULTS = "defaults"
"""The preset that sets nothing."""
GENERAL = "general"
"""The preset for an environment that none is tuned for."""
STRUCTURE = ("environments", "algorithms", "sources", "only", *algorithms_there())
"""Keys of a file that are not settings; besides them, names with a dot are those of users' algorithms."""


@dataclass(frozen=True)
class Preset:
    """The settings that a preset gives one algorithm in one environment."""

    name: str
    algorithm: str
    values: dict[str, Any]
    """Setting -> plain value, ready for `Config(**values)`."""
    sources: dict[str, str]
    """Setting -> where its value comes from."""
    in_environment_units: tuple[str, ...] = ()
    """Settings of noise whose values are not fractions of the action's half-range yet; see `fraction`."""


def names() -> tuple[str, ...]:
    """Every preset that polyak ships: the general ones, then the environments with tuned settings."""
    return tuple(sorted([DEFAULTS, *_shipped()], key=lambda name: (_tuned(name), name)))


def default_for(environment: str, algorithm: str) -> str:
    """The preset of an environment (`Id` or `module:Id`) that an algorithm gets where none is asked for.

    It is the one that is tuned for the environment, if it says anything of the algorithm. Else it is `general` for
    those of polyak's that its `algorithms` lists, and an algorithm's own defaults for others.
    """
    identity = environment.rpartition(":")[2]
    if _tuned(identity) and any(_entries(_shipped()[identity], algorithm, identity, identity)):
        return identity
    return GENERAL if algorithm in _chosen_for(_shipped()[GENERAL], GENERAL) else DEFAULTS


def untuned(environment: str) -> str:
    """What is said of an environment that no preset is tuned for, with the nearest that has one; empty of others."""
    identity = environment.rpartition(":")[2]
    if _tuned(identity):
        return ""
    near = nearest(identity, [name for name in names() if _tuned(name)])
    meant = f" (did you mean {near}?)" if near else ""
    return f"there is no preset for {environment}{meant}: a general one is in force"


def load(
    name: str, algorithm: Algorithm, environment: str, half_range: Callable[[], ArrayLike] | None = None
) -> Preset:
    """The settings of preset `name`, or of the user's own file where `name` ends in `.toml`.

    Args:
        name: one of `names()`, also for another environment than its own, or the path of a TOML file.
        algorithm: that for whose settings it is.
        environment: what will be trained on, as `Id` or `module:Id`.
        half_range: gives [A], half the width of each action's range; asked only for noise in environment units. Without
            it, such noise is left as it is, and named.

    Raises:
        UsageError: no such preset or setting; a value of the wrong kind; noise that cannot be converted.
    """
    document = _own(name) if name.endswith(".toml") else {} if name == DEFAULTS else _shipped().get(name)
    if document is None:
        raise UsageError(
            f"unknown preset {name!r}{_meant(name)}: polyak has {', '.join(names())};"
            " a name that ends in .toml is the path of a file of your own"
        )
    kinds = get_type_hints(algorithm.Config)
    values, sources, units = dict[str, Any](), dict[str, str](), dict[str, bool]()
    only = name if _tuned(name) else environment.rpartition(":")[2]
    for setting, entry, origin, texts in _layers(document, algorithm.name, only, name):
        what = f"preset {origin}: {setting}"
        if setting not in kinds:
            raise UsageError(f"{what} is no setting of {algorithm.name}{_hint(setting, entry, kinds, algorithm.name)}")
        table = cast(Table, entry) if isinstance(entry, dict) else {"value": entry}
        if "value" not in table or not table.keys() <= {"value", "unit", "source"}:
            raise UsageError(f"{what} is {table!r}, but must have a value, may have a unit and a source, and no more")
        value = _plain(what, table["value"], _present(kinds[setting]))
        if "unit" in table:
            if table["unit"] != "environment" or "noise" not in setting:
                raise UsageError(f"{what} has unit {table['unit']!r}: only noise may have one, and it is 'environment'")
            if half_range is not None:
                value = fraction(what, cast(float, value), half_range(), environment)
        units[setting] = "unit" in table and half_range is None  # of the last entry, which is in force
        source = str(table.get("source", f"preset {origin}"))
        values[setting], sources[setting] = value, str(texts.get(source, source))
    return Preset(name, algorithm.name, values, sources, tuple(name for name, left in units.items() if left))


@functools.cache
def _shipped() -> dict[str, Table]:
    """Every preset's file by the preset's name: the environments it is tuned for, or its own name where it has none."""
    shipped: dict[str, Table] = {}
    for name, document in _files().items():
        if name not in presets_by_name():  # these are asked for as algorithms
            shipped.update(dict.fromkeys(document.get("environments", [name]), document))
    return shipped


@functools.cache
def _files() -> dict[str, Table]:
    """The content of each file, by its name."""
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".toml")]
    return {file.name.removesuffix(".toml"): tomllib.loads(file.read_text(encoding="utf-8")) for file in files}


def _tuned(name: str) -> bool:
    return "environments" in _shipped().get(name, {})


def _own(path: str) -> Table:
    try:
        return tomllib.loads(read_plain_file(Path(path).expanduser(), SIZE_LIMIT, follow=True).decode())
    except (UsageError, RuntimeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"preset {path} cannot be read: {error}") from error


def _layers(document: Table, algorithm: str, environment: str, origin: str) -> Iterator[tuple[str, Any, str, Table]]:
    """The entries of a file, over those of the preset that the algorithm is named after, if there is one.

    Each comes with the name of its file, and what that file says of sources.
    """
    named = {algorithm: _files()[algorithm]} if algorithm in presets_by_name() else {}
    for name, each in (*named.items(), (origin, document)):
        texts = _table(each, "sources", name)
        yield from ((setting, entry, name, texts) for setting, entry in _entries(each, algorithm, environment, name))


def _entries(document: Table, algorithm: str, environment: str, origin: str) -> Iterator[tuple[str, Any]]:
    """Every setting and what the file says of it, the more special after the more general."""
    only = _table(_table(document, "only", origin), environment, origin)
    others = {*algorithms_there()} - {*_chosen_for(document, origin)}
    for level in (document, only):
        other = (*STRUCTURE, algorithm)
        if algorithm not in others:
            yield from ((key, entry) for key, entry in level.items() if key not in other and "." not in key)
        yield from _table(level, algorithm, origin).items()


def _chosen_for(document: Table, origin: str) -> list[str]:
    """Polyak's own algorithms that have what stands outside of tables."""
    given: Any = document.get("algorithms", [*algorithms_there()])
    if isinstance(given, list) and all(each in algorithms_there() for each in cast(list[Any], given)):
        return cast(list[str], given)
    there = ", ".join(algorithms_there())
    raise UsageError(f"preset {origin}: algorithms is {given!r}, but must be a list among: {there}")


def _table(parent: Table, key: str, origin: str) -> Table:
    table: Any = parent.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"preset {origin}: {key} is {table!r}, but must be a table: [{key}]")
    return cast(Table, table)


def _hint(setting: str, entry: object, kinds: Iterable[str], algorithm: str) -> str:
    """What may have been meant by a key that is no setting."""
    if not isinstance(entry, dict) or "value" in entry or nearest(setting, STRUCTURE):
        answer = hint(setting, (*kinds, *STRUCTURE), algorithm)
        return f" ({answer})" if answer else ""
    inner = [name for name, value in cast(Table, entry).items() if isinstance(value, dict)]
    dotted = f"{setting}.{inner[0]}" if inner else f"my_folder.{setting}"
    return f'; the table of an algorithm of your own has the dotted name of its module, in quotes: ["{dotted}"]'


def _meant(name: str) -> str:
    near = nearest(name, names())
    return f" (did you mean {near!r}?)" if near else ""


def _present(kind: Any) -> Any:
    """A kind without None, which TOML cannot say."""
    one_of = get_origin(kind) in (Union, UnionType)
    return next(each for each in get_args(kind) if each is not NoneType) if one_of else kind


def _plain(what: str, value: object, kind: Any) -> object:
    """A TOML value as the kind of Python value that the setting's annotation asks for."""
    if get_origin(kind) is tuple:
        if isinstance(value, list):
            return tuple(_plain(what, item, get_args(kind)[0]) for item in cast(list[object], value))
    elif isinstance(value, bool) or kind is bool:
        if isinstance(value, bool) and kind is bool:
            return value
    elif isinstance(value, str):
        if kind is str or get_origin(kind) is Literal:
            return value
    elif isinstance(value, int | float):
        if kind is float:
            return float(value)
        if value % 1 == 0:  # 1e6 is a float in TOML
            return int(value)
    raise UsageError(f"{what} is {value!r}, but must be of kind {getattr(kind, '__name__', kind)}")


def fraction(what: str, noise: float, half_range: ArrayLike, environment: str) -> float:
    """Noise in environment units as a fraction of the one half-range of all actions, [A].

    Raises:
        UsageError: they have no such; `what` says which noise it is.
    """
    ranges = np.ravel(np.asarray(half_range, np.float64))
    if ranges.size and 0 < ranges[0] < np.inf and np.allclose(ranges, ranges[0]):
        return noise / float(ranges[0])
    shown = ", ".join(f"{value:g}" for value in ranges) or "unknown"
    raise UsageError(
        f"{what} is one number in environment units, but the half-ranges of {environment}'s actions are {shown}: it"
        " takes one that all share. Choose another preset, or set the noise as a fraction of the half-range"
    )
