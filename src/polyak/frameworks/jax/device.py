"""Where JAX computes, and with how many threads."""

import dataclasses
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import jax
from jax._src import xla_bridge  # the public interface does not tell whether backends have started

from polyak.errors import UsageError
from polyak.frameworks.execution import (
    Execution,
    count_of_threads,
    forked,
    say_what_runs,
    threads_or_default,
    variables_set,
)
from polyak.frameworks.jax.compiled import keep_compiled

_VARIABLE = "PJRT_NPROC"
"""XLA reads its thread count here, or from NPROC in older versions, once: when JAX's backends start."""
_POOL = "tf_XLAEigen"
"""What XLA calls each thread that computes on the CPU."""

_started: int | None = None
"""The thread count that JAX runs with, once it has been started here."""


def start(execution: Execution) -> Execution:
    """Settle the device and the threads, and start JAX's backends; nothing is computed.

    Where JAX had been started by others, its threads are as many as those others chose.

    Raises:
        UsageError: there is no such device, JAX was started here with another number of threads, or in a process from
            which this one has been forked.
    """
    threads, device = _limit(execution.threads), _found(execution.device)
    if device == "cpu":
        keep_compiled(threads)
    return dataclasses.replace(execution, device=device, threads=threads)


def device_of(execution: Execution) -> Any:
    """JAX's name for the device."""
    return cast(list[Any], jax.devices(execution.device))[0]


def compiler_options(execution: Execution) -> dict[str, Any]:
    """What XLA is asked for when it compiles for this device.

    On a GPU it would otherwise time several kernels for each product and keep the fastest, which in the next process
    may be another, rounding otherwise: equal seeds would not be equal runs, and a resumed run would not be the same.
    """
    if execution.device == "cuda":
        return {"xla_gpu_deterministic_ops": True}
    alone = execution.threads == 1 and "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", "")
    return {"xla_cpu_multi_thread_eigen": False} if alone else {}


def describe(execution: Execution) -> str:
    """Version, devices and threads, in a line."""
    found = cast(list[Any], jax.devices())
    devices = ", ".join(f"{device.platform}:{device.id}" for device in found)
    return f"{jax.__version__} on {devices}, {count_of_threads(execution)}"


def _limit(threads: int | None) -> int:
    global _started  # noqa: PLW0603 - XLA's thread count is one for the process
    begun = xla_bridge.backends_are_initialized()
    running = _running() if begun else None
    if running == 0:
        raise forked("JAX")
    if _started is not None and threads not in (None, _started):
        raise UsageError(
            f"threads is {threads}, but JAX already runs with {_started} in this process: start a new process"
        )
    if _started is None and running is not None:
        return say_what_runs("JAX", threads, running)
    if _started is None:
        _started = _begun(threads_or_default(threads, _VARIABLE))
    return _started


def _running() -> int | None:
    """How many threads XLA computes with in this process; None where the system does not tell."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return None
    count = 0
    for name in tasks.glob("*/comm"):
        with suppress(OSError):  # a thread that has just ended
            count += name.read_text().strip() == _POOL
    return count


def _begun(threads: int) -> int:
    """Start JAX's backends, which read the environment now and never again."""
    preallocate = os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU may be shared with other runs
    with variables_set(PJRT_NPROC=str(threads), NPROC=str(threads), XLA_PYTHON_CLIENT_PREALLOCATE=preallocate):
        try:
            jax.devices()
        except RuntimeError as error:
            raise UsageError(f"JAX finds nothing to compute on: {' '.join(str(error).split())}") from error
    return threads


def _found(device: str) -> Literal["cpu", "cuda"]:
    if device == "cpu":
        return "cpu"
    try:
        jax.devices("cuda")
    except RuntimeError as error:
        if device == "cuda":
            raise UsageError(
                "device is 'cuda', but JAX sees no NVIDIA GPU: "
                'pip install "polyak[cuda]" on a machine that has one, or take --device cpu'
            ) from error
        return "cpu"
    return "cuda"
