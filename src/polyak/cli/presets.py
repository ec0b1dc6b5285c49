"""`polyak presets [ENV]`: the presets there are, or what an environment gets."""

import functools
import sys
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from polyak.algorithms import algorithm, names
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.cli.request import spec_of_instance
from polyak.settings import presets


def show(environment: Annotated[str | None, tyro.conf.Positional] = None, *, preset: str | None = None) -> None:
    """List the presets, or show every value and its source for an environment.

    Args:
        environment: an id such as Pendulum-v1; without it, all presets are listed.
        preset: another preset than the environment's default.
    """
    if environment is None:
        print("\n".join(presets.names()))
        return
    said = presets.untuned(environment)
    if said and preset is None:
        print(f"polyak: {said}", file=sys.stderr)
    console = Console()
    console = Console(width=None if console.is_terminal else 1_000)
    half_range = functools.cache(lambda: spec_of_instance(environment).action_half_range)
    for known in names():
        name = preset or presets.default_for(environment, known)
        with own_output():
            loaded = presets.load(name, algorithm(known), environment, half_range)
        table = Table(
            "setting", "value", "source", title=f"{known} on {environment}: preset {name}", title_justify="left"
        )
        for setting, value in loaded.values.items():
            table.add_row(setting, str(value), loaded.sources[setting])
        console.print(table)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(show, arguments, "presets")
