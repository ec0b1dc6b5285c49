"""How much memory is free: the machine's, and that of the process's control groups; and what the C library keeps."""

import ctypes
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from polyak.system import memory
from polyak.system.memory import keep_freed, memory_free, readable_bytes

GB = 10**9
linux = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups of our own making, on a machine with 100 GB free."""
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "OWN", tmp_path / "own")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 100 * GB}))
    return tmp_path / "cgroup"


def group(folder: Path, limit: int | str, used: int, stat: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(stat)


def first_group(folder: Path, limit: int, used: int, stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(stat)


def test_it_is_a_positive_number_no_larger_than_the_machines() -> None:
    assert 0 < memory_free() <= psutil.virtual_memory().total


@linux
def test_a_groups_page_cache_is_free(groups: Path) -> None:
    group(groups, 4 * GB, 3 * GB, f"anon {GB}\ninactive_file {GB}\nactive_file {GB // 2}\nslab_reclaimable 1000\n")
    assert memory_free() == 4 * GB - 3 * GB + GB + GB // 2 + 1000


@linux
def test_the_narrowest_of_nested_groups_counts(groups: Path) -> None:
    (groups.parent / "own").write_text("0::/user/job\n")
    group(groups / "user/job", "max", 2 * GB)
    group(groups / "user", 8 * GB, 3 * GB)
    assert memory_free() == 5 * GB
    group(groups / "user/job", 3 * GB, 2 * GB, f"inactive_file {GB}\n")
    assert memory_free() == 2 * GB
    group(groups, 1 * GB, 0)
    assert memory_free() == 1 * GB


@linux
@pytest.mark.parametrize("path", ["/docker/abc", "/../elsewhere", "/"])
def test_in_a_container_the_root_is_the_own_group(groups: Path, path: str) -> None:
    (groups.parent / "own").write_text(f"0::{path}\n")
    group(groups, 2 * GB, 1 * GB)
    assert memory_free() == 1 * GB


@linux
def test_the_first_version_of_groups(groups: Path) -> None:
    (groups.parent / "own").write_text("5:cpu,memory:/job\n1:name=systemd:/\n0::/\n")
    first_group(groups / "memory/job", 3 * GB, 2 * GB, f"inactive_file 5\ntotal_inactive_file {GB}\n")
    first_group(groups / "memory", 2**63 - 4096, 9 * GB, "")
    assert memory_free() == 2 * GB


@linux
def test_without_groups_or_with_nonsense_the_machine_counts(groups: Path) -> None:
    assert memory_free() == 100 * GB
    (groups.parent / "own").write_text("0::/job\n")
    group(groups / "job", 1 * GB, 2 * GB, "inactive_file x\n")
    assert memory_free() == 0  # over its limit: nothing is free, and not less
    group(groups / "job", "", 0)
    assert memory_free() == 100 * GB


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 kB"), (168_000_000, "168 MB"), (2_340_000_000, "2.3 GB")],
)
def test_bytes_are_readable(count: int, text: str) -> None:
    assert readable_bytes(count) == text


FREED_AGAIN_AND_AGAIN = """
import ctypes, resource
from polyak.system.memory import keep_freed

library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [library.malloc(512 << 10) for _ in range(6)]
        for block in blocks:
            ctypes.memset(block, 1, 512 << 10)
        for block in blocks:
            library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults(), keep_freed(), faults() and faults())
"""


@linux
def test_what_is_freed_is_kept_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not GNU's")
    command = [sys.executable, "-c", FREED_AGAIN_AND_AGAIN]
    before, kept, after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert kept == "True"
    assert int(before) > 1_000
    assert int(after) < 100


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_=0", "GLIBC_TUNABLES=glibc.malloc.trim_threshold=0"])
def test_a_library_that_is_set_up_is_left_alone(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(ctypes, "CDLL", None)  # it is not even asked for
    assert not keep_freed()


@linux
def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed()
