"""How many threads a run computes with."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

import psutil
from threadpoolctl import threadpool_limits

from polyak.errors import UsageError


def physical_cores() -> int:
    """Cores that this process may use, hyper-threads not counted."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


_MARK = "PJRT_NPROC"
"""XLA reads its thread count here, or from NPROC in older versions; so it also tells what count it runs with."""


@contextmanager
def limited_threads(threads: int | None) -> Generator[int]:
    """Let a framework not yet started use `threads` threads (None: the physical cores), and NumPy one, for this block.

    XLA reads its thread count once, when JAX first computes. NumPy multiplies small matrices only, for which one thread
    is fastest.

    Raises:
        UsageError: fewer than one, or JAX already runs with another number.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}, but must be at least 1")
    count = _limit_xla(threads)
    with threadpool_limits(limits=1):
        yield count


def _limit_xla(threads: int | None) -> int:
    """Set XLA's thread count where it can still be set, and return the one in force."""
    already = os.environ.get(_MARK, "")
    chosen = int(already) if already.isdigit() else None
    if "jax" in sys.modules and chosen is not None and threads not in (None, chosen):
        raise UsageError(
            f"threads is {threads}, but JAX already runs with {chosen} in this process: start a new process"
        )
    count = threads or chosen or physical_cores()
    os.environ[_MARK] = os.environ["NPROC"] = str(count)
    flags = os.environ.get("XLA_FLAGS", "")
    if count == 1 and "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    return count
