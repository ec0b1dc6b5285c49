"""What computes: which processor, how many of its cores, how many threads."""

import os
import platform
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_limits


def physical_cores() -> int:
    """Cores that this process may use, hyper-threads not counted."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


@cache
def processor() -> str:
    """Which kind this is, by its maker's name where the system says that: numbers may round otherwise on others."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def one_numpy_thread() -> AbstractContextManager[Any]:
    """Let NumPy use one thread in this block: it multiplies small matrices only, for which that is fastest.

    Its linear algebra alone is limited; the threads of a framework are the framework's own matter.
    """
    return threadpool_limits(limits=1, user_api="blas")
