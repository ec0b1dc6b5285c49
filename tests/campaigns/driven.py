"""Kill a control loop that learns, or its learner, at random moments, and look at what is left of the run.

    python tests/campaigns/driven.py --rounds 60 --seed 0 --output docs/results/driven.json

Which policy acts at which step is the clock's matter, so that there is no reference to compare with. What must hold is
told by the environment, which writes down each step that it takes: after every kill the newest checkpoint is readable
and not older than before, no process is left, and each transition in replay is one that the environment took, in its
order, none twice, and those of one episode's number without a gap. A killed learner leaves the loop running, until
Ctrl-C. In the end `polyak resume` goes on without a clock.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from kill import (
    COMMON,
    ENVIRONMENT,
    LIFE_LIMIT,
    PENDULUM,
    SURPLUS,
    Watched,
    arrays_of,
    ended,
    missing_and_surplus,
    orphans,
    source_digest,
    started,
)
from numpy.typing import NDArray

import polyak
from polyak.cli.request import spec_of_instance
from polyak.run.description import stamped

sys.path.insert(0, str(Path(__file__).parents[1]))
from driven_logged import COLUMNS, LOG, lines

WHAT = ("loop", "learner", "both", "saving")
"""Who is killed: saving is the loop's learner after Ctrl-C, while it saves what it had been given."""
STEPS = 100_000
RATE = "200"
ENDING_LIMIT = 90.0
"""Seconds that a loop may take from Ctrl-C, or from its death, to its end."""
PAUSED = 0.3
"""Of the learners stand still for a while before."""
CONFIGURATIONS = (
    ("td3", "torch", ("--update-every", "10"), ()),
    ("sac", "torch", ("--n-step", "3", "--prioritized", "--replay-size", "700"), ()),
    ("ddpg", "torch", ("--update-every", "1", "--n-step", "3"), ("--queue-size", "14")),
    ("sac", "jax", ("--normalize-observations",), ()),
)
"""Algorithm, framework, settings of the run that it is begun from, options of the drive."""


@dataclass
class Campaign:
    """All rounds of a configuration."""

    index: int
    rounds: int
    seed: int
    scratch: Path
    counts: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.algorithm, self.backend, self.settings, self.options = CONFIGURATIONS[self.index]
        self.draw = random.Random(f"{self.seed}/{self.index}")
        self.errors, self.log = self.scratch / "errors", self.scratch / "log"
        self.watched = Watched(self.scratch / "victim")
        self.title = " ".join((self.algorithm, self.backend, *self.settings, *self.options))
        ENVIRONMENT[LOG], ENVIRONMENT["PYTHONFAULTHANDLER"] = str(self.log), "1"

    def run(self) -> None:
        """Begin, kill as often as asked, go on without a clock."""
        base = Watched(self.scratch / "base")
        words = ["train", self.algorithm, PENDULUM, "--backend", self.backend, "--steps", "350", *self.settings]
        code = ended([*words, "--steps-per-epoch", "37", *COMMON, "--run-dir", str(base.directory)], self.errors)
        if code or base.folder is None:
            self.failures.append(f"the run that it is begun from ended with exit code {code}: {self.said}")
            return
        for _ in range(self.rounds):
            self.life(self.watched.folder or base.folder)
            if self.failures:
                return
        self.resumed()

    @property
    def said(self) -> str:
        """On standard error."""
        return self.errors.read_text(errors="replace")[-6000:]

    def life(self, folder: Path) -> None:
        """Drive, kill, look."""
        before, what = self.watched.step, self.draw.choice(WHAT)
        words = ["drive", str(folder), "driven_logged:Logged-v0", "--learn", "--rate", RATE, "--steps", str(STEPS)]
        process = started([*words, "--run-dir", str(self.watched.directory), *self.options], self.errors)
        self.wait(process, before)
        if self.draw.random() < PAUSED and (learner := learner_of(process.pid)) is not None:
            self.pause(learner)
        code, ends = self.kill(process, what)
        self.counts[f"kills: {what}"] += 1
        wrong = list[str]()
        if code not in ends:
            wrong.append(f"exit code {code}")
        if b"Traceback" in self.errors.read_bytes():
            wrong.append("a traceback")
        if left := orphans(process.pid):
            wrong.append(f"left processes behind: {left}")
        wrong += self.look(before)
        self.failures += [f"{what} killed after step {before}: {each}; it said: {self.said}" for each in wrong]
        if not wrong and (self.watched.folder is None or not (self.watched.folder / "policy.safetensors").exists()):
            self.start_over(words)

    def start_over(self, words: list[str]) -> None:
        """What was killed before its first policy cannot be gone on with, and says so; another is begun."""
        self.counts["kills before the first policy"] += 1
        if self.watched.step >= 0:
            words = [words[0], str(self.watched.folder), *words[2:]]
            code = ended(words, self.errors)
            if code != 2 or "it was killed before the end of its first epoch: begin again from" not in self.said:
                self.failures.append(f"without a policy, drive ended with exit code {code}: {self.said}")
        shutil.rmtree(self.watched.directory, ignore_errors=True)
        self.log.unlink(missing_ok=True)
        self.watched = Watched(self.watched.directory)

    def wait(self, process: subprocess.Popen[bytes], before: int) -> None:
        """For a moment: at start-up, or somewhat after a checkpoint of this life."""
        wanted = -2 if self.draw.random() < 0.15 else before
        deadline = time.monotonic() + LIFE_LIMIT
        while process.poll() is None and self.watched.step <= wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.draw.uniform(0, 2))

    def pause(self, learner: psutil.Process) -> None:
        """Let it stand still, so that nothing is taken from the queue, and go on."""
        self.counts["learners that stood still"] += 1
        with suppress(psutil.NoSuchProcess):
            learner.suspend()
            time.sleep(self.draw.uniform(1, 3))
            learner.resume()
            time.sleep(self.draw.uniform(0, 1))

    def kill(self, process: subprocess.Popen[bytes], what: str) -> tuple[int, tuple[int, ...]]:
        """Kill it, and let what is left come to its end: the loop's exit code, and those that are right.

        1 says that the learner was lost, 2 that it did not begin, 130 that Ctrl-C came and all was saved.
        """
        learner = learner_of(process.pid)
        if what in ("loop", "both"):
            process.kill()
        if what == "saving":
            process.send_signal(signal.SIGINT)
            time.sleep(self.draw.uniform(0, 0.3))
        if what != "loop" and learner is not None:
            with suppress(psutil.NoSuchProcess):
                learner.kill()
        if what == "learner":
            with suppress(subprocess.TimeoutExpired):  # the loop goes on, until Ctrl-C
                process.wait(self.draw.uniform(0, 0.5))
            process.send_signal(signal.SIGINT)
            self.counts["learners that had not begun"] += learner is None
        ends = {"loop": (-9,), "both": (-9,), "saving": (1, 2, 130), "learner": (1, 2) if learner else (2, 130)}[what]
        try:
            return process.wait(ENDING_LIMIT), ends
        except subprocess.TimeoutExpired:
            self.failures.append(f"{what}: hangs at step {self.watched.step}")
            process.send_signal(signal.SIGABRT)  # which has it say where
            return process.wait(), ends

    def look(self, before: int) -> Iterator[str]:
        """What is wrong with the run, which had come to step `before`."""
        newest, folder = self.watched.newest, self.watched.folder
        if newest is None or folder is None:
            if before >= 0:
                yield "there is no checkpoint any more"
            return
        self.counts["checkpoints looked at"] += 1
        if newest.step < before:
            yield f"the newest checkpoint is of step {newest.step}, and one was of {before}"
        if newest.added != newest.step:
            yield f"step {newest.step}, and {newest.added} transitions"
        missing, surplus = missing_and_surplus(folder)
        if missing or len(surplus) > SURPLUS:
            yield f"in checkpoints/: {sorted(missing)} missing, {sorted(surplus)} too many"
        steps = [record["step"] for record in polyak.Run(folder).metrics]
        if steps != sorted(set(steps)):
            yield f"the steps of metrics.jsonl are {steps}"
        if not newest.added:
            return
        replay = arrays_of(folder, newest)
        if (episode := stranger(replay["records"], replay["episodes"], self.log)) is not None:
            yield f"episode {episode} in replay is not one that the environment took, without a gap and in its place"
        self.counts["transitions compared"] += len(replay["episodes"])
        dropped = sum(record.get("train/dropped", 0) for record in polyak.Run(folder).metrics)
        self.counts["checkpoints of a run with dropped steps"] += bool(dropped)

    def resumed(self) -> None:
        """Without a clock, 100 steps further."""
        folder = self.watched.folder
        if folder is None:
            return
        steps = self.watched.step + 100
        code = ended(["resume", str(folder), "--steps", str(steps), "--plain"], self.errors)
        if code or self.watched.step != steps:
            self.failures.append(f"resume came to step {self.watched.step} of {steps}, exit code {code}: {self.said}")
        self.counts["resumed without a clock"] += 1


def learner_of(loop: int) -> psutil.Process | None:
    """The process, where it has begun: a child's child where a server of forks began it."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(loop).children(recursive=True):
            if child.ppid() != loop or any("spawn_main" in word for word in child.cmdline()):
                return child
    return None


def stranger(records: NDArray[Any], episodes: NDArray[Any], log: Path) -> int | None:
    """The number of the first episode in replay that the environment did not take so, after the one before."""
    step = spec_of_instance(PENDULUM).layout.unpacked(records, episodes)
    kept = np.column_stack([step.observation, step.reward, step.next_observation, step.truncated])
    taken, width, at = lines(log), 4 * COLUMNS, 0
    whole = taken.tobytes()
    bounds = np.flatnonzero(np.diff(episodes, prepend=-1, append=-1))
    for begin, end in pairwise(bounds):
        rows = kept[begin:end].astype(np.float32)
        at = whole.find(rows.tobytes(), at)
        while at % width and at >= 0:
            at = whole.find(rows.tobytes(), at + 1)
        if at < 0:
            return int(episodes[begin])
        at += rows.nbytes
    return None


def main() -> int:
    """Run the campaign, print and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, choices=range(len(CONFIGURATIONS)), help="the one configuration to try")
    parser.add_argument("--output", type=Path)
    options, begun = parser.parse_args(), time.monotonic()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background jobs: the loops get Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    rows, counts, failed = list[dict[str, Any]](), Counter[str](), 0
    chosen = range(len(CONFIGURATIONS)) if options.only is None else [options.only]
    for place, index in enumerate(chosen):
        with tempfile.TemporaryDirectory(prefix="driven-") as scratch:
            rounds = len(range(place, options.rounds, len(chosen)))
            campaign = Campaign(index, rounds, options.seed, Path(scratch))
            campaign.run()
        rows.append({"configuration": campaign.title, **campaign.counts, "failures": campaign.failures})
        counts, failed = counts + campaign.counts, failed + len(campaign.failures)
        print(f"{campaign.title}: {dict(campaign.counts)}, {len(campaign.failures)} failures", flush=True)
        print("\n".join(campaign.failures))
    told = {
        "command": f"python tests/campaigns/driven.py --rounds {options.rounds} --seed {options.seed}",
        "versions": stamped({})["versions"],
        "source_sha256": source_digest(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "seconds": round(time.monotonic() - begun),
        "counts": dict(sorted(counts.items())),
        "failures": failed,
        "configurations": rows,
    }
    if options.output:
        options.output.write_text(json.dumps(told, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
