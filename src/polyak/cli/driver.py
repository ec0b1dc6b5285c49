"""A command that Ray may end, watched by a process without Ray: who called `polyak` is always told how it went.

Where a cluster's head is gone, Ray ends the process that works with it on the spot, whatever that is doing: nothing is
said, and nothing saved but what was. So the command line works in a child, which has the same standard input, output
and terminal. Over a line of its own it tells which runs it has begun, and last that it ends in order. The child is in a
process group of its own, so that each signal, also the terminal's Ctrl-C, reaches it through its parent and once. Were
the parent killed, the line would close, and the child save and end.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from polyak.errors import TrainingError, UsageError
from polyak.run.folder import Run
from polyak.run.runs import has_checkpoint
from polyak.run.states import standing_of
from polyak.system.signals import start_deaf
from polyak.views.choice import can_be_drawn_on

CHILD = (sys.executable, "-m", "polyak.cli.watched")
ENDED = b""
"""What is told last, where a run's folder is told else."""
LAST_WORDS = 5.0
"""Seconds for what a child said before it ended to be read: a process that it left behind may keep the line open."""
SHOW_CURSOR = "\x1b[?25h"
"""Which a live view that could not end has hidden."""

_line: list[int] = []
"""In a watched child: the descriptor of its line to the parent."""


# The child's side


def watched_over(line: int) -> None:
    """This process is a watched child, whose parent listens at the other end of a descriptor."""
    os.set_inheritable(line, False)
    _line.append(line)


def is_watched() -> bool:
    """Whether this process is a watched child."""
    return bool(_line)


def tell_begun(folder: Path) -> None:
    """Tell who watches, if anybody does, that a run has its folder."""
    _tell(os.fsencode(folder.absolute()) + b"\0")


def tell_ended() -> None:
    """Tell who watches that this process ends in order."""
    _tell(ENDED + b"\0")


def _tell(words: bytes) -> None:
    for line in _line:
        with suppress(OSError):  # nobody listens any more
            os.write(line, words)


# The parent's side


def drive(arguments: Sequence[str], again: str = "") -> int:
    """Run a command line in a watched child; its exit code.

    Args:
        arguments: the command line, after `polyak`.
        again: how to go on, where that is not to resume each run.

    Raises:
        TrainingError: it did not end in order: Ray has ended it, or a signal. The message tells how to go on.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            line = theirs.fileno()
            process = subprocess.Popen([*CHILD, str(line), *arguments], pass_fds=[line], process_group=0)  # noqa: S603
        told = bytearray()
        listener = threading.Thread(target=_listen, args=(ours, told), daemon=True)
        start_deaf(listener)
        with _signals_passed_on(process) as passed:
            code = process.wait()
        listener.join(LAST_WORDS)
    *begun, _ = bytes(told).split(b"\0")
    if begun[-1:] == [ENDED]:
        return code
    if -code in passed:  # before there was anything to save
        return 128 - code
    if can_be_drawn_on(sys.stderr):
        print(SHOW_CURSOR, end="", file=sys.stderr, flush=True)
    raise TrainingError(
        _why(code) + again if again else _why(code) + _how_to_go_on([Run(Path(os.fsdecode(each))) for each in begun])
    )


def _listen(line: socket.socket, told: bytearray) -> None:
    with suppress(OSError):
        while words := line.recv(4096):
            told.extend(words)


@contextmanager
def _signals_passed_on(process: subprocess.Popen[bytes]) -> Generator[list[int]]:
    """Pass on what asks this process to end, each time; and what stops and continues it. Gives those that were."""
    passed = list[int]()

    def pass_on(number: int, frame: FrameType | None) -> None:
        passed.append(number)
        process.send_signal(number)

    def stop(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)  # now that this process goes on

    wanted = {signal.SIGINT: pass_on, signal.SIGTERM: pass_on, signal.SIGTSTP: stop}
    usual = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield passed
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _why(code: int) -> str:
    if code < 0:
        return f"the process that works with Ray was killed by {signal.Signals(-code).name}"
    return "the cluster's head is gone, so that Ray has ended the process that worked with it"


def _how_to_go_on(begun: Sequence[Run]) -> str:
    """What is left of the runs that were begun, and the commands that go on."""
    left = [run for run in begun if has_checkpoint(run) and _is_unfinished(run)]
    if not left:
        return "; nothing was saved that could go on" if begun else " before a run had begun"
    commands = [shlex.join(["polyak", "resume", _shown(run.folder)]) for run in left]
    if len(begun) == 1:
        return f"; the newest checkpoint of {_shown(left[0].folder)} is whole, and `{commands[0]}` goes on from it"
    return "; the newest checkpoint of each run is whole. To go on:\n  " + "\n  ".join(commands)


def _is_unfinished(run: Run) -> bool:
    try:
        return standing_of(run).state != "done"
    except UsageError:  # its files are damaged, which `resume` will say
        return True


def _shown(folder: Path) -> str:
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
