"""Ctrl-C and SIGTERM, noted instead of obeyed at once; what signals raise, told from other errors; a time limit."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

MARK = "__signal__"
"""The attribute in which an error keeps the signal that brought it."""


def start_deaf(thread: threading.Thread) -> None:
    """Start a thread that takes no signal which asks a process to end or to stop.

    A process that has been stopped may give what came meanwhile to any of its threads. Python's handlers run in the
    main one, which would only be told of it once it wakes for another reason. Where signals are no thread's, as on
    Windows, it is started as any.
    """
    if not hasattr(signal, "pthread_sigmask"):
        thread.start()
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP))
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_noted(told: Callable[[], None] = lambda: None) -> Generator[list[int]]:
    """Note SIGINT and SIGTERM instead of dying, so that a step is never cut; a second one acts as usual.

    `told` is called in the handler, at once.

    A handler that was not installed from Python could not be put back, and is left in place.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    usual = {number: handler for number, handler in found.items() if handler is not None}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        restore()
        told()

    for number in usual:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        restore()


@contextmanager
def signals_marked() -> Generator[None]:
    """Let signals act as ever, but mark what their handlers raise, so that it is told from what other code raises."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no handler runs in another thread
        return
    usual = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def marking(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], Any]:
        def mark(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                setattr(error, MARK, number)
                raise

        return mark

    ours = {number: marking(handler) for number, handler in usual.items() if callable(handler)}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in ours.items():
            if signal.getsignal(number) is handler:  # else the code within has set one of its own
                signal.signal(number, usual[number])


def came_by_signal(error: BaseException) -> bool:
    """Whether a signal's handler raised this, or what it is made of.

    Where signals are not marked, each KeyboardInterrupt counts as a Ctrl-C.
    """
    chain: BaseException | None = error
    while chain is not None and not hasattr(chain, MARK):
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

    Code that never comes back to Python is not interrupted, nor is another thread than the main one; nor is any where
    SIGALRM has a handler that was not installed from Python, which could not be put back, or is not, as on Windows.
    """
    elsewhere = threading.current_thread() is not threading.main_thread()
    alarms = hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None
    if seconds is None or elsewhere or not alarms:
        yield nullcontext
        return
    limited = _Limited(seconds)
    usual = signal.signal(signal.SIGALRM, limited.ring)
    try:
        yield lambda: limited
    finally:
        signal.signal(signal.SIGALRM, usual)


class _Limited(AbstractContextManager[None]):
    """Blocks, one at a time; a class, because a generator costs twice as much at every step."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._running = seconds, False

    def __enter__(self) -> None:
        try:
            self._running = True
            signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)  # again, should the first be swallowed
        except BaseException:  # another signal's, in between
            self.__exit__()
            raise

    def __exit__(self, *raised: object) -> None:
        self._running = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def ring(self, number: int, frame: FrameType | None) -> None:
        """The handler of the alarm."""
        if self._running:
            raise NoAnswer
