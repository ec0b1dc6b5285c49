"""What the learners of all frameworks share: where and how they compute, and a burst as one array."""

import math
import os
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from polyak.algorithm import Draws
from polyak.errors import UsageError
from polyak.settings.kinds import check_fields
from polyak.settings.options import Device, Threads
from polyak.system.threads import physical_cores
from polyak.types import Batch, Float, Layout


@dataclass(frozen=True)
class Execution:
    """Where and how a framework computes."""

    device: Device = "auto"
    """cuda: one NVIDIA GPU; auto: that where the framework sees one, else the CPU."""
    threads: Threads = None
    """Threads on the CPU; None: what the framework's own environment variable says, else the physical cores."""
    fast: bool = True
    """Compiled or fused, in place, K updates in one dispatch; False: each operation by itself, as it is written."""

    def __post_init__(self) -> None:
        check_fields(self, Execution)


def threads_or_default(threads: int | None, variable: str) -> int:
    """The threads asked for, else those in a framework's environment variable, else the physical cores."""
    given = os.environ.get(variable, "")
    return threads or (int(given) if given.isdigit() and int(given) else physical_cores())


def forked(framework: str) -> UsageError:
    """What is wrong where a framework was in use in a process from which this one has been forked."""
    return UsageError(
        f"{framework} was in use before this process was forked, and the child, which lacks its threads, would "
        'wait for ever: start the process by "spawn" or "forkserver", as in multiprocessing.get_context("spawn")'
    )


def say_what_runs(framework: str, threads: int | None, running: int) -> int:
    """The threads of a framework that others in this process have started; warned of where others are asked for."""
    if threads not in (None, running):
        warnings.warn(
            f"threads is {threads}, but {framework} had computed in this process before, with {running}, which are "
            "those in use: start a new process for another number",
            stacklevel=2,
        )
    return running


@contextmanager
def variables_set(**values: str) -> Generator[None]:
    """Set environment variables in this block, for what reads them once; then they are as they were, for children."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def count_of_threads(execution: Execution) -> str:
    """`2 threads`, `1 thread`."""
    return f"{execution.threads} thread{'s' * (execution.threads != 1)}"


def packed(batches: Batch, draws: Mapping[str, Float], names: tuple[str, ...]) -> Float:
    """Records with the draws of these names behind them, [K, B, 2 O + A + 3 + ...]: one array to send."""
    if not names:
        return batches.records
    rows = batches.records.shape[:2]
    return np.concatenate([batches.records, *(draws[name].reshape(*rows, -1) for name in names)], axis=-1)


def columns_of(draws: Draws, layout: Layout) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """Where each draw lies in the last axis of `packed`, and the shape that it has there for a row."""
    found: dict[str, tuple[slice, tuple[int, ...]]] = {}
    first = layout.width
    for name, draw in draws.items():
        end = first + math.prod(draw.shape[1:])
        found[name] = slice(first, end), draw.shape[1:]
        first = end
    return found
