"""What the learners of all frameworks share: where and how they compute, and a burst as one array."""

import math
import os
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from polyak.draws import Bits, Draws, Normal, Subset, bytes_of
from polyak.errors import UsageError
from polyak.settings.kinds import check_fields
from polyak.settings.options import Device, Threads
from polyak.system.threads import physical_cores
from polyak.types import Batch, Float, Integers, Layout


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


class Sent(NamedTuple):
    """What K updates learn from, in as few arrays as there can be, because each is a transfer."""

    records: Any
    """[K, B, 2 O + A + 3 + ...]: the batches, and behind them what is drawn for each row."""
    more: Any
    """[K, bytes]: what else is drawn; None where all is drawn for each row."""

    def each(self, function: Callable[[Any], Any]) -> "Sent":
        """`function` of each of its arrays."""
        return Sent(function(self.records), None if self.more is None else function(self.more))


class Carriage:
    """How draws travel: normals as columns of the records, whatever is none as bytes beside them."""

    def __init__(self, draws: Draws, layout: Layout) -> None:
        self.columns: dict[str, tuple[slice, tuple[int, ...]]] = {}
        """Where each normal lies in the last axis of the records, and the shape that it has there for a row."""
        self.places: dict[str, tuple[slice, Subset | Bits]] = {}
        """Where each other draw lies among an update's bytes: from a multiple of four, where an int32 may begin."""
        first, start = layout.width, 0
        for name, draw in draws.items():
            if isinstance(draw, Normal):
                end = first + math.prod(draw.shape[1:])
                self.columns[name] = slice(first, end), draw.shape[1:]
                first = end
            else:
                size = 4 * draw.size if isinstance(draw, Subset) else bytes_of(draw)
                self.places[name] = slice(start, start + size), draw
                start += -(-size // 4) * 4
        self.width = first
        """Columns of the records."""
        self.bytes = start
        """Bytes of an update beside them."""

    def packed(self, batches: Batch, draws: Mapping[str, Integers | Float]) -> Sent:
        """Batches with their draws, as `drawn` gives them."""
        rows = batches.records.shape[:2]
        columns = [draws[name].reshape(*rows, -1) for name in self.columns]
        records = np.concatenate([batches.records, *columns], axis=-1) if columns else batches.records
        if not self.places:
            return Sent(records, None)
        more = np.zeros((rows[0], self.bytes), np.uint8)
        for name, (place, _) in self.places.items():
            more[:, place] = np.ascontiguousarray(draws[name]).view(np.uint8)
        return Sent(records, more)
