"""What a public function is called with, where it does not take that at all: answered as whatever else is wrong."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from polyak.errors import UsageError
from polyak.settings.names import hint

F = TypeVar("F", bound=Callable[..., Any])


def door(function: F) -> F:
    """A public function whose call by a name that it does not have, or with too much or too little, is a UsageError.

    Python's own error is a TypeError, which knows nothing of what a name means elsewhere.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        try:
            signature.bind(*given, **named)
        except TypeError as error:
            raise UsageError(_told(function.__name__, signature, named, error)) from None
        return function(*given, **named)

    return cast(F, called)


def _told(name: str, signature: inspect.Signature, named: dict[str, Any], error: TypeError) -> str:
    taken = [each for each in signature.parameters if each != "self"]
    unknown = [each for each in named if each not in taken]
    if not unknown or any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values()):
        return f"{name}(): {error}; it takes {', '.join(taken)}"
    answer = hint(unknown[0], taken, name) or f"it takes {', '.join(taken)}"
    return f"{name} has no {unknown[0]!r}: {answer}"
