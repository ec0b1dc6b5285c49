"""What every command's line is read by: numbers as people write them, names from elsewhere answered, plain help."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from polyak.errors import UsageError
from polyak.settings.kinds import Bare, meanings
from polyak.settings.names import hint

T = TypeVar("T")
Spec = PrimitiveConstructorSpec[Any]

RULES = ConstructorRegistry()
"""How words become values, where tyro's own way is not polyak's."""


def _default(label: str) -> str:
    """What help says of a default; nothing where there is none, which the text before it tells, or of a mere flag."""
    return "" if label in ("", "None", "False") else f"(default: {label})"


HINTED: Any = tyro.conf.arg(help_behavior_hint=_default)
"""With this in its annotation, a flag's help says its default as polyak does."""


# Reading


def read(
    kind: Callable[..., T],
    arguments: Sequence[str],
    command: str,
    *,
    default: Any = None,
    description: str | None = None,
    who: str = "",
    before: Mapping[str, str] | None = None,
) -> T:
    """What the words after `polyak COMMAND` say, as a dataclass `kind`.

    Args:
        kind: a dataclass, or a function of the same arguments.
        arguments: the words.
        command: its name, and what stands before those words.
        default: one of the kind, whose values are the default.
        description: what the help says first; by default what `kind` says of itself.
        who: takes the flags, where it is not the command: an algorithm, whose settings they are.
        before: what was given before the words, by name, as the usage has it.

    Raises:
        UsageError: there is no such flag, each of which is answered; or a word too many.
        SystemExit: the parser's, after it has said what is wrong, or shown the help that was asked for.
    """
    flags = {**dict(_flags(kind)), **{name: (word,) for name, word in (before or {}).items()}}
    _require_known(arguments, command, flags, who)
    reading = partial(
        tyro.cli,
        kind,
        args=arguments,
        prog=f"polyak {command}",
        description=description,
        config=(tyro.conf.OmitArgPrefixes,),
        registry=RULES,
        return_unknown_args=True,
    )
    asked, left = reading() if default is None else reading(default=default)
    if left:
        name = command.partition(" ")[0]
        raise UsageError(f"{name} takes no {left[0]!r}: `polyak {command} --help` lists what it takes")
    return asked


def call(function: Callable[..., T], arguments: Sequence[str], command: str) -> T:
    """Call a command's function with what its words say; errors as for `read`, and the function's own."""
    hints = get_type_hints(function, include_extras=True)
    taken = [
        each.replace(annotation=Annotated[hints[each.name], HINTED])
        for each in inspect.signature(function).parameters.values()
    ]

    def later(*given: Any, **named: Any) -> Callable[[], T]:  # not before all words are known
        return partial(function, *given, **named)

    later.__doc__, later.__name__ = function.__doc__, function.__name__
    later.__annotations__ = {each.name: each.annotation for each in taken}
    cast(Any, later).__signature__ = inspect.Signature(taken)
    return read(later, arguments, command)()


def texts_of(kind: type[Any]) -> dict[str, str]:
    """The text below each field of a dataclass, by name; of what was typed into an interpreter there is none."""
    told = dict[str, str]()
    for each in reversed(kind.__mro__):
        if dataclasses.is_dataclass(each) and inspect.getsourcefile(each) is not None:
            told |= dict(meanings(each))
    return told


def hinted(kind: type[Any]) -> type[Any]:
    """A dataclass of the same fields for `read`, none of them checked yet, with the texts below them as help."""
    told = texts_of(kind)
    hints = get_type_hints(kind, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(kind):
        told_as = tyro.conf.arg(help=told.get(field.name), help_behavior_hint=_default)
        given: Any = Annotated[hints[field.name], told_as]
        for note in get_args(hints[field.name])[1:]:
            if isinstance(note, Bare):
                given = Annotated[given, _choice_or_bare(get_args(get_args(hints[field.name])[0]), note.choice)]
        fields.append((field.name, given, dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(kind.__name__, fields, frozen=True)


def _choice_or_bare(choices: tuple[str, ...], bare: str) -> Spec:
    """One of these words, or none at all, which stands for `bare`."""

    def chosen(words: list[str]) -> str:
        if len(words) > 1 or not set(words) <= set(choices):
            raise ValueError(f"{' '.join(words)!r} is none of {', '.join(choices)}")
        return words[0] if words else bare

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"[{{{','.join(choices)}}}]",
        instance_from_str=chosen,
        is_instance=lambda value: value in choices,
        str_from_instance=lambda value: [value],
    )


# What is unknown


def _flags(kind: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """How each value that a command takes is given, by its name in Python: its flags, or a word in its place."""
    origin = get_origin(kind) or kind
    given = dict(zip(getattr(origin, "__parameters__", ()), get_args(kind), strict=False))
    for name, annotation in get_type_hints(origin, include_extras=True).items():
        inner, *notes = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
        inner = given.get(inner, inner)
        if dataclasses.is_dataclass(inner):
            yield from _flags(inner)
        elif tyro.conf.Positional in notes:
            yield name, (name.upper(),)
        else:
            named = next((note.name for note in notes if getattr(note, "name", None)), name).replace("_", "-")
            aliases = [alias for note in notes for alias in getattr(note, "aliases", None) or ()]
            both = (named, f"no-{named}") if "bool" in str(inner) else (named,)
            yield name, (*(f"--{each}" for each in both), *aliases)


def _require_known(words: Sequence[str], command: str, flags: Mapping[str, tuple[str, ...]], who: str) -> None:
    """Answer the flags that there are not, all of them, before anything else that may be wrong is spoken of.

    Raises:
        UsageError: there are some.
    """
    known = {flag for each in flags.values() for flag in each} | {"-h", "--help"}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)]
    unknown = [flag for flag in given if flag[:2] + flag[2:].replace("_", "-") not in known]
    if not unknown or {"-h", "--help"} & set(given):
        return
    name, ours = command.partition(" ")[0], {name: each[0] for name, each in flags.items()}
    answers = {flag: hint(flag.lstrip("-"), ours, who or name, partial(_spelt, ours)) for flag in unknown}
    told = [f"{flag}{': ' if answer else ''}{answer}" for flag, answer in answers.items()]
    if not all(answers.values()):
        told.append(f"`polyak {command} --help` lists what there is")
    raise UsageError(
        f"{name} has no {': '.join(told)}" if len(answers) == 1 else "\n  ".join([f"{name} has none of these:", *told])
    )


def _spelt(flags: Mapping[str, str], name: str) -> str:
    return flags.get(name) or f"--{name.replace('_', '-')}"


# Numbers, as people write them


def whole(text: str) -> int:
    """A whole number: 100000, 100_000 or 1e5.

    Raises:
        ValueError: it is none.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number.adjusted() > LARGEST or number != number.to_integral_value():
        raise ValueError(f"{text!r} is no whole number: write it as 100000, 100_000 or 1e5")
    return int(number)


LARGEST = 30
"""Decimal places of a number that is read at all; beyond what any limit allows."""


@RULES.primitive_rule
def _whole(asked: PrimitiveTypeInfo) -> Spec | None:
    if asked.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@RULES.primitive_rule
def _several(asked: PrimitiveTypeInfo) -> Spec | None:
    """A tuple of any length: its items apart, or with commas between them."""
    if asked.type_origin is not tuple or get_args(asked.type)[1:] != (...,):
        return None
    item = _spec_of(get_args(asked.type)[0], asked)
    if item is None or item.nargs != 1 or "UseAppendAction" in map(str, asked.markers):
        return None
    cut = get_args(asked.type)[0] is int

    def items(words: list[str]) -> tuple[Any, ...]:
        parts = [part for word in words for part in word.split(",") if part] if cut else words
        return tuple(item.instance_from_str([each]) for each in parts)

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{item.metavar} ...",
        instance_from_str=items,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [word for each in value for word in item.str_from_instance(each)],
        choices=item.choices,
    )


@RULES.primitive_rule
def _optional(asked: PrimitiveTypeInfo) -> Spec | None:
    """What may be None is told as if it might not: None is the absence of the flag, or the word."""
    kinds = get_args(asked.type)
    if asked.type_origin not in (Union, UnionType) or NoneType not in kinds or len(kinds) != 2:
        return None
    inner = _spec_of(next(kind for kind in kinds if kind is not NoneType), asked)
    if inner is None:
        return None
    return PrimitiveConstructorSpec(
        nargs=inner.nargs,
        metavar=inner.metavar,
        instance_from_str=lambda words: None if words == ["None"] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else inner.str_from_instance(value),
        choices=None if inner.choices is None else (*inner.choices, "None"),
    )


def _spec_of(kind: Any, asked: PrimitiveTypeInfo) -> Spec | None:
    found = cast(Any, ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, asked.markers)))
    return cast(Spec, found) if isinstance(found, PrimitiveConstructorSpec) else None
