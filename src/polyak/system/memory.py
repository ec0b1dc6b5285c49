"""Memory: what is free, with which a run compares what it will need, and what the C library does with what is freed."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows its control groups."""
OWN = Path("/proc/self/cgroup")
"""Which of them this process is in."""
RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")
"""What `memory.stat` counts and the kernel gives back when somebody asks for memory: files that it keeps at hand."""
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""What `mallopt` of the GNU C library calls its two limits."""
FROM_HEAP, KEPT = 32 << 20, 256 << 20
"""Bytes up to which a request is one for the heap, the most that the library takes; and those that stay there, free."""


def keep_freed() -> bool:
    """Let the C library keep memory that is freed, for the next request; whether it does.

    The GNU one gives the top of its heap back to the system whenever 128 kB are free there. Where a few arrays of
    some hundred kB are made and freed over and over, each page of them is asked for and cleared anew every time, which
    takes longer than what is computed in it. Whoever has set the library up by its environment variables is left alone.
    """
    own = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
    given = "malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name in os.environ for name in own)
    if sys.platform != "linux" or given:
        return False
    try:
        limit = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another library
        return False
    return bool(limit(MMAP_THRESHOLD, FROM_HEAP) and limit(TRIM_THRESHOLD, KEPT))


def memory_free() -> int:
    """Bytes that this process may still take: the machine's, or those of one of its control groups where that is less.

    What a group holds of files that were read or written counts as free.
    """
    free = int(psutil.virtual_memory().available)
    if sys.platform == "linux":
        free = min([free, *_groups_free(GROUPS, OWN)])
    return max(free, 0)


def readable_bytes(count: int) -> str:
    """`168_000_000` as `168 MB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            amount = count / size
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{count} bytes"


def _groups_free(groups: Path, own: Path) -> Iterator[int]:
    """What each control group with a limit has left, from the process's own up to the outermost."""
    entries: list[str] = []
    with suppress(OSError):
        entries = own.read_text().splitlines()
    # One line a hierarchy, NUMBER:CONTROLLERS:PATH; version 2 has one for all, without names of controllers.
    paths = {controllers: path for _, controllers, path in (entry.split(":", 2) for entry in entries)}
    first = next((path for names, path in paths.items() if "memory" in names.split(",")), "/")
    for folder in _upwards(groups, paths.get("", "/")):
        yield from _left(folder, "memory.max", "memory.current", "")
    for folder in _upwards(groups / "memory", first):
        yield from _left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """A group's folder and all that it is nested in; the root alone where its path is not seen from in here."""
    inner = Path(path.lstrip("/"))
    if ".." not in inner.parts:
        yield from (root / each for each in (inner, *inner.parents) if each != Path())
    yield root


def _left(folder: Path, limit: str, used: str, prefix: str) -> Iterator[int]:
    try:
        left = int((folder / limit).read_text()) - int((folder / used).read_text())
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return
    wanted = {f"{prefix}{name}" for name in RECLAIMABLE}
    with suppress(OSError, ValueError):
        pairs = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        left += sum(int(pair[1]) for pair in pairs if pair[0] in wanted)
    yield left
