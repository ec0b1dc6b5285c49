"""`polyak presets [ENV]`: the presets there are and what was measured with them, or what an environment gets."""

import functools
import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from polyak.algorithms import algorithm, names
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.cli.request import spec_of_instance
from polyak.settings import presets
from polyak.settings.presets import Preset
from polyak.settings.presets.verified import Verified, digits, recorded, spread, verified

HEADS = ("verified", "return", "seeds", "steps", "minutes")
NOT = "not verified"
EXPLAINED = (
    "Medians over the seeds: the return of fresh episodes with the last policy (lowest to highest), the steps until"
    " then, and the minutes, with other work beside. A preset is verified by three seeds or more, as long as it sets"
    " what they had; `polyak presets ENVIRONMENT` tells the rest."
)
TOLD = ("polyak", "jax", "gymnasium", "mujoco", "box2d")
"""Versions that are shown, where they took part."""


def show(environment: Annotated[str | None, tyro.conf.Positional] = None, *, preset: str | None = None) -> None:
    """List the presets with what was measured with each, or show every value and its source for an environment.

    Args:
        environment: an id such as Pendulum-v1; without it, all presets are listed.
        preset: another preset than the environment's default.
    """
    if environment is None:
        show_all()
        return
    said = presets.untuned(environment)
    if said and preset is None:
        print(f"polyak: {said}", file=sys.stderr)
    console = wide()
    half_range = functools.cache(lambda: spec_of_instance(environment).action_half_range)
    for known in names():
        name = preset or presets.default_for(environment, known)
        with own_output():
            loaded = presets.load(name, algorithm(known), environment, half_range)
        console.print(settings_of(loaded, f"{known} on {environment}: preset {name}"), highlight=False)
        console.print(*told_of(measured(environment, known, name)), "", sep="\n", highlight=False)


def settings_of(preset: Preset, title: str) -> Table | str:
    """Each value with its source, or that there is none."""
    if not preset.values:
        shown = f"polyak train {preset.algorithm} ENVIRONMENT --help"
        return f"{title} sets nothing, and the settings have their defaults (`{shown}` shows them)"
    table = Table("setting", "value", "source", title=title, title_justify="left")
    for setting, value in preset.values.items():
        table.add_row(setting, str(value), preset.sources[setting])
    return table


def wide() -> Console:
    """A terminal as wide as it is; anything else so wide that no line is broken."""
    console = Console()
    return console if console.is_terminal else Console(width=1_000)


def measured(environment: str, known: str, preset: str) -> Verified | None:
    """What is known of an algorithm with a preset; nothing of a file of the user's own."""
    if preset.endswith(".toml"):
        return None
    kind = algorithm(known)
    return verified(environment, known, preset, kind.Config(**presets.load(preset, kind, environment).values))


def told_of(found: Verified | None) -> Sequence[str]:
    """Lines about what was measured, or that nothing was."""
    if found is None:
        return [NOT]
    spent = f"{spread(found.steps)} steps, {spread(found.minutes, 1)} minutes"
    of = f"{len(found.seeds)} seeds, {found.episodes} fresh episodes each"
    versions = [f"{name} {found.versions[name]}" for name in TOLD if name in found.versions]
    where = ", ".join(filter(None, (*versions, found.processor)))
    return [
        f"verified: a return of {spread(found.returns, digits(found.returns))} after {spent}; {of}",
        *found.commands,
        where,
    ]


def show_all() -> None:
    """What is verified, as a table narrow enough for 80 columns, and what is not, a preset a line."""
    console = wide()
    holding = [each for each in recorded() if measured(each.environment, each.algorithm, each.preset) == each]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(HEADS[0], no_wrap=True)
    for head in HEADS[1:]:
        table.add_column(head, no_wrap=True, justify="right")
    for each in holding:
        what = f"{each.algorithm} {each.environment}"
        what += "" if each.preset == each.environment else f", {each.preset}"
        numbers = (str(len(each.seeds)), f"{median(each.steps):,.0f}", f"{median(each.minutes):.1f}")
        table.add_row(what, spread(each.returns, digits(each.returns)), *numbers)
    console.print(table)
    console.print(f"\n{EXPLAINED}\n", highlight=False)
    console.print(NOT, *(f"  {line}" for line in left(holding)), sep="\n", highlight=False)


def left(holding: Sequence[Verified]) -> Iterator[str]:
    """A line for each preset that nothing was measured with, or not with all the algorithms that it is there for."""
    for name in presets.names():
        there = [each.algorithm for each in holding if each.preset == name]
        own = [] if presets.untuned(name) else [known for known in names() if presets.default_for(name, known) == name]
        missing = [known for known in own if known not in there]
        if missing or not there:
            yield f"{name}: {', '.join(missing)}" if missing else name


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(show, arguments, "presets")
