"""What there is besides speed: start-up, memory, replay, costs, a return from cold, the parts of polyak's own step."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.cases import CONTENDERS, LAGGING, OURS, ratios, spread, summary
from peers.processes import HERE, ROOT, Process, trainer

FILLED = f"{OURS}, filled cache"
"""polyak once more, with what it has compiled before; by itself it begins with an empty cache each time."""
BATCH, MEMORY_STEPS, GOAL, COLD_LIMIT, EPOCH = 256, 3_000, -200.0, 20_000, 1_000
LOOP = ("environment", "acting", "replay", "learner")
"""The parts of a step that `parts` tells apart, in this order."""
REPLAYS = {"polyak": True, "Stable-Baselines3": False, "Tianshou": False, "TorchRL": False, "skrl": False}
"""Whose replay is timed, and whether it runs in polyak's own environment; SBX has Stable-Baselines3's."""
Measured = dict[str, list[float]]


def rounds_of(
    options: argparse.Namespace, what: str, names: list[str], measure: Callable[[str, int], dict[str, float]]
) -> dict[str, Measured]:
    """Every round of each contender, number after number, one process at a time; by number's name, then contender."""
    found: dict[str, Measured] = {}
    for number in range(options.rounds):
        for name in names:
            for key, value in measure(name, number).items():
                found.setdefault(key, {}).setdefault(name, []).append(value)
        print(f"{what}: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    return found


def described(found: dict[str, Measured], **notes: Any) -> dict[str, Any]:
    """Medians and spreads, and how many times polyak's they are."""
    rows: dict[str, Any] = {}
    for key, measured in found.items():
        for name, values in measured.items():
            row = rows.setdefault(name, {})
            row[key] = summary(values)
            if name != OURS and OURS in measured and len(values) == len(measured[OURS]):
                row[f"{key}_times_polyak"] = ratios(values, measured[OURS])
    return {**notes, "contenders": rows}


def start_up(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the process's start until the environment is asked for the step after the first update."""
    job = {"algorithm": "sac", "environment": "HalfCheetah-v5", "start_steps": BATCH, "quota": BATCH + 1}
    with tempfile.TemporaryDirectory() as folder:

        def measure(name: str, number: int) -> dict[str, float]:
            with cached(name, {**job, "threads": options.threads, "seed": number}, options, folder) as process:
                process.answer()
                return {"seconds": time.perf_counter() - process.started}

        names = with_filled(options.contenders)
        if FILLED in names:
            measure(FILLED, 0)
        return described(rounds_of(options, "start-up", names, measure), random_steps=BATCH)


def with_filled(names: list[str]) -> list[str]:
    """The contenders, polyak with a filled cache after polyak without."""
    return [twin for name in names for twin in ((name, FILLED) if name == OURS else (name,))]


def cached(name: str, job: dict[str, Any], options: argparse.Namespace, folder: str) -> Process:
    """A training process; `FILLED` is polyak with its cache in `folder`."""
    extra = {"POLYAK_COMPILE_CACHE": folder} if name == FILLED else {}
    return trainer(OURS if name == FILLED else name, job, options.peers, extra)


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident memory after 3,000 steps, that many transitions held; what a full replay would hold instead."""
    job = {"algorithm": "sac", "environment": "HalfCheetah-v5", "quota": MEMORY_STEPS, "threads": options.threads}

    with tempfile.TemporaryDirectory() as folder:

        def measure(name: str, number: int) -> dict[str, float]:
            with cached(name, {**job, "seed": number}, options, folder) as process:
                return {"megabytes": float(process.answer()[1]) / 1e6}

        names = with_filled(options.contenders)
        if FILLED in names:
            measure(FILLED, 0)
        rounds = rounds_of(options, "memory", names, measure)
    found = described(rounds, steps=MEMORY_STEPS, replay=1_000_000)
    stored = ROOT / "docs" / "results" / "replay_memory.json"
    if stored.exists():
        rows = json.loads(stored.read_text())["environments"]["HalfCheetah-v5"]
        kinds = {"SBX": "Stable-Baselines3", "Tianshou": "Tianshou, ReplayBuffer"}
        for name, row in found["contenders"].items():
            kind = rows[kinds.get(name, OURS if name == FILLED or CONTENDERS[name].ours else name)]
            row["full_replay_megabytes"] = round(kind["array_bytes"])
    return found


def replay(options: argparse.Namespace) -> dict[str, Any]:
    """Transitions added one at a time, and batches of 256 sampled, in a second; HalfCheetah's sizes."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(HERE.parent)])}
    names = [name for name in REPLAYS if name in options.contenders]
    processes = {
        name: Process(
            name,
            [sys.executable if REPLAYS[name] else options.peers, str(HERE / "replays.py"), name],
            options.threads,
            paths,
        )
        for name in names
    }
    try:

        def measure(name: str, number: int) -> dict[str, float]:
            adds, samples = map(float, processes[name].ask(""))
            return {"adds_per_second": adds, "samples_per_second": samples}

        return described(rounds_of(options, "replay", names, measure), environment="HalfCheetah-v5", batch_size=BATCH)
    finally:
        for process in processes.values():
            process.close()


def costs(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of one evaluation of 10 episodes of Pendulum, and of one checkpoint of 10,000 transitions."""
    job = {"algorithm": "sac", "environment": "Pendulum-v1", "start_steps": 10_000, "limit": 10_000, "episodes": 10}

    def measure(name: str, number: int) -> dict[str, float]:
        job_now = {**job, "threads": options.threads, "seed": number}
        with trainer(name, job_now, options.peers, costs=True) as process:
            keys = ("evaluation_seconds", "checkpoint_seconds")
            return dict(zip(keys, map(float, process.answer()), strict=True))

    names = [name for name in options.contenders if name in (OURS, "Stable-Baselines3")]
    return described(rounds_of(options, "costs", names, measure), environment="Pendulum-v1", episodes=10, held=10_000)


def cold(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from a cold command until an evaluation of Pendulum-v1 gives a return of -200; a round is a seed."""
    job = {"algorithm": "sac", "environment": "Pendulum-v1", "learning_rate": 1e-3, "goal": GOAL, "limit": COLD_LIMIT}
    with tempfile.TemporaryDirectory() as folder:

        def measure(name: str, number: int) -> dict[str, float]:
            with cached(name, {**job, "threads": options.threads, "seed": number}, options, folder) as process:
                steps, mean = map(float, process.answer())
                seconds = time.perf_counter() - process.started
            print(f"  {name}: {mean:.1f} after {steps:.0f} steps, {seconds:.1f} s", file=sys.stderr, flush=True)
            return {"seconds": seconds, "steps": steps, "return": mean}

        names = [name for name in options.contenders if CONTENDERS[name].learns]
        if OURS in names:
            warm = {**job, "limit": 2_000, "threads": options.threads}
            with cached(FILLED, warm, options, folder) as process:
                process.answer()
        return described(rounds_of(options, "cold", with_filled(names), measure), goal=GOAL, limit=COLD_LIMIT)


def parts(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds an environment step in each part of polyak's loop, with updates after every step, or in bursts."""
    kinds = {"every step": (OURS, 1), "every step, lag 1": (LAGGING, 1), "bursts of 50": (OURS, 50)}
    job = {"algorithm": "sac", "environment": "HalfCheetah-v5", "limit": 3 * EPOCH, "look": EPOCH, "episodes": 1}

    def measure(name: str, number: int) -> dict[str, float]:
        contender, collect = kinds[name]
        asked = {**job, "collect": collect, "threads": options.threads, "seed": number}
        with trainer(contender, asked, options.peers, parts=LOOP) as process:
            return {part: 1e3 * float(seconds) / EPOCH for part, seconds in zip(LOOP, process.answer(), strict=True)}

    return described(rounds_of(options, "parts", list(kinds), measure), environment="HalfCheetah-v5", steps=EPOCH)


MEASURES = {"startup": start_up, "memory": memory, "replay": replay, "costs": costs, "cold": cold, "parts": parts}


def show(what: str, result: dict[str, Any]) -> None:
    """A Markdown table."""
    rows = result["contenders"]
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    print(f"\n{(MEASURES[what].__doc__ or '').splitlines()[0]}\n\n| | {' | '.join(keys)} |\n|---|{'---|' * len(keys)}")
    for name, row in rows.items():
        cells = [spread(row[key]) if isinstance(row.get(key), dict) else str(row.get(key, "")) for key in keys]
        print(f"| {name} | {' | '.join(cells)} |")


def output_folder(path: Path) -> Path:
    """Make the folder that a results' file lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
