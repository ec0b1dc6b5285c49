"""Ctrl-C and SIGTERM, noted instead of obeyed at once; Ctrl-C, told from what only looks so; and a time limit."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any


@contextmanager
def signals_noted() -> Generator[list[int]]:
    """Note SIGINT and SIGTERM instead of dying, so that a step is never cut; a second one acts as usual."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        restore()

    for number in usual:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        restore()


@contextmanager
def signals_seen() -> Generator[list[int]]:
    """Let signals act as ever and list those that came, so that what their handlers raise is told from other errors."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen  # no handler runs in another thread
        return
    usual = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def noting(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], Any]:
        def note(number: int, frame: FrameType | None) -> None:
            seen.append(number)
            handler(number, frame)

        return note

    ours = {number: noting(handler) for number, handler in usual.items() if callable(handler)}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield seen
    finally:
        for number, handler in ours.items():
            if signal.getsignal(number) is handler:  # else the code within has set one of its own
                signal.signal(number, usual[number])


class CtrlC(KeyboardInterrupt):
    """A KeyboardInterrupt that a signal brought; one that some code raises by itself is plain."""


@contextmanager
def interrupts_marked() -> Generator[None]:
    """Let SIGINT act as usual, but raise `CtrlC` where it raised KeyboardInterrupt."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        try:
            usual(number, frame)
        except KeyboardInterrupt as error:
            raise CtrlC(*error.args) from None

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def came_by_signal(error: BaseException) -> bool:
    """Whether a Ctrl-C is behind an error; where those are not marked, each KeyboardInterrupt counts as one."""
    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, CtrlC):
        chain = chain.__cause__ or chain.__context__
    if chain is not None or not isinstance(error, KeyboardInterrupt):
        return chain is not None
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler


class NoAnswer(BaseException):
    """A time limit has passed; not an `Exception`, which what hangs might catch."""


Limit = Callable[[], AbstractContextManager[None]]
"""Makes a block that may take so long and no longer."""


@contextmanager
def time_limit(seconds: float | None) -> Generator[Limit]:
    """Give what interrupts a block of the main thread with `NoAnswer` after so many seconds.

    Code that never comes back to Python is not interrupted, nor is another thread than the main one.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield nullcontext
        return
    running = False

    def ring(number: int, frame: FrameType | None) -> None:
        if running:
            raise NoAnswer

    @contextmanager
    def limited() -> Generator[None]:
        nonlocal running
        try:
            running = True
            signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again and again, should the first be swallowed
            yield
        finally:
            running = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    usual = signal.signal(signal.SIGALRM, ring)
    try:
        yield limited
    finally:
        signal.signal(signal.SIGALRM, usual)
