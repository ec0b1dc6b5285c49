"""The flags of a run's options, made from their declaration."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast, get_args, get_type_hints

import tyro

from polyak.cli.parsing import HINTED, texts_of
from polyak.settings.kinds import Changeable, changeable
from polyak.settings.options import CHANGEABLE, KINDS, MEANINGS, Flag, Options, note_of
from polyak.settings.shared import Settings


def flags_of_options() -> type[Any]:
    """A dataclass for tyro with a field for each option, none of them checked yet; `options_of` does that."""
    defaults = vars(Options())
    return _flags((name, *_spelled(name, kind, defaults[name])) for name, kind in KINDS.items())


def _spelled(name: str, kind: Any, default: Any) -> tuple[Any, str, Any]:
    """Kind, meaning and default of an option's flag; what is a mapping in Python is given as texts NAME=VALUE."""
    flag = note_of(name, Flag)
    if flag is None or not flag.repeated:
        given = any(hasattr(each, "of") for each in get_args(get_args(kind)[:1] and get_args(kind)[0]))
        return (str | None) if given else kind, MEANINGS[name], default
    told = f"{MEANINGS[name]} May be repeated."
    return tyro.conf.UseAppendAction[tuple[str, ...]], told, () if isinstance(default, Mapping) else default


def flags_of_changes(*configs: type[Settings]) -> type[Any]:
    """The same of those that `resume` takes, and of the settings of these algorithms that it does.

    `changes_in` has what was given of them.
    """
    fields = {name: _change(name, KINDS[name], MEANINGS[name], note) for name, note in CHANGEABLE.items()}
    for config in configs:
        hints, texts = get_type_hints(config, include_extras=True), texts_of(config)
        for name, note in changeable(config).items():
            fields[name] = _change(name, hints[name], texts.get(name, ""), note)
    return _flags((name, *each) for name, each in fields.items())


def _change(name: str, annotated: Any, meaning: str, note: Changeable) -> tuple[Any, str, Any]:
    """Kind, help and default of a flag by which something is changed."""
    kind, rest = get_args(annotated)[0], "" if note.exact else "; another is not bit for bit the same"
    told, flag = f"{meaning} As before unless given{rest}.", note_of(name, Flag)
    if flag is not None and flag.repeated:
        return tyro.conf.UseAppendAction[tuple[str, ...]], f"{told} May be repeated.", ()
    return (tyro.conf.FlagCreatePairsOff[bool], told, False) if kind is bool else (kind | None, told, None)


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
