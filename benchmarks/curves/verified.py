"""Which presets were measured as they are: what `src/polyak/settings/presets/verified.json` is made of."""

import dataclasses
import functools
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from curves.cases import OURS, ROOT, Case, trainings
from curves.numbers import is_timed, usual_processor
from curves.store import Result, Store

from polyak.algorithm import Algorithm
from polyak.algorithms import algorithm as algorithm_named
from polyak.errors import UsageError
from polyak.settings import presets
from polyak.settings.presets.verified import SEEDS, Verified, fingerprint, shaping

OF_THE_RUN = {"seed", "threads", "stop_at_return", "preset", "steps", "steps_per_epoch", "evaluation_episodes"}
"""Flags that leave a preset as it is."""
NEEDED = {"rlpd": {"demonstrations"}}
"""Flags without which there is no run."""
ELSEWHERE = ("torch", "tensorflow")
"""Not part of a run in JAX."""

Runs = Mapping[int, Result]
"""By seed."""


def flags(command: str) -> dict[str, str]:
    """What a command line of `polyak train` tells besides algorithm and environment: names as settings have them."""
    words, told = shlex.split(command)[4:], dict[str, str]()
    for number, word in enumerate(words):
        if word.startswith("--"):
            after = words[number + 1] if number + 1 < len(words) else ""
            told[word[2:].replace("-", "_")] = "" if after.startswith("--") else after
    return told


def preset_of(case: Case, result: Result) -> str | None:
    """The preset that a training was asked for, or had by itself; None where more was asked than a preset says."""
    told = flags(result["command"])
    settings = {field.name for field in dataclasses.fields(algorithm_named(case.algorithm).Config)}
    known = OF_THE_RUN | NEEDED.get(case.algorithm, set())
    others = {name for name in told if name not in known and name.removeprefix("no_") not in settings}
    name = told.get("preset", presets.default_for(case.environment, case.algorithm))
    return None if others or name.endswith(".toml") else name


def holds(case: Case, result: Result, name: str) -> bool:
    """Whether a training had the settings that a preset gives today: those that it does not tell had their defaults."""
    return differing(case, result, name) == {}


def changed(case: Case, result: Result) -> dict[str, Any]:
    """What a training had of its preset, and its command does not say, where the preset says something else today."""
    if "settings" not in result:
        return {}
    told = flags(result["command"])
    name = told.get("preset", presets.default_for(case.environment, case.algorithm))
    other = differing(case, result, str(ROOT / name) if name.endswith(".toml") else name) or {}
    return {key: value for key, value in other.items() if key not in told and f"no_{key}" not in told}


def differing(case: Case, result: Result, name: str) -> dict[str, Any] | None:
    """The settings of a training that a preset does not give today; None where today's are not to be compared with."""
    kind = algorithm_named(case.algorithm)
    told = {key: tuple(value) if isinstance(value, list) else value for key, value in result["settings"].items()}
    if not told.keys() <= {field.name for field in dataclasses.fields(kind.Config)}:
        return None
    try:
        given = presets.load(name, kind, case.environment, lambda: half_range(case.environment)).values
        now, then = (shaping(kind.Config(**values)) for values in (given, told))
    except UsageError:  # values that today's settings no longer take
        return None
    return {key: value for key, value in then.items() if key not in now or now[key] != value}


@functools.cache
def half_range(environment: str) -> Any:
    """Half the width of each action's range, [A]."""
    made = gymnasium.make(environment)
    space: Any = made.action_space
    made.close()
    return (np.asarray(space.high) - np.asarray(space.low)) / 2


def measured(store: Store, unrecorded: bool = False) -> dict[tuple[str, str, str, str], Runs]:
    """The trainings with a preset as it is today, by environment, algorithm, preset and what was told besides.

    Seeds that were evaluated with more episodes or fewer belong together. `unrecorded` are those, too, that have no
    settings with them, from before results had.
    """
    found: dict[tuple[str, str, str, str], dict[int, Result]] = {}
    for training in trainings():
        case, result = training.case, store.read(training.name)
        if result is None or case.library != OURS:
            continue
        name = preset_of(case, result)
        same = name is not None and (holds(case, result, name) if "settings" in result else unrecorded)
        if name is not None and same:
            told = re.sub(r" --(seed|evaluation-episodes) \d+", "", result["command"])
            found.setdefault((case.plain, case.algorithm, name, told), {})[training.seed] = result
    return found


def entries(store: Store) -> list[Verified]:
    """What is verified: of each preset the command that says most, by its seeds, then where it stops, then its length.

    A run that stops at a return says less than one that goes to its end.
    """
    chosen: dict[tuple[str, str, str], tuple[tuple[bool, int], Verified]] = {}
    for (environment, algorithm, preset, command), found in measured(store).items():
        runs = {seed: result for seed, result in found.items() if "fresh_mean" in result}
        if len(runs) < SEEDS or "--backend" in command:
            continue
        entry = entry_of(environment, algorithm, preset, runs)
        rank = ("--stop-at-return" not in command, max(entry.steps))
        place = (environment, algorithm, preset)
        if place not in chosen or rank > chosen[place][0]:
            chosen[place] = (rank, entry)
    return [entry for _, (_, entry) in sorted(chosen.items(), key=lambda each: each[0])]


def entry_of(environment: str, algorithm: str, preset: str, runs: Runs) -> Verified:
    """Of several seeds; their minutes are those of the processor that most of them had."""
    ordered = dict(sorted(runs.items()))
    results = [*ordered.values()]
    processor = usual_processor(results)
    timed = [each for each in results if is_timed(each, processor)]
    kind = algorithm_named(algorithm)
    return Verified(
        environment,
        algorithm,
        preset,
        fingerprint(preset_config(kind, environment, preset)),
        tuple(dict.fromkeys(re.sub(r"--seed \d+", "--seed N", each["command"]) for each in results)),
        tuple(ordered),
        tuple(each["fresh_mean"] for each in results),
        min(each["fresh_episodes"] for each in results),
        tuple(each["curve"][-1][0] for each in results),
        tuple(round(each["curve"][-1][1] / 60, 1) for each in timed),
        "; ".join(dict.fromkeys(each["processor"] for each in [*timed, *results] if each.get("processor"))),
        versions(results),
    )


def preset_config(kind: Algorithm, environment: str, preset: str) -> Any:
    """The settings that a preset gives, its noise as it stands there."""
    return kind.Config(**presets.load(preset, kind, environment).values)


def versions(results: list[Result]) -> dict[str, str]:
    """Of what took part: all that there were."""
    names = dict.fromkeys(name for each in results for name in each["versions"] if name not in ELSEWHERE)
    return {
        name: ", ".join(sorted({each["versions"][name] for each in results if name in each["versions"]}))
        for name in names
    }


def text(store: Store) -> str:
    """The file: a line an entry."""
    lines = ",\n".join(f"  {json.dumps(dataclasses.asdict(entry))}" for entry in entries(store))
    made = "made by benchmarks/learning_pages.py of docs/results/learning"
    return f'{{\n "note": "{made}",\n "verified": [\n{lines}\n ]\n}}\n'
