"""Measure what checkpoints cost: as a share of training, and as replay grows.

    python benchmarks/checkpoints.py                        # writes docs/results/checkpoints.json

Share: real training at the default settings of an environment; the time inside `Loop.checkpoint` divided by the time of
the whole loop. It is a ratio within one run, so that a busy machine slows both down.

Growth: replay is filled with HalfCheetah's transitions to a size; then, round after round, at each size in turn, an
epoch of transitions is added and the next checkpoint is timed. Beside it stands what writing the same bytes costs with
nothing else (`write`, `fsync`, `rename`), which is the limit, and what writing the whole buffer anew would cost.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import polyak
from polyak import training
from polyak.algorithm import first_state
from polyak.algorithms import sac
from polyak.experience.replay import Replay
from polyak.run import loop
from polyak.run.checkpoints import Checkpoints, Content
from polyak.system.files import write_atomically
from polyak.system.randomness import stream
from polyak.system.threads import physical_cores
from polyak.types import Spec, Transitions

ROOT = Path(__file__).resolve().parent.parent
OBSERVATIONS, ACTIONS = 17, 6  # HalfCheetah-v5
EPOCH = 5_000
SIZES = (10_000, 100_000, 1_000_000)
RUNS = (("sac", "Pendulum-v1", 5_000), ("sac", "HalfCheetah-v5", 16_000), ("td3", "LunarLanderContinuous-v3", 16_000))


def share(algorithm: str, environment: str, steps: int, folder: Path) -> dict[str, Any]:
    """Seconds in checkpoints and in all of a real training."""
    spent: list[float] = []
    checkpoint, run_to_the_end = loop.Loop.checkpoint, loop.Loop.run_to_the_end
    whole = 0.0

    def timed_checkpoint(self: loop.Loop) -> None:
        begun = time.perf_counter()
        checkpoint(self)
        spent.append(time.perf_counter() - begun)

    def timed_run(self: loop.Loop) -> None:
        nonlocal whole
        begun = time.perf_counter()
        run_to_the_end(self)
        whole = time.perf_counter() - begun

    loop.Loop.checkpoint, loop.Loop.run_to_the_end = timed_checkpoint, timed_run  # type: ignore[method-assign]
    try:
        run = training.train(algorithm, environment, steps=steps, run_dir=folder)
    finally:
        loop.Loop.checkpoint, loop.Loop.run_to_the_end = checkpoint, run_to_the_end  # type: ignore[method-assign]
    return {
        "algorithm": algorithm,
        "environment": environment,
        "steps": steps,
        "steps_per_epoch": run.settings["settings"]["steps_per_epoch"],
        "checkpoints": len(spent),
        "milliseconds_each": round(1e3 * statistics.median(spent), 2),
        "share": round(sum(spent) / whole, 6),
    }


def add(replay: Replay, count: int, generator: np.random.Generator) -> None:
    """Random transitions, in portions that fit into memory beside the buffer."""
    while count:
        portion = min(count, 50_000)
        observation = generator.standard_normal((portion, OBSERVATIONS), dtype=np.float32)
        action = generator.standard_normal((portion, ACTIONS), dtype=np.float32)
        never, episode = np.zeros(portion, np.bool_), np.zeros(portion, np.int32)
        replay.add(Transitions(observation, action, observation[:, 0], observation, never, never, episode))
        count -= portion


def content(step: int) -> Content:
    """What SAC at the default settings has to save besides replay."""
    bounds = np.ones(ACTIONS, np.float32)
    spec = Spec((OBSERVATIONS,), (ACTIONS,), -bounds, bounds)
    learner = first_state(sac.state(spec, sac.Config()), stream(0, "weights"))
    measured = np.zeros((EPOCH, len(sac.METRICS)), np.float32)
    return Content(step, {}, {}, "sac", learner, {"measured": measured}, b" " * 50_000, b" " * 300_000)


def milliseconds(act: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    begun = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - begun)


def growth(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """The next checkpoint's cost at each size of replay, and the two costs to compare it with."""
    generator = np.random.default_rng(0)
    stores: dict[int, tuple[Replay, Checkpoints]] = {}
    for size in SIZES:
        stores[size] = Replay(size + (rounds + 1) * EPOCH, OBSERVATIONS, ACTIONS), Checkpoints(folder / str(size))
        add(stores[size][0], size, generator)
        stores[size][1].save(content(0), stores[size][0])
    times: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    written = dict.fromkeys(SIZES, 0)
    for step in range(1, rounds + 1):
        for size, (replay, checkpoints) in stores.items():
            add(replay, EPOCH, generator)
            before = {path.name for path in checkpoints.folder.iterdir()}
            now = content(step)
            ours = milliseconds(lambda: checkpoints.save(now, replay))  # noqa: B023
            new = [path for path in checkpoints.folder.iterdir() if path.name not in before]
            blobs = [bytes(path.stat().st_size) for path in new]
            written[size] = sum(map(len, blobs))
            limit = milliseconds(lambda: [write_atomically(folder / f"blob{i}", each) for i, each in enumerate(blobs)])  # noqa: B023
            times[size].append((ours, limit))
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        ours, limit = (statistics.median(column) for column in zip(*times[size], strict=True))
        whole = stores[size][0].records(0, size).tobytes()
        anew = statistics.median(milliseconds(lambda: write_atomically(folder / "whole", whole)) for _ in range(3))  # noqa: B023
        rows.append(
            {
                "transitions": size,
                "milliseconds": round(ours, 1),
                "bytes_written": written[size],
                "milliseconds_to_write_as_many_bytes": round(limit, 1),
                "milliseconds_to_write_the_whole_buffer": round(anew, 1),
                "whole_buffer_bytes": len(whole),
            }
        )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "checkpoints.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = growth(options.rounds, Path(temporary))
        for row in rows:
            print(row, flush=True)
        shares = []
        for algorithm, environment, steps in RUNS:
            shares.append(share(algorithm, environment, steps, Path(temporary) / "runs"))
            print(shares[-1], flush=True)
    result = {
        "command": f"python benchmarks/checkpoints.py --rounds {options.rounds}",
        "machine": {"platform": platform.platform(), "cores": physical_cores(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "polyak": polyak.__version__},
        "growth": rows,
        "share": shares,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
