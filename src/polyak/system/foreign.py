"""Code that others wrote, while polyak imports or calls it: whatever it raises is one line."""

import linecache
import re
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from polyak.errors import TrainingError, UsageError
from polyak.system.prints import environments_speak
from polyak.system.signals import NoAnswer, came_by_signal, signals_marked

LONGEST = 500
"""Letters of a stranger's message."""


@contextmanager
def foreign(say: Callable[[BaseException], str]) -> Generator[None]:
    """Turn whatever is raised within into what `say` makes of it, a sentence; what is printed is the environments'.

    What polyak raises itself passes, and so does what a signal raises: Ctrl-C is the user's.

    Raises:
        UsageError: something was raised, which is its cause: also SystemExit, or a KeyboardInterrupt that no signal
            brought.
    """
    with environments_speak, signals_marked():
        try:
            yield
        except (UsageError, TrainingError, NoAnswer):
            raise
        except BaseException as error:
            if came_by_signal(error) and not isinstance(error, Exception):
                raise
            raise UsageError(say(error)) from error


def told(error: BaseException, top: str = "") -> str:
    """`: its message (file, line)`, of a stranger's exception, the place in the package `top` if there is one."""
    text = message_of(error)
    place = "" if isinstance(error, SyntaxError) and error.filename else _place(error, top)  # its message has it
    return f"{': ' if text else ''}{text}{place}"


def not_imported(what: str, module: str, error: BaseException) -> str:
    """What is said where a module cannot be imported, for the sake of `what`: of what is not there, or of its line."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return f"{what}: importing {module!r} raised {type(error).__name__}{told(error, module.partition('.')[0])}"
    if code_that_raised(error):
        return f"{what}: {missing(error)}"
    if "." in error.name:
        parent = error.name.rpartition(".")[0]
        return f"{what}: cannot import {error.name!r}: {parent!r} has no such module"
    return f"{what}: cannot import {error.name!r}; install it or mend the path"


def missing(error: ModuleNotFoundError) -> str:
    """Which module a stranger's code imports in vain, and where; the import of an entry point has no such place."""
    module, _, line = code_that_raised(error)[-1]
    who = "its entry point" if module == "gymnasium.envs.registration" else f"{module!r} (line {line})"
    absent = "." not in str(error.name)
    return f"{who} needs {error.name!r}, which {'is not installed' if absent else 'is not in the version installed'}"


def message_of(error: BaseException) -> str:
    """The message in one line of bounded length, without colours."""
    try:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    except Exception:  # noqa: BLE001 - a stranger's __str__ may raise anything
        return ""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def code_that_raised(error: BaseException) -> list[tuple[str, str, int]]:
    """Module, file and line of each call that led to it, the outermost first, without polyak and the import system."""
    frames = traceback.walk_tb(error.__traceback__)
    calls = [(str(frame.f_globals.get("__name__")), frame.f_code.co_filename, line) for frame, line in frames]
    return [call for call in calls if call[0].partition(".")[0] not in ("polyak", "importlib", "contextlib")]


def _place(error: BaseException, top: str) -> str:
    frames = code_that_raised(error)
    own = [frame for frame in frames if frame[0].partition(".")[0] == top]
    if not frames:
        return ""
    _, file, line = (own or frames)[-1]
    code = "" if message_of(error) else linecache.getline(file, line).strip()  # what a bare assert asserts
    return f" ({Path(file).name}, line {line}{f': {code[:LONGEST]}' if code else ''})"
