"""Closing environments: in bounded time, and whatever goes wrong then replaces neither a result nor an error."""

import warnings
from contextlib import suppress
from typing import Any, cast

from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from polyak.environments.handed import LentVector
from polyak.environments.workers import CLOSING_SECONDS, SECONDS_OF_THE_LOST, end
from polyak.system.foreign import message_of
from polyak.system.prints import environments_speak
from polyak.system.signals import NoAnswer, came_by_signal, time_limit


def close(environment: Any, *, lost: bool = False) -> None:
    """Close an environment or a vector of them; what goes wrong is a warning.

    Processes that have not ended in time are killed, sooner where one of them has not answered before (`lost`). In this
    process the time is limited where this is its main thread.
    """
    if isinstance(environment, LentVector):
        return
    inner: Any = getattr(environment, "unwrapped", environment)
    faults: list[BaseException] = []
    if isinstance(inner, AsyncVectorEnv) and not inner.closed:
        faults += end(cast(Any, inner), SECONDS_OF_THE_LOST if lost else CLOSING_SECONDS)
    alone: list[Any] = []
    if isinstance(inner, SyncVectorEnv) and not inner.closed:  # whose own close ends with the first that raises
        alone, inner.closed = list(inner.envs), True
    try:
        with environments_speak, time_limit(CLOSING_SECONDS) as limit, limit():
            for each in (*alone, environment):
                faults += raised_by_closing(each)
    except NoAnswer:
        faults.append(TimeoutError(f"it had not come back after {CLOSING_SECONDS:g} s"))
    for fault in faults:
        _warn(fault)


def raised_by_closing(environment: Any) -> list[BaseException]:
    """Close one environment, in whatever time it takes; gives what it raised, but a Ctrl-C is raised."""
    try:
        environment.close()
    except NoAnswer:
        raise
    except BaseException as error:
        if came_by_signal(error):
            raise
        return [error]
    return []


def _warn(error: BaseException) -> None:
    """Say it, but raise nothing even where warnings are errors."""
    with suppress(Warning):
        warnings.warn(
            f"an environment did not close as it should ({type(error).__name__}: {message_of(error)}); nothing else "
            "depends on it",
            RuntimeWarning,
            stacklevel=4,
        )
