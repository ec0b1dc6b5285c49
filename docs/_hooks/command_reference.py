"""The reference of the command line: what each command prints when it is asked for help."""

import functools
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from polyak.cli import COMMANDS

WIDTH = 100
PROGRAM = "import sys; from polyak.cli import main; sys.exit(main())"
EXAMPLE = ("train", "sac", "Pendulum-v1")
"""The call whose help lists every option of `train`, which depend on the algorithm and the environment."""


@functools.cache
def commands() -> str:
    """A section for each command, in the program's order."""
    calls: list[tuple[str, ...]] = []
    for name in COMMANDS:
        calls += [(name,), EXAMPLE] if name == EXAMPLE[0] else [(name,)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(_help, calls))
    return "\n\n".join(map(_section, calls, texts))


def _section(call: tuple[str, ...], text: str) -> str:
    said = COMMANDS[call[0]]
    summary = f"{said[0].upper()}{said[1:]}.\n\n" if len(call) == 1 else ""
    level = "##" if len(call) == 1 else "###"
    return f"{level} polyak {' '.join(call)}\n\n{summary}``` {{ .text .printed .no-copy }}\n{text}\n```"


def _help(call: tuple[str, ...]) -> str:
    """What `polyak CALL --help` prints, without colours and frames.

    Raises:
        ValueError: it fails.
    """
    plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", PROGRAM, *call, "--help"]
    done = subprocess.run(command, env=os.environ | plain, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0 or not done.stdout.strip():
        raise ValueError(f"`polyak {' '.join(call)} --help` failed: {done.stderr.strip()}")
    return re.sub("\n{3,}", "\n\n", "\n".join(_unframed(done.stdout)))


def _unframed(text: str) -> Iterator[str]:
    """The lines of a help without the frames that a terminal shows, those of prose no longer than others."""
    for line in text.strip().splitlines():
        if line.startswith("╭"):
            yield f"\n{line.strip('╭─╮ ')}:"
        elif line.startswith("│"):
            yield f" {line.strip('│').rstrip()}"
        elif not line.startswith("╰"):
            yield from textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line.rstrip()]
