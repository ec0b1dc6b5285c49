"""Time polyak beside its peers, each training by its own ordinary call, in interleaved rounds.

    make bench                                    # every case; writes docs/results/peers.json
    make bench BENCH="--algorithms sac --environments HalfCheetah-v5 --envs 1 --rounds 3"
    make bench BENCH="--what startup memory replay costs cold parts"  # what there is besides speed
    python benchmarks/bench.py --peers PYTHON     # with a Python of yours that has peers/requirements.txt

Every contender is a process of its own, with the same networks, batch and schedule (`peers/job.py`). It trains on an
environment that keeps the time (`peers/clock.py`): when the steps of a round are done it waits, within `env.step`,
until it is asked for the next one. Rounds go A B C A B C ..., so that a busy minute slows all of them. What counts are
the ratios within a round. The limit is the algorithm's matrix products alone, in the same rounds, through the library
that multiplies fastest on this processor: of JAX, oneDNN, MKL and NumPy's OpenBLAS, that of the smallest median.

A case is an algorithm, an environment, a rhythm (an update after every step, or 50 after 50) and how many environments
are stepped, one after another, in the training process. There are as many updates as environment steps in all of them,
of REDQ and DroQ twenty times as many, in rounds of fewer steps. With 8 environments, 48 stand for 50. Results are
written after every case; a case that ran before is replaced, the others stay.
"""

import argparse
import dataclasses
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from learners import LIMITS, Sizes, limit, whole
from peers.cases import ALGORITHMS, CONTENDERS, RHYTHMS, SIZES, Case, absent, compared, merged, summary, table
from peers.measures import MEASURES, output_folder, show
from peers.processes import ROOT, Process, require_peers, trainer
from threadpoolctl import threadpool_info

from polyak.algorithms import algorithm as algorithm_module
from polyak.system.threads import physical_cores

PACKAGES = ("polyak", "stable_baselines3", "sbx-rl", "tianshou", "torchrl", "tensordict", "skrl")
PACKAGES += ("gymnasium", "mujoco", "box2d", "jax", "jaxlib", "flax", "torch", "numpy")
LIBRARIES = tuple(name.removeprefix("products ") for name in LIMITS)


# The rounds


def serve_limit(library: str, algorithm: str, environment: str) -> None:
    """Seconds an update of the matrix products alone through a library, for every line read."""
    run, updates = limit(library, algorithm, 256, Sizes(*SIZES[environment], (256, 256))), whole(algorithm, 440)
    run(updates)
    print("limit 0", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run(updates)
        print("limit", (time.perf_counter() - started) / updates, flush=True)


def start(case: Case, names: list[str], options: argparse.Namespace) -> list[Process]:
    """Every limit's process, then the contenders', past their first round, two of them at a time.

    Raises:
        RuntimeError: one ended; the others have been closed.
    """
    running: list[Process] = []
    try:
        for library in LIBRARIES:
            command = [sys.executable, __file__, "--serve-limit", library, case.algorithm, case.environment]
            running.append(Process(library, command, options.threads))
            running[-1].answer()
        for first in range(0, len(names), 2):
            pair = [trainer(name, case.job(options.threads), options.peers) for name in names[first : first + 2]]
            running += pair
            for process in pair:
                process.answer()
    except BaseException:
        for process in running:
            process.close()
        raise
    return running


def run_case(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, do the rounds, compare."""
    settings = [field.name for field in dataclasses.fields(algorithm_module(case.algorithm).Config)]
    reasons = {name: absent(name, case, settings) for name in options.contenders}
    names = [name for name, reason in reasons.items() if not reason]
    steps = case.aligned(options.steps)
    limits: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    running = start(case, names, options)
    try:
        for number in range(options.rounds):
            for process in running:
                if process.name in limits:
                    limits[process.name].append(float(process.ask("")[0]))
                else:
                    seconds[process.name].append(float(process.ask(case.quota(options.steps))[0]))
            print(f"{case.name}: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    finally:
        for process in running:
            process.close()
    fastest = min(limits, key=lambda library: statistics.median(limits[library]))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "steps": steps,
        "rounds": options.rounds,
        "updates": steps * case.updates,
        **compared(seconds, steps, limits[fastest], updates=case.updates),
        "limit_library": fastest,
        "limits_milliseconds": {name: summary([value * 1e3 for value in rounds]) for name, rounds in limits.items()},
        "absent": {name: reason for name, reason in reasons.items() if reason},
        "seconds": {name: [round(value, 5) for value in rounds] for name, rounds in seconds.items()},
        "limit_seconds": [round(value, 8) for value in limits[fastest]],
    }


# Where and with what


def versions(peers: str) -> dict[str, Any]:
    """Of what takes part, in both environments."""
    code = (
        "import json, sys; from importlib.metadata import version, PackageNotFoundError\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    ours: dict[str, str] = {}
    for package in PACKAGES:
        try:
            ours[package] = version(package)
        except PackageNotFoundError:
            continue
    theirs: dict[str, str] = {}
    if Path(peers).is_file():
        done = subprocess.run([peers, "-c", code, *PACKAGES], capture_output=True, text=True, check=True)
        theirs = json.loads(done.stdout)
    return {"python": platform.python_version(), "polyak's": ours, "the peers'": theirs}


def processor() -> str:
    """Its name with family and model, since one name serves several generations: `AMD EPYC, family 26, model 2`."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().partition("\n\n")[0].splitlines() if information.exists() else []
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in found:
        return platform.processor() or platform.machine()
    return f"{found['model name']}, family {found.get('cpu family')}, model {found.get('model')}"


def machine(threads: int) -> dict[str, Any]:
    """The processor, and what every library may use of it."""
    return {
        "system": platform.platform(),
        "processor": processor(),
        "openblas": sorted({str(each["architecture"]) for each in threadpool_info() if "architecture" in each}),
        "cores": physical_cores(),
        "logical_cores": os.cpu_count(),
        "threads": threads,
    }


def cases(options: argparse.Namespace) -> list[Case]:
    """In the order of the environments, so that what matters most comes first."""
    chosen = product(options.environments, options.algorithms, options.rhythms, options.envs)
    found = [Case(algorithm, environment, rhythm, envs) for environment, algorithm, rhythm, envs in chosen]
    return [case for case in found if case.rhythm == "every-step" or case.updates == 1]


def measure_speed(options: argparse.Namespace, about: dict[str, Any]) -> list[str]:
    """Every case; the names of those that failed."""
    failed = []
    for case in cases(options):
        try:
            result = run_case(case, options)
        except RuntimeError as error:
            print(f"{case.name}: {error}", file=sys.stderr, flush=True)
            failed.append(case.name)
            continue
        merged(options.output, {**about, "cases": {case.name: result}})
        print(table(case.name, result), flush=True)
    return failed


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--what", nargs="+", default=["speed"], choices=["speed", *MEASURES])
    made.add_argument("--algorithms", nargs="+", default=list(ALGORITHMS), choices=ALGORITHMS)
    made.add_argument("--environments", nargs="+", default=list(SIZES), choices=list(SIZES))
    made.add_argument("--rhythms", nargs="+", default=list(RHYTHMS), choices=list(RHYTHMS))
    made.add_argument("--envs", nargs="+", type=int, default=[1, 8])
    made.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--steps", type=int, default=200, help="environment steps of a round, rounded up to whole bursts")
    made.add_argument("--threads", type=int, default=physical_cores(), help="of every library")
    made.add_argument("--peers", default=str(ROOT / ".venv-peers" / "bin" / "python"), help="the peers' Python")
    made.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "peers.json")
    made.add_argument("--serve-limit", nargs=3, help=argparse.SUPPRESS)
    return made


def main() -> None:
    """Do what the command line says."""
    options = parser().parse_args()
    if options.serve_limit:
        serve_limit(*options.serve_limit)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the contenders are ended too
    options.peers = str(Path(options.peers).absolute())  # not resolved: a link would leave its environment
    require_peers(options.peers, options.contenders)
    output_folder(options.output)
    about = {"versions": versions(options.peers), "machine": machine(options.threads)}
    failed = measure_speed(options, about) if "speed" in options.what else []
    for what in [kind for kind in MEASURES if kind in options.what]:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            result = {"date": date, "rounds": options.rounds, **MEASURES[what](options)}
        except RuntimeError as error:
            print(f"{what}: {error}", file=sys.stderr, flush=True)
            failed.append(what)
            continue
        merged(options.output, {**about, what: result})
        show(what, result)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
