"""Where PyTorch computes, and with how many threads."""

import dataclasses
from typing import Literal

import torch

from polyak.errors import UsageError
from polyak.frameworks.execution import Execution, count_of_threads, threads_or_default
from polyak.system.memory import keep_freed
from polyak.system.threads import processor

ONEDNN_IS_FASTER = "Intel" not in processor()
"""Than MKL, in products of large float32 matrices: twice as fast, but not on the processors of MKL's own maker."""


def start(execution: Execution) -> Execution:
    """Settle the device, and set the threads that PyTorch uses from now on in this process.

    Of freed memory the process keeps more from now on: PyTorch asks the C library for each tensor on the CPU.

    Raises:
        UsageError: there is no such device.
    """
    threads = threads_or_default(execution.threads, "OMP_NUM_THREADS")
    torch.set_num_threads(threads)
    keep_freed()
    return dataclasses.replace(execution, device=_found(execution.device), threads=threads)


def describe(execution: Execution) -> str:
    """Version, devices and threads, in a line."""
    devices = ", ".join(["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))])
    return f"{torch.__version__} on {devices}, {count_of_threads(execution)}"


def _found(device: str) -> Literal["cpu", "cuda"]:
    if device != "cpu" and torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError(
            "device is 'cuda', but this PyTorch sees no NVIDIA GPU: "
            "install a CUDA build of PyTorch on a machine that has one, or take --device cpu"
        )
    return "cpu"
