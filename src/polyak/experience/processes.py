"""Collectors in processes of this machine."""

import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from polyak.environments.workers import GUARD, SCRIPT_RUN_AGAIN, WORKER, require_one_who_may_start, start_method
from polyak.errors import UsageError
from polyak.experience.collecting import answered, begun
from polyak.experience.rounds import Answer, Beginning, Lost, Order
from polyak.system.foreign import message_of

ASKED, OTHERWISE = "collectors are asked for", "or leave collectors out"


class Process:
    """A collector in a process of its own, at the other end of a pipe."""

    def __init__(self, beginning: Beginning) -> None:
        """Start it.

        Raises:
            UsageError: the system refuses.
        """
        context: Any = multiprocessing.get_context(start_method())
        self._pipe, theirs = context.Pipe()
        name = f"{WORKER}-collector-{beginning.number}"
        self._process = context.Process(target=serve, args=(theirs, beginning), name=name, daemon=True)
        self._answered = False
        try:
            self._process.start()
        except OSError as error:
            raise UsageError(
                f"the system refuses the process of {beginning.title} ({message_of(error)}): ask for fewer, {OTHERWISE}"
            ) from error
        finally:
            theirs.close()

    @property
    def signs(self) -> list[Any]:
        """What becomes ready where there is an answer, or where there will be none."""
        return [self._pipe, self._process.sentinel]

    def send(self, order: Order) -> None:
        """Where the process is gone, `receive` will say so."""
        with suppress(OSError, ValueError):
            self._pipe.send(order)

    def receive(self) -> Answer:
        """The answer that is there.

        Raises:
            Lost: the process is gone.
            UsageError: the same, before its first answer.
        """
        try:
            if self._pipe.poll():
                answer: Answer = self._pipe.recv()
                self._answered = True
                return answer
        except (EOFError, OSError):
            pass
        raise self._gone()

    def _gone(self) -> Exception:
        self._process.join(5)
        code = self._process.exitcode
        if code == SCRIPT_RUN_AGAIN:
            return UsageError(
                f"collectors do not start: each of them first runs this script again, to know its classes: put what "
                f"trains below {GUARD}"
            )
        return Lost(f"its process ended ({how_it_ended(code)})")

    def kill(self) -> None:
        """By force."""
        self._process.kill()

    def leave(self) -> None:
        """Nothing more is said: the process closes its environments, and ends."""
        self._pipe.close()

    def ended(self, seconds: float) -> bool:
        """Whether it ends in so many seconds."""
        self._process.join(seconds)
        return self._process.exitcode is not None


class Processes:
    """Places for collectors on this machine."""

    name = "processes of this machine"

    def start(self, beginning: Beginning) -> Process:
        """Start one.

        Raises:
            UsageError: this process may start no others, or the system refuses.
        """
        require_one_who_may_start(ASKED, OTHERWISE)
        return Process(beginning)

    def ready(self, seats: Sequence[Process], seconds: float | None) -> list[Process]:
        """Those of which there is an answer, or will be none, once there is one."""
        owners = {sign: seat for seat in seats for sign in seat.signs}
        found = {id(owners[sign]) for sign in wait(list(owners), seconds)}
        return [seat for seat in seats if id(seat) in found]

    def end(self, seats: Sequence[Process], seconds: float) -> None:
        """Let all of them close their environments and end; those that do not in time are killed."""
        for seat in seats:
            seat.leave()
        deadline = time.monotonic() + seconds
        try:
            for seat in seats:
                seat.ended(max(deadline - time.monotonic(), 0.0))
        finally:
            for seat in seats:
                seat.kill()
            for seat in seats:
                seat.ended(5)  # killed ones end at once, unless their system does not let them


def serve(pipe: Connection, beginning: Beginning) -> None:
    """What the process does: answer orders, until nobody is left to give any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to note
    collecting, answer = begun(beginning)
    with suppress(EOFError, OSError):
        pipe.send(answer)
        while collecting is not None:
            pipe.send(answered(collecting, pipe.recv()))
    if collecting is not None:
        collecting.close()


def how_it_ended(code: int | None) -> str:
    """By an exit code."""
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
