"""From what the caller asked for to the settings in force."""

import contextlib
import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.environments.make import Environment, make_environments
from polyak.errors import UsageError
from polyak.run.folder import Run
from polyak.settings import presets
from polyak.system.randomness import Streams


def resolve(
    algorithm: str,
    environment: Environment,
    config: Settings | None,
    preset: str | None,
    settings: Mapping[str, Any],
    from_run: Run | None = None,
) -> tuple[str, Settings]:
    """The preset in force and the settings that it, with `settings` over it, comes to.

    Without a preset, a run that is gone on from stands for one: its settings, with no steps of uniform actions, because
    its policy can act already.

    Raises:
        UsageError: an unknown preset or setting, a setting out of its limits, or `config` together with others.
    """
    kind: type[Settings] = algorithm_module(algorithm).Config
    if from_run is not None:
        from_run.require_no_links()
    if config is not None:
        if preset is not None or settings:
            raise UsageError("give either config, or preset and single settings, not both")
        if not isinstance(config, kind):
            raise UsageError(
                f"config is a {type(config).__module__} {type(config).__name__}, but {algorithm} needs its own"
            )
        return "none", config
    known = [field.name for field in dataclasses.fields(kind)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise UsageError(f"{algorithm} has no setting {name!r}: {hint}")
    if from_run is not None and preset is None:
        values: dict[str, Any] = {**_settings_of(from_run, algorithm, known), "start_steps": 0, **settings}
        return f"that of {from_run.folder.name}", kind(**values)
    name = environment if isinstance(environment, str) else ""
    preset = preset or presets.default_for(name)
    values = presets.load(preset, algorithm, name, lambda: half_range(environment)).values
    return Path(preset).name, kind(**{**values, **settings})


def _settings_of(run: Run, algorithm: str, known: list[str]) -> dict[str, Any]:
    if run.settings["algorithm"] != algorithm:
        raise UsageError(
            f"{run.folder} is a run of {run.settings['algorithm']}, but {algorithm} is asked for: "
            "a learner goes on in its own algorithm"
        )
    values = cast(dict[str, Any], run.settings["settings"])
    return {name: value for name, value in values.items() if name in known}


def half_range(environment: Environment) -> NDArray[Any]:
    """[A]: half the width of each action's range, which a preset asks for that states noise in environment units."""
    with contextlib.chdir("."):  # a simulator may go elsewhere, which a look at its actions need not
        probe = make_environments(environment, 1, Streams(0).environment)
        probe.close()
    return probe.spec.action_half_range
