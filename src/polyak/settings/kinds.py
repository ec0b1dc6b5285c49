"""What a value must be: its kind and its limits, declared where the value is, and checked before anything is made.

A kind is an annotation: `int`, `float`, `bool`, `str`, `Path`, `Address`, a `Literal`, a tuple of one of them, a
`Mapping` of names to whatever JSON can hold, each with `| None` where there may be none, and within `Annotated` its
limits. What NumPy and the frameworks have for a single number is taken, and kept as the plain Python number that JSON
can hold. A class with `of` is a kind of its own, which `of` reads.
"""

import ast
import inspect
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from polyak.errors import UsageError

SHOWN = 200
"""Characters of a wrong value that a message shows at most."""


@dataclass(frozen=True)
class Limit:
    """What must hold of a value of the right kind; None, where the kind has it, is always within."""

    text: str
    """As in "steps is 0, but must be `text`"."""
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Changeable:
    """A run that goes on may have another value than before: nothing that makes shapes, draws or replay."""

    exact: bool = True
    """It changes no number: what follows is the same, bit for bit, as far as both values let the run go."""


@dataclass(frozen=True)
class Bare:
    """A choice that its flag may be given without: then it is this one."""

    choice: str


AT_LEAST_0 = Limit("at least 0", lambda number: number >= 0)
AT_LEAST_1 = Limit("at least 1", lambda number: number >= 1)
ABOVE_0 = Limit("above 0", lambda number: number > 0)
FILLED = Limit("a text that is not empty", lambda text: text != "")

Address = NewType("Address", str)
"""A folder, or a URL as `s3://bucket/runs`; a text, since a path would forget the second slash."""
URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.ASCII)

Seed = Annotated[int, AT_LEAST_0]
Count = Annotated[int, AT_LEAST_1]
GoalEnds = Literal["environment", "never", "reward"]
"""What says whether a goal that was not meant would have ended an episode."""


def require(name: str, value: object, holds: bool, limit: str) -> None:
    """Refuse a value with an error that names it and the limit."""
    if not holds:
        raise UsageError(f"{name} is {_shown(value)}, but must be {limit}")


def require_environment(given: object) -> None:
    """Check that an environment is named, made by a call, or there already.

    Raises:
        UsageError: it is none of these.
    """
    named = isinstance(given, str) and given != ""
    there = all(callable(getattr(given, each, None)) for each in ("reset", "step"))
    limit = "an id, or a callable that makes one, or an environment of Gymnasium's"
    require("environment", given, named or callable(given) or there, limit)


def checked(name: str, value: Any, kind: Any) -> Any:
    """A value of a kind, as plain Python has it.

    Raises:
        UsageError: it is of another kind, or beyond a limit; the message has its name, itself and what it must be.
    """
    limits: Sequence[Any] = ()
    if get_origin(kind) is Annotated:
        kind, *limits = get_args(kind)
    plain = _of_kind(name, value, kind)
    for limit in limits:
        if isinstance(limit, Limit):
            require(name, value, plain is None or limit.holds(plain), limit.text)
    return plain


def check_fields(declared: Any, kind: type[Any]) -> None:
    """Check the fields that a (frozen) dataclass `kind` declares, and keep each as plain Python has it."""
    for name, annotation in get_type_hints(kind, include_extras=True).items():
        object.__setattr__(declared, name, checked(name, getattr(declared, name), annotation))


def changeable(kind: type[Any]) -> dict[str, Changeable]:
    """The fields of a dataclass that a run which goes on may change, by name."""
    hints = get_type_hints(kind, include_extras=True).items()
    notes = ((name, note) for name, hint in hints for note in get_args(hint)[1:])
    return {name: note for name, note in notes if isinstance(note, Changeable)}


def meanings(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """Each field of a dataclass and the text below it."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            yield ast.unparse(field.target), " ".join(str(ast.literal_eval(below.value)).split())


def _of_kind(name: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
        return None if value is None else checked(name, value, kind)
    if get_origin(kind) is tuple:
        return _tuple(name, value, get_args(kind)[0])
    if get_origin(kind) is Mapping:
        return _mapping(name, value)
    if hasattr(kind, "of"):
        return kind.of(name, value)
    value = single(value)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        require(name, value, isinstance(value, str) and value in choices, ", ".join(choices))
        return str.__str__(value)
    return _READERS[kind](name, value)


def single(value: Any) -> Any:
    """The one element of a NumPy scalar, or of an array of any framework that has no axis; else the value itself."""
    if isinstance(value, np.floating):
        return float(cast(Any, value))  # `item` would leave a long double what it is
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return value.item()
    return value


def _tuple(name: str, value: Any, kind: Any) -> tuple[Any, ...]:
    """A sequence, each item of its kind; one that is a text stands for itself alone."""
    texts = {int: "a tuple of whole numbers", float: "a tuple of finite numbers", str: "a list of texts"}
    of_its_own = hasattr(kind, "of")
    text = kind.SEVERAL if of_its_own else texts.get(kind) or f"among: {', '.join(get_args(kind))}"
    given: Any = [value] if isinstance(value, str) else value
    require(name, value, isinstance(given, Sequence | np.ndarray) and not isinstance(given, bytes), text)
    items: list[Any] = []
    for item in cast(Sequence[Any], given):
        try:
            items.append(_of_kind(name, item, kind))
        except UsageError:
            if of_its_own:
                raise
            require(name, value if kind in (int, float) else item, holds=False, limit=text)
    return tuple(items)


NAMED = 'settings by their names, as in {"g": 5.0}, or as texts NAME=VALUE, each name once'
LARGEST = 2**63


def _mapping(name: str, value: Any) -> dict[str, Any]:
    """Names with what JSON can hold: a mapping, or texts `NAME=VALUE`, whose values are read as JSON, else as text."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        texts = cast(Sequence[Any], value)
        pairs = [(each.partition("=")[0].strip(), _read(each.partition("=")[2])) for each in texts if _is_pair(each)]
        require(name, texts, len(dict(pairs)) == len(texts), NAMED)
        value = dict(pairs)
    require(name, value, isinstance(value, Mapping), NAMED)
    given = cast(Mapping[Any, Any], value)
    for each in given:
        require(f"a name in {name}", each, isinstance(each, str) and each.isidentifier(), "the name of an argument")
    return {str(each): _plain(f"{name}: {each}", inner) for each, inner in given.items()}


def _is_pair(text: Any) -> bool:
    return isinstance(text, str) and "=" in text


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _plain(name: str, value: Any) -> Any:
    """Numbers, texts, True, False, None, and lists and mappings of these, as JSON gives them back."""
    value = single(value)
    if isinstance(value, Mapping):
        given = cast(Mapping[Any, Any], value)
        require(name, given, all(_is_text(each) for each in given), "a mapping with texts as names")
        return {str(each): _plain(name, inner) for each, inner in given.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, inner) for inner in cast(Sequence[Any], value)]
    if isinstance(value, str):
        require(name, value, _is_text(value), "a text that can be shown in a line")
        return str.__str__(value)
    if isinstance(value, float):
        return _number(name, value)
    known = value is None or isinstance(value, bool | int)
    require(name, value, known, "a number, a text, true, false, null, or a list or mapping of these")
    require(name, value, not isinstance(value, int) or abs(value) < LARGEST, "a whole number of 64 bits")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _whole(name: str, value: Any) -> int:
    require(name, value, isinstance(value, int) and not isinstance(value, bool), "a whole number")
    require(name, value, -(2**63) <= value < 2**63, "a whole number of 64 bits")
    return int(value)


def _number(name: str, value: Any) -> float:
    require(name, value, isinstance(value, int | float) and not isinstance(value, bool), "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    require(name, value, math.isfinite(number), "finite")
    return number


def _flag(name: str, value: Any) -> bool:
    require(name, value, isinstance(value, bool), "True or False")
    return cast(bool, value)


def _text(name: str, value: Any) -> str:
    require(name, value, isinstance(value, str), "a text")
    return str.__str__(value)


def _path(name: str, value: Any) -> Path:
    text = os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else cast(object, value)
    require(name, cast(object, value), isinstance(text, str) and text != "" and "\0" not in text, "a path")
    return value if isinstance(value, Path) else Path(str(text))


def _address(name: str, value: Any) -> str:
    """A folder or a URL; one that holds a password, or what may be one, is refused without being shown."""
    text = os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else cast(object, value)
    require(name, cast(object, value), isinstance(text, str) and text.isprintable(), "a folder or a URL, as a text")
    url = URL.fullmatch(str(text))
    if url is not None and ("?" in url[2] or re.search(":[^@]*@", url[2])):
        raise UsageError(
            f"{name} is a URL of {url[1]}:// that has a password or a query in it, which would be kept in files and "
            "shown: leave it out, and give credentials as the store's own variables or files do"
        )
    require(name, cast(object, value), "::" not in str(text), "one place, not one within another (::)")
    slash = re.match("[a-z0-9+.-]{2,}:/(?!/)", str(text)) is None
    require(
        name,
        cast(object, value),
        slash,
        "a folder or a URL with two slashes, as s3://bucket/runs; a Path takes one away",
    )
    return str(text)


_READERS: dict[Any, Callable[[str, Any], Any]] = {
    int: _whole,
    float: _number,
    bool: _flag,
    str: _text,
    Path: _path,
    Address: _address,
}


def _shown(value: object) -> str:
    try:
        text = " ".join(repr(value).splitlines())
    except Exception:  # noqa: BLE001 - a whole number of too many digits; or whatever an object of somebody else raises
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
