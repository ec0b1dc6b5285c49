"""What was measured with a preset as it is: returns, seeds, steps and minutes, in `verified.json` beside this file.

That file is made of docs/results/learning by `benchmarks/learning_pages.py`, and nothing in it is written by hand. What
it says holds for the settings that were measured: a preset that gives others by now is not verified.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from statistics import median
from typing import Any, cast

from polyak.settings.shared import Settings

FILE = "verified.json"
SEEDS = 3
"""Fewer verify nothing."""
OF_THE_LENGTH = frozenset({"steps", "steps_per_epoch", "evaluation_episodes"})
"""Settings that say how long a run is and when one looks: what is learned until then is the same."""


@dataclass(frozen=True)
class Verified:
    """What an algorithm came to in an environment with a preset: several seeds."""

    environment: str
    """An id, without a module."""
    algorithm: str
    preset: str
    settings: str
    """The `fingerprint` of what the preset gave."""
    commands: tuple[str, ...]
    """With N in place of the seed; several where seeds differ in what they were evaluated with."""
    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    """Of each seed: the mean of fresh episodes with the last policy, which no training used."""
    episodes: int
    """As many of them a seed."""
    steps: tuple[int, ...]
    minutes: tuple[float, ...]
    """From the start of training to its end, with other work beside it: upper bounds. Of the seeds of one processor."""
    processor: str
    """The first is that of the minutes; others, if any, trained other seeds. Empty where it was not recorded."""
    versions: Mapping[str, str]
    """Of what took part; several where the seeds had several."""


def fingerprint(config: Settings) -> str:
    """What two sets of settings share if they learn alike: 16 hexadecimal digits of what differs from the defaults.

    The length counts only where step sizes fall along it. Noise is as the preset has it, also in environment units.
    """
    usual = dataclasses.asdict(type(config)())
    told = {name: value for name, value in shaping(config).items() if value != usual[name]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def shaping(config: Settings) -> dict[str, Any]:
    """The settings that shape what is learned, by their names."""
    length = OF_THE_LENGTH if config.learning_rate_schedule == "constant" else OF_THE_LENGTH - {"steps"}
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in length}


@functools.cache
def recorded() -> tuple[Verified, ...]:
    """All that `verified.json` has, also of presets that were changed since."""
    text = resources.files(__package__ or "").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(read(each) for each in json.loads(text)["verified"])


def read(entry: dict[str, Any]) -> Verified:
    """An entry of the file."""
    lists = {name: tuple(cast(list[Any], value)) for name, value in entry.items() if isinstance(value, list)}
    told: dict[str, Any] = {**entry, **lists}
    return Verified(**told)


def verified(environment: str, algorithm: str, preset: str, config: Settings) -> Verified | None:
    """What was measured with the settings that a preset gives an algorithm in an environment; None where nothing was.

    Args:
        environment: `Id` or `module:Id`.
        algorithm: its name.
        preset: its name.
        config: the settings that it gives, noise in environment units as it stands there.
    """
    place = (environment.rpartition(":")[2], algorithm, preset)
    for each in recorded():
        if (each.environment, each.algorithm, each.preset) == place and each.settings == fingerprint(config):
            return each
    return None


def spread(values: Sequence[float], digits: int = 0) -> str:
    """`-160 (-213 to -155)`: the median over the seeds, the lowest and the highest; one number where all are equal."""
    middle, low, high = (f"{value:z,.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def digits(returns: Sequence[float]) -> int:
    """Behind the point of returns: small ones have two."""
    return 2 if max(map(abs, returns)) < 10 else 0
