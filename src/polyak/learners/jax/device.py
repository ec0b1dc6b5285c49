"""Where JAX computes, and with how many threads."""

import dataclasses
import os
from typing import Any, Literal, cast

import jax

from polyak.errors import UsageError
from polyak.learners.edge import Execution, count_of_threads, threads_or_default
from polyak.learners.jax.compiled import keep_compiled

_VARIABLE = "PJRT_NPROC"
"""XLA reads its thread count here, or from NPROC in older versions, once: when JAX first computes."""

_started: int | None = None
"""The thread count that JAX runs with, once it has been started here."""


def start(execution: Execution) -> Execution:
    """Settle the device and the threads; nothing has been computed before, nor is anything now.

    Raises:
        UsageError: there is no such device, or JAX already runs with another number of threads.
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
    return {"xla_gpu_deterministic_ops": True} if execution.device == "cuda" else {}


def describe(execution: Execution) -> str:
    """Version, devices and threads, in a line."""
    found = cast(list[Any], jax.devices())
    devices = ", ".join(f"{device.platform}:{device.id}" for device in found)
    return f"{jax.__version__} on {devices}, {count_of_threads(execution)}"


def _limit(threads: int | None) -> int:
    global _started  # noqa: PLW0603 - XLA's thread count is one for the process
    if _started is not None and threads not in (None, _started):
        raise UsageError(
            f"threads is {threads}, but JAX already runs with {_started} in this process: start a new process"
        )
    if _started is None:
        _started = threads_or_default(threads, _VARIABLE)
        os.environ[_VARIABLE] = os.environ["NPROC"] = str(_started)
        flags = os.environ.get("XLA_FLAGS", "")
        if _started == 1 and "xla_cpu_multi_thread_eigen" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU may be shared with other runs
    return _started


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
