"""Where TensorFlow computes, and with how many threads."""

import dataclasses
import os
from contextlib import suppress
from typing import Any, Literal

from polyak.errors import UsageError
from polyak.frameworks.execution import Execution, count_of_threads, say_what_runs, threads_or_default
from polyak.frameworks.tensorflow.quiet import said, tf

_VARIABLE = "TF_NUM_INTRAOP_THREADS"


def start(execution: Execution) -> Execution:
    """Settle the device and the threads.

    Raises:
        UsageError: there is no such device, or TensorFlow already runs with another number of threads.
    """
    threads = _limit(execution.threads)
    return dataclasses.replace(execution, device=_found(execution.device), threads=threads)


def describe(execution: Execution) -> str:
    """Version, devices and threads, in a line."""
    devices = ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())
    return f"{tf.__version__} on {devices}, {count_of_threads(execution)}"


def _limit(threads: int | None) -> int:
    running: int = tf.config.threading.get_intra_op_parallelism_threads()
    if running and threads is None:
        return running
    chosen = threads_or_default(threads, _VARIABLE)
    if chosen != running:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(chosen)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:  # it has computed before
            if not running:
                return say_what_runs("TensorFlow", threads, _by_itself())
            raise UsageError(
                f"threads is {threads}, but TensorFlow already runs with {running} in this process: start a new process"
            ) from error
    return chosen


def _by_itself() -> int:
    """How many threads TensorFlow takes where nobody tells it: hyper-threads count."""
    return int(os.environ.get(_VARIABLE, "0") or 0) or len(os.sched_getaffinity(0))


def _found(device: str) -> Literal["cpu", "cuda"]:
    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    for gpu in gpus:  # also for the CPU: TensorFlow would take all memory of every GPU, which others may share
        with suppress(RuntimeError):  # it has computed before, and has taken what it takes
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus and device != "cpu":
        tf.config.experimental.enable_tensor_float_32_execution(False)  # as precise as on the CPU
        return "cuda"
    if device == "cuda":
        why = " ".join(line for line in said if "cuda" in line.lower() or "gpu" in line.lower())
        raise UsageError(
            "device is 'cuda', but TensorFlow sees no NVIDIA GPU: pip install \"tensorflow[and-cuda]\" "
            f"on a machine that has one, or take --device cpu. TensorFlow said: {why or 'nothing'}"
        )
    return "cpu"
