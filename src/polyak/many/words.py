"""The words of a command line of `train`: some left out, and settings as such words."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from polyak.settings.options import Flag, note_of


def passed_on(arguments: Iterable[str], settled: Sequence[str]) -> list[str]:
    """Command-line arguments without some flags and what belongs to them."""
    kept, keeping = list[str](), True
    for word in arguments:
        if word.startswith("--"):
            keeping = word.partition("=")[0].replace("_", "-") not in settled
        kept += [word] * keeping
    return kept


def flags_of(names: Iterable[str]) -> list[str]:
    """How settings are given, by their names."""
    return [flag for name in names for flag in (f"--{name.replace('_', '-')}", f"--no-{name.replace('_', '-')}")]


def given_in(arguments: Iterable[str], names: Iterable[str]) -> list[str]:
    """Which of the named settings the arguments give."""
    flags = {word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")}
    return [name for name in names if flags & {*flags_of([name])}]


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings and options as words, which the command line reads as these values again."""
    return [word for name, value in settings.items() for word in _words(name.replace("_", "-"), value)]


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Options of a run as words, by the flags that they have."""
    found = list[str]()
    for name, value in options.items():
        flag = note_of(name, Flag)
        if flag is not None and flag.repeated:
            texts = value
            if isinstance(value, Mapping):
                texts = [f"{key}={json.dumps(inner)}" for key, inner in cast(Mapping[str, Any], value).items()]
            found += [f"--{flag.name}={text}" for text in cast(Sequence[str], texts)]
        elif value is not None and value != ():
            found += words_of({name if flag is None else flag.name: value})
    return found


def _words(flag: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    elif isinstance(value, tuple):
        items = cast(tuple[Any, ...], value)
        if all(isinstance(each, int) for each in items):
            yield f"--{flag}={','.join(map(str, items))}"
        else:
            yield from (f"--{flag}", *map(str, items))
    else:
        yield f"--{flag}={value}"
