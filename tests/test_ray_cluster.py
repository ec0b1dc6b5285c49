"""Starting and joining Ray: what serves, what ends with the block, and what is said where it cannot be."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster import Simulated
from polyak import UsageError
from polyak.many import cluster as clusters
from polyak.many import travelling
from polyak.many.cluster import asked_of, connect
from tiny_cli import PATIENCE, process_environment


@pytest.mark.parametrize(
    ("on", "address"),
    [("ray", None), ("ray:head:6379", "head:6379"), ("ray:[::1]:6379", "[::1]:6379"), ("ray:auto", "auto")],
)
def test_places(on: str, address: str | None) -> None:
    assert asked_of(on).address == address


@pytest.mark.parametrize(
    "on", ["", "Ray", "ray:", "ray:head", "ray:head:0", "ray:head:99999", "dask", "ray:a b:1", "ray6379"]
)
def test_no_place(on: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"on is {on!r}, but must be ray (starts one here), ray:HOST:PORT")):
        asked_of(on)


def test_ray_client_is_told_what_serves_instead() -> None:
    with pytest.raises(UsageError, match=r"an address of Ray Client, .* `ray job submit`"):
        asked_of("ray:ray://head:10001")


def test_missing_ray_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'Ray is not installed: pip install "polyak\[ray\]"'), connect("ray"):
        pass


def test_nobody_answers() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else's
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(UsageError, match=rf"no Ray answers at {address} \(Connection refused\)"),
            connect(f"ray:{address}"),
        ):
            pass


def test_what_answers_is_no_ray(cluster: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "TRY_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"the Ray at {address} could not be joined"), connect(f"ray:{address}"):
            pass


def test_machine_that_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "process_iter", lambda names: iter(()))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        command = f"`ray start --address={address} --num-cpus=0`"
        with (
            pytest.raises(UsageError, match=f"is no node of the Ray at {address}.*{command}"),
            connect(f"ray:{address}"),
        ):
            pass


VERSIONS = """RuntimeError: Version mismatch: The cluster was started with:
    Ray: 2.60.0
    Python: 3.11.7
This process on node 10.0.0.1 was started with:
    Ray: 2.59.0
    Python: 3.12.1
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            VERSIONS,
            "is 2.60.0 with Python 3.11.7, this is 2.59.0 with Python 3.12.1: use the same versions",
        ),
        (
            "AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing",
            "set RAY_AUTH_MODE=token",
        ),
        ("RuntimeError: No node info found matching attributes: ''", "this machine is no node of the Ray at h:1"),
        ("ConnectionError: Could not find any running Ray instance.", "no Ray runs on this machine"),
        ("ValueError: Package size (501MiB) exceeds the maximum size of 500MiB.", "that travel to the nodes"),
        ("one line\nthe last one\n\n", r"the Ray at h:1 could not be joined \(the last one\)"),
        ("", r"the Ray at h:1 could not be joined \(it did not answer\)"),
    ],
)
def test_what_ray_says_becomes_one_line(said: str, told: str) -> None:
    line = clusters._wrong("h:1", said)
    assert re.search(told, line)
    assert "\n" not in line


def test_folder_travels_without_runs_and_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs/a", "else/b [1]", "mine"):
        (tmp_path / name).mkdir(parents=True)
        for file in ("settings.json", "metrics.jsonl") if name != "mine" else ("mine.py",):
            (tmp_path / name / file).write_text("x" * 1000)
    monkeypatch.setattr(travelling, "MOST_BYTES", 1500)
    environment = travelling.travelling(tmp_path)
    assert environment["working_dir"] == str(tmp_path)
    assert r"/else/b\ \[1\]" in environment["excludes"]
    assert "runs" in environment["excludes"]
    (tmp_path / "assets").write_text("x" * 1000)
    with pytest.raises(UsageError, match=f"{tmp_path} has more than the 1.5 kB that travel.*rayignore"):
        travelling.travelling(tmp_path)
    (tmp_path / ".rayignore").write_text("assets\n")  # which Ray heeds
    travelling.travelling(tmp_path)


def test_joined_cluster_stays_and_gets_the_folder(
    cluster: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brought.py").write_text("WHAT = 'along'\n")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with cluster.node(cpus=1), connect(f"ray:{cluster.address}") as ray:
        assert signal.getsignal(signal.SIGTERM) is before

        def there() -> tuple[str, list[str]]:
            import brought

            return brought.WHAT, [each.name for each in Path().iterdir() if each.name != "__pycache__"]

        assert ray.get(ray.remote(num_cpus=1)(there).remote()) == ("along", ["brought.py"])
        with connect("ray") as same:  # connected already: that connection serves, and stays
            assert same is ray
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before
    with connect(f"ray:{cluster.address}") as ray:
        assert ray.nodes()


def test_local_ray_works_where_one_stands_and_ends_with_the_block(tmp_path: Path) -> None:
    (tmp_path / "brought.py").write_text("WHAT = 'along'\n")
    program = """
import os, signal, psutil
from polyak.many.cluster import connect
with connect("ray") as ray:
    def there():
        import brought
        return brought.WHAT, os.getcwd()
    print(*ray.get(ray.remote(num_cpus=1)(there).remote()))
    print(ray.get_runtime_context().gcs_address)
    started = psutil.Process().children(recursive=True)
    dashboards = [each.cmdline() for each in started if "dashboard/dashboard.py" in " ".join(each.cmdline())]
    assert all("--disable-frontend" in line for line in dashboards)  # what is left of it counts jobs
print(len(psutil.wait_procs(started, timeout=900)[1]), ray.is_initialized(), "RAY_AUTH_MODE" in os.environ)
"""
    command = [sys.executable, "-c", program]
    environment = {name: value for name, value in process_environment().items() if name != "RAY_AUTH_MODE"}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"along {tmp_path}"
    assert done.stdout.splitlines()[2] == "0 False False"
    assert done.stderr == ""
