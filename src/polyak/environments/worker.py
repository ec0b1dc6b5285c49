"""What a worker process does: it makes one environment, answers for it, and reports whatever that raises."""

import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import CloudpickleWrapper, write_to_shared_memory

from polyak.errors import UsageError
from polyak.system.foreign import message_of


def packed(thing: Any) -> bytes:
    """As it can be sent to another process: what is defined in a script, or within a function, goes by value."""
    return CloudpickleWrapper(thing).__getstate__()


def unpacked(content: bytes) -> Any:
    """What was `packed` by another process."""
    wrapper: Any = CloudpickleWrapper(cast(Any, None))
    wrapper.__setstate__(content)
    return wrapper.fn


class Received:
    """Makes an environment from what was sent, which is unpacked only where a failure can be reported."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __call__(self, **how: Any) -> Any:
        """Unpack and make one."""
        return unpacked(self._content)(**how)


@dataclass
class Fault:
    """What was raised in a worker; it can be sent where that itself cannot."""

    place: str
    """Whose process that is."""
    kind: str
    """Its class, in a word."""
    message: str
    traceback: str
    itself: bytes | None

    def __str__(self) -> str:
        if self.kind == UsageError.__name__:
            return self.message
        return f"{self.kind}: {self.message}" if self.message else self.kind

    def raised(self) -> BaseException:
        """It, or one of the same name; the traceback is in a note. An exit there is no exit here, nor is a Ctrl-C."""
        error: Any = None
        with suppress(Exception):  # its class may be unknown here
            error = unpacked(self.itself) if self.itself else None
        if not isinstance(error, Exception):
            error = type(self.kind, (RuntimeError,), {})(self.message)
        error.add_note(f"In the process of {self.place}:\n{self.traceback}")
        return error


def fault_of(place: str, error: BaseException) -> Fault:
    """What was raised in the process of `place`, to be sent."""
    itself = None
    with suppress(Exception):  # it may hold a lock, or its class may want other arguments than it keeps
        content = packed(error)
        unpacked(content)
        itself = content
    told = "".join(traceback.format_exception(error)).rstrip()
    return Fault(place, type(error).__name__, message_of(error), told, itself)


def work(
    index: int,
    make: Any,
    pipe: Any,
    parents_end: Any,
    memory: Any,
    errors: Any,
    mode: AutoresetMode,
    semaphore: Any = None,
) -> None:
    """Answer commands until told to close. The arguments are those that Gymnasium's AsyncVectorEnv gives its workers.

    After an answer that says that it failed comes a `Fault`. Whether the main process goes away is nobody's concern.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to note
    parents_end.close()
    place, command = _Place(index, make.fn, memory, mode), ""
    with suppress(EOFError, OSError):
        while command != "close":
            command, data = pipe.recv()
            try:
                pipe.send((place.answer(command, data), True))
            except BaseException as error:  # noqa: BLE001 - a stranger's code, whose fault is reported, even its exit
                pipe.send((None, False))
                pipe.send(fault_of(f"environment {index}", error))
    if command != "close":
        with suppress(Exception):  # nobody is left to be told
            place.answer("close", None)


class _Place:
    """A guarded environment in its worker, or what was raised when it was made, which then answers every command.

    Of an info nothing is sent but what polyak reads.
    """

    def __init__(self, index: int, make: Callable[..., Any], memory: Any, mode: AutoresetMode) -> None:
        self._index, self._memory, self._mode = index, memory, mode
        self._ended = False
        self._environment: Any = None
        self._unmade: BaseException | None = None
        try:
            self._environment = make(index=index)
        except BaseException as error:  # noqa: BLE001 - a stranger's code, whose fault is reported, even its exit
            self._unmade = error

    def answer(self, command: str, data: Any) -> Any:
        """What the library expects in answer to a command."""
        if self._unmade is not None:
            raise self._unmade
        match command:
            case "step":
                return self._step(data)
            case "reset":
                self._ended = False
                observation, _ = self._environment.reset(**data)
                return self._shown(observation), {}
            case "reset-noop":
                return None, {}
            case "_setattr":
                setattr(self._environment, *data)
                return None
            case "_check_spaces":
                return self._compared(*data[1:])
            case "close":
                self._environment.close()
                return None
            case _:
                raise NotImplementedError(command)

    def _step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self._ended and self._mode is AutoresetMode.NEXT_STEP:
            self._ended = False
            observation, _ = self._environment.reset()
            return self._shown(observation), 0.0, False, False, {}
        observation, reward, terminated, truncated, info = self._environment.step(action)
        self._ended = bool(terminated or truncated)
        if self._ended and self._mode is AutoresetMode.SAME_STEP:
            info = {"final_obs": observation, "final_info": info}
            observation, _ = self._environment.reset()
        return self._shown(observation), reward, terminated, truncated, info

    def _shown(self, observation: Any) -> None:
        """It goes through shared memory."""
        write_to_shared_memory(self._environment.observation_space, self._index, observation, self._memory)

    def _compared(self, observation_space: Any, action_space: Any) -> tuple[bool, bool]:
        ours = self._environment.observation_space, self._environment.action_space
        if ours != (observation_space, action_space):
            raise UsageError(f"it has the spaces {ours} there, but {(observation_space, action_space)} here")
        return True, True
