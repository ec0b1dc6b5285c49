"""What XLA has compiled is kept in the user's cache folder, so that the next run of the same shapes starts at once.

An entry is machine code behind a checksum; nothing is unpickled. Whoever can write there can run code as the user, so
the folder has to be the user's alone.
"""

import hashlib
import os
import platform
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any, cast

import jax

VARIABLE = "POLYAK_COMPILE_CACHE"
"""`off`, or another folder than the usual one."""
LIMIT = 100_000_000
"""Bytes at most for one kind of processor and number of threads; the oldest entries go first."""
TRUSTED = (0, 10, 2)
"""The first JAX that loads what it has compiled for a CPU without remarks (openxla/xla#44565)."""
ZSTANDARD = b"\x28\xb5\x2f\xfd"


def keep_compiled(threads: int) -> None:
    """Let JAX keep what it compiles for the CPU, unless its own cache is set up or the folder cannot be used.

    Results are the same, bit for bit: a kept program is the one that was compiled.
    """
    if cast(Any, jax.config).jax_compilation_cache_dir is not None:
        return
    folder = _folder()
    if folder is None:
        return
    folder /= f"{_processor()}-{threads}"  # JAX's own keys know neither, and XLA divides its work among the threads
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours(folder):
            return
        _tidy(folder)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")  # as on a full disk


def _folder() -> Path | None:
    """Where the entries are; None: nowhere."""
    asked = os.environ.get(VARIABLE, "")
    if asked.lower() in ("off", "0", "false", "no"):
        return None
    if asked:
        return Path(asked).expanduser().absolute()
    if sys.platform != "linux" or jax.__version_info__ < TRUSTED:
        return None
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = given if given.is_absolute() else Path("~/.cache").expanduser()
    return base / "polyak" / "jax" if base.is_absolute() else None


def _processor() -> str:
    """A word for the instructions that this machine has: a home folder may be shared by several machines."""
    known = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
        known += "".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
    except OSError:
        pass
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def _ours(folder: Path) -> bool:
    """Whether the user alone can write there."""
    found = folder.stat()
    alone = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
    return alone and os.access(folder, os.W_OK)


def _tidy(folder: Path) -> None:
    """Remove entries that were cut off, which JAX would never replace, and the oldest beyond the limit.

    Each is looked at once, at the first start after it was written.
    """
    stamp = folder / "checked"
    since = stamp.stat().st_mtime_ns if stamp.exists() else 0
    stamp.touch()
    entries = sorted(((file.stat(), file) for file in folder.glob("*-cache")), key=lambda entry: -entry[0].st_mtime_ns)
    total = 0
    for found, file in entries:
        total += found.st_size
        if total > LIMIT or (found.st_mtime_ns >= since and not _whole(file.read_bytes())):
            file.unlink(missing_ok=True)


def _whole(entry: bytes) -> bool:
    """Whether it can be unpacked; what another library than zlib has packed is left to JAX."""
    try:
        zlib.decompress(entry)
    except zlib.error:
        return entry.startswith(ZSTANDARD)
    return True
