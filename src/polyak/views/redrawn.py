"""A picture at the foot of a terminal, redrawn a few times a second by a thread of rich's."""

import io
import os
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType

A_SECOND = 4
"""Drawings."""


class Redrawn:
    """`draw(columns, lines)` shown until `stop`, also while the terminal becomes narrower.

    A terminal then breaks lines that are longer than it is into several, of which rich knows nothing: it would leave
    the upper ones standing. They are removed here before it draws.
    """

    def __init__(self, console: Console, draw: Callable[[int, int], RenderableType]) -> None:
        self._console, self._draw = console, draw
        self._widths: list[int] = []
        """Of each line of the last drawing."""
        self._live = Live(get_renderable=self._drawn, console=console, refresh_per_second=A_SECOND)

    def start(self) -> None:
        """Begin."""
        self._live.start()

    def redraw(self) -> None:
        """Draw now, too."""
        self._live.refresh()

    def stop(self) -> None:
        """Draw once more and leave it there."""
        self._live.stop()

    def _drawn(self) -> RenderableType:
        columns, lines = self._console.size = size_of(self._console)
        broken = sum(max(0, -(-width // columns) - 1) for width in self._widths)
        if broken:
            self._console.control(Control(*(((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * broken)))
        picture = self._draw(columns, lines)
        shown = self._console.render_lines(picture, pad=False)[:lines]
        self._widths = [sum(segment.cell_length for segment in line) for line in shown]
        return picture


def size_of(console: Console) -> ConsoleDimensions:
    """Columns and lines of the very terminal that is drawn on: rich asks standard input's, which may be a file."""
    if "COLUMNS" not in os.environ:
        with suppress(OSError, io.UnsupportedOperation):
            return ConsoleDimensions(*os.get_terminal_size(console.file.fileno()))
    return console.size
