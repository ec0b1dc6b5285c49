"""How many threads a run is given, in every framework, and what becomes of a number that comes too late."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from backends import NAMES
from polyak import UsageError, frameworks
from polyak.frameworks.execution import Execution, threads_or_default
from polyak.system.threads import one_numpy_thread, physical_cores
from tiny_cli import PATIENCE, process_environment

VARIABLES = ("NPROC", "PJRT_NPROC", "XLA_FLAGS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def test_physical_cores_within_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 16 if logical else 4)
    assert physical_cores() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert physical_cores() == 2
    monkeypatch.setattr("psutil.cpu_count", lambda logical: None)
    assert physical_cores() == 2


def test_what_is_asked_for_then_the_environment_then_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_THREADS", "7")
    assert threads_or_default(3, "SOME_THREADS") == 3
    assert threads_or_default(None, "SOME_THREADS") == 7
    for unusable in ("0", "", "many"):
        monkeypatch.setenv("SOME_THREADS", unusable)
        assert threads_or_default(None, "SOME_THREADS") == physical_cores()


def test_numpy_gets_one_thread_and_then_its_own_again() -> None:
    _ = np.ones((2, 2)) @ np.ones((2, 2))  # its library is loaded

    def counts() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        with one_numpy_thread():
            assert set(counts()) <= {1}
        assert set(counts()) <= {2}


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_is_refused(count: int, backend: str) -> None:
    with pytest.raises(UsageError, match=f"threads is {count}, but must be at least 1"):
        frameworks.start(backend, Execution(threads=count))


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_another_number_than_the_framework_runs_with_is_refused(backend: str) -> None:
    frameworks.describe(backend)  # it runs now
    if backend == "tensorflow":
        import tensorflow as tf

        tf.constant(1.0)
    running = frameworks.start(backend, Execution()).threads
    with pytest.raises(UsageError, match=r"threads is 9, but (JAX|TensorFlow) already runs with .*new process"):
        frameworks.start(backend, Execution(threads=9))
    assert frameworks.start(backend, Execution()).threads == running


LEARN = """
import sys, time
import numpy as np
from polyak import frameworks
from polyak.algorithm import first_state
from polyak.algorithms import algorithm, with_page
from polyak.frameworks.execution import Execution
from polyak.types import Batch, Spec

spec = Spec((17,), (6,), -np.ones(6, np.float32), np.ones(6, np.float32))
what, generator = with_page(algorithm("ddpg"), sys.argv[1]), np.random.default_rng(0)
config, execution = what.Config(), Execution("cpu", int(sys.argv[2]) or None)
arrays = first_state(what.state(spec, config), generator)
learner = frameworks.make_learner(sys.argv[1], what, spec, config, arrays, execution)
batches = Batch(generator.standard_normal((4, 256, spec.layout.width), dtype=np.float32), spec.layout)
learner.update(batches, {})
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(4):
    learner.update(batches, {})
print((time.process_time() - cpu) / (time.perf_counter() - wall))
print(frameworks.start(sys.argv[1], execution).threads)
print(frameworks.describe(sys.argv[1]))
"""


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize(("asked", "count"), [(1, 1), (0, 3)], ids=["asked for", "of the environment"])
def test_a_framework_computes_with_so_many_threads(backend: str, asked: int, count: int) -> None:
    """One busy thread takes at most as much processor time as time passes, however busy the machine is.

    Where nothing is asked for, the environment says the default: three, which no machine has by itself.
    """
    environment = {name: value for name, value in process_environment().items() if name not in VARIABLES}
    if not asked:
        environment |= {name: "3" for name in VARIABLES if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", LEARN, backend, str(asked)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE)
    busy, threads, described = done.stdout.splitlines()
    assert int(threads) == count
    assert float(busy) < count + 0.15
    assert asked or described.endswith(", 3 threads")


STARTED = """
import os, subprocess, sys, warnings

if sys.argv[1] == "others":
    import jax.numpy as jnp

    (jnp.ones(3) + 1).block_until_ready()
from polyak import UsageError
from polyak import frameworks
from polyak.frameworks.execution import Execution

VARIABLES = ("NPROC", "PJRT_NPROC", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE")
before = [os.environ.get(name) for name in VARIABLES]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    started = frameworks.start("jax", Execution("cpu", 1))
    print(started.threads, *(str(each.message).partition(":")[0] for each in caught))
print([os.environ.get(name) for name in VARIABLES] == before, flush=True)
warnings.simplefilter("ignore")  # JAX itself warns of what follows
child = os.fork()
if not child:
    try:
        frameworks.start("jax", Execution())
    except UsageError as error:
        print(str(error).lower().partition(",")[0], flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not tell what threads there are")
@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("polyak", "1"),
        ("others", "2 threads is 1, but JAX had computed in this process before, with 2, which are those in use"),
    ],
)
def test_the_threads_that_jax_runs_with_are_told_and_nothing_is_left_for_children(who: str, said: str) -> None:
    """Nor does a child that was forked from it wait for ever for threads which it does not have."""
    environment = {name: value for name, value in process_environment().items() if name not in VARIABLES}
    command = [sys.executable, "-c", STARTED, who]
    done = subprocess.run(
        command, env=environment | {"PJRT_NPROC": "2"}, check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout.splitlines() == [said, "True", "jax was in use before this process was forked"], done.stderr


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_fork_of_a_process_in_which_another_framework_runs_is_refused(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(frameworks)["_processes"], backend, os.getppid())
    with pytest.raises(UsageError, match=f"{backend} was in use before this process was forked.*spawn"):
        frameworks.start(backend, Execution())
