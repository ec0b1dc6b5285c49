"""From what the caller asked for to the settings in force."""

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from polyak import presets
from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.environments import Environment, make_environments
from polyak.errors import UsageError
from polyak.randomness import Streams


def resolve(
    algorithm: str,
    environment: Environment,
    config: Settings | None,
    preset: str | None,
    settings: Mapping[str, Any],
) -> tuple[str, Settings]:
    """The preset in force and the settings that it, with `settings` over it, comes to.

    Raises:
        UsageError: an unknown preset or setting, a setting out of its limits, or `config` together with others.
    """
    kind: type[Settings] = algorithm_module(algorithm).Config
    if config is not None:
        if preset is not None or settings:
            raise UsageError("give either config, or preset and single settings, not both")
        if not isinstance(config, kind):
            raise UsageError(f"config is a {type(config).__module__} Config, but {algorithm} needs its own")
        return "none", config
    known = [field.name for field in dataclasses.fields(kind)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise UsageError(f"{algorithm} has no setting {name!r}: {hint}")
    name = environment if isinstance(environment, str) else ""
    preset = preset or presets.default_for(name)
    values: dict[str, Any] = presets.load(preset, algorithm, name, lambda: half_range(environment)).values
    return Path(preset).name, kind(**{**values, **settings})


def half_range(environment: Environment) -> NDArray[Any]:
    """[A]: half the width of each action's range, which a preset asks for that states noise in environment units."""
    probe = make_environments(environment, 1, Streams(0).environment)
    probe.close()
    return probe.spec.action_half_range
