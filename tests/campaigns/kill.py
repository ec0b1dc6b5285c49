"""Kill training at random moments, resume it until it ends, and compare with the same run left alone.

    python tests/campaigns/kill.py --rounds 200 --seed 0 --output docs/results/kill.json

A round is one SIGKILL of the main process alone: at start-up, while it trains, while it writes a checkpoint, or at its
end. A victim must end as its uninterrupted reference did, bit for bit, and leave no process behind. Moments depend on
the machine, so that a seed repeats the choices and not the bytes that were on the disk.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from safetensors.numpy import load_file

import polyak
from polyak.cli.request import spec_of_instance
from polyak.experience import minari
from polyak.run.checkpoints import manifest
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.description import stamped
from polyak.system import stopwatch
from polyak.types import Transitions

COMMAND = [sys.executable, "-c", "import sys; from polyak.cli import main; sys.exit(main())"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[1])])),
}
"""In which the environments of the tests can be imported."""
COMMON = (
    *("--hidden-sizes", "32", "32", "--batch-size", "64", "--evaluation-episodes", "1", "--start-steps", "300"),
    *("--update-after", "200", "--threads", "1", "--device", "cpu", "--plain"),
)
PENDULUM, LANDER, CHEETAH = "Pendulum-v1", "LunarLanderContinuous-v3", "HalfCheetah-v5"
TIMES = {"seconds", "epoch_seconds", "times"}
"""Fields of a checkpoint's state that tell the time."""
TIMED = {
    *("seconds", "speed/steps_per_second", *(f"time/{part}" for part in stopwatch.PARTS)),
    *(f"collectors/{name}" for name in ("steps_per_second", "slowest", "waiting")),
    *(f"collectors/{name}" for name in ("bytes_received", "bytes_sent", "restarts")),
}
"""Fields of a record that tell the time, or what one process did."""
STAGES = ("any", "learner", "loop", "metrics", "best", "replay", "checkpoint", "between", "published")
NO_CHECKPOINT = re.compile("has no checkpoint|there is no checkpoint in|is not a run: it has no settings.json")
LIFE_LIMIT = 240.0
"""Seconds after which a process that neither ended nor reached its moment counts as hanging."""
PATIENCE = 4.0
"""Seconds to wait for a certain file of a checkpoint; then any will do."""
ORPHAN_LIMIT = 15.0
"""Seconds that the children of a killed process have to notice."""
SURPLUS = 8
"""Files of one checkpoint, which a kill while they are removed leaves until the next is written."""


@dataclass(frozen=True)
class Configuration:
    """One reference, and the victims that must become like it."""

    algorithm: str
    environment: str
    steps: int
    epoch: int
    every: int | None = None
    """Steps between checkpoints; None is the default."""
    backend: str = "jax"
    extra: tuple[str, ...] = ()
    mirrored: bool = False
    """Whether it has a mirror, from which a victim goes on whose folder is lost."""
    shown: bool = False
    """Whether it has demonstrations."""
    offline: bool = False
    """Whether its steps are updates, of demonstrations alone."""

    @property
    def arguments(self) -> list[str]:
        """Of the command line, but for the folder."""
        every = () if self.every is None else ("--checkpoint-every", str(self.every))
        steps = ("--steps", "0", "--offline-updates") if self.offline else ("--steps",)
        schedule = (*steps, str(self.steps), "--steps-per-epoch", str(self.epoch))
        return ["train", self.algorithm, self.environment, "--backend", self.backend, *schedule, *every, *self.extra]

    @property
    def title(self) -> str:
        """In a line."""
        mirrored = ("mirrored",) * self.mirrored + ("demonstrations",) * self.shown + ("offline",) * self.offline
        every = f"every {self.every or self.epoch}"
        return " ".join((*self.arguments[1:3], self.backend, every, *self.extra, *mirrored))


RING = ("--replay-size", "1200")  # which the run passes, and which holds an episode of 1,000 steps
WIDE_RING = ("--replay-size", "2200")  # the same for two environments
BURSTS = ("--update-every", "50")
CALLBACKS = (
    *("--callback", "callers:Counts(0.5)"),
    *("--callback", 'polyak.callbacks:Curriculum("g", (2.0, 5.0, 10.0), above=-1500.0, episodes=2)'),
)
SIMBA = ("--network", "simba", "--hidden-sizes", "32", "--critic-hidden-sizes", "64", "64")
DECAY = ("--log-sigma", "tanh", "--weight-decay", "0.01", "--weight-decay-of", "all")
EXPLORED = ("--exploration-correlation", "0", "--exploration-hold", "16", "--exploration-spread", "0.05", "0.4")
COLLECTORS = ("--collectors", "2", "--envs", "2", "--update-every", "40")
NORMALIZED = ("--normalize-observations", "--normalize-rewards")
TOGETHER = ("--prioritized", "--n-step", "3", *NORMALIZED, *EXPLORED)
POINTS = "tiny_goals:Points-v0"
HINDSIGHT = ("--hindsight", "--start-steps", "200", "--update-after", "300", "--hidden-sizes", "32")
CONFIGURATIONS = (
    Configuration("sac", PENDULUM, 4000, 500, 100),
    Configuration("td3", LANDER, 4000, 1000, 250, extra=("--exploration-correlation", "0.9")),
    Configuration("ddpg", CHEETAH, 3000, 500, 37, extra=RING),
    Configuration("sac", PENDULUM, 4000, 500, 37, extra=("--envs", "2", "--vectorization", "async")),
    Configuration("td3", PENDULUM, 3700, 500, backend="torch", extra=RING),
    Configuration("sac", LANDER, 4000, 1000, 100, backend="tensorflow", extra=BURSTS),
    Configuration("td3", CHEETAH, 4000, 1000, 100, extra=("--envs", "2")),
    Configuration("ddpg", PENDULUM, 3800, 500, extra=("--exploration-correlation", "0.5")),
    Configuration("sac", LANDER, 4000, 800, 37, extra=("--envs", "3", "--n-step", "5", *BURSTS)),
    Configuration("ddpg", LANDER, 3300, 600, 250, backend="torch"),
    Configuration("sac", CHEETAH, 4000, 1000, 250, extra=("--updates-per-step", "0.5")),
    Configuration("td3", PENDULUM, 6000, 1000, 10, extra=BURSTS),
    Configuration("ddpg", PENDULUM, 4000, 500, 100, backend="tensorflow", extra=BURSTS),
    Configuration("sac", CHEETAH, 3000, 700, 100, backend="torch", extra=(*WIDE_RING, "--envs", "2")),
    Configuration("ddpg", CHEETAH, 3500, 1000, extra=("--n-step", "3")),
    Configuration("td3", LANDER, 3000, 700, 37, extra=("--envs", "2", "--vectorization", "async", *WIDE_RING)),
    Configuration("td3", "BipedalWalker-v3", 3000, 700, 100, backend="torch", extra=("--envs", "2", *BURSTS)),
    Configuration("ddpg", "remembering:FromBoth-v0", 3000, 700, 37, backend="torch", extra=BURSTS),
    Configuration("td3", PENDULUM, 3700, 500, 37, backend="torch", extra=(*BURSTS, *CALLBACKS)),
    Configuration("crossq", PENDULUM, 3000, 500, 100),
    Configuration("crossq", PENDULUM, 3000, 500, 37, backend="torch", extra=("--lag", "1")),
    Configuration("td3", PENDULUM, 3700, 500, 37, backend="torch", extra=(*BURSTS, *RING), mirrored=True),
    Configuration("sac", PENDULUM, 4000, 500, 100, backend="torch", extra=(*COLLECTORS, "--n-step", "3")),
    Configuration("td3", PENDULUM, 3700, 500, 37, backend="torch", extra=(*RING, *NORMALIZED, "--lag", "1")),
    Configuration("sac", LANDER, 3000, 500, 100, extra=("--envs", "3", "--n-step", "3", *BURSTS, *NORMALIZED)),
    Configuration("td3", PENDULUM, 3700, 500, 37, extra=("--prioritized", "--lag", "1", *RING)),
    Configuration(
        "sac", LANDER, 3000, 700, 100, backend="torch", extra=("--prioritized", "lap", "--n-step", "3", *BURSTS)
    ),
    Configuration("td3", PENDULUM, 3700, 500, 37, extra=(*EXPLORED, "--envs", "2")),
    Configuration("sac", LANDER, 3000, 700, 100, backend="torch", extra=(*EXPLORED, "--action-repeat", "2", *BURSTS)),
    Configuration("td3", PENDULUM, 3000, 500, 100, backend="torch", extra=(*EXPLORED, *COLLECTORS)),
    Configuration("sac", PENDULUM, 3700, 500, 37, backend="torch", extra=(*BURSTS, "--n-step", "3"), shown=True),
    Configuration("td3", POINTS, 3000, 500, 37, backend="torch", extra=(*HINDSIGHT, *RING, *BURSTS)),
    Configuration(
        *("sac", POINTS, 3000, 500, 100, "torch"),
        (*HINDSIGHT, "--envs", "3", "--n-step", "3", "--lag", "1", *WIDE_RING, *NORMALIZED, *BURSTS),
    ),
    Configuration("sac", POINTS, 3000, 500, 100, backend="torch", extra=(*HINDSIGHT, *COLLECTORS)),
    Configuration(
        *("td3", PENDULUM, 4000, 500, 100, "torch", (*BURSTS, "--behaviour-cloning", "2.5")), shown=True, offline=True
    ),
    Configuration("td3", PENDULUM, 3000, 500, 37, backend="torch", extra=(*TOGETHER, "--lag", "1"), shown=True),
    Configuration("sac", PENDULUM, 3000, 500, 100, extra=(*TOGETHER, *COLLECTORS), shown=True),
    Configuration("droq", PENDULUM, 1200, 300, 37, extra=("--critics", "3", "--lag", "1")),  # subsets and dropped units
    Configuration("sac", PENDULUM, 3000, 500, 37, backend="torch", extra=(*SIMBA, *DECAY)),
)


@dataclass(frozen=True)
class Moment:
    """When a process is to be killed."""

    kind: str
    """start, running, writing, ending"""
    delay: float
    """Seconds: from the start, or from what was waited for."""
    manifests: int
    """New checkpoints to wait for before."""
    stage: str
    """Of a checkpoint, for `writing`."""


@dataclass
class Row:
    """What happened in a configuration."""

    configuration: str
    counts: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As the results hold it."""
        counts = dict(sorted(self.counts.items()))
        return {"configuration": self.configuration, **counts, "seconds": round(self.seconds, 1)} | (
            {"failures": self.failures} if self.failures else {}
        )


@dataclass(frozen=True)
class Reference:
    """The uninterrupted run."""

    folder: Path
    start_up: float
    """Seconds until its first checkpoint."""
    training: float
    """Seconds from there to its end."""


# Looking at a run's folder


class Watched:
    """The one run below a folder, which may be still to be made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._folder: Path | None = None

    @property
    def folder(self) -> Path | None:
        """The run's folder, once there is one."""
        if self._folder is None and self.directory.is_dir():
            self._folder = next(self.directory.glob("*/*/*"), None)
        return self._folder

    @property
    def names(self) -> list[str]:
        """The names in the folder of checkpoints."""
        if self.folder is not None:
            with suppress(FileNotFoundError), os.scandir(self.folder / "checkpoints") as entries:
                return [entry.name for entry in entries]
        return []

    @property
    def newest(self) -> Manifest | None:
        """The newest manifest, or None where there is none yet or it is just being removed."""
        published = serials(self.names)
        if self.folder is None or not published:
            return None
        with suppress(polyak.UsageError):
            return manifest.read(self.folder / f"checkpoints/checkpoint-{published[-1]:06}.json")
        return None

    @property
    def step(self) -> int:
        """Of the newest checkpoint; -1 before there is one."""
        newest = self.newest
        return -1 if newest is None else newest.step


def serials(names: list[str]) -> list[int]:
    """The numbers of the published checkpoints, in order."""
    return sorted(int(found[1]) for name in names if (found := manifest.MANIFEST_NAME.fullmatch(name)))


def unpublished(names: list[str]) -> list[str]:
    """Temporary files, and those of a checkpoint that has no manifest yet."""
    newest = max(serials(names), default=0)
    ours = [name for name in names if manifest.FILE_NAME.fullmatch(name)]
    later = [name for name in ours if int(re.findall("[0-9]+", name)[-1]) > newest]
    return later + [name for name in names if name.endswith(".tmp")]


# Processes


def started(arguments: list[str], errors: Path) -> subprocess.Popen[bytes]:
    """Start the command line in a session of its own, by which its children are found."""
    with errors.open("wb") as file:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": file}
        return subprocess.Popen([*COMMAND, *arguments], start_new_session=True, env=ENVIRONMENT, **quiet)


def ended(arguments: list[str], errors: Path) -> int:
    """Run a whole command: its exit code, 124 where it hangs."""
    process = started(arguments, errors)
    try:
        return process.wait(LIFE_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 124


def living_in(session: int) -> list[psutil.Process]:
    """The living processes of a session."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def orphans(session: int) -> list[str]:
    """What is left of a dead process's session after the time that children have to notice; it is ended."""
    deadline = time.monotonic() + ORPHAN_LIMIT
    while (left := living_in(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    commands: list[str] = []
    for process in left:
        with suppress(psutil.Error):
            commands.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
            process.kill()
    return commands


# Moments


def drawn_moment(draw: random.Random, reference: Reference, first: bool, stalled: bool) -> Moment:
    """When to kill next; a run that did not advance gets the time for two or three checkpoints."""
    weights = {"start": 0.35 if first else 0.15, "running": 0.3, "writing": 0.45, "ending": 0.07}
    if stalled:
        weights["start"] = 0
    kind = draw.choices(list(weights), list(weights.values()))[0]
    longest = {"start": reference.start_up, "running": reference.training / 5, "writing": 0.0, "ending": 0.1}[kind]
    manifests = draw.choice((2, 3)) if stalled else draw.choice((0, 1, 1, 2)) if kind == "writing" else 1
    return Moment(kind, draw.uniform(0, longest), manifests, draw.choice(STAGES))


def wait_for(moment: Moment, process: subprocess.Popen[bytes], watched: Watched, steps: int) -> bool:
    """Wait until the moment has come; False where the process ended before, or hangs."""
    deadline = time.monotonic() + LIFE_LIMIT
    if moment.kind == "start":
        return _slept(process, moment.delay)
    before = max(serials(watched.names), default=0)
    wanted = moment.manifests
    if not _polled(process, deadline, lambda: sum(each > before for each in serials(watched.names)) >= wanted):
        return False
    if moment.kind == "writing":
        return _polled(process, deadline, _stage_shown(moment.stage, watched), pause=0.0001)
    if moment.kind == "ending" and not _polled(process, deadline, lambda: watched.step >= steps):
        return False
    return _slept(process, moment.delay)


def _stage_shown(stage: str, watched: Watched) -> Callable[[], bool]:
    """Whether a stage of a checkpoint can be seen, or any once patience is over."""
    published = max(serials(watched.names), default=0)
    patience = time.monotonic() + PATIENCE

    def shown() -> bool:
        names, now = watched.names, stage if time.monotonic() < patience else "any"
        if now == "published":  # what it replaces is still to be removed
            return max(serials(names), default=0) > published
        if now == "between":
            return bool(later := unpublished(names)) and not any(name.endswith(".tmp") for name in later)
        start = "." if now == "any" else f".{now}-"
        return any(name.startswith(start) for name in names)

    return shown


def _polled(process: subprocess.Popen[bytes], deadline: float, come: Callable[[], bool], pause: float = 0.002) -> bool:
    while process.poll() is None and time.monotonic() < deadline:
        if come():
            return True
        time.sleep(pause)
    return False


def _slept(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


# A victim's lives


def recorded(path: Path) -> Path:
    """A Minari dataset of four episodes of what looks like a pendulum, written where it is not there yet."""
    generator, spec, episodes = np.random.default_rng(0), spec_of_instance(PENDULUM), list[Transitions]()
    for number in range(4):
        seen = generator.normal(size=(201, 3)).astype(np.float32)
        action = generator.uniform(-1, 1, (200, 1)).astype(np.float32)
        reward, never = -np.square(seen[1:, 0]), np.zeros(200, np.bool_)
        ends, of = np.arange(200) == 199, np.full(200, number, np.int32)
        episodes.append(Transitions(seen[:-1], action, reward, seen[1:], never, ends, of))
    if not path.exists():
        minari.write(path, episodes, spec, {})
    return path


class Campaign:
    """All rounds of one configuration."""

    def __init__(self, configuration: Configuration, rounds: int, seed: str, scratch: Path) -> None:
        self.configuration = configuration
        self.rounds = rounds
        self.scratch = scratch
        self.row = Row(configuration.title)
        self._draw = random.Random(seed)
        self._errors = scratch / "errors"
        self._seed = ("--seed", str(self._draw.randrange(1000)))

    def run(self) -> Row:
        """Kill as often as asked, then compare; what is wrong is in the row."""
        begun = time.monotonic()
        try:
            reference = self._reference()
            while reference is not None and self.row.counts["kills"] < self.rounds and not self.row.failures:
                self._victim(reference)
        except (OSError, subprocess.SubprocessError) as error:
            self._fail(f"the campaign itself: {type(error).__name__} {error}")
        self.row.seconds = time.monotonic() - begun
        return self.row

    def _train(self, directory: Path) -> list[str]:
        mirror = ("--mirror", str(self.scratch / f"copies-{directory.name}")) if self.configuration.mirrored else ()
        shown = ("--demonstrations", str(recorded(self.scratch / "shown-v0"))) if self.configuration.shown else ()
        return [*self.configuration.arguments, *COMMON, *self._seed, "--run-dir", str(directory), *mirror, *shown]

    def _reference(self) -> Reference | None:
        watched = Watched(self.scratch / "reference")
        begun = time.monotonic()
        process = started(self._train(watched.directory), self._errors)
        _polled(process, begun + LIFE_LIMIT, lambda: watched.step >= 0)
        ready = time.monotonic()
        code = process.wait(LIFE_LIMIT)
        if code != 0 or watched.folder is None:
            self._fail(f"the reference ended with exit code {code}")
            return None
        return Reference(watched.folder, ready - begun, time.monotonic() - ready)

    def _victim(self, reference: Reference) -> None:
        """From a new run to one that ended by itself; the last one of the campaign is not killed any more."""
        watched, stalled = Watched(self.scratch / "victim"), 0
        while not self.row.failures:
            arguments = self._train(watched.directory)
            if watched.folder is not None:
                arguments = ["resume", str(watched.folder), "--plain"]
            if (place := self._place(watched)) and (watched.newest is None or self._draw.random() < 0.5):
                arguments = self._lost(watched, place)
            step, first = watched.step, watched.folder is None
            if self.row.counts["kills"] >= self.rounds:
                code = ended(arguments, self._errors)
                if b"Traceback" in self._errors.read_bytes():
                    self._fail("a traceback on standard error")
            else:
                moment = drawn_moment(self._draw, reference, first, stalled >= 3)
                code = self._life(arguments, moment, watched)
            self.row.counts["resumes"] += not first
            if code == 0:
                self._compare(reference.folder, watched)
                break
            if code != -9:
                self._fail(f"{' '.join(arguments[:1])} from step {step} ended with exit code {code}")
            stalled = 0 if watched.step > step else stalled + 1
            if not self.row.failures and watched.newest is None and self._place(watched) is None:
                watched = self._start_over(watched)
        shutil.rmtree(watched.directory, ignore_errors=bool(self.row.failures))

    def _place(self, watched: Watched) -> Path | None:
        """Where the victim lies at its mirror, once there is a checkpoint to go on from."""
        if not self.configuration.mirrored or watched.folder is None:
            return None
        place = self.scratch / f"copies-{watched.directory.name}" / watched.folder.relative_to(watched.directory)
        return place if any(place.glob("checkpoints/checkpoint-*.json")) else None

    def _lost(self, watched: Watched, place: Path) -> list[str]:
        """Lose the victim's folder, as where a node dies: how it goes on from its mirror."""
        self.row.counts["folders lost"] += 1
        if watched.folder is not None:
            shutil.rmtree(watched.folder, ignore_errors=True)
        return ["resume", str(place), "--run-dir", str(watched.directory), "--plain"]

    def _life(self, arguments: list[str], moment: Moment, watched: Watched) -> int:
        """Start, kill at the moment, look at what is left: the exit code."""
        process = started(arguments, self._errors)
        try:
            come = wait_for(moment, process, watched, self.configuration.steps)
            if not come and process.poll() is None:
                self._fail(f"hangs: {moment} did not come within {LIFE_LIMIT:g} s")
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, 9)
            written = self._errors.stat().st_size
            code = process.wait()
        if code == -9:
            self._count_kill(moment, watched)
        if left := orphans(process.pid):
            self._fail(f"left processes behind: {left}")
        said = self._errors.read_bytes()
        if b"Traceback" in said[:written]:
            self._fail("a traceback on standard error")
        elif b"Traceback" in said:  # by an environment's process whose pipe broke
            self.row.counts["tracebacks of children after the kill"] += 1
        return code

    def _count_kill(self, moment: Moment, watched: Watched) -> None:
        names, counts = watched.names, self.row.counts
        counts["kills"] += 1
        counts[f"kills: {moment.kind}"] += 1
        counts["kills inside a checkpoint"] += bool(unpublished(names))
        counts["kills before the first checkpoint"] += not serials(names)
        if serials(names) and watched.folder is not None:
            older = missing_and_surplus(watched.folder)[1] - set(unpublished(names))
            counts["kills after publishing, before removing"] += bool(older) or len(serials(names)) > 2

    def _start_over(self, watched: Watched) -> Watched:
        """What was killed before its first checkpoint cannot be resumed, and says so; it is trained again."""
        if watched.folder is not None:
            code = ended(["resume", str(watched.folder), "--plain"], self._errors)
            if code != 2 or not NO_CHECKPOINT.search(self._errors.read_text(errors="replace")):
                self._fail(f"without a checkpoint, resume ended with exit code {code}")
        shutil.rmtree(watched.directory, ignore_errors=True)
        return Watched(watched.directory)

    def _compare(self, reference: Path, watched: Watched) -> None:
        self.row.counts["runs compared"] += 1
        if watched.folder is None:
            self._fail("exit code 0, but there is no run")
            return
        differences = list(compared(reference, watched.folder))
        self.row.counts["runs that ended with surplus files"] += bool(missing_and_surplus(watched.folder)[1])
        if differences:
            self._fail("; ".join(differences))

    def _fail(self, what: str) -> None:
        """Keep what is known, and the folders as they are."""
        said = self._errors.read_text(errors="replace")[-3000:] if self._errors.exists() else ""
        kept = Path(tempfile.mkdtemp(prefix="kill-failure-"))
        shutil.copytree(self.scratch, kept, dirs_exist_ok=True)
        text = f"{self.row.configuration}: {what}; after {self.row.counts['kills']} kills; kept in {kept}\n{said}"
        self.row.failures.append(text)
        print(f"FAILURE {text}", flush=True)


# Comparing


def compared(reference: Path, victim: Path) -> Iterator[str]:
    """In what a victim's end differs from the reference's."""
    for name in ("policy.safetensors", "best.safetensors"):
        if (reference / name).read_bytes() != (victim / name).read_bytes():
            yield f"{name} differs"
    ours, theirs = records_of(victim), records_of(reference)
    if ours != theirs:
        pairs = enumerate(zip_longest(ours, theirs))
        yield next(f"metrics.jsonl, line {number + 1}: {a} instead of {b}" for number, (a, b) in pairs if a != b)
    made, expected = Watched(victim.parents[2]).newest, Watched(reference.parents[2]).newest
    if made is None or expected is None:
        yield "there is no manifest"
        return
    yield from _compared_manifests(made, expected)
    for name, array in arrays_of(reference, expected).items():
        if not np.array_equal(arrays_of(victim, made)[name].view(np.uint32), array.view(np.uint32)):
            yield f"{name} differs"
    missing, surplus = missing_and_surplus(victim)
    if missing or len(surplus) > SURPLUS:
        yield f"in checkpoints/: {sorted(missing)} missing, {sorted(surplus)} too many"
    if temporary := [path.name for path in victim.glob(".*.tmp")]:
        yield f"left in the run's folder: {temporary}"
    resumed = json.loads((victim / "settings.json").read_text()).get("resumed", [])
    if any(each["given_up"] or each["changed"] for each in resumed):
        yield f"settings.json says {resumed}"


def _compared_manifests(made: Manifest, expected: Manifest) -> Iterator[str]:
    for name in ("step", "added"):
        if getattr(made, name) != getattr(expected, name):
            yield f"the manifest's {name} is {getattr(made, name)} instead of {getattr(expected, name)}"
    for name in sorted((made.state.keys() | expected.state.keys()) - TIMES):
        if json.dumps(made.state.get(name)) != json.dumps(expected.state.get(name)):
            yield f"the manifest's state: {name} is {made.state.get(name)} instead of {expected.state.get(name)}"
    for role in sorted({"learner", "best", "batches", "callbacks"} & expected.files.keys()):
        if role not in made.files or made.files[role].sha256 != expected.files[role].sha256:
            yield f"the checkpoint's {role} differs"
    for name in sorted((made.run.keys() | expected.run.keys()) - {"resumed", "identity", "begun", "mirror", "place"}):
        if made.run.get(name) != expected.run.get(name):
            yield f"the manifest's run: {name} is {made.run.get(name)} instead of {expected.run.get(name)}"


def records_of(folder: Path) -> list[dict[str, float]]:
    """The metrics but for the times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in TIMED} for line in lines]


def arrays_of(folder: Path, of: Manifest) -> dict[str, NDArray[Any]]:
    """The loop's arrays, and all records and episodes that replay holds, whichever files they are in."""
    at = folder / "checkpoints"
    held = min(of.added, int(of.run["settings"]["replay_size"]))
    stored = [load_file(at / segment.file.name) for segment in of.segments]
    names = ("records", "episodes") if stored else ()  # offline there are none
    replay = {name: np.concatenate([each[name] for each in stored])[-held:] for name in names}
    shown = [load_file(at / segment.file.name) for segment in of.demonstrations]
    replay |= {f"demonstrations/{name}": np.concatenate([each[name] for each in shown]) for name in (shown or [{}])[0]}
    return {**load_file(at / of.files["loop"].name), **replay}


def missing_and_surplus(folder: Path) -> tuple[set[str], set[str]]:
    """The files that checkpoints need and that are not there, and those that no checkpoint needs."""
    there = {path.name for path in (folder / "checkpoints").iterdir()}
    manifests = [folder / "checkpoints" / name for name in there if manifest.MANIFEST_NAME.fullmatch(name)]
    needed = set[str]().union(*(manifest.read(path).names for path in manifests))
    return needed - there, there - needed


# The whole


def run_campaign(index: int, rounds: int, seed: int) -> Row:
    """One configuration in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="kill-") as scratch:
        return Campaign(CONFIGURATIONS[index], rounds, f"{seed}/{index}", Path(scratch)).run()


def source_digest() -> str:
    """A SHA-256 over the package's source: which state of it was tried."""
    digest = hashlib.sha256()
    for path in sorted(Path(polyak.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def parsed() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="configurations side by side")
    parser.add_argument("--only", type=int, help="number of the one configuration to try")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def main() -> int:
    """Run the campaign, print and write what came of it."""
    options, begun = parsed(), time.monotonic()
    chosen = list(range(len(CONFIGURATIONS)))[: options.rounds] if options.only is None else [options.only]
    shares = [len(range(place, options.rounds, len(chosen))) for place in range(len(chosen))]
    rows: dict[int, Row] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = {
            pool.submit(run_campaign, index, share, options.seed): index
            for index, share in zip(chosen, shares, strict=True)
        }
        for task in as_completed(tasks):
            row = rows[tasks[task]] = task.result()
            print(f"{tasks[task]:2} {row.configuration}: {summary([row])}, {row.seconds:.0f} s", flush=True)
    done = [rows[index] for index in sorted(rows)]
    seconds = time.monotonic() - begun
    print(f"kill campaign, seed {options.seed}: {summary(done)}, {seconds:.0f} s")
    if options.output:
        options.output.write_text(json.dumps(results(options, done, seconds), indent=1) + "\n")
    return 1 if any(row.failures for row in done) else 0


def summary(rows: list[Row]) -> str:
    """What was counted, in one line."""
    counts = sum((row.counts for row in rows), Counter[str]())
    shown = (
        *("kills", "kills inside a checkpoint", "kills after publishing, before removing"),
        *("kills before the first checkpoint", "resumes", "runs compared"),
    )
    failures = sum(len(row.failures) for row in rows)
    return ", ".join([*(f"{counts[name]} {name}" for name in shown), f"{failures} failures"])


def results(options: argparse.Namespace, rows: list[Row], seconds: float) -> dict[str, Any]:
    """What the JSON file holds."""
    about = stamped({})
    counts = sum((row.counts for row in rows), Counter[str]())
    return {
        "command": f"python tests/campaigns/kill.py --rounds {options.rounds} --seed {options.seed}",
        "settings": {"rounds": options.rounds, "seed": options.seed, "jobs": options.jobs, "common": list(COMMON)},
        "versions": about["versions"],
        "source_sha256": source_digest(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "seconds": round(seconds),
        "counts": dict(sorted(counts.items())),
        "failures": sum(len(row.failures) for row in rows),
        "configurations": [row.to_json() for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
