"""Parts of the algorithms' pages, taken from the source: functions of the learners, settings, deviations, metrics."""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from polyak.algorithms import algorithm as algorithm_module
from polyak.settings.kinds import Changeable, Limit, changeable, meanings
from polyak.settings.options import CHANGEABLE, KINDS, MEANINGS, Options
from polyak.settings.shared import Settings

ROOT = Path(__file__).parents[2]
FRAMEWORKS = {"JAX": "jax", "PyTorch": "torch", "TensorFlow": "tensorflow"}
PRESETS = ("general", "book", "paper")
COLUMNS = ("setting", "default", *(f"`{name}`" for name in PRESETS), "meaning", "in `resume`")
OPTION_COLUMNS = ("option", "default", "limits", "meaning", "in `resume`")


def function(file: str, name: str) -> str:
    """A function (or class) of an algorithm's page, or for `parts` of each framework's parts, a tab for each framework.

    Raises:
        ValueError: an algorithm's page does not have it, or no framework's parts do.
    """
    tabs: list[str] = []
    for title, framework in FRAMEWORKS.items():
        begin = "===" if tabs else "===!"  # which begins a new set of tabs
        page = f"frameworks/{framework}/parts.py" if file == "parts" else f"algorithms/{file}/with_{framework}.py"
        path = f"src/polyak/{page}"
        definition = _definition(path, name) if (ROOT / path).exists() else ""
        if not definition and (ROOT / path).exists() and file != "parts":
            raise ValueError(f"{path} has no {name}")
        if definition:
            code = f'``` python title="{path}"\n{definition}\n```'
            tabs.append(f'{begin} "{title}"\n\n{textwrap.indent(code, "    ")}\n')
    if not tabs:
        raise ValueError(f"no framework has {name} in {file}")
    return "\n".join(tabs)


@functools.cache
def _definition(path: str, name: str) -> str:
    """A function's text, empty where there is none of that name."""
    source = (ROOT / path).read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "\n".join(source.splitlines()[first - 1 : node.end_lineno])
    return ""


def settings(algorithm: str) -> str:
    """A table of an algorithm's settings, its own first: default, the values of three presets, meaning."""
    kind = algorithm_module(algorithm).Config
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    shared = {field.name for field in dataclasses.fields(Settings)}
    above = [each for each in reversed(kind.__mro__) if issubclass(each, Settings)]
    told = {name: text for each in above for name, text in meanings(each)}
    presets = [_preset(name, algorithm) for name in PRESETS]
    rows, notes = [COLUMNS, ("---",) * len(COLUMNS)], {**changeable(kind), "steps": Changeable()}
    for name in sorted(fields, key=lambda name: name in shared):
        values = (_shown(fields[name]), *(values.get(name, "") for values in presets))
        rows.append((f"`{name}`", *values, told[name].replace("|", "\\|"), _resumed(notes.get(name))))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def options() -> str:
    """A table of a run's options: default, what a value must be, meaning; and which of them `resume` takes."""
    rows = [OPTION_COLUMNS, ("---",) * len(OPTION_COLUMNS)]
    for name, default in vars(Options()).items():
        shown = repr(str(default) if isinstance(default, Path) else default)
        limits = "; ".join(_limits(KINDS[name]))
        rows.append((f"`{name}`", f"`{shown}`", limits, MEANINGS[name], _resumed(CHANGEABLE.get(name))))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _resumed(note: Changeable | None) -> str:
    """Whether a run that goes on may have another value."""
    return "" if note is None else "yes" if note.exact else "yes, not bit for bit"


def _limits(kind: Any) -> Iterator[str]:
    """The choices that a kind has, and the limits that are declared with it."""
    if get_origin(kind) is Literal:
        yield ", ".join(f"`{choice}`" for choice in get_args(kind))
        return
    for part in get_args(kind):
        if isinstance(part, Limit):
            yield part.text
        yield from _limits(part)


def _preset(name: str, algorithm: str) -> dict[str, str]:
    """Setting -> the value in a preset's file; noise in environment units is marked."""
    document = tomllib.loads((ROOT / f"src/polyak/settings/presets/{name}.toml").read_text(encoding="utf-8"))
    shown: dict[str, str] = {}
    general = document if algorithm in document["algorithms"] else {}
    for setting, entry in {**general, **document.get(algorithm, {})}.items():
        if isinstance(entry, dict) and "value" in entry:
            shown[setting] = _shown(entry["value"]) + (" (environment units)" if "unit" in entry else "")
    return shown


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def deviations(algorithm: str) -> str:
    """The list in an algorithm's docstring of where it differs from its sources.

    Raises:
        ValueError: there is none.
    """
    text = inspect.cleandoc(importlib.import_module(f"polyak.algorithms.{algorithm}").__doc__ or "")
    _, found, listed = text.partition("Deviations, and what the other choice would be:\n")
    if not found:
        raise ValueError(f"the docstring of {algorithm} has no list of deviations")
    return listed.strip()


def measured(algorithm: str) -> str:
    """The rows of docs/metrics.md for what an algorithm's update measures.

    Raises:
        ValueError: one has no row.
    """
    lines = (ROOT / "docs/metrics.md").read_text(encoding="utf-8").splitlines()
    rows = {name[1]: line for line in lines if (name := re.match(r"\| `learner/(\w+)` ", line))}
    head = next(index for index, line in enumerate(lines) if line.startswith("| name"))
    missing = [name for name in algorithm_module(algorithm).metrics if name not in rows]
    if missing:
        raise ValueError(f"docs/metrics.md has no row for {', '.join(missing)}")
    return "\n".join([*lines[head : head + 2], *(rows[name] for name in algorithm_module(algorithm).metrics)])
