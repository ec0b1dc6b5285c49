"""The numbers in the `info` of an episode's last step: whether it succeeded, and what else a run is asked to measure.

Nothing in an info can end a run: what is no single finite number is left out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from polyak.types import Bool

Info = Mapping[str, float]
"""Name -> number."""
SUCCESS = ("is_success", "success")
"""What environments call it, the first that there is; measured without being asked for."""
LARGEST = 1e100
"""What is larger counts as not finite."""


class _Everywhere:
    """A mask that says yes."""

    def __getitem__(self, index: int) -> bool:
        return True


_EVERYWHERE = _Everywhere()


def numbers_in(info: Any) -> dict[str, float]:
    """The entries of one environment's info that are a number or a truth value, or an array of a single one.

    Names that begin with an underscore are left out: a batch of infos has its masks there.
    """
    try:
        entries = [*cast(dict[Any, Any], info).items()] if isinstance(info, dict) else []
    except Exception:  # noqa: BLE001 - a stranger's dict may raise anything
        return {}
    named = [(name, value) for name, value in entries if isinstance(name, str) and not name.startswith("_")]
    return {name: number for name, value in named if (number := _number(value)) is not None}


def numbers_of_each(infos: Any, ended: Bool) -> dict[int, dict[str, float]]:
    """The same for each environment whose episode has `ended` [N], from the infos of N as Gymnasium batches them.

    There an entry is an array over all environments, and `_entry` says for which of them it holds. A sequence with an
    info for each environment is taken as well.
    """
    return {int(index): numbers_in(_row(infos, int(index))) for index in np.flatnonzero(ended)}


def _row(infos: Any, index: int) -> Any:
    """The info of one environment among N."""
    try:
        return _of_batch(cast(Any, infos), index) if isinstance(infos, dict) else infos[index]
    except Exception:  # noqa: BLE001 - whatever a stranger's object raises where a row is asked for
        return {}


def _of_batch(infos: Mapping[Any, Any], index: int) -> dict[Any, Any]:
    columns = {name: cast(Any, each) for name, each in infos.items() if isinstance(each, np.ndarray | list | tuple)}
    return {name: values[index] for name, values in columns.items() if columns.get(f"_{name}", _EVERYWHERE)[index]}


def _number(value: Any) -> float | None:
    try:
        if getattr(value, "shape", None) == () or (isinstance(value, np.ndarray) and cast(Any, value).size == 1):
            value = cast(Any, value).item()
        if not isinstance(value, bool | int | float):
            return None
        number = float(value)
    except Exception:  # noqa: BLE001 - a whole number of too many digits; or whatever somebody's object raises
        return None
    return number if math.isfinite(number) and abs(number) <= LARGEST else None


def success_in(info: Info) -> bool | None:
    """Whether an episode whose last info this is succeeded; None where it does not say."""
    return next((bool(info[name]) for name in SUCCESS if name in info), None)


def kept(info: Info, asked: Sequence[str]) -> dict[str, float]:
    """What `success_in` and `averaged` need of an info."""
    return {name: info[name] for name in (*SUCCESS, *asked) if name in info}


def success_rate(successes: Iterable[bool | None]) -> float | None:
    """The fraction of those that succeeded among those that say so; None where none does."""
    said = [success for success in successes if success is not None]
    return float(np.mean(said)) if said else None


def averaged(infos: Sequence[Info], asked: Sequence[str]) -> dict[str, float]:
    """Of each that is asked for, the mean over the infos that have it, if any does."""
    columns = {name: [info[name] for info in infos if name in info] for name in asked}
    return {name: float(np.mean(values)) for name, values in columns.items() if values}


def recorded(rate: float | None, means: Info, of: str) -> dict[str, float]:
    """The same as a record of metrics has it, `of` training episodes ("train") or an evaluation's ("eval")."""
    named = {f"{of}/info/{name}": mean for name, mean in means.items()}
    return named if rate is None else {f"{of}/success_rate": rate, **named}
