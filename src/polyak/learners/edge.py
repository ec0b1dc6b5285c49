"""What the learners of all frameworks share at their edge: where they compute, and how a burst is handed over."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from polyak.kinds import Limit, check_fields
from polyak.system.threads import physical_cores
from polyak.types import Batch, Float

Device = Literal["auto", "cpu", "cuda"]

MOST_THREADS = 1_024
"""More than any machine has cores for; beyond, a framework fails to make them and says so badly, or not at all."""

Threads = Annotated[
    int | None, Limit(f"at least 1 and at most {MOST_THREADS:,}", lambda threads: 1 <= threads <= MOST_THREADS)
]


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


def count_of_threads(execution: Execution) -> str:
    """`2 threads`, `1 thread`."""
    return f"{execution.threads} thread{'s' * (execution.threads != 1)}"


def packed(batches: Batch, noise: Mapping[str, Float], names: tuple[str, ...]) -> Float:
    """Records with the noise of these names behind them, [K, B, 2 O + A + 2 + n A]: one array to send."""
    if not names:
        return batches.records
    return np.concatenate([batches.records, *(noise[name] for name in names)], axis=-1)


def noise_columns(names: tuple[str, ...], observation_size: int, action_size: int) -> dict[str, slice]:
    """Where each noise lies in the last axis of `packed`."""
    first = 2 * observation_size + action_size + 2
    return {name: slice(first + i * action_size, first + (i + 1) * action_size) for i, name in enumerate(names)}
