"""The one simulated cluster of all tests of Ray: nodes on this machine, each with processes of its own.

A test asks for the fixture `cluster`, in a file named `test_ray_*.py`: all of these files are one worker's
(conftest.py), so that there is one cluster in the suite. It is started when the first test asks for it.
"""

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from tiny_cli import PATIENCE, process_environment

STORE_BYTES = 80 * 1024**2
QUICK = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
"""A dead node is known after 2 seconds instead of 15; one that is only slow still has the usual 10 to answer."""


class Simulated:
    """A head without processors of its own, and nodes that come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK}
        with started_alike():
            self._cluster = Cluster(initialize_head=True, head_node_args={**head, "object_store_memory": STORE_BYTES})
        self.address: str = self._cluster.address
        """HOST:PORT, to which `ray:` is put in front."""

    @contextmanager
    def node(self, cpus: float = 2, gpus: int = 0, **resources: float) -> Generator[Any]:
        """One more node for the length of the block."""
        asked = {"num_cpus": cpus, "num_gpus": gpus, "resources": resources, "object_store_memory": STORE_BYTES}
        with started_alike():
            node = self._cluster.add_node(**asked)
        try:
            yield node
        finally:
            self._cluster.remove_node(node, allow_graceful=False)

    def kill(self, node: Any) -> None:
        """SIGKILL a node's raylet; what ran there ends with it."""
        os.kill(raylet_of(node), signal.SIGKILL)

    def close(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


@contextmanager
def started_alike() -> Generator[None]:
    """A node imports what tests do. Each that is started puts a handler of its own for SIGTERM, which is taken back."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", process_environment()["PYTHONPATH"])
        yield
    signal.signal(signal.SIGTERM, before)


def node_of(process: int, nodes: Sequence[Any]) -> Any:
    """The node on which a process was started."""
    above = {each.pid for each in psutil.Process(process).parents()}
    return next(node for node in nodes if raylet_of(node) in above)


def raylet_of(node: Any) -> int:
    """The process's number."""
    return int(node.all_processes["raylet"][0].process.pid)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Simulated]:
    """The cluster, with its head alone: a test adds the nodes that it wants."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    made = Simulated()
    yield made
    made.close()
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before and is_ray(child)]
    alive = psutil.wait_procs(left, timeout=PATIENCE)[1]
    for process in alive:
        process.kill()
    assert not alive


def is_ray(process: psutil.Process) -> bool:
    """Whether it is one of Ray's; what Python starts for other tests has Ray's folder among those to import from."""
    try:
        words = " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it ends just now, or waits for its parent to hear of it
        return False
    return "multiprocessing" not in words and ("/ray/" in words or "ray::" in words)
