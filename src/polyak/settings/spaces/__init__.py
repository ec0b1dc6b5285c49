"""Search spaces: what a search varies and within which limits, as the TOML files beside this one.

A file is for one algorithm: its own where one here has its name, else `shared`, of which it gets what it has. Each
entry is a quantity that is drawn for every trial:

    batch_size = { choices = [64, 128, 256], source = "zoo" }             # one of these
    alpha = { low = 0.01, high = 1.0, scale = "log", source = "zoo" }     # a number between, here by its logarithm
    discount = { low = 0.9, high = 0.9999, scale = "log of 1 - value" }   # 0.99 and 0.999 as far apart as 0.9 and 0.99
    rate = { settings = ["actor_learning_rate", "critic_learning_rate"], low = 1e-5, high = 1e-2, scale = "log" }
    [sources]
    zoo = "where every entry that says `zoo` comes from"

An entry is named after its setting, or names several `settings` that share one value. A file of the user's own takes
the place of polyak's.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from polyak.algorithm import Algorithm
from polyak.errors import UsageError
from polyak.settings.kinds import checked
from polyak.settings.names import hint
from polyak.system.files import read_plain_file

SIZE_LIMIT = 100_000
"""Bytes of a space's file at most."""
Scale = Literal["linear", "log", "log of 1 - value"]
SCALES: tuple[Scale, ...] = get_args(Scale)
KEYS = ("settings", "choices", "low", "high", "scale", "source")
FIXED = {
    "steps": "it is what every trial may cost",
    "steps_per_epoch": "it says when trials are compared",
    "evaluation_episodes": "it says how exactly a trial is judged",
    "max_episode_steps": "it changes what an episode's return is",
    "action_repeat": "it changes what a step is, of which every trial may cost as many",
}
"""What no search varies, and why."""
DIGITS = 12
"""Decimal places of a value that is one minus another."""


@dataclass(frozen=True)
class Drawn:
    """A quantity that is drawn for every trial."""

    name: str
    settings: tuple[str, ...]
    """Which get its value."""
    choices: tuple[Any, ...] = ()
    """The values that there are; none where it is a number between `low` and `high`."""
    low: float = 0.0
    high: float = 0.0
    scale: Scale = "linear"
    whole: bool = False
    """Whether it is a whole number."""
    source: str = ""

    def described(self) -> dict[str, Any]:
        """As JSON can hold it: what makes a study's trials comparable."""
        within = {"choices": [_plain(each) for each in self.choices]} if self.choices else {}
        between = {} if self.choices else {"low": self.low, "high": self.high, "scale": self.scale}
        return {"settings": list(self.settings), **within, **between}


Space = tuple[Drawn, ...]


def drawn_of(name: str, described: Mapping[str, Any]) -> Drawn:
    """What `Drawn.described` tells of one."""
    choices = tuple(
        tuple(cast(list[Any], each)) if isinstance(each, list) else each for each in described.get("choices", ())
    )
    between = {key: described[key] for key in ("low", "high", "scale") if key in described}
    return Drawn(name, tuple(described["settings"]), choices, **between)


def load(algorithm: Algorithm, path: str | Path | None = None) -> Space:
    """The space of an algorithm, or what the user's file at `path` has for it.

    Raises:
        UsageError: the file cannot be read; an entry is about no setting of the algorithm, or beyond its limits.
    """
    document, shared = _shipped(algorithm.name) if path is None else (_own(Path(path)), False)
    origin = f"space {path}" if path is not None else f"the space of {algorithm.name}"
    texts: Any = document.get("sources", {})
    if not isinstance(texts, dict):
        raise UsageError(f"{origin}: sources is {texts!r}, but must be a table: [sources]")
    kinds = get_type_hints(algorithm.Config, include_extras=True)
    found = list[Drawn]()
    for name, entry in document.items():
        if name != "sources":
            of = _settings_of(name, entry, kinds, origin, algorithm.name, shared=shared)
            with suppress(UsageError) if shared else nullcontext():  # a successor may have narrower limits
                found += [_drawn(name, entry, of, kinds, origin, cast(Mapping[str, Any], texts))] if of else []
    _require_once(found, origin)
    return tuple(found)


def without(space: Space, given: Iterable[str]) -> Space:
    """The space without what the `given` settings are set to already."""
    taken = set(given)
    left = (replace(each, settings=tuple(name for name in each.settings if name not in taken)) for each in space)
    return tuple(each for each in left if each.settings)


def written(algorithm: Algorithm, path: str | Path | None = None) -> str:
    """A file that says the space of an algorithm, to begin one's own from."""
    space = load(algorithm, path)
    lines = [f"# The search space of {algorithm.name}. Change it, and give it as --space FILE.toml.", ""]
    for each in space:
        values = each.described() | ({"source": each.source} if each.source else {})
        if each.settings == (each.name,):
            del values["settings"]
        if values.get("scale") == "linear":
            del values["scale"]
        lines.append(f"{each.name} = {{ {', '.join(f'{key} = {_toml(value)}' for key, value in values.items())} }}")
    return "\n".join(lines) + "\n"


def _shipped(name: str) -> tuple[dict[str, Any], bool]:
    """The algorithm's own file, or `shared` for whoever has none; and whether it is that one."""
    folder = resources.files(__name__)
    file = folder.joinpath(f"{name}.toml")
    shared = not file.is_file()
    text = (folder.joinpath("shared.toml") if shared else file).read_text(encoding="utf-8")
    return tomllib.loads(text), shared


def _own(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_plain_file(path.expanduser(), SIZE_LIMIT, follow=True).decode())
    except (UsageError, RuntimeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"space {path} cannot be read: {error}") from error


def _settings_of(
    name: str, entry: object, kinds: Mapping[str, Any], origin: str, algorithm: str, *, shared: bool
) -> tuple[str, ...]:
    """Which settings an entry is about; of the `shared` file, those that the algorithm has."""
    if not isinstance(entry, dict) or not cast(dict[str, Any], entry).keys() <= {*KEYS}:
        raise UsageError(
            f"{origin}: {name} is {entry!r}, but must be a table with choices, or with low and high, and besides "
            "settings, scale and source at most"
        )
    named: Any = cast(dict[str, Any], entry).get("settings", [name])
    if not isinstance(named, list) or not named or not all(isinstance(each, str) for each in cast(list[Any], named)):
        raise UsageError(f"{origin}: {name} has settings {named!r}, but must have a list of their names")
    names = cast(list[str], named)
    for each in names:
        if each in FIXED:
            raise UsageError(f"{origin}: {each} cannot be searched, because {FIXED[each]}: set it for all trials alike")
        if each not in kinds and not shared:
            answer = hint(each, kinds, algorithm)
            raise UsageError(f"{origin}: {each} is no setting of {algorithm}{f' ({answer})' if answer else ''}")
    return tuple(each for each in names if each in kinds)


def _drawn(
    name: str,
    entry: Mapping[str, Any],
    of: Sequence[str],
    kinds: Mapping[str, Any],
    origin: str,
    texts: Mapping[str, Any],
) -> Drawn:
    what, source = f"{origin}: {name}", str(entry.get("source", ""))
    told = Drawn(name, tuple(of), source=str(texts.get(source, source)))
    if "choices" in entry:
        if entry.keys() & {"low", "high", "scale"}:
            raise UsageError(f"{what} has choices, and low, high or scale besides: it is the one or the other")
        return replace(told, choices=_choices(what, entry["choices"], [kinds[each] for each in of]))
    if not entry.keys() >= {"low", "high"}:
        raise UsageError(f"{what} is {dict(entry)!r}, but must have choices, or low and high")
    bare = {_bare(kinds[each]) for each in of}
    if not bare <= {int, float}:
        raise UsageError(f"{what} is no number: give choices instead of low and high")
    low, high = ({checked(f"{what}: {key}", entry[key], kinds[each]) for each in of} for key in ("low", "high"))
    scale = entry.get("scale", "linear")
    told = replace(told, low=min(low), high=max(high), scale=scale, whole=int in bare)
    _require_between(what, told)
    return told


def _require_between(what: str, told: Drawn) -> None:
    if told.scale not in SCALES:
        raise UsageError(f"{what} has scale {told.scale!r}, but must have one among: {', '.join(SCALES)}")
    if not told.low < told.high:
        raise UsageError(f"{what} is from {told.low:g} to {told.high:g}, but low must be below high")
    if told.scale == "log" and told.low <= 0:
        raise UsageError(f"{what} begins at {told.low:g}, but a scale of log must begin above 0")
    if told.scale == "log of 1 - value" and (told.high >= 1 or told.whole):
        raise UsageError(f"{what} ends at {told.high:g}, but a scale of log of 1 - value is for numbers below 1")


def _choices(what: str, given: object, kinds: Sequence[Any]) -> tuple[Any, ...]:
    if not isinstance(given, list) or not given:
        raise UsageError(f"{what} has choices {given!r}, but must have a list of one or more")
    found = tuple(checked(what, each, kind) for each in cast(list[Any], given) for kind in kinds[:1])
    for kind in kinds[1:]:
        _ = [checked(what, each, kind) for each in found]
    if len({*map(_toml, map(_plain, found))}) < len(found):
        raise UsageError(f"{what} has choices {given!r}, but must have each once")
    return found


def _require_once(space: Iterable[Drawn], origin: str) -> None:
    of = dict[str, str]()
    for each in space:
        for name in each.settings:
            if name in of:
                raise UsageError(f"{origin}: {name} is drawn twice, as {of[name]} and as {each.name}")
            of[name] = each.name


def _bare(kind: Any) -> Any:
    """A setting's kind without its limits, and without that there may be none."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    inner = [each for each in get_args(kind) if each is not NoneType]
    return _bare(inner[0]) if len(inner) == 1 and NoneType in get_args(kind) else kind


def _plain(value: Any) -> Any:
    return list(cast(tuple[Any, ...], value)) if isinstance(value, tuple) else value


def _toml(value: Any) -> str:
    """A plain value as TOML writes it, which is as JSON does but for numbers that have to be floats."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, cast(list[Any], value)))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value)
