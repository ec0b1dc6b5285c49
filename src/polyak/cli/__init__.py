"""The command line: `polyak COMMAND ...`. One file a command, imported only when it is called."""

import importlib
import keyword
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import polyak
from polyak.cli.output import open_streams, spell_everything, warnings_in_one_line
from polyak.errors import Interrupted, SavingError, TrainingError, UsageError
from polyak.settings.names import hint

COMMANDS = {
    "train": "train a policy: polyak train ALGORITHM ENVIRONMENT",
    "compare": "train algorithms on environments with several seeds, and report on all",
    "tune": "search for settings: polyak tune ALGORITHM ENVIRONMENT --trials N",
    "resume": "go on with a run that was interrupted or killed, or extend it",
    "evaluate": "run fresh episodes of a trained policy",
    "record": "record a video of a trained policy",
    "watch": "watch a trained policy in a window",
    "drive": "let a policy act in a control loop with a deadline: polyak drive RUN ENVIRONMENT --rate 50",
    "export": "write a trained policy as an ONNX model or a C header, checked against itself",
    "push": "put runs on the Hugging Face Hub, with a card: polyak push RUN... USER/NAME",
    "pull": "bring the runs of a repository on the Hub here",
    "dataset": "write a Minari dataset of a run's replay or of fresh episodes: polyak dataset RUN -o NAME-v0",
    "report": "write one HTML page about one run or many: curves, statistics, time, video",
    "import": "write a policy file of another library's model: polyak import sb3 MODEL.zip",
    "runs": "list the runs in a folder",
    "presets": "list presets, or the settings that an environment gets",
    "lesson": "a lesson of the chapter, computed before your eyes: polyak lesson NAME",
    "doctor": "check Python, frameworks, environments and rendering",
}
"""Each command, in the module of its name (`import_`, since Python has that word), and its summary."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted (143 by SIGTERM)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _find_modules_here()
    if not open_streams():
        return _fail("standard output is closed, where results go: give it a place, such as a file or /dev/null", 2)
    spell_everything(sys.stdout)
    try:
        with warnings_in_one_line():
            return _dispatch(given)
    except UsageError as error:
        return _fail(str(error), 2)
    except TrainingError as error:
        # An environment's own fault, which its author wants to see.
        if error.__cause__ is not None and not isinstance(error, SavingError):
            traceback.print_exception(error.__cause__)
        return _fail(str(error), 1)
    except Interrupted as error:
        return _fail(str(error), 128 + error.signal_number)
    except KeyboardInterrupt as error:
        return _fail(" ".join(["interrupted", *getattr(error, "__notes__", ())]), 130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        _leave_output()
        return 1
    except OSError as error:  # as on a full disk
        _leave_output()
        return _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)


def _leave_output() -> None:
    """Let what is still to be written to standard output go nowhere, so that it fails no more."""
    with suppress(OSError, ValueError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _find_modules_here() -> None:
    """As `python -m` does: `my_file:MyEnv-v0` finds my_file.py where the user stands.

    Not where that is a run's folder, or within one: what lies there came with the run, which may be a stranger's, and
    whatever is imported from now on would be looked for there first.
    """
    with suppress(OSError):  # the folder has been removed, or one above may not be looked into
        here = Path.cwd()
        if any(
            (each / "settings.json").exists() and (each / "metrics.jsonl").exists() for each in (here, *here.parents)
        ):
            sys.path[:] = [place for place in sys.path if place not in ("", str(here))]
            return
    if "" not in sys.path:
        sys.path.insert(0, "")


def _dispatch(given: list[str]) -> int:
    code = _run(given)
    sys.stdout.flush()  # here, where a reader that went away can be handled
    return code


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        print(f"polyak {polyak.__version__}")
        return 0
    command = given[0]
    if command not in COMMANDS:
        answer = hint(command, COMMANDS, "polyak") or "`polyak --help` lists them"
        raise UsageError(f"there is no command {command!r}: {answer}")
    return int(importlib.import_module(f"polyak.cli.{module_of(command)}").main(given[1:]) or 0)


def module_of(command: str) -> str:
    """The name of a command's module within this package."""
    return f"{command}_" if keyword.iskeyword(command) else command


def _help() -> str:
    lines = ["usage: polyak COMMAND [...]", "", "Off-policy reinforcement learning for continuous control.", ""]
    lines += [f"  {name:<10}{summary}" for name, summary in COMMANDS.items()]
    lines += ["", "`polyak COMMAND --help` explains one. A first run: polyak train sac Pendulum-v1"]
    return "\n".join(lines)


def _fail(message: str, code: int) -> int:
    print(f"polyak: {message}", file=sys.stderr)
    return code
