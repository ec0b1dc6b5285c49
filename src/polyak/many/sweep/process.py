"""`polyak` in a process of its own: started, listened to, ended."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

COMMAND = (sys.executable, "-m", "polyak.cli.child")
LOG_NAME = "train.log"
"""In a run's folder: what its process wrote to standard error."""
TAIL_BYTES, TAIL_LINES = 8_000, 10


class Process:
    """One process; in a group of its own, so that the terminal's Ctrl-C reaches it through us alone."""

    def __init__(self, arguments: Sequence[str], directory: Path) -> None:
        """Start it; until its run has a folder, its log is in `directory`.

        Raises:
            OSError: there is no room for another process or file.
        """
        self.log = directory / f".train-{secrets.token_hex(8)}.log"
        self.killed = False
        """Whether `kill` has ended it."""
        pipe = subprocess.PIPE
        with self.log.open("xb") as log:
            command = [*COMMAND, *arguments]
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, process_group=0)  # noqa: S603
        self._output = cast(IO[bytes], self._process.stdout)
        os.set_blocking(self._output.fileno(), False)
        self._printed = b""

    def exit_code(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._process.poll()

    def first_line(self) -> str | None:
        """The first line of its standard output, once it is there."""
        self._printed += self._output.read() or b""
        line, ended, _ = self._printed.partition(b"\n")
        return os.fsdecode(line) if ended else None

    def move_log(self, folder: Path) -> None:
        """Keep its log in a run's folder; it goes on writing to it."""
        with suppress(OSError):  # on another file system, say: then it stays where it is
            self.log = self.log.rename(folder / LOG_NAME)

    def tail(self) -> list[str]:
        """The last lines of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                text = file.read(TAIL_BYTES).decode(errors="replace")
        except OSError as error:
            return [f"{self.log} cannot be read: {error.strerror or error}"]
        return [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL_LINES:]

    def stop(self) -> None:
        """Ask it to save and end; before its loop runs there is nothing to save, and it ends at once."""
        if self.exit_code() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it, and its environments' processes, where they are."""
        if self.exit_code() is None:
            self.killed = True
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait()

    def close(self) -> None:
        """Close the pipes, once it has ended."""
        for stream in (self._process.stdin, self._process.stdout):
            cast(IO[bytes], stream).close()
