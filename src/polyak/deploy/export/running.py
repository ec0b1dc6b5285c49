"""A copy of a policy, run: an ONNX model by ONNX Runtime, a header of C compiled by the compiler that is there."""

import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from polyak.deploy.export.copied import Copy
from polyak.errors import TrainingError, UsageError
from polyak.types import Float

Ran = tuple[Float, float]
"""Actions [n, A] in the environment's units, NaN where there is none; and the seconds that one takes, the median."""
Runs = Callable[[bytes, Float, Float], Ran]
"""Runs a file's content on observations [n, O] and noise [n, A]."""
COMPILERS, REMEDY = ("cc", "gcc", "clang"), "install one (Debian: apt install gcc; macOS: xcode-select --install)"
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra")
PATIENCE = 600.0
"""Seconds after which a compiler or what it made counts as hung."""
REPEATS = 21
"""Times that all observations are run to measure how long one takes."""


@dataclass(frozen=True)
class Runner:
    """What runs the copies of a format."""

    name: str
    run: Runs


def median_seconds(call: Callable[[Any], object], rows: Sequence[Any]) -> float:
    """The median time of a call, one row each."""
    taken = list[float]()
    for row in rows:
        begun = time.perf_counter()
        call(row)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


# ONNX


def onnx_runtime(copy: Copy) -> Runner:
    """ONNX Runtime, on one thread of the processor.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "the check of an ONNX model takes the package onnxruntime, which is not installed: "
            'pip install "polyak[export]"; --unchecked leaves the check out'
        ) from error
    spec = copy.policy.spec

    def run(content: bytes, rows: Float, noise: Float) -> Ran:
        options = cast(Any, onnxruntime).SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def acted(rows: Float, noise: Float) -> Float:
            given: dict[str, Any] = {"observation": rows.reshape((len(rows), *spec.observation_shape))}
            given |= {"noise": noise} if copy.stochastic else {}
            return np.asarray(session.run(None, given)[0]).reshape((len(rows), spec.action_size))

        single = [(rows[i : i + 1], noise[i : i + 1]) for i in range(len(rows))]
        return acted(rows, noise), median_seconds(lambda pair: acted(*pair), single)

    return Runner(f"ONNX Runtime {onnxruntime.__version__}", run)


# C

PROGRAM = """\
#include "{name}.h"
#include <stdio.h>
#include <time.h>

static float observation[{rows}][{observations}], noise[{rows}][{actions}], action[{rows}][{actions}];

/* Actions to standard output, and to standard error the seconds that one took, each time that all were computed. */
int main(void)
{{
    int i, j, repeat;
    if (fread(observation, sizeof observation, 1, stdin) != 1) return 2;
    if (fread(noise, sizeof noise, 1, stdin) != 1) return 2;
    for (repeat = 0; repeat < {repeats}; repeat++) {{
        const clock_t begun = clock();
        for (i = 0; i < {rows}; i++)
            if ({name}_act(observation[i], {drawn}action[i]))
                for (j = 0; j < {actions}; j++) action[i][j] = NAN;
        fprintf(stderr, "%.9e\\n", (double)(clock() - begun) / CLOCKS_PER_SEC / {rows});
    }}
    return fwrite(action, sizeof action, 1, stdout) != 1;
}}
"""


def compiled_c(copy: Copy, name: str) -> Runner:
    """The header in a small program, compiled by $CC, cc, gcc or clang, in a folder that is gone afterwards.

    Raises:
        UsageError: there is no compiler.
    """
    given = shlex.split(os.environ.get("CC", ""))
    found = given if given and shutil.which(given[0]) else [name for name in COMPILERS if shutil.which(name)][:1]
    if not found:
        raise UsageError(
            f"the check of a C header takes a C compiler, and none of {', '.join([*given[:1], *COMPILERS])} is found: "
            f"{REMEDY}; --unchecked leaves the check out"
        )
    spec = copy.policy.spec

    def run(content: bytes, rows: Float, noise: Float) -> Ran:
        program = PROGRAM.format(
            name=name,
            rows=len(rows),
            observations=spec.observation_size,
            actions=spec.action_size,
            drawn="noise[i], " if copy.stochastic else "",
            repeats=REPEATS,
        )
        with tempfile.TemporaryDirectory(prefix="polyak-export-") as place:
            folder = Path(place)
            (folder / f"{name}.h").write_bytes(content)
            (folder / "check.c").write_text(program, encoding="ascii")
            _done([*found, *FLAGS, "check.c", "-o", "check", "-lm"], folder)
            done = _done([str(folder / "check")], folder, rows.tobytes() + noise.tobytes())
        actions = np.frombuffer(done.stdout, np.float32).reshape((len(rows), spec.action_size))
        return actions, statistics.median(map(float, done.stderr.split()))

    return Runner(f"C by {shlex.join(found)}", run)


def _done(command: Sequence[str], folder: Path, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run a program.

    Raises:
        TrainingError: it cannot be run, fails or hangs.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a compiler, and what it made of our own text and numbers
            command, cwd=folder, input=given, capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrainingError(f"the check of the copy failed: {Path(command[0]).name}: {error}") from error
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise TrainingError(
            f"the check of the copy failed: {Path(command[0]).name} ended with {done.returncode}"
            + (f": {told[0]}" if told else "")
        )
    return done
