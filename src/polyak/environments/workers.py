"""Environments in processes of their own: how these are started, asked, told to end, and killed where they do not."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState

from polyak.environments.spaces import Flat
from polyak.environments.worker import Fault, Received, packed, work
from polyak.errors import UsageError
from polyak.system.foreign import message_of
from polyak.system.signals import came_by_signal

if TYPE_CHECKING:
    Async = AsyncVectorEnv[Any, Any]
else:
    Async = AsyncVectorEnv  # which older versions do not make generic

CLOSING_SECONDS = 20.0
"""How long environments may take to close, wherever they run."""
SECONDS_OF_THE_LOST = 1.0
"""The same where one of them has not answered any more."""
SCRIPT_RUN_AGAIN = 77
"""The exit code of a worker that found itself in the script that started it."""
GUARD = '`if __name__ == "__main__":`'
OTHERWISE = "or choose the vectorization sync, which makes them in this process"


class Workers(Async):
    """N environments, each in a worker process. What one raises there is raised here, its traceback in a note."""

    def __init__(self, name: str, make: Callable[..., Any], count: int, alike: Any, mode: AutoresetMode) -> None:
        """Start N processes, each of which makes its own, `make(index=...)`, guarded, like one that is closed.

        Raises:
            UsageError: they do not start; none is left then.
        """
        require_one_who_may_start()
        self._called, self._started, self._owner = name, False, os.getpid()
        sent = _Sent(name, make, _Shown(Flat(alike.observation_space), alike.action_space))
        try:
            super().__init__(
                [cast(Any, sent)] * count,
                copy=False,
                context=start_method(),
                worker=cast(Any, work),
                autoreset_mode=mode,
            )
        except BaseException as error:
            why = _why(self, error)
            end(self, 0)
            if isinstance(error, UsageError) or came_by_signal(error):
                raise
            raise UsageError(f"{name} does not start in worker processes: {why}") from error
        self._started = True

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the processes, by force those that have not closed their environments in time."""
        if os.getpid() != self._owner:
            return  # a fork's copy of this object, which is none of its business
        end(self, 0 if terminate else CLOSING_SECONDS if timeout is None else timeout)

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise what the first of those raised that did not succeed; each of them has sent it after its answer."""
        faults = [pipe.recv() for pipe, success in zip(self.parent_pipes, successes, strict=True) if not success]
        self._state = AsyncState.DEFAULT
        if faults:
            fault: Fault = faults[0]
            if self._started:
                raise fault.raised()
            raise UsageError(
                f"{self._called} can be made in this process, but not in a worker process ({fault}): see to what it "
                f"misses there, {OTHERWISE}"
            )


def end_a_script_run_again() -> None:
    """End this process where it is a worker in its beginning, which runs the script that started it, unguarded."""
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False) and process.name.startswith(WORKER):
        os._exit(SCRIPT_RUN_AGAIN)


WORKER = f"Worker<{Workers.__name__}>"
"""How the names of worker processes begin, as Gymnasium gives them."""


def dead_worker(vector: Async, seconds: float = 1.0) -> str | None:
    """Which process has died, or dies within so many seconds, and of what; None where all live."""
    started = _started(vector)
    ended = set(wait([process.sentinel for process in started], seconds))
    for index, process in enumerate(started):
        if process.sentinel in ended:
            process.join()
            return f"the process of environment {index} died (exit code {process.exitcode})"
    return None


def end(vector: Async, seconds: float) -> list[BaseException]:
    """Let all processes close their environments and end; after so many seconds those that have not are killed.

    Returns:
        What was raised by those who closed.
    """
    started = _started(vector)
    pipes: list[Connection] = list(filter(None, vector.parent_pipes)) if started else []
    for pipe in pipes if seconds > 0 else []:
        with suppress(OSError, ValueError):  # it has died
            pipe.send(("close", None))
    alive, deadline = {process.sentinel: process for process in started}, time.monotonic() + seconds
    try:
        while alive and (left := deadline - time.monotonic()) > 0:
            for sentinel in wait(list(alive), left):
                del alive[cast(int, sentinel)]
    finally:
        for process in alive.values():
            process.kill()
        for process in started:
            process.join(timeout=5)  # killed ones end at once, unless their system does not let them
    faults: list[BaseException] = [fault.raised() for pipe in pipes for fault in _drained(pipe)]
    if alive and seconds > 0:
        faults.append(TimeoutError(f"{len(alive)} of {len(started)} processes had not ended after {seconds:g} s"))
    for pipe in pipes:
        pipe.close()
    vector.closed = True
    return faults


def _started(vector: Async) -> list[Any]:
    """Those of its processes that were started, before something kept it from starting the others."""
    return [process for process in getattr(vector, "processes", []) if process.pid is not None]


def _drained(pipe: Connection) -> list[Fault]:
    """The faults among what nobody has read."""
    found: list[Any] = []
    with suppress(Exception):  # whatever there is may be cut off, or of a stranger's class
        while pipe.poll():
            found.append(pipe.recv())
    return [each for each in found if isinstance(each, Fault)]


def require_one_who_may_start(asked: str = "the vectorization is async", otherwise: str = OTHERWISE) -> None:
    """Check that this process may start others, as was `asked`, which can find what it runs.

    Raises:
        UsageError: it may not.
    """
    if multiprocessing.current_process().daemon:
        raise UsageError(
            f"{asked}, but this process is a daemon (a worker of a multiprocessing.Pool, say), which "
            f"may start no processes: train in a concurrent.futures.ProcessPoolExecutor, whose workers may, {otherwise}"
        )
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if script and getattr(main, "__spec__", None) is None and not Path(script).exists():
        raise UsageError(
            f"{asked}, but worker processes first run the script that starts them, and "
            f"{script!r} is no file: write it to one, {otherwise}"
        )


def start_method() -> str:
    """How worker processes start: never by a plain fork, which a process that runs JAX's threads does not survive."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _why(vector: Workers, error: BaseException) -> str:
    """What keeps the processes from starting, and the remedy."""
    dead = dead_worker(vector) if isinstance(error, EOFError | ConnectionError) else None
    run_again = any(process.exitcode == SCRIPT_RUN_AGAIN for process in _started(vector))
    if run_again or (isinstance(error, RuntimeError) and "bootstrapping" in str(error)):
        return f"each of them first runs this script again, to know its classes: put what trains below {GUARD}"
    if dead or isinstance(error, EOFError):
        return (
            f"{dead or 'one of them ended'} before it had made its environment; what it printed says why. Where this "
            f"is a script, what trains belongs below {GUARD}"
        )
    if isinstance(error, OSError):
        return f"the system refuses them ({message_of(error)}): ask for fewer environments, {OTHERWISE}"
    return f"{type(error).__name__}: {message_of(error)}"


@dataclass
class _Shown:
    """What the library looks at before there are workers."""

    observation_space: Any
    action_space: Any
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    render_mode: None = None

    def close(self) -> None:
        """There is nothing to close."""


class _Sent:
    """Makes an environment in a worker; here, it gives what the library looks at instead of one more environment."""

    def __init__(self, name: str, make: Callable[..., Any], shown: _Shown) -> None:
        self._name, self._make, self._shown = name, make, shown

    def __call__(self) -> Any:
        return self._shown

    def __reduce__(self) -> Any:
        """Packed while a process is being started, when it may share what processes share: locks, queues."""
        return Received, (sendable(self._name, self._make, f", {OTHERWISE}"),)


def sendable(name: str, make: Callable[..., Any], otherwise: str = "") -> bytes:
    """What makes an environment of this name, packed for another process.

    Raises:
        UsageError: it cannot be.
    """
    try:
        return packed(make)
    except Exception as error:
        raise UsageError(
            f"{name} cannot be sent to a worker process ({message_of(error)}): let what makes it open locks, files and "
            f"connections itself, instead of holding them{otherwise}"
        ) from error
