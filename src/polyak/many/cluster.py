"""Ray: started on this machine or joined where it runs. The only place that calls `ray.init`.

`with connect("ray"): ...` starts one that ends with the block; `with connect("ray:HOST:6379"): ...` joins one, and
leaves it as it was. What Ray raises about an address, a version or a token becomes one line that says what to do.
"""

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from polyak.errors import UsageError
from polyak.many.travelling import too_large, travelling

INSTALL = 'pip install "polyak[ray]"'
HERE, JOINED = "ray", "ray:"
TRY_SECONDS = 60
"""Until a cluster has answered one who joins."""

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The variable in which `ray job submit` says what its job is."""
PRINTS = "print_to_stdstream"
_JOIN = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"
_VERSIONS = re.compile(r"started with:\s+Ray: (\S+)\s+Python: (\S+)")


class Asked(NamedTuple):
    """What `--on` asks for."""

    address: str | None
    """HOST:PORT or auto of a cluster to join; None where one is to be started here."""


def asked_of(on: str) -> Asked:
    """What a text such as `ray` or `ray:HOST:6379` asks for.

    Raises:
        UsageError: it is neither.
    """
    if on == HERE:
        return Asked(None)
    address = on.removeprefix(JOINED) if on.startswith(JOINED) else ""
    port = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})", address)
    if address == "auto" or (port and 0 < int(port[2]) < 65_536):
        return Asked(address)
    if "//" in on:
        raise UsageError(
            f"on is {on!r}, an address of Ray Client, which does not carry what a run needs: run the command on a "
            "machine of the cluster with ray:HOST:6379, or send it there by `ray job submit`"
        )
    raise UsageError(f"on is {on!r}, but must be ray (starts one here), ray:HOST:PORT or ray:auto (joins one)")


@contextmanager
def connect(on: str) -> Generator[Any]:
    """Start Ray here or join it, as `on` says, for the length of the block; the block is handed the module `ray`.

    A Ray that is started here has neither dashboard nor usage statistics, and works in this folder. To one that is
    joined this folder travels as its `working_dir`, without runs and what Ray leaves out itself, so that what can be
    imported here can be imported there. Where this process is connected already, that connection serves, and stays.

    Raises:
        UsageError: `on` is no such place; Ray is not installed; there is nothing at the address, or it is of another
            version or wants a token; this machine is not of that cluster; the folder is too large to travel.
    """
    asked = asked_of(on)
    ray = installed()
    if ray.is_initialized():
        yield ray
        return
    handler, mode = signal.getsignal(signal.SIGTERM), os.environ.get("RAY_AUTH_MODE")
    with _hushed():
        yield from _connected(ray, asked, handler, mode)


def _connected(ray: Any, asked: Asked, handler: Any, mode: str | None) -> Generator[Any]:
    """Until it is closed; then all is as before."""
    try:
        if asked.address is None:
            _start(ray)
        else:
            _join(ray, asked.address)
        _put_back(handler)
        yield ray
    finally:
        ray.shutdown()
        _put_back(handler)
        if mode is None:
            os.environ.pop("RAY_AUTH_MODE", None)


def installed() -> Any:
    """The module `ray`.

    Raises:
        UsageError: it is not installed, or does not work.
    """
    if find_spec("ray") is None:
        raise UsageError(f"Ray is not installed: {INSTALL}")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a change to come
    try:
        return importlib.import_module("ray")
    except (ImportError, OSError) as error:
        raise UsageError(f"Ray does not work ({_last_line(str(error))}): reinstall it: {INSTALL}") from error


@contextmanager
def _hushed() -> Generator[None]:
    """Without what Ray prints of nodes that die, pages of logs: whoever works with them says so in a line."""
    worker: Any = sys.modules.get("ray._private.worker")
    usual = getattr(worker, PRINTS, None)
    if usual is None:  # another version, which may print
        yield
        return
    setattr(worker, PRINTS, _say_nothing)
    try:
        yield
    finally:
        setattr(worker, PRINTS, usual)


def _say_nothing(*_: object, **__: object) -> None:
    pass


def _put_back(handler: Any) -> None:
    """Ray puts a handler of its own for SIGTERM in the place of whoever had one."""
    try:
        if handler is not None and signal.getsignal(signal.SIGTERM) is not handler:
            signal.signal(signal.SIGTERM, handler)
    except ValueError:  # in another thread than the main one nothing was put there
        pass


def _start(ray: Any) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise UsageError(
            f"Ray could not be started here ({_last_line(str(error))}): leave --on out, or join one that runs"
        ) from error


# Joining


def _join(ray: Any, address: str) -> None:
    _require_answer(address)
    _require_node(address)
    job: dict[str, Any] = json.loads(os.environ.get(JOB, "{}")).get("runtime_env") or {}
    environment = {} if "working_dir" in job else {"runtime_env": travelling(Path.cwd())}  # a job's came with it
    _try(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL", **environment)
    except Exception as error:
        raise UsageError(_wrong(address, f"{error}\n{error.__cause__ or ''}")) from error


def _require_answer(address: str) -> None:
    """Ray itself waits for minutes where nobody answers."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        if ":" not in address or "//" in address:
            return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise UsageError(
            f"no Ray answers at {address} ({error.strerror or error}): see whether it runs; `ray start --head` starts "
            "one and prints its address"
        ) from error


def _require_node(address: str) -> None:
    """Whoever joins speaks with the cluster through a node on its own machine."""
    if not any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"])):
        raise UsageError(_no_node(address))


def _try(address: str) -> None:
    """Join in a process of its own first: where Ray cannot, it waits, writes about it, and may end its process."""
    command = [sys.executable, "-c", _JOIN, address]
    environment = {name: value for name, value in os.environ.items() if name != JOB}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, process_group=0) as process:  # noqa: S603
        try:
            _, said = process.communicate(timeout=TRY_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise UsageError(_wrong(address, said))


def _wrong(address: str, said: str) -> str:
    """What is the matter with a cluster that could not be joined, in a line, from all that Ray said about it."""
    versions = _VERSIONS.findall(said)
    if "Version mismatch" in said and len(versions) == 2:
        (ray, python), (our_ray, our_python) = versions
        return (
            f"the Ray at {address} is {ray} with Python {python}, this is {our_ray} with Python {our_python}: use the "
            "same versions on all machines"
        )
    if "AuthenticationError" in said or "InvalidAuthToken" in said:
        return (
            f"the Ray at {address} wants a token that this command does not have: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN (or ~/.ray/auth_token) to the cluster's own"
        )
    if "No node info found" in said or "possible node ids" in said:
        return _no_node(address)
    if "maximum size" in said:
        return too_large(Path.cwd())
    if "running Ray instance" in said:
        return "no Ray runs on this machine: start one (`ray start --head`), or name one, as ray:HOST:6379"
    return f"the Ray at {address} could not be joined ({_last_line(said) or 'it did not answer'})"


def _no_node(address: str) -> str:
    return (
        f"this machine is no node of the Ray at {address}: make it one (`ray start --address={address} --num-cpus=0`), "
        "or send the command there by `ray job submit`"
    )


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
