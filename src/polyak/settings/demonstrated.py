"""What demonstrations are given by: a path, the id of a dataset, or arrays; their transitions are read later."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from polyak.settings.kinds import require
from polyak.types import Transitions

COLUMNS = ("observation", "action", "reward", "next_observation", "terminated", "truncated")
"""The names of the arrays, each with a row a transition."""
ARRAYS = "<arrays>"
"""How arrays are told in a run's settings: the run's checkpoints hold them."""
FORM = (
    "a path (of a Minari dataset, or of another run), the id of a Minari dataset, or arrays by the names "
    f"{', '.join(COLUMNS)}"
)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Arrays that were handed over."""

    columns: Mapping[str, Any]
    normalized: bool
    """Whether they are polyak's own `Transitions`: flat observations, actions in [-1, 1]. Else they are as the
    environment shows and takes them."""

    def __str__(self) -> str:
        return ARRAYS


class Demonstrations:
    """The kind of the option: a text, or what `Recorded` holds."""

    @staticmethod
    def of(name: str, value: Any) -> "str | Recorded":
        """The value, checked as far as it can be without an environment; a path as a text.

        Raises:
            UsageError: it is none.
        """
        if isinstance(value, Recorded):
            return value
        if isinstance(value, Transitions):
            return Recorded(value._asdict(), normalized=True)
        if isinstance(value, Mapping):
            given = cast(Mapping[Any, Any], value)
            lacks = [column for column in COLUMNS if column not in given]
            unknown = [each for each in given if each not in (*COLUMNS, "episode")]
            require(f"{name}, which has {[*given]!s:.100},", "a mapping", not lacks and not unknown, FORM)
            return Recorded(dict(given), normalized=False)
        text: Any = os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value
        require(name, text, isinstance(text, str) and text != "" and text.isprintable(), FORM)
        return str.__str__(text)
