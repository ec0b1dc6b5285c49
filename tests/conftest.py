"""One thread a test process, so that parallel workers do not fight for the cores; and what several test files share."""

import os
import signal
import sys

# XLA reads these once, when JAX first computes, and NumPy's libraries when they load: so before any other import.
os.environ.update(NPROC="1", PJRT_NPROC="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background jobs: tests send themselves Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from clocks import alarm, clock
from cluster import cluster
from polyak import frameworks
from polyak.frameworks.execution import Execution
from polyak.types import Spec
from sharing import compiled_once

__all__ = ["alarm", "clock", "cluster", "compiled_once"]  # fixtures

NUMBERS = ("test_learners", "test_agreement", "test_fast")
CLUSTERED = "test_ray"
"""What the names of the files begin with whose tests share a simulated cluster (cluster.py)."""
SLOWEST = (
    *(*NUMBERS, "test_notebooks", "test_together", "test_resume", "test_faults", "test_threads", "test_recording"),
    *("test_tune", "test_strange_folders", "test_training", "test_sweep"),  # which would be the last by their names
)
HURRY = "disable_most_optimizations"
"""JAX's name for it: bursts compile in two thirds of the time, and round otherwise in the last bits."""

# A busy machine is no failure; the same examples every time, so that a failure can be repeated.
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile(
    "polyak", deadline=None, derandomize=True, database=None, suppress_health_check=slow
)
hypothesis.settings.load_profile("polyak")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def spec() -> Spec:
    """Three observations, two actions whose ranges differ and are not symmetric."""
    return Spec((3,), (2,), np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))


@pytest.fixture
def double() -> Iterator[None]:
    """JAX computes in float64 within the test, as the other frameworks do where they are given float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def pytest_configure(config: pytest.Config) -> None:
    """An entry that another test process is just writing is compiled here too; it is no failure."""
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache entry")


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Nothing waits for the disk, a run 32 times: what a machine leaves that loses its power, no test can see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses a file that is closed, too
        yield


@pytest.fixture(scope="session", autouse=True)
def compilation(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What JAX compiles is compiled once in all test processes, down to single operations, and in a hurry."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all workers of this run
    settings: dict[str, Any] = {"compilation_cache_dir": str(folder / "jax")}
    settings |= {"persistent_cache_min_compile_time_secs": 0, HURRY: os.environ["JAX_PLATFORMS"] == "cpu"}
    for name, value in settings.items():
        os.environ[f"JAX_{name.upper()}"] = str(value)  # for processes that tests start
        if "jax" in sys.modules:  # imported while tests were collected: it has read the environment
            sys.modules["jax"].config.update(f"jax_{name}", value)


@pytest.fixture(scope="module", autouse=True)
def optimized(request: pytest.FixtureRequest, compilation: None) -> Iterator[None]:
    """Where numbers are the question, they are those of the programs that users have."""
    if request.path.stem not in NUMBERS:
        yield
        return
    import jax

    for name in ("jax", "tensorflow"):  # by polyak, with its number of threads, before these files use them directly
        frameworks.start(name, Execution())
    jax.config.update(f"jax_{HURRY}", False)
    yield
    jax.config.update(f"jax_{HURRY}", os.environ[f"JAX_{HURRY.upper()}"] == "True")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first, so that no worker is left with one at the end."""

    def place(item: pytest.Item) -> float:
        name = item.path.stem
        if name.startswith(CLUSTERED):  # one worker's, all together
            return len(NUMBERS) - 0.5
        return SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each file is one worker's, and the files about numbers are the same one's: what they compile is compiled once.

    So are the files about Ray, which share a cluster.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if Path(file).stem.startswith(CLUSTERED):
                return CLUSTERED
            return "numbers" if Path(file).stem in NUMBERS else file

    config.option.loadscopereorder = False  # it would sort by the number of tests
    return ByFile(config, log)
