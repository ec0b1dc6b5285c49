"""Train with two checkouts, and compare what comes of it byte for byte: a change of structure may change no number.

    python tests/campaigns/same.py --beside ../before/src --output docs/results/same.json
    python tests/campaigns/same.py --beside ../before/src --only "sac torch" --baseline /tmp/baseline

Each checkout and framework is a process of its own. Compared are both policies and the metrics (but for the times), and
in the last checkpoint the learner's arrays, the loop's, every transition, every counter and random stream. Where this
checkout stores more than the other did, that is told and is no difference; where it stores less, it is one. "resumed"
is a run of the other checkout, copied in the middle as SIGKILL would leave it, or stopped there by Ctrl-C, that goes on
in this one and must end as it did where it began. `--baseline` keeps what the other checkout made for the next time.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

TESTS = Path(__file__).resolve().parents[1]
SOURCE = TESTS.parent / "src"
VERSIONS = ("gymnasium", "jax", "jaxlib", "mujoco", "numpy", "tensorflow", "torch")
TIMES = {"seconds", "epoch_seconds", "times", "speed/steps_per_second"}
"""Names of a record or of a checkpoint's state that tell the time, as do those that begin with `time/`."""

# What is trained

ALGORITHMS, BACKENDS = ("ddpg", "td3", "sac"), ("torch", "jax", "tensorflow")
UNEVEN, PENDULUM, CHEETAH, PAIR = "tiny_cli:Uneven-v0", "Pendulum-v1", "HalfCheetah-v5", "pair"
SMALL: Mapping[str, Any] = {
    "steps": 420,
    "steps_per_epoch": 130,
    "checkpoint_every": 37,
    "start_steps": 40,
    "update_after": 30,
    "batch_size": 16,
    "replay_size": 250,
    "hidden_sizes": [12, 9],
    "evaluation_episodes": 2,
    "update_every": 1,
    "preset": "paper",
    "exploration_correlation": 0.4,
}
"""Replay's ring comes round; at the first epoch's end an episode is under way, and the last checkpoint is behind."""
DEFAULT = {
    "steps": 420,
    "steps_per_epoch": 290,
    "checkpoint_every": 130,
    "start_steps": 260,
    "update_after": 256,
    "evaluation_episodes": 1,
}
"""For runs with default networks: the steps of the rest."""
WIDE = {**DEFAULT, "preset": "paper", "batch_size": 256, "replay_size": 1000}
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "1 environment": (UNEVEN, SMALL),
    "3 environments": (UNEVEN, {**SMALL, "envs": 3}),
    "burst of 50": (UNEVEN, {**SMALL, "update_every": 50}),
    "lag 1": (UNEVEN, {**SMALL, "update_every": 10, "lag": 1}),
    "plain": (UNEVEN, {**SMALL, "fast": False, "steps": 120, "steps_per_epoch": 70}),
    "NEXT_STEP": (PAIR, {**SMALL, "steps_per_epoch": 131}),
    "256 x 256": (CHEETAH, WIDE),
    "256 x 256, burst of 50": (CHEETAH, {**WIDE, "update_every": 50}),
    "preset": (PENDULUM, {**DEFAULT, "preset": "Pendulum-v1", "start_steps": 270}),
}
TORCH_ONLY: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "book": (PENDULUM, {**DEFAULT, "preset": "book", "start_steps": 270, "update_after": 200, "max_episode_steps": 60}),
    "2 processes": (PENDULUM, {**SMALL, "envs": 2, "vectorization": "async", "max_episode_steps": 45}),
    "evaluated where it trains": (UNEVEN, {**SMALL, "evaluate_in": "training"}),
}
"""What is the same for all frameworks."""
GIVEN_UP = {"NEXT_STEP"}
"""The running episodes are new ones after `resume`: both checkouts must go on alike."""


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    algorithm: str
    backend: str
    kind: str
    how: str
    """trained, resumed, interrupted (and resumed), continued (--from), together, fixture (resumed)"""
    environment: str = UNEVEN
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def title(self) -> str:
        """In a line; `--only` looks for its words in there."""
        return f"{self.algorithm} {self.backend}, {self.kind}, {self.how}"

    @property
    def as_begun(self) -> "Case":
        """The uninterrupted run of the same."""
        return Case(self.algorithm, self.backend, self.kind, "trained", self.environment, self.options)


def cases(beside: Path) -> Iterator[Case]:
    """All rows; those of a framework one after another, so that it is imported once.

    Runs kept in `tests/data` are those that the checkout with the source `beside` has: it knows no later format.
    """
    for backend in BACKENDS:
        for algorithm in ALGORITHMS:
            kinds = {**KINDS, **TORCH_ONLY} if backend == "torch" else KINDS
            for kind, (environment, options) in kinds.items():
                rest = (environment, options)
                yield Case(algorithm, backend, kind, "trained", *rest)
                if "256" not in kind:
                    yield Case(algorithm, backend, kind, "resumed", *rest)
            rest = (UNEVEN, SMALL)
            yield Case(algorithm, backend, "1 environment", "interrupted", *rest)
            yield Case(algorithm, backend, "1 environment", "continued", *rest)
            if backend == "jax":
                yield Case(algorithm, backend, "two seeds", "together", *rest)
    for folder in sorted((beside.resolve().parent / "tests" / "data").glob("run-format-*")):
        yield Case("sac", "jax", folder.name, "fixture")


# In a checkout's process


def pair() -> Any:
    """Two uneven environments that reset themselves in a step of its own."""
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    from tiny_cli import Uneven

    return SyncVectorEnv([Uneven, Uneven], autoreset_mode=AutoresetMode.NEXT_STEP)


class Watcher:
    """Copies a run's folder at the end of its first epoch, before the checkpoint that is due there, or stops it."""

    def __init__(self, cut: Path | None, stop: bool) -> None:
        self.folder, self._cut, self._stop = Path(), cut, stop

    def started(self, progress: Any) -> None:
        """Note the folder."""
        self.folder = progress.folder

    def epoch_ended(self, progress: Any) -> None:
        """In the first, do it."""
        if self._cut is not None and not self._cut.exists():
            shutil.copytree(progress.folder, self._cut, ignore=shutil.ignore_patterns(".lock", "tensorboard"))
        if self._stop:
            signal.raise_signal(signal.SIGINT)

    def ended(self, progress: Any) -> None:
        """Nothing is left to do."""


def serve() -> None:
    """Answer each line, a job, with the folders of the runs that came of it."""
    os.nice(10)
    import polyak

    answers = os.fdopen(os.dup(1), "w")  # what a simulator or framework prints goes elsewhere
    os.dup2(2, 1)
    print(polyak.__file__, file=answers, flush=True)
    for line in sys.stdin:
        try:
            do(polyak, **json.loads(line))
            answer = ""
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), file=answers, flush=True)


def do(polyak: Any, how: str, case: Mapping[str, Any], source: str, target: str) -> None:
    """Train or go on, in the folder `target`: `end` is the run, `other` a second one, `cut` its copy on the way."""
    folder, own = Path(target), {PAIR: pair}
    environment = own.get(case["environment"], case["environment"])
    if how == "resume":
        shutil.copytree(source, folder / "end")
        polyak.resume(folder / "end", environment=own.get(case["environment"]))
        return
    options = {**case["options"], "threads": 1, "device": "cpu", "run_dir": folder / "runs", "probe": False}
    if how == "together":
        one, other = polyak.train_together(case["algorithm"], environment, seeds=[3, 4], backend="jax", **options)
        one.folder.rename(folder / "end")
        other.folder.rename(folder / "other")
        return
    watcher = Watcher(folder / "cut" if how == "train" else None, how == "stop")
    options |= {"from_run": source} if how == "continue" else {}
    try:
        polyak.train(case["algorithm"], environment, seed=3, backend=case["backend"], observer=watcher, **options)
    except polyak.Interrupted:
        if how != "stop":
            raise
    watcher.folder.rename(folder / "end")


# In the process that compares


class Checkout:
    """The polyak of one checkout, in a process for each framework."""

    def __init__(self, source: Path) -> None:
        self.source = source.resolve()
        digest = hashlib.sha256()
        for path in sorted(self.source.rglob("*.py")):
            digest.update(path.read_bytes())
        self.sha256 = digest.hexdigest()
        """Of its source."""
        self._process: subprocess.Popen[str] | None = None
        self._backend = ""

    def do(self, how: str, case: Case, source: Path, target: Path) -> None:
        """A job; raises RuntimeError where it went wrong."""
        target.mkdir(parents=True)
        if self._backend != case.backend:
            self.close()
            self._start(case.backend)
        job = {"how": how, "case": asdict(case), "source": str(source), "target": str(target)}
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which `_answer` says
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        if answer := json.loads(self._answer()):
            raise RuntimeError(answer)

    def _start(self, backend: str) -> None:
        paths = os.pathsep.join(map(str, (self.source, TESTS)))
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._backend, found = backend, Path(self._answer()).resolve()
        if not found.is_relative_to(self.source):
            raise SystemExit(f"{self.source} was asked for, but {found} was imported")

    def _answer(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._backend = ""
            raise RuntimeError(f"the checkout's process ended with {self._process.wait()}")
        return line.strip()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
        self._process, self._backend = None, ""


class Pair:
    """Both checkouts, and what the other one made."""

    def __init__(self, now: Checkout, before: Checkout, baseline: Path, scratch: Path) -> None:
        self._now, self._before, self._baseline, self._scratch = now, before, baseline, scratch
        self._key = [before.sha256, platform.python_version(), processor(), versions()]

    def close(self) -> None:
        """End both processes."""
        self._now.close()
        self._before.close()

    def folders(self, case: Case) -> tuple[Path, Path]:
        """What this checkout made of a case, and what the other did."""
        make = {"trained": "train", "together": "together", "continued": "continue"}.get(case.how, "resume")
        source, expected = Path(), case
        if case.how == "fixture":
            source = TESTS / "data" / case.kind
        elif case.how == "interrupted":
            source, expected = self._made("stop", case) / "end", case.as_begun
        elif case.how == "resumed":
            source = self._made("train", case.as_begun) / "cut"
            expected = case if case.kind in GIVEN_UP else case.as_begun
        elif case.how == "continued":
            source = self._made("train", case.as_begun) / "end"
        before = self._made(make if expected is case else "train", expected, source)
        now = self._scratch / "now"
        shutil.rmtree(now, ignore_errors=True)
        self._now.do(make, case, source, now)
        return now, before

    def _made(self, how: str, case: Case, source: Path = Path()) -> Path:
        """What the other checkout makes of a case; it is made once."""
        key = json.dumps([*self._key, how, asdict(case)], sort_keys=True)
        folder = self._baseline / hashlib.sha256(key.encode()).hexdigest()[:16]
        if not (folder / "end").exists():
            shutil.rmtree(folder, ignore_errors=True)
            self._before.do(how, case, source, folder)
        return folder


# Comparing


@dataclass
class Found:
    """What a comparison found."""

    differences: list[str] = field(default_factory=list[str])
    more: list[str] = field(default_factory=list[str])
    """Names that only this checkout has."""

    def tables(self, what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
        """Compare tables as JSON holds them, down to their leaves."""
        self.more += [f"{what}{name}" for name in sorted(ours.keys() - theirs.keys()) if not timed(name)]
        for name in theirs:
            one, other = ours.get(name), theirs[name]
            if timed(name):
                continue
            if isinstance(one, dict) and isinstance(other, dict):
                self.tables(f"{what}{name}.", one, other)
            elif one != other and begins_as(one, other):
                self.more.append(f"{what}{name}: columns")
            elif json.dumps(one) != json.dumps(other):
                self.differences.append(f"{what}{name} is {one!r:.60} instead of {other!r:.60}")

    def arrays(self, what: str, ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> None:
        """Compare named arrays bit by bit."""
        self.more += [f"{what}{name}" for name in sorted(ours.keys() - theirs.keys())]
        for name, other in theirs.items():
            one = ours.get(name)
            if one is None or (one.shape, one.dtype) != (other.shape, other.dtype):
                shown = None if one is None else (one.shape, str(one.dtype))
                self.differences.append(f"{what}{name} is {shown} instead of {(other.shape, str(other.dtype))}")
            elif one.tobytes() != other.tobytes():
                apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
                count = f"{np.count_nonzero(apart)} of {apart.size}"
                self.differences.append(f"{what}{name} differs in {count} numbers, by up to {apart.max():.3g}")


def compared(ours: Path, theirs: Path) -> Found:
    """Compare two runs' folders."""
    found = Found()
    for name in ("policy.safetensors", "best.safetensors"):
        if (ours / name).read_bytes() != (theirs / name).read_bytes():
            found.differences.append(f"{name} differs")
            found.arrays(f"{name}: ", load_file(ours / name), load_file(theirs / name))
    found.tables("metrics, line ", records_of(ours), records_of(theirs))
    made, expected = newest(ours), newest(theirs)
    found.tables("", *({name: each[name] for name in ("step", "added", "state")} for each in (made, expected)))
    for role in ("learner", "loop"):
        found.arrays(f"{role}: ", stored(ours, made, role), stored(theirs, expected, role))
    found.arrays("replay: ", transitions(ours, made), transitions(theirs, expected))
    return found


def begins_as(rows: Any, columns: Any) -> bool:
    """Whether `rows` are those of `columns`, with further columns behind."""
    if not (isinstance(rows, list) and isinstance(columns, list) and len(rows) == len(columns)):
        return False
    pairs = [(row, first) for row, first in zip(rows, columns, strict=True) if isinstance(row, list)]
    return len(pairs) == len(rows) and all(
        isinstance(first, list) and json.dumps(row[: len(first)]) == json.dumps(first) for row, first in pairs
    )


def timed(name: str) -> bool:
    """Whether a record's or a state's number tells the time."""
    return name in TIMES or name.startswith("time/")


def records_of(folder: Path) -> dict[str, dict[str, float]]:
    """The metrics, by line."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {str(number): json.loads(line) for number, line in enumerate(lines, 1)}


def newest(folder: Path) -> dict[str, Any]:
    """The manifest of the last checkpoint."""
    return json.loads(max((folder / "checkpoints").glob("checkpoint-*.json")).read_text())


def stored(folder: Path, manifest: Mapping[str, Any], role: str) -> dict[str, NDArray[Any]]:
    """The arrays in one of a checkpoint's files."""
    return load_file(folder / "checkpoints" / manifest["files"][role]["name"])


def transitions(folder: Path, manifest: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """What replay holds, oldest first; of the flags behind a transition only whether it terminated."""
    held = min(manifest["added"], int(manifest["run"]["settings"]["replay_size"]))
    files = [folder / "checkpoints" / segment["file"]["name"] for segment in manifest["segments"]]
    records = np.concatenate([load_file(file)["records"] for file in files])[-held:]
    spec = manifest["state"]["spec"]
    flags = 2 * int(np.prod(spec["observation_shape"])) + int(np.prod(spec["action_shape"])) + 1
    return {"s, a, r, s'": records[:, :flags], "terminated": records[:, flags].astype(np.int64) & 1}


# The whole


def main() -> int:
    """Run all cases, print and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="the src folder of the other checkout")
    parser.add_argument("--only", default="", help="words that a row's title must have")
    parser.add_argument("--baseline", type=Path, help="where to keep what the other checkout made; by default nowhere")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    if options.beside is None:
        parser.error("--beside is missing: with which checkout?")
    chosen = [case for case in cases(options.beside) if all(word in case.title for word in options.only.split())]
    now, before = Checkout(SOURCE), Checkout(options.beside)
    begun, rows = time.monotonic(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory(prefix="same-") as scratch:
        checkouts = Pair(now, before, (options.baseline or Path(scratch) / "baseline").absolute(), Path(scratch))
        for case in chosen:
            rows.append(row_of(case, checkouts))
            print(shown(rows[-1]), flush=True)
        checkouts.close()
    differing = sum(bool(row["differences"]) for row in rows)
    print(f"{len(rows)} cases, {differing} of them differ; {time.monotonic() - begun:.0f} s")
    if options.output:
        options.output.write_text(json.dumps(results(options.only, now, before, rows), indent=1) + "\n")
    return 1 if differing or not rows else 0


def row_of(case: Case, checkouts: Pair) -> dict[str, Any]:
    """A row of the table; what cannot be run is a difference."""
    row: dict[str, Any] = {"case": case.title, "differences": []}
    try:
        ours, theirs = checkouts.folders(case)
        found = compared(ours / "end", theirs / "end")
        if case.how == "together":
            other = compared(ours / "other", theirs / "other")
            found.differences += other.differences
    except RuntimeError as error:
        return {**row, "differences": [f"went wrong: {error}"]}
    policy = hashlib.sha256((ours / "end" / "policy.safetensors").read_bytes()).hexdigest()
    return {**row, "policy_sha256": policy, "differences": found.differences, "more": found.more}


def shown(row: Mapping[str, Any]) -> str:
    """A row in a line, and a line for each difference."""
    more = f"; more: {', '.join(row['more'])[:120]}" if row.get("more") else ""
    lines = [f"{row['case']:55} {'DIFFERS' if row['differences'] else 'equal'}{more}", *row["differences"][:8]]
    return "\n    ".join(lines)


def results(only: str, now: Checkout, before: Checkout, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the JSON file holds."""
    selection = f' --only "{only}"' if only else ""
    return {
        "command": f"python tests/campaigns/same.py --beside ...{selection}",
        "processor": processor(),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version(), **versions()},
        "source_sha256": {"now": now.sha256, "before": before.sha256},
        "cases": len(rows),
        "differing": sum(bool(row["differences"]) for row in rows),
        "rows": rows,
    }


def versions() -> dict[str, str]:
    """Of the libraries that the numbers depend on."""
    return {name: version(name) for name in VERSIONS}


def processor() -> str:
    """As the system calls it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
