"""How many threads a run is given, and what becomes of a number that comes too late."""

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from polyak import UsageError
from polyak.threads import limited_threads, physical_cores
from tiny_cli import process_environment

VARIABLES = ("NPROC", "PJRT_NPROC", "XLA_FLAGS")


@pytest.fixture(autouse=True)
def before_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported JAX, with a clean environment."""
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)


def test_default_is_the_physical_cores_within_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 16 if logical else 4)
    assert physical_cores() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert physical_cores() == 2
    monkeypatch.setattr("psutil.cpu_count", lambda logical: None)
    assert physical_cores() == 2
    with limited_threads(None) as count:
        assert count == 2
        assert os.environ["PJRT_NPROC"] == "2"


def test_number_in_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PJRT_NPROC", "7")
    with limited_threads(None) as count:
        assert count == 7
    with limited_threads(3) as count:
        assert count == 3


def test_frameworks_are_limited_by_environment_variables() -> None:
    with limited_threads(3) as count:
        assert count == 3
        assert os.environ["NPROC"] == os.environ["PJRT_NPROC"] == "3"
        assert "XLA_FLAGS" not in os.environ


def test_one_thread_keeps_the_users_xla_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_min_max=true")
    with limited_threads(1):
        assert os.environ["XLA_FLAGS"].split() == [
            "--xla_cpu_enable_fast_min_max=true",
            "--xla_cpu_multi_thread_eigen=false",
        ]
    with limited_threads(1):
        assert os.environ["XLA_FLAGS"].count("multi_thread_eigen") == 1


def test_numpy_gets_one_thread_and_then_its_own_again() -> None:
    _ = np.ones((2, 2)) @ np.ones((2, 2))  # its library is loaded

    def counts() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(limits=2):
        with limited_threads(2):
            assert set(counts()) <= {1}
        assert set(counts()) <= {2}


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"threads is {count}, but must be at least 1"), limited_threads(count):
        pass


def test_another_number_than_jax_runs_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with limited_threads(2):
        monkeypatch.setitem(sys.modules, "jax", os)  # as if JAX had been imported here
    with limited_threads(2) as count:
        assert count == 2
    with pytest.raises(UsageError, match=r"threads is 3, but JAX already runs with 2.*new process"), limited_threads(3):
        pass


def test_default_after_jax_has_started_is_what_jax_runs_with(monkeypatch: pytest.MonkeyPatch) -> None:
    with limited_threads(7):
        monkeypatch.setitem(sys.modules, "jax", os)
    with limited_threads(None) as count:
        assert count == 7


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_jax_computes_with_so_many_threads() -> None:
    program = """
from pathlib import Path
from polyak.threads import limited_threads
with limited_threads(5):
    import jax
    jax.numpy.ones((300, 300)).block_until_ready()
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
print(sum(name.startswith("tf_XLAEigen") for name in names))
"""
    environment = {name: value for name, value in process_environment().items() if name not in VARIABLES}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert output.stdout == "5\n"
