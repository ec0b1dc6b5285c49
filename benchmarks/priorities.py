"""Measure prioritized replay at a million transitions beside other libraries': to add, to draw a batch, to note errors.

    python benchmarks/priorities.py --peers ../.venv-peers/bin/python    # writes docs/results/priorities.json
    python benchmarks/priorities.py --transitions 20000 --rounds 1 --output /tmp/priorities.json

Each library is a process of its own with one thread, which fills its replay with HalfCheetah's transitions, one at a
time as a run does, gives them random errors, and then answers in turns, round by round. polyak's uniform replay is
beside them: what priorities cost. A library that cannot be built says why.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT, BATCH, ALPHA, BETA = "HalfCheetah-v5", 256, 0.6, 0.4
CALLS = {"add": 5_000, "sample": 1_000, "note": 1_000}
"""How often each is called in a round."""
LIBRARIES = {
    "polyak": ("numpy",),
    "polyak, uniform": ("numpy",),
    "Tianshou": ("tianshou", "numpy", "numba"),
    "TorchRL": ("torchrl", "tensordict", "torch"),
}
"""Contenders, and the packages whose versions are told."""


class Replay(NamedTuple):
    """A library's replay, as functions."""

    add: Callable[[], Any]
    """One transition."""
    sample: Callable[[], Any]
    """A batch."""
    note: Callable[[Any], Any]
    """New errors of a batch that was sampled."""


def polyak(transitions: int, prioritized: bool = True) -> Replay:
    """As a run has it: `Batches` of one update."""
    import numpy as np
    from replay_memory import random_transitions

    from polyak.experience.batches import UNIFORM, Batches
    from polyak.experience.priorities import Prioritized
    from polyak.experience.replay import Replay as Ring
    from polyak.types import Transitions

    data, generator = random_transitions(ENVIRONMENT, 1), np.random.default_rng(0)
    row = Transitions(*(np.asarray(part, np.float32) for part in data[:4]), *data[4:])
    ring = Ring(transitions, row.observation.shape[1], row.action.shape[1])
    chooser = Prioritized(ring, "proportional", ALPHA, BETA, 10**6) if prioritized else UNIFORM
    batches, errors = Batches(ring, 0.99, 1, chooser), generator.random((64, 1, BATCH)).astype(np.float32)

    def note(number: int) -> None:
        if prioritized:
            batches.learned(errors[number % 64])

    return Replay(lambda: batches.add(row), lambda: batches.sample(generator, 1, BATCH), note)


def tianshou(transitions: int) -> Replay:
    import numpy as np
    from replay_memory import tianshou_step
    from tianshou.data import PrioritizedReplayBuffer

    step, number = tianshou_step(ENVIRONMENT, 1), np.zeros(1, int)
    replay = PrioritizedReplayBuffer(transitions, alpha=ALPHA, beta=BETA)
    generator = np.random.default_rng(0)
    errors, rows = generator.random((64, BATCH)), generator.integers(0, transitions, (64, BATCH))

    def note(number: int) -> None:
        replay.update_weight(rows[number % 64], errors[number % 64])

    return Replay(lambda: replay.add(step, buffer_ids=number), lambda: replay.sample(BATCH), note)


def torchrl(transitions: int) -> Replay:
    import torch
    from replay_memory import torchrl_steps
    from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer

    row, storage = torchrl_steps(ENVIRONMENT)[:1], LazyTensorStorage(transitions)
    replay = TensorDictPrioritizedReplayBuffer(alpha=ALPHA, beta=BETA, storage=storage, batch_size=BATCH)
    rows, errors = torch.randint(0, transitions, (64, BATCH)), torch.rand(64, BATCH)

    def note(number: int) -> None:
        replay.update_priority(rows[number % 64], errors[number % 64])

    return Replay(lambda: replay.extend(row), replay.sample, note)


def serve(name: str, transitions: int) -> None:
    """Fill the library's replay, then measure a round for every line that is read."""
    made = {"polyak": polyak, "Tianshou": tianshou, "TorchRL": torchrl}
    try:
        replay = polyak(transitions, prioritized=False) if name == "polyak, uniform" else made[name](transitions)
        for _ in range(transitions):
            replay.add()
        for number in range(4_000):
            replay.sample()
            replay.note(number)
    except Exception as error:  # noqa: BLE001 - whatever a library says of itself
        print(json.dumps({"fault": f"{type(error).__name__}: {str(error).splitlines()[0]}"}), flush=True)
        return
    print(json.dumps({"versions": {package: version(package) for package in LIBRARIES[name]}}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measured(replay)), flush=True)


def measured(replay: Replay) -> dict[str, float]:
    """Microseconds of a call of each: the mean of many."""
    found: dict[str, float] = {}
    for what, count in CALLS.items():
        seconds = 0.0
        for number in range(count):
            given = (number,) if what == "note" else ()
            if what == "note":
                replay.sample()  # what is noted belongs to a batch
            started = time.perf_counter()
            getattr(replay, what)(*given)
            seconds += time.perf_counter() - started
        found[what] = 1e6 * seconds / count
    return found


def child_of(name: str, options: argparse.Namespace) -> "subprocess.Popen[str]":
    python = sys.executable if name.startswith("polyak") else options.peers
    command = [python, __file__, "--serve", name, "--transitions", str(options.transitions)]
    environment = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "ignore"}
    environment |= {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'benchmarks'}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def answer(child: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next line that is an answer; simulators and libraries write others."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError(f"{child.args} ended")


def main() -> None:
    """Measure all, in turns, and print what comes of it as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="Python of an environment that has the peers")
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "priorities.json")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.transitions)
        return
    children = {name: child_of(name, options) for name in LIBRARIES}
    begun, rounds = {name: answer(child) for name, child in children.items()}, dict[str, list[dict[str, float]]]()
    there = [name for name in children if "fault" not in begun[name]]
    for _ in range(options.rounds):
        for name in there:
            child = children[name]
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
            rounds.setdefault(name, []).append(answer(child))
    for child in children.values():
        child.communicate()
    found = {"processor": processor(), "transitions": options.transitions, "batch_size": BATCH, "calls": CALLS}
    found |= {
        "environment": ENVIRONMENT,
        "libraries": {name: begun[name] | {"rounds": rounds.get(name, [])} for name in children},
    }
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(found: dict[str, Any]) -> str:
    """Medians over the rounds, in microseconds, as Markdown."""
    rows = ["| | add one | draw 256 | note 256 errors |", "|---|---|---|---|"]
    for name, library in found["libraries"].items():
        if "fault" in library:
            rows.append(f"| {name} | not measured: {library['fault']} | | |")
            continue
        cells = [f"{statistics.median(each[what] for each in library['rounds']):.1f}" for what in CALLS]
        rows.append(f"| {name} | {' | '.join([*cells[:2], '' if 'uniform' in name else cells[2]])} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
