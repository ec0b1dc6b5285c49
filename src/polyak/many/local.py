"""Runs in processes of this machine: `polyak` in a process of its own, started, listened to, ended."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from polyak.many.places import Job

COMMAND = (sys.executable, "-m", "polyak.cli.child")
LOG_NAME = "train.log"
"""In a run's folder: what its process wrote to standard error."""
TAIL_BYTES, TAIL_LINES = 8_000, 10


class Log:
    """A file with what a run's process writes to standard error."""

    def __init__(self, directory: Path) -> None:
        """Until its run has a folder, it is in `directory`."""
        self.path = directory / f".train-{secrets.token_hex(8)}.log"

    def move(self, folder: Path) -> None:
        """Keep it in a run's folder; who writes to it goes on."""
        with suppress(OSError):  # on another file system, say: then it stays where it is
            self.path = self.path.rename(folder / LOG_NAME)

    def tail(self) -> list[str]:
        """Its last lines."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                text = file.read(TAIL_BYTES).decode(errors="replace")
        except OSError as error:
            return [f"{self.path} cannot be read: {error.strerror or error}"]
        return [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL_LINES:]


class Process:
    """One process; in a group of its own, so that the terminal's Ctrl-C reaches it through us alone."""

    def __init__(self, arguments: Sequence[str], directory: Path) -> None:
        """Start it; until its run has a folder, its log is in `directory`.

        Raises:
            OSError: there is no room for another process or file.
        """
        self._log = Log(directory)
        self.killed = False
        """Whether `kill` has ended it."""
        pipe = subprocess.PIPE
        with self._log.path.open("xb") as log:
            command = [*COMMAND, *arguments]
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, process_group=0)  # noqa: S603
        self._output = cast(IO[bytes], self._process.stdout)
        os.set_blocking(self._output.fileno(), False)
        self._printed, self._folder = b"", cast(Path | None, None)

    @property
    def log(self) -> Path:
        """What it wrote to standard error."""
        return self._log.path

    def is_waiting(self) -> bool:
        """Never: it is started at once."""
        return False

    def exit_code(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._process.poll()

    def folder(self) -> Path | None:
        """The first line of its standard output, once it is there; its log is in that folder from then on."""
        if self._folder is None:
            self._printed += self._output.read() or b""
            line, ended, _ = self._printed.partition(b"\n")
            if ended:
                self._folder = Path(os.fsdecode(line))
                self._log.move(self._folder)
        return self._folder

    def tail(self) -> list[str]:
        """The last lines of its log."""
        return self._log.tail()

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
        if self._folder is None:
            self.log.unlink(missing_ok=True)


class Here:
    """Processes of this machine, in the folder where one stands."""

    def begin(self, job: Job, run_dir: Path) -> Process:
        """Start a run's process at once.

        Raises:
            OSError: there is no room for another process or file.
        """
        return Process(job.words(run_dir), run_dir)
