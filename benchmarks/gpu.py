"""Time updates of SAC on an NVIDIA GPU in JAX and PyTorch against their matrix products alone in a CUDA graph.

    python benchmarks/gpu.py                        # writes docs/results/gpu.json
    python benchmarks/gpu.py --batches 256 1024 --rounds 5
    python benchmarks/gpu.py --table                # the Markdown table anew from what has been measured

It needs PyTorch built for CUDA, which replays the limit, and `pip install "polyak[cuda]"` for JAX; a framework that
sees no GPU is left out and said to be. Without a GPU it says so in one line and exits with status 2.

Timed are polyak's learners as `polyak train --device cuda` runs them, from made-up batches in NumPy on the host to
metrics in NumPy on the host: single updates, and bursts of 50 in one call. The limit is a CUDA graph
(`torch.cuda.CUDAGraph`) of the products that an update cannot do without (`learners.products`), in float32 without TF32
as the learners compute, on factors that are on the GPU already: in bursts, 50 replays are launched and then waited for;
single, each is waited for.

Each framework lives in a process of its own; rounds go A B C A B C ... through all batches, which
are alive together: where the GPU's memory is short, leave the largest out with `--batches`.
"""

import argparse
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import learners
import numpy as np
from learners import BURST, Round
from replay_memory import machine
from scaling import Answer, Question, Worker, fractions, milliseconds, serve, versions
from scaling_pages import table

from polyak.errors import UsageError
from polyak.frameworks import start
from polyak.frameworks.execution import Execution
from polyak.system.files import write_atomically
from polyak.system.threads import physical_cores

ROOT = Path(__file__).resolve().parent.parent
BATCHES = (256, 512, 1024, 2048, 4096, 8192, 16384)
CONTENDERS = tuple(f"{kind} {burst}" for kind in ("products", "jax", "torch") for burst in (BURST, 1))
WARM_UP = 3
"""Repetitions before a recording, in which PyTorch and its libraries take their memory."""
PACKAGES = ("polyak", "numpy", "jax", "jaxlib", "torch")


# In a framework's process


def answered(question: Question) -> Answer:
    """What a process is asked: what it computes on, or the time of an update.

    Raises:
        UsageError: the framework is not installed, or sees no GPU.
    """
    if question["what"] == "device":
        start(question["framework"], Execution("cuda"))
        return {"device": device(question["framework"])}
    name, batch = question["contender"], question["batch"]
    return {"milliseconds": milliseconds(contender(name, batch), int(name.split()[1]), question["updates"])}


def device(framework: str) -> dict[str, str]:
    """A framework's own words about the GPU."""
    if framework == "torch":
        import torch

        return {"name": torch.cuda.get_device_name(0), "cuda": str(torch.version.cuda)}
    import jax

    found = jax.devices("cuda")[0]
    return {"name": str(found.device_kind), "platform": str(found.client.platform_version)}


@functools.cache
def contender(name: str, batch: int) -> Round:
    """One that is timed, compiled or recorded, and warm."""
    kind, burst = name.split()
    if kind == "products":
        run = replayed(recorded(batch), waits_for_each=burst == "1")
    else:
        run = learners.learner(kind, int(burst), "sac", batch, device="cuda")
    for _ in range(WARM_UP):
        run(int(burst))
    return run


def factors(batch: int, place: str) -> list[tuple[Any, Any, Any]]:
    """Left, right and result of every product of an update, in a learner's layouts, on a device."""
    import torch

    generator = np.random.default_rng(0)
    pairs = [learners.operands(*product, generator) for product in learners.products("sac", batch)]
    return [
        (
            torch.from_numpy(left).to(place),  # which keeps the layout
            torch.from_numpy(right).to(place),
            torch.empty(left.shape[0], right.shape[1], device=place),
        )
        for left, right in pairs
    ]


def multiply(triples: list[tuple[Any, Any, Any]]) -> None:
    """All products, into memory that is there already."""
    import torch

    for left, right, result in triples:
        torch.mm(left, right, out=result)


def recorded(batch: int) -> Any:
    """A CUDA graph of the products of one update; it keeps its factors."""
    import torch

    torch.set_float32_matmul_precision("highest")  # no TF32
    triples = factors(batch, "cuda")
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            multiply(triples)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        multiply(triples)
    return graph, triples


def replayed(recording: Any, *, waits_for_each: bool) -> Round:
    """Replays of a recording."""
    import torch

    graph, triples = recording

    def run(updates: int) -> None:
        for _ in range(updates):
            graph.replay()
            if waits_for_each:
                torch.cuda.synchronize()
        torch.cuda.synchronize()
        assert triples  # the graph reads and writes their memory for as long as it is replayed

    return run


# Rounds


def workers_with_a_gpu(threads: int) -> tuple[dict[str, Worker], dict[str, Any], dict[str, str]]:
    """A process for each framework that sees a GPU, what it says about it, and why the others are left out."""
    workers: dict[str, Worker] = {}
    devices: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for framework in ("jax", "torch"):
        if find_spec(framework) is None:
            absent[framework] = "not installed"
            continue
        worker = Worker(threads, __file__)
        try:
            devices[framework] = worker.ask(what="device", framework=framework)["device"]
            workers[framework] = worker
        except UsageError as error:
            absent[framework] = str(error)
            worker.close()
    return workers, devices, absent


def framework_of(name: str) -> str:
    """Whose process a contender lives in; the products are PyTorch's."""
    return "jax" if name.startswith("jax") else "torch"


def summary(batch: int, times: dict[str, list[float]]) -> Answer:
    """Updates a second and fractions of the limit; single updates are held against single replays."""
    found: dict[str, Answer] = {}
    for burst in (BURST, 1):
        same = {name: values for name, values in times.items() if name.endswith(f" {burst}")}
        limit = same.get(f"products {burst}")
        for name, row in fractions(same, limit or next(iter(same.values()))).items():
            found[name] = {"updates_per_second": round(1e3 / statistics.median(times[name]), 1), **row}
            if limit is None:  # no PyTorch that sees the GPU
                del found[name]["fraction_of_limit"]
    return {"batch": batch, "contenders": found}


def measure(
    options: argparse.Namespace, workers: dict[str, Worker], write: Callable[[int, list[Answer]], None]
) -> None:
    """All rounds; `write` is told the rows after each."""
    present = [name for name in CONTENDERS if framework_of(name) in workers]
    times: dict[int, dict[str, list[float]]] = {batch: defaultdict(list) for batch in options.batches}
    for number in range(options.rounds + 1):
        for batch, name in [(batch, name) for batch in times for name in present]:
            question = {"contender": name, "batch": batch, "updates": options.updates}
            taken = workers[framework_of(name)].ask(what="updates", **question)["milliseconds"]
            if number:  # the first round has warmed up
                times[batch][name].append(taken)
        if number:
            write(number, [summary(batch, times[batch]) for batch in times])
            print(f"round {number} of {options.rounds}", file=sys.stderr, flush=True)


def driver() -> str:
    """What `nvidia-smi` says: name, driver, memory, power limit; empty where it is missing."""
    fields = "name,driver_version,memory.total,power.limit"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    return ""


def show(results: dict[str, Any]) -> None:
    """A Markdown table."""
    rows = results["rows"]
    names = list(rows[0]["contenders"])
    lines: list[list[str]] = []
    for row in rows:
        cells: list[str] = []
        for name in names:
            found = row["contenders"][name]
            fraction = f" ({found['fraction_of_limit']:.0%})" if "fraction_of_limit" in found else ""
            cells.append(f"{found['updates_per_second']:,.0f}{fraction}")
        lines.append([f"{row['batch']:,}", *cells])
    print(f"\n`{results['command']}`: medians of {results['rounds']} rounds; {results['driver']}.\n")
    print("Updates a second (fraction of the limit).\n")
    print(table(("batch", *(name.replace(" 1", ", single").replace(" 50", ", bursts of 50") for name in names)), lines))
    for framework, reason in results["absent"].items():
        print(f"\n{framework}: {reason}")


def command(options: argparse.Namespace) -> str:
    """What measures this again."""
    batches = " ".join(map(str, options.batches))
    return f"python benchmarks/gpu.py --batches {batches} --rounds {options.rounds} --updates {options.updates}"


def run(options: argparse.Namespace) -> int:
    """Measure, write after each round, show; the exit status."""
    workers, devices, absent = workers_with_a_gpu(options.threads)
    if not workers:
        reasons = "; ".join(f"{framework}: {reason}" for framework, reason in absent.items())
        print(f"nothing is measured without an NVIDIA GPU ({reasons})", file=sys.stderr)
        return 2
    results: dict[str, Any] = {
        "command": command(options),
        "machine": {**machine(), "cpus": os.cpu_count()},
        "driver": driver(),
        "devices": devices,
        "absent": absent,
        "threads": options.threads,
        "versions": versions(PACKAGES),
    }

    def write(number: int, rows: list[Answer]) -> None:
        results.update(rounds=number, rows=rows)
        write_atomically(options.output, (json.dumps(results, indent=1) + "\n").encode())

    try:
        measure(options, workers, write)
    finally:
        for worker in workers.values():
            worker.close()
    show(results)
    return 0


def main() -> int:
    """Parse the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=4 * BURST, help="of a round, or as many as take a second")
    parser.add_argument("--threads", type=int, default=physical_cores(), help="on the host")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "gpu.json")
    parser.add_argument("--table", action="store_true", help="measure nothing: the table from the results")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(answered)
        return 0
    if min(options.rounds, options.updates, options.threads, *options.batches) < 1:
        parser.error("--rounds, --updates, --threads and --batches must be at least 1")
    if not options.table:
        return run(options)
    if not options.output.exists():
        parser.error(f"{options.output} is not there yet: measure first")
    show(json.loads(options.output.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
