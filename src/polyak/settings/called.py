"""`module:Class` and `module:Class(1, name="x")`: what a callback is named by, read as data, and never evaluated."""

import ast
import re
from dataclasses import dataclass
from typing import Any, cast

from polyak.errors import UsageError

HOOKS = ("started", "stepped", "updated", "evaluated", "ended")
"""The methods that are called; a callback has at least one of them."""
LONGEST = 1_000
"""Letters of such a text at most."""
FORM = "module:Class, with arguments where it takes any, as in 'module:Class(1000, name=\"x\")'"
PATTERN = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)(\(.*\))?", re.ASCII | re.DOTALL)
OBJECT = re.compile(r"<[^<>]+>")
"""How an object that was handed over is told in a run's settings: by the name of its class."""


@dataclass(frozen=True)
class Called:
    """What a text says."""

    module: str
    name: str
    """Of the class."""
    positional: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()


def called(text: str) -> Called:
    """Read a text; arguments are numbers, texts, True, False, None, and lists, tuples and dicts of these.

    Raises:
        UsageError: it is of another form.
    """
    match = PATTERN.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if match is None:
        raise UsageError(f"callbacks has {text[:80]!r}, but each must be an object, or a text {FORM}")
    module, name, arguments = match.groups()
    try:
        call = ast.parse(f"_{arguments or '()'}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError  # noqa: TRY004, TRY301 - as what literals are not
        positional = tuple(ast.literal_eval(each) for each in call.args)
        named = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        if len(named) < len(call.keywords) or None in [each.arg for each in call.keywords]:
            raise ValueError  # noqa: TRY301 - as above
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"callbacks has {text[:80]!r}, whose arguments must be plain values, as in Class(1000, name='x', at=[1, 2])"
        ) from error
    return Called(module, name, positional, tuple(named.items()))


class Callback:
    """The kind of an entry of `callbacks`: a text as `called` reads it, or an object with one of `HOOKS`."""

    SEVERAL = "a list of callbacks: objects, or texts as module:Class"

    @staticmethod
    def of(name: str, value: Any) -> Any:
        """The entry, checked as far as it can be without importing anything.

        Raises:
            UsageError: it is none.
        """
        if isinstance(value, str):
            if not OBJECT.fullmatch(value):
                called(value)
            return str.__str__(value)
        if isinstance(value, type):
            raise UsageError(f"{name} has the class {value.__name__}: make one, as {value.__name__}(...)")
        require_hook(f"{name} has {name_of(value)}, which", value)
        return value


def require_hook(who: str, of: Any) -> None:
    """Check that an object or a class has one of `HOOKS`, and `state` and `restore` both or neither.

    Raises:
        UsageError: it has not; the message begins with `who`.
    """
    if not any(callable(getattr(of, hook, None)) for hook in HOOKS):
        theirs = "; what Stable-Baselines3 calls _on_step is stepped here" if hasattr(of, "_on_step") else ""
        raise UsageError(f"{who} has none of the methods {', '.join(HOOKS)}{theirs}")
    both = [callable(getattr(of, method, None)) for method in ("state", "restore")]
    if any(both) and not all(both):
        has, lacks = ("state", "restore") if both[0] else ("restore", "state")
        raise UsageError(f"{who} has {has}() but no {lacks}(): with both it goes on where the run does")


def name_of(callback: Any) -> str:
    """By which a run's settings and messages know it: the text, or the name of an object's class in brackets."""
    if isinstance(callback, str):
        return callback
    name = re.sub(r"[<>]", "", type(callback).__qualname__)
    return f"<{name if name.isprintable() else ascii(name)}>"


def is_object(name: str) -> bool:
    """Whether a name of `name_of` is that of an object, which a folder cannot hold."""
    return cast(Any, OBJECT.fullmatch(name)) is not None
