"""What is compared, and the arithmetic of it: cases, contenders, quotas, medians, ratios, tables, the results' file."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIZES = {"HalfCheetah-v5": (17, 6), "Pendulum-v1": (3, 1), "LunarLanderContinuous-v3": (8, 2)}
"""Numbers in an observation and in an action of each environment, the first to be measured first."""
ALGORITHMS = ("sac", "td3", "ddpg", "tqc", "crossq", "redq", "droq")
"""One more is a name here, and a line in `polyak_.py`, in `sb3.py`'s MODELS and in the NETWORKS of `learners.py`."""
IN_SB3 = ("sac", "td3", "ddpg", "tqc", "crossq")
UPDATES = {"redq": 20, "droq": 20}
"""For an environment step, of those that have more than one; they are timed where updates follow every step."""
RHYTHMS = {"every-step": 1, "bursts": 50}
"""Environment steps between updates, of which there are as many."""
START, WARM_UP = 1_000, 150
"""Steps with random actions, and steps with updates before the first round."""


@dataclass(frozen=True)
class Case:
    """An algorithm on so many environments, with updates in one rhythm."""

    algorithm: str
    environment: str
    rhythm: str
    envs: int

    @property
    def name(self) -> str:
        """The key of its results."""
        return f"{self.algorithm} {self.environment} {self.rhythm} {self.envs}"

    @property
    def collect(self) -> int:
        """Steps that each environment takes between updates; eight environments step 6 times, 48 in all, for 50."""
        return max(1, RHYTHMS[self.rhythm] // self.envs)

    @property
    def updates(self) -> int:
        """For each environment step."""
        return UPDATES.get(self.algorithm, 1)

    def aligned(self, steps: int) -> int:
        """As many environment steps or more, so that every round has the same whole number of bursts."""
        burst = self.collect * self.envs
        return math.ceil(steps / self.updates / burst) * burst

    def quota(self, steps: int) -> int:
        """The steps of one environment in a round of so many environment steps."""
        return self.aligned(steps) // self.envs

    def job(self, threads: int) -> dict[str, Any]:
        """What every contender's process is asked."""
        return {
            "algorithm": self.algorithm,
            "environment": self.environment,
            "envs": self.envs,
            "collect": self.collect,
            "start_steps": START,
            "updates": self.updates,
            "quota": self.quota(START * self.updates + WARM_UP),
            "threads": threads,
        }


@dataclass(frozen=True)
class Contender:
    """A library, by the script that trains with it."""

    script: str
    algorithms: Sequence[str] = ALGORITHMS
    rhythms: Sequence[str] = tuple(RHYTHMS)
    options: Mapping[str, Any] = field(default_factory=dict)
    learns: bool = True
    """Whether its script can train until a return is reached."""

    @property
    def ours(self) -> bool:
        """Whether it runs in polyak's own environment."""
        return self.script == "polyak_.py"


OURS, LAGGING = "polyak", "polyak lag 1"
CONTENDERS = {
    OURS: Contender("polyak_.py"),
    LAGGING: Contender("polyak_.py", options={"settings": {"lag": 1}}),
    "polyak torch": Contender("polyak_.py", options={"backend": "torch"}),
    "Stable-Baselines3": Contender("sb3.py", algorithms=IN_SB3),
    "SBX": Contender("sbx_.py", algorithms=(*IN_SB3, "droq")),
    "Tianshou": Contender("tianshou_.py", algorithms=("sac", "redq")),
    "TorchRL": Contender("torchrl_.py", algorithms=("sac",), learns=False),
    "skrl": Contender("skrl_.py", algorithms=("sac",), rhythms=("every-step",), learns=False),
}


def absent(name: str, case: Case, settings: Sequence[str]) -> str:
    """Why a contender takes no part in a case; empty where it does. `settings` are those that polyak has."""
    contender = CONTENDERS[name]
    if case.algorithm not in contender.algorithms:
        return f"not set up for {case.algorithm}"
    if case.rhythm not in contender.rhythms:
        return "it updates at every step"
    missing = [setting for setting in contender.options.get("settings", {}) if setting not in settings]
    return f"polyak has no setting {missing[0]}" if missing else ""


# Numbers


def summary(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, lowest and highest, to so many significant digits."""
    found = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {name: float(f"{value:.{digits}g}") for name, value in found.items()}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Of the rounds, ours over theirs: a busy minute slows both."""
    return summary([a / b for a, b in zip(ours, theirs, strict=True)], 3)


def compared(
    seconds: Mapping[str, Sequence[float]], steps: int, limit: Sequence[float], against: str = OURS, updates: int = 1
) -> dict[str, Any]:
    """A case's result.

    Args:
        seconds: each contender's rounds.
        steps: environment steps of a round.
        limit: seconds an update of the matrix products alone, a number for each round.
        against: the contender whose speed is divided by the others'.
        updates: for each environment step.
    """
    found: dict[str, Any] = {"limit_milliseconds": summary([value * 1e3 for value in limit]), "contenders": {}}
    for name, rounds in seconds.items():
        row: dict[str, Any] = {"steps_per_second": summary([steps / value for value in rounds])}
        row["fraction_of_limit"] = ratios(limit, [value / steps / updates for value in rounds])
        if against in seconds and name != against:
            row["ratio"] = ratios(rounds, seconds[against])
        found["contenders"][name] = row
    return found


def spread(row: Mapping[str, float], unit: str = "") -> str:
    """`median (lowest to highest)`."""
    return f"{row['median']:g}{unit} ({row['lowest']:g} to {row['highest']:g})"


def table(case: str, result: Mapping[str, Any]) -> str:
    """Markdown."""
    rounds = f"{result['steps']} steps a round, {result['rounds']} rounds"
    alone = f"{spread(result['limit_milliseconds'])} ({result.get('limit_library', 'jax')})"
    lines = [
        f"\n{case}: {rounds}; the products alone take {alone} ms an update\n",
        f"| | steps/s: median (lowest to highest) | {OURS} is so many times as fast | fraction of the limit |",
        "|---|---|---|---|",
    ]
    for name, row in result["contenders"].items():
        ratio = spread(row["ratio"]) if "ratio" in row else ""
        share = f"{row['fraction_of_limit']['median']:.0%}"
        lines.append(f"| {name} | {spread(row['steps_per_second'])} | {ratio} | {share} |")
    return "\n".join([*lines, *(f"\n{name}: {reason}." for name, reason in result["absent"].items())])


def merged(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """The results in the file with `found` over them; within `cases`, what is not in `found` stays. Written back."""
    before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    after = {**before, **found}
    if "cases" in found:
        after["cases"] = {**before.get("cases", {}), **found["cases"]}
    path.write_text(json.dumps(after, indent=1) + "\n")
    return after
