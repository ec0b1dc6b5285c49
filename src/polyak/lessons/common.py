"""What the lessons share: a measured number beside the exact one, a table, and checks of what they are given."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polyak import html
from polyak.errors import UsageError
from polyak.lessons import CHAPTER

Progress = Callable[[int, int], None]
"""Told, from the calling thread, how much is done and how much there is, in a unit that the lesson names."""


@dataclass(frozen=True)
class Measured:
    """A number from a simulation beside the exact one."""

    value: float
    exact: float
    standard_error: float
    """Of `value`: the standard deviation that it would have over many simulations."""

    @property
    def off(self) -> float:
        """How far the value is from the exact one, in standard errors; 0 where there is no error to have."""
        difference = self.value - self.exact
        if self.standard_error == 0:
            return 0.0 if difference == 0 else math.copysign(math.inf, difference)
        return difference / self.standard_error

    def shown(self) -> tuple[float, float, str]:
        """The three cells of a table: measured, exact, and how far off with a star beyond two standard errors."""
        return self.value, self.exact, f"{self.off:+.1f}{' *' if abs(self.off) > 2 else ''}"

    def to_json(self) -> dict[str, float]:
        """As JSON can hold it."""
        return {"value": self.value, "exact": self.exact, "standard_error": self.standard_error}


@dataclass(frozen=True)
class Table:
    """A table for the terminal and for the page."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[float | str | None, ...], ...]
    """Numbers are shown as `html.number` shows them; strings as they are; None is empty."""
    note: str = ""

    def html(self) -> str:
        """As a page shows it."""
        note = f'<p class="faint">{html.text(self.note)}</p>' if self.note else ""
        return f"<h3>{html.text(self.title)}</h3>{html.table(self.head, self.rows)}{note}"


def coverage(measured: Sequence[Measured]) -> str:
    """How many of the measured numbers are farther off than their sampling error explains."""
    beyond = sum(abs(each.off) > 2 for each in measured)
    return (
        f"Off by: in standard errors of the measured number; * is beyond two, as about 1 number in 20 is by chance. "
        f"Here {beyond} of {len(measured)}."
    )


def page(title: str, parts: Sequence[str | Table | html.Chart]) -> str:
    """A self-contained page from HTML, tables and charts in their order."""
    body = [part if isinstance(part, str) else part.html() for part in parts]
    body.append(f'<p class="faint">{html.text(CHAPTER)}</p>')
    return html.document(title, "\n".join(body), [part for part in parts if isinstance(part, html.Chart)])


def require_number(name: str, value: float, low: float, high: float) -> None:
    """Check that a number is finite and within its limits.

    Raises:
        UsageError: it is not.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise UsageError(
            f"{name} is {value!r}, but must be from {low:,.12g} to {high:,.12g}: choose a number in between"
        )


def require_count(name: str, value: int, low: int, high: int) -> None:
    """Check that a whole number is within its limits.

    Raises:
        UsageError: it is not.
    """
    if not low <= value <= high:
        raise UsageError(f"{name} is {value:,}, but must be from {low:,} to {high:,}: choose a number in between")


def require_list(name: str, values: Sequence[float], most: int) -> None:
    """Check that a list has at least one entry, no more than `most`, and none twice.

    Raises:
        UsageError: it does not.
    """
    if not 1 <= len(values) <= most or len(set(values)) < len(values):
        shown = ", ".join(f"{value:g}" for value in values) or "empty"
        raise UsageError(f"{name} is {shown}, but must be 1 to {most} different numbers: change the list")
