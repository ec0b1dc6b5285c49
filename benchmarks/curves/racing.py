"""One run of the race: a new process, timed from its start to the evaluation that reaches the goal, alone.

A run that is cut off begins anew: what is timed cannot be resumed.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from curves.cases import OURS, ROOT, Case, Training
from curves.races import EPISODES, Course, course, published
from curves.runs import FRESH_SEED, Places, about, begun, polyak
from curves.standings import runners
from curves.store import Result, Store
from peers.cases import CONTENDERS
from peers.processes import trainer

PROGRAM = [sys.executable, "-m", "polyak"]
EPOCH = "step "
"""What begins the line in which polyak tells of an evaluation."""
LATE = 2.0
"""How many times the slowest run of a library's other algorithm one may take before it is ended."""


def busy() -> float:
    """Seconds that the machine's cores have worked, for whomever."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)


@dataclass
class Track:
    """What was seen of a run whose process is just being started."""

    points: list[list[float]] = field(default_factory=list[list[float]])
    """[steps, seconds, mean return] of each evaluation, with the seconds from the start until it was told of."""
    _started: float = field(default_factory=time.perf_counter)
    _busy: float = field(default_factory=busy)

    @property
    def seconds(self) -> float:
        """Since the process began."""
        return time.perf_counter() - self._started

    def told(self, goal: float) -> Result:
        """Whether it has arrived, and when; and how many cores were busy meanwhile, with it or with anything else.

        Raises:
            RuntimeError: it told of no evaluation.
        """
        if not self.points:
            raise RuntimeError("it told of no evaluation before it ended")
        steps, seconds, mean = self.points[-1]
        return {
            "goal": goal,
            "arrived": mean >= goal,
            "steps": int(steps),
            "seconds": round(seconds, 2),
            "return": round(mean, 2),
            "busy_cores": round((busy() - self._busy) / self.seconds, 2),
            "curve": [[int(step), round(at, 2), round(value, 2)] for step, at, value in self.points],
        }


@contextlib.contextmanager
def ended_after(seconds: float, end: Callable[[], None]) -> Generator[threading.Event]:
    """Call `end` once the seconds are over, which the event then says, unless the block is left before."""
    over = threading.Event()

    def late() -> None:
        over.set()
        end()

    timer = threading.Timer(seconds, late)
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def raced(entry: Training, places: Places) -> Result:
    """Run it from the start.

    Raises:
        RuntimeError: it failed.
    """
    folder = places.folder(entry) / "attempt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    where = course(entry.case.environment)
    limit = hopeless(entry.case, where, places.results)
    try:
        found = ours(entry, where, folder, limit) if entry.case.library == OURS else theirs(entry, where, places, limit)
        return found | {"limit": round(limit, 2)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hopeless(case: Case, where: Course, store: Store) -> float:
    """Seconds after which a run cannot be its library's fastest any more, or the course's.

    `LATE` times what another algorithm of the library took, where every run of that one has arrived: the slowest of
    them counts.
    """
    others = [
        each for each in runners(store, where) if each.library == case.library and each.case.algorithm != case.algorithm
    ]
    taken = [LATE * max(each.seconds) for each in others]
    return min([where.seconds, *taken])


def fresh(entry: Training, mean: float, std: float) -> Result:
    """What the policy that arrived has in episodes that it was not stopped at."""
    return {"fresh_episodes": entry.case.fresh, "fresh_mean": round(mean, 2), "fresh_std": round(std, 2)}


def ours(entry: Training, where: Course, folder: Path, limit: float) -> Result:
    """`polyak train` as it stands, with nothing compiled before.

    Raises:
        RuntimeError: it failed.
    """
    command = entry.case.command(entry.seed)
    result, track = about(" ".join(["polyak", *command]), threads=entry.case.threads, alone=True), Track()
    at = timed(track, [*command, "--run-dir", str(folder)], folder, limit)
    run = begun(folder)
    if run is None:
        raise RuntimeError("it had no checkpoint before its limit of seconds")
    records = [(record["step"], record["eval/return"]) for record in run.metrics if "eval/return" in record]
    track.points = [[step, seconds, value] for (step, value), seconds in zip(records, at, strict=False)]
    result |= track.told(where.goal) | {name: run.settings[name] for name in ("versions", "settings")}
    if result["arrived"]:
        asked = ["--episodes", str(entry.case.fresh), "--seed", str(FRESH_SEED), "--json"]
        found: dict[str, Any] = json.loads(polyak("evaluate", str(run.folder), *asked, log=folder / "log"))
        result |= fresh(entry, found["mean"], found["std"])
    return result


def timed(track: Track, arguments: list[str], folder: Path, limit: float) -> list[float]:
    """Run the command; the seconds at which it told of each evaluation, which it does in an epoch's line.

    What it compiles goes into `folder`.

    Raises:
        RuntimeError: it failed, otherwise than by its limit of seconds.
    """
    at, said, pipe = list[float](), list[str](), subprocess.PIPE
    variables = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "CUDA_VISIBLE_DEVICES": "",
        "POLYAK_COMPILE_CACHE": str(folder / "compiled"),
    }
    with subprocess.Popen(
        [*PROGRAM, *arguments], env=variables, stdout=subprocess.DEVNULL, stderr=pipe, text=True
    ) as process:
        assert process.stderr
        with ended_after(limit, process.kill) as over:
            try:
                for line in process.stderr:
                    if line.startswith(EPOCH):
                        at.append(track.seconds)
                    said.append(line)
            except BaseException:
                process.kill()
                raise
    if process.returncode and not over.is_set():
        raise RuntimeError("".join(said)[-2000:])
    return at


def theirs(entry: Training, where: Course, places: Places, limit: float) -> Result:
    """A peer's process, with the arguments that were published for the environment.

    Raises:
        RuntimeError: it failed.
    """
    case = entry.case
    arguments, source = published(case.environment, case.algorithm)
    job = {
        "algorithm": case.algorithm,
        "environment": case.environment,
        "seed": entry.seed,
        "threads": case.threads,
        "goal": where.goal,
        "look": where.look,
        "episodes": EPISODES,
        "limit": where.steps,
    }
    options = {"arguments": arguments, "fresh": [case.fresh, FRESH_SEED]}
    script = CONTENDERS[case.library].script
    result = about(
        f"benchmarks/peers/{script} '{json.dumps({**job, 'options': options})}'", threads=case.threads, alone=True
    )
    result |= {"settings": arguments, "source": source}
    track = Track()
    with trainer(case.library, job, places.peers, **options) as process:
        with ended_after(limit, process.kill) as over:
            try:
                result["versions"] = json.loads(" ".join(process.answer()))
                while not track.points or (track.points[-1][0] < where.steps and track.points[-1][2] < where.goal):
                    steps, _, mean = map(float, process.answer())
                    track.points.append([steps, track.seconds, mean])
            except RuntimeError:
                if not over.is_set():
                    raise
        result |= track.told(where.goal)
        if result["arrived"]:
            result |= fresh(entry, *map(float, process.answer()))
    return result
