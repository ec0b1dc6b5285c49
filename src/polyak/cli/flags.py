"""The flags of a run's options, made from their declaration."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast, get_args

import tyro

from polyak.cli.parsing import HINTED
from polyak.settings.options import CHANGEABLE, KINDS, MEANINGS, Flag, Options, note_of


def flags_of_options() -> type[Any]:
    """A dataclass for tyro with a field for each option, none of them checked yet; `options_of` does that."""
    defaults = vars(Options())
    return _flags((name, *_spelled(name, kind, defaults[name])) for name, kind in KINDS.items())


def _spelled(name: str, kind: Any, default: Any) -> tuple[Any, str, Any]:
    """Kind, meaning and default of an option's flag; what is a mapping in Python is given as texts NAME=VALUE."""
    flag = note_of(name, Flag)
    if flag is None or not flag.repeated:
        return kind, MEANINGS[name], default
    told = f"{MEANINGS[name]} May be repeated."
    return tyro.conf.UseAppendAction[tuple[str, ...]], told, () if isinstance(default, Mapping) else default


def flags_of_changes() -> type[Any]:
    """The same of those that `resume` takes; `changes_in` has what was given of them."""
    fields: list[tuple[str, Any, str, Any]] = []
    for name, note in CHANGEABLE.items():
        (kind, *_), rest = get_args(KINDS[name]), "" if note.exact else "; another is not bit for bit the same"
        told = f"{MEANINGS[name]} As before unless given{rest}."
        flag = note_of(name, Flag)
        if flag is not None and flag.repeated:
            fields.append((name, tyro.conf.UseAppendAction[tuple[str, ...]], f"{told} May be repeated.", ()))
        elif kind is bool:
            fields.append((name, tyro.conf.FlagCreatePairsOff[bool], told, False))
        else:
            fields.append((name, kind | None, told, None))
    return _flags(fields)


def changes_in(given: Any) -> dict[str, Any]:
    """What the flags of `flags_of_changes` say: None where none was given, which False or no text mean too."""
    repeated = {name for name in CHANGEABLE if (flag := note_of(name, Flag)) is not None and flag.repeated}
    return {
        name: None if value is False or (name in repeated and not value) else value
        for name, value in cast(dict[str, Any], vars(given)).items()
    }


def _flags(declared: Iterable[tuple[str, Any, str, Any]]) -> type[Any]:
    fields: list[tuple[str, Any, Any]] = []
    for name, kind, meaning, default in declared:
        flag = note_of(name, Flag) or Flag(name, None)
        told = tyro.conf.arg(name=flag.name, metavar=flag.metavar, help=meaning)
        fields.append((name, Annotated[kind, told, HINTED], dataclasses.field(default=default)))
    return dataclasses.make_dataclass("Flags", fields, frozen=True)
