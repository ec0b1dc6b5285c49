"""Contenders as processes: each trains by itself, and waits within a step of its environment until it is asked on."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from learners import variables
from peers.cases import CONTENDERS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORDS = ("clock", "reached", "cost", "rates", "limit", "versions", "evaluated", "fresh")
"""What a line that answers begins with."""


class Process:
    """A contender's process, in a folder of its own that goes with it."""

    def __init__(
        self, name: str, command: Sequence[str], threads: int | None, extra: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._folder = Path(tempfile.mkdtemp(prefix="polyak-bench-"))
        own = {
            "PYTHONWARNINGS": "ignore",
            "PYTHONUNBUFFERED": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "POLYAK_COMPILE_CACHE": str(self._folder / "cache"),
        }
        self._errors = (self._folder / "errors").open("w+")
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=variables(threads) | own | (extra or {}),
        )

    def answer(self) -> list[str]:
        """The words of its next answer.

        Raises:
            RuntimeError: it ended; its last words are in the message.
        """
        assert self._process.stdout
        for line in self._process.stdout:
            words = line.split()
            if words and words[0] in WORDS:
                return words[1:]
        self._errors.seek(0)
        raise RuntimeError(f"{self.name} ended:\n{self._errors.read()[-2000:]}")

    def ask(self, line: object) -> list[str]:
        """The words that it answers to a line."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended, which `answer` says
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        return self.answer()

    def kill(self) -> None:
        """End it; who waits for its answer is told."""
        self._process.kill()

    def close(self) -> None:
        """End it, and remove its folder."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                if pipe:
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trainer(
    name: str, job: Mapping[str, Any], peers: str, extra: Mapping[str, str] | None = None, **options: Any
) -> Process:
    """A process that trains with a contender's library; `options` go beside the contender's own."""
    contender = CONTENDERS[name]
    asked = {**job, "options": {**contender.options, **options}}
    python = sys.executable if contender.ours else peers
    return Process(name, [python, str(HERE / contender.script), json.dumps(asked)], job["threads"], extra)


def require_peers(peers: str, names: Sequence[str]) -> None:
    """Check that there is a Python for the peers, if one of them takes part.

    Raises:
        SystemExit: there is none; the message says how to make it.
    """
    if any(not CONTENDERS[name].ours for name in names) and not (Path(peers).is_file() and os.access(peers, os.X_OK)):
        raise SystemExit(f"{peers} is no Python with the peers: `make bench` makes one, or name another with --peers")
