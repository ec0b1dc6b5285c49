"""One training, from its command to its result; what was cut off goes on where its folder still is."""

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from bench import processor
from curves.cases import OURS, ROOT, Training
from curves.equal import ZOO, peer_options, settings
from curves.store import Result, Store
from peers.processes import trainer

from polyak import Run, load
from polyak.errors import UsageError
from polyak.run.runs import find_runs, has_checkpoint
from polyak.run.states import standing_of
from polyak.system.locking import in_use, locked

FRESH_SEED = 1_000  # far from the training seeds
SUCCESS = "eval/success_rate"
KEPT = "kept"
"""In a training's folder: what Stable-Baselines3 goes on from."""


@dataclass(frozen=True)
class Places:
    """Where results, runs and the peers are."""

    results: Store
    runs: Path
    peers: str

    def folder(self, training: Training) -> Path:
        """Where a training runs."""
        return self.runs / training.name


def trained(training: Training, places: Places) -> Result:
    """Run it, or go on with it.

    Raises:
        RuntimeError: it failed.
    """
    return ours(training, places) if training.case.library == OURS else theirs(training, places)


def work(
    chosen: list[Training],
    places: Places,
    run: Callable[[Training, Places], Result] = trained,
    until: float = math.inf,
    needless: Callable[[Training, Store], bool] = lambda *_: False,
) -> list[str]:
    """Run the first that is neither done nor being run by another, again and again; the names of those that failed.

    Any number of processes may do this on the same folders: who has a folder's lock runs what belongs in it. None is
    begun after `until`, by the monotonic clock, and none that the results then make `needless`.
    """
    failed = list[str]()
    while time.monotonic() < until and (taken := _first(chosen, places, failed, needless)) is not None:
        training, lock = taken
        with lock:
            try:
                result = run(training, places)
            except (RuntimeError, ValueError) as error:  # of the command, or in what it left
                failed.append(training.name)
                print(f"{training.name} failed: {error}", flush=True)
                continue
            places.results.write(training.name, result)
            steps, seconds, last = result["curve"][-1]
            print(f"{training.name}: {last:.1f} after {steps:,} steps, {seconds:.0f} s", flush=True)
        clear(places.folder(training))
    return failed


def _first(
    chosen: list[Training], places: Places, failed: list[str], needless: Callable[[Training, Store], bool]
) -> tuple[Training, contextlib.ExitStack] | None:
    for training in chosen:
        if training.name in failed or places.results.read(training.name) is not None:
            continue
        if needless(training, places.results):
            continue
        places.folder(training).mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(places.folder(training)))
            except UsageError:
                continue  # somebody runs it
            if places.results.read(training.name) is None:
                return training, stack.pop_all()
    return None


def state(training: Training, places: Places) -> str:
    """done, running, cut off or left."""
    if places.results.read(training.name) is not None:
        return "done"
    if not places.folder(training).exists():
        return "left"
    return "running" if in_use(places.folder(training)) else "cut off"


def clear(folder: Path) -> None:
    """Remove the checkpoints of what is done, which are large; policy and metrics stay."""
    for checkpoints in (*folder.glob("*/*/*/checkpoints"), *folder.glob(KEPT)):
        shutil.rmtree(checkpoints)


def about(command: str, *, threads: int | None = 1, alone: bool = False) -> Result:
    """What every result says besides what was learned; seconds are an upper bound where others ran beside it."""
    last = ["git", "log", "-1", "--format=%H", "--", "src"]  # what the package is
    commit = subprocess.run(last, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "processor": processor(),
        "threads": threads,
        "quiet": alone,
        "columns": ["steps", "seconds", "return"],
    }


# polyak


def ours(training: Training, places: Places) -> Result:
    """Train, or go on with what was cut off; evaluate on fresh episodes.

    Raises:
        RuntimeError: a command failed.
    """
    folder = places.folder(training)
    command, told = (training.case.command(training.seed) for _ in range(2))
    data = recorded(training.case.shown, places) if training.case.shown else None
    if data is not None:
        command += ["--demonstrations", str(data)]
        told += ["--demonstrations", data.name]  # the folder is this machine's
    result = about(" ".join(["polyak", *told]))
    if data is not None:
        result["shown"] = returns_in(data)
    run = begun(folder)
    if run is None:
        run = load(polyak(*command, "--run-dir", str(folder), log=folder / "log").strip())
    elif standing_of(run).state != "done":
        run = load(polyak("resume", str(run.folder), log=folder / "log").strip())
    told = run.settings
    result |= {"versions": told["versions"], "settings": told["settings"]}
    points = [(r["step"], r["seconds"], r["eval/return"]) for r in run.metrics if "eval/return" in r]
    result["curve"] = [[int(step), round(seconds, 1), round(value, 2)] for step, seconds, value in points]
    rates = [[int(r["step"]), round(r[SUCCESS], 4)] for r in run.metrics if SUCCESS in r]
    if rates:
        result["successes"] = rates
    if training.case.fresh:
        asked = ["--episodes", str(training.case.fresh), "--seed", str(FRESH_SEED), "--json"]
        fresh: dict[str, Any] = json.loads(polyak("evaluate", str(run.folder), *asked, log=folder / "log"))
        result |= {"fresh_episodes": training.case.fresh}
        result |= {f"fresh_{name}": round(fresh[name], 2) for name in ("mean", "std")}
    return result


EPISODES = 50
"""Of demonstrations."""


def recorded(name: str, places: Places) -> Path:
    """Demonstrations of the best policy of another training, its actions drawn: written once, as a Minari dataset.

    Raises:
        RuntimeError: it has not been trained yet, or the command failed.
    """
    data = places.runs / f"{name}-data-v0"
    run = begun(places.runs / name)
    if run is None or places.results.read(name) is None:
        raise RuntimeError(f"its demonstrations are of {name}, which comes first")
    with contextlib.ExitStack() as stack:
        folder = data.with_name("lock")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(locked(folder))
        except UsageError as error:
            raise RuntimeError(f"{data} is just being written by another process") from error
        if not data.exists():
            asked = ["--episodes", str(EPISODES), "--seed", str(FRESH_SEED), "--best", "--stochastic"]
            polyak("dataset", str(run.folder), "-o", str(data), *asked, log=data.with_name("log"))
    return data.absolute()


def returns_in(data: Path) -> dict[str, float]:
    """How many episodes a Minari dataset has, and the mean and standard deviation of their returns."""
    import h5py

    with h5py.File(data / "data" / "main_data.hdf5") as file:
        returns = [float(np.sum(episode["rewards"])) for episode in file.values()]
    return {
        "episodes": len(returns),
        "mean": round(float(np.mean(returns)), 2),
        "std": round(float(np.std(returns)), 2),
    }


def begun(folder: Path) -> Run | None:
    """The latest run in a training's folder; one that was killed before it had a checkpoint is passed over."""
    found = [run for run in find_runs(folder) if has_checkpoint(run) or standing_of(run).state == "done"]
    return found[-1].placed() if found else None


def polyak(*arguments: str, log: Path) -> str:
    """Run the command line in a process of its own, which saves and ends when this one does; its standard output.

    Raises:
        RuntimeError: it failed; its last words are in the message.
    """
    program = [sys.executable, "-m", "polyak.cli.child", *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    pipe = subprocess.PIPE
    with (
        log.open("a") as errors,
        subprocess.Popen(
            program, cwd=ROOT, env=variables, stdin=pipe, stdout=pipe, stderr=errors, text=True
        ) as process,
        _terminated(process),
    ):
        assert process.stdout
        output = process.stdout.read()
        if process.wait():
            words = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"polyak {' '.join(arguments)} ended with {process.returncode}:\n{words}")
    return output


@contextlib.contextmanager
def _terminated(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Whatever ends the block ends the process, in order."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()


# Stable-Baselines3


def theirs(training: Training, places: Places) -> Result:
    """Train with the settings that polyak has in the same comparison, or go on from the last evaluation.

    That is not exact, as polyak's is: an episode begins, and the random numbers begin anew. `pieces` counts them.

    Raises:
        RuntimeError: it failed.
    """
    case = training.case
    values = settings(ZOO, case.algorithm, case.environment)
    job = {
        "algorithm": case.algorithm,
        "environment": case.environment,
        "seed": training.seed,
        "threads": 1,
        "look": values["steps_per_epoch"],
        "episodes": values["evaluation_episodes"],
        "limit": values["steps"],
    }
    options = peer_options(case.algorithm, values)
    result = about(f"benchmarks/peers/sb3.py '{json.dumps({**job, 'options': options})}'")
    folder = places.folder(training)
    pieces = folder / "pieces"
    pieces.write_text(str(int(pieces.read_text()) + 1 if any(folder.glob(f"{KEPT}/[0-9]*")) else 1))
    result |= {"settings": options, "pieces": int(pieces.read_text()), "curve": list[Any]()}
    with trainer(case.library, job, places.peers, curve=str((folder / KEPT).absolute()), **options) as process:
        result["versions"] = json.loads(" ".join(process.answer()))
        while not result["curve"] or result["curve"][-1][0] < job["limit"]:
            steps, seconds, mean = map(float, process.answer())
            result["curve"].append([int(steps), round(seconds, 1), round(mean, 2)])
            print(f"{training.name}: {mean:.1f} after {steps:,.0f} steps", flush=True)
    return result
