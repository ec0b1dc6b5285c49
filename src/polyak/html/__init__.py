"""Self-contained HTML pages: text, tables, interactive charts and videos in one file that opens from disk.

Nothing is fetched from a network: Plotly, styles and videos are inside the file. Whatever text comes from outside goes
through `text`, `table` or a `Chart`, which escape it.
"""

import base64
import html
import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from polyak.errors import UsageError
from polyak.system.files import prepare_to_write, read_plain_file, write_atomically

COLOURS = ("#3a80c9", "#e07b39", "#2f9e77", "#c2579c", "#8a78e0", "#b8941f", "#d1495b", "#4aa3b5")
"""Of the lines in a chart, in order; each has contrast on white and on near-black."""


VIDEO_LIMIT = 100_000_000
"""Bytes of a video at most: a page with more in it would hardly open."""


@dataclass(frozen=True)
class Chart:
    """An interactive chart: Plotly's traces, and titles with units."""

    name: str
    """Unique in its page; the id of its element."""
    title: str
    traces: Sequence[Mapping[str, Any]]
    """Plotly traces, as `line`, `points` and `bars` make them."""
    x: str
    """Title of the horizontal axis, with its unit."""
    y: str
    """Title of the vertical axis, with its unit."""
    caption: str = ""
    """What is shown and how to read it, as plain text."""
    layout: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Plotly's layout, where it is to be other than the page's."""
    height: float | None = None
    """In rem, where it is to be other than the page's."""

    def html(self) -> str:
        """The element into which the chart is drawn."""
        caption = f"<figcaption>{text(self.caption)}</figcaption>" if self.caption else ""
        label = f'role="img" aria-label="{text(self.title)}"'
        if self.height is not None:
            label += f' style="height:{self.height:g}rem"'
        chart = f'<div class="chart" id="{self.name}" {label}></div>'
        return f"<figure><h3>{unbroken(self.title)}</h3>{chart}{caption}</figure>"

    def described(self) -> dict[str, Any]:
        """What the page's script draws."""
        layout = {**self.layout}
        layout["xaxis"] = {"title": {"text": _label(self.x)}, **layout.get("xaxis", {})}
        layout["yaxis"] = {"title": {"text": _label(self.y)}, **layout.get("yaxis", {})}
        return {"data": [dict(trace) for trace in self.traces], "layout": layout}


def line(
    label: str,
    x: Sequence[float],
    y: Sequence[float],
    colour: int = 0,
    *,
    band: tuple[Sequence[float], Sequence[float]] | None = None,
    markers: bool = False,
    dash: str = "solid",
    unit: str = "",
) -> list[dict[str, Any]]:
    """The traces of a line, with a `band` from low to high around it; numbers that are not finite leave gaps."""
    chosen = COLOURS[colour % len(COLOURS)]
    safe = _label(label)
    shown: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        "name": safe,
        "legendgroup": safe,
        "x": _numbers(x),
        "y": _numbers(y),
        "line": {"color": chosen, "width": 2, "dash": dash},
        "marker": {"size": 5, "color": chosen},
        "hovertemplate": f"%{{y:,.5~g}}{_label(unit and ' ' + unit)}",
    }
    if band is None:
        return [shown]
    low, high = _numbers(band[0]), _numbers(band[1])
    shown["customdata"] = list(zip(low, high, strict=True))
    shown["hovertemplate"] = (
        "%{y:,.5~g}" + _label(unit and " " + unit) + " [%{customdata[0]:,.5~g}, %{customdata[1]:,.5~g}]"
    )
    edge = {"type": "scatter", "mode": "lines", "x": _numbers(x), "line": {"width": 0}, "legendgroup": safe}
    edge |= {"showlegend": False, "hoverinfo": "skip"}
    shade = {"fill": "tonexty", "fillcolor": _transparent(chosen)}
    return [{**edge, "y": low}, {**edge, "y": high, **shade}, shown]


def points(label: str, x: Sequence[float], y: Sequence[float], colour: int = 0) -> dict[str, Any]:
    """A trace of single points."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _label(label),
        "x": _numbers(x),
        "y": _numbers(y),
        "marker": {"size": 7, "color": COLOURS[colour % len(COLOURS)]},
        "hovertemplate": "%{y:,.5~g}",
    }


def bars(label: str, names: Sequence[str], values: Sequence[float], colour: int = 0, unit: str = "") -> dict[str, Any]:
    """A trace of horizontal bars, one for each name."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": _label(label),
        "y": [_label(name) for name in names],
        "x": _numbers(values),
        "marker": {"color": COLOURS[colour % len(COLOURS)]},
        "hovertemplate": f"%{{x:,.4~g}}{_label(unit and ' ' + unit)}",
    }


def grid(charts: Iterable[Chart]) -> str:
    """Charts beside one another where there is room."""
    return f'<div class="grid">{"".join(chart.html() for chart in charts)}</div>'


def document(title: str, body: str, charts: Iterable[Chart] = ()) -> str:
    """A whole page: `body` is HTML that holds each chart's `html()` once."""
    drawn = {chart.name: chart.described() for chart in charts}
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{text(title)}</title><link rel="icon" href="data:,">\n<style>\n{_asset("page.css")}</style></head>\n'
        f"<body>\n{body}\n{_scripts(drawn) if drawn else ''}</body></html>\n"
    )


def write_page(path: Path, content: str) -> Path:
    """Write a page, whole or not at all, and return its path.

    Raises:
        UsageError: it cannot be written.
    """
    prepare_to_write(path)
    try:
        write_atomically(path, content.encode(errors="backslashreplace"))  # a path may hold bytes that are no text
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    return path


def text(value: object) -> str:
    """A value as HTML that shows it."""
    return html.escape(str(value))


def unbroken(value: object) -> str:
    """The same, with each word that has a hyphen kept in one line: no `Pendulum-` above `v1`."""
    return re.sub(r"\S+-\S+", lambda word: f'<span class="whole">{word[0]}</span>', text(value))


def number(value: float | None, digits: int = 4) -> str:
    """A readable number of so many significant digits, fewer where it has no more; nothing where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0) if value else 0
    shown = f"{value:,.{min(places, 12)}f}"
    short = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return short if float(short.replace(",", "")) == value else shown


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, marked: Iterable[int] = ()) -> str:
    """A table that scrolls where it is too wide; numbers are right-aligned, the rows `marked` are highlighted.

    Numbers are shown as `number` shows them; a string stays as it is.
    """
    marks, listed = set(marked), list(rows)
    numeric = [all(isinstance(row[i], (int, float)) or row[i] is None for row in listed) for i in range(len(head))]

    def cell(tag: str, position: int, value: object) -> str:
        shown = number(value) if isinstance(value, (int, float)) else "" if value is None else str(value)
        return f"<{tag}{' class=number' if listed and numeric[position] else ''}>{unbroken(shown)}</{tag}>"

    def line_of(tag: str, values: Sequence[object], marked: bool = False) -> str:
        cells = "".join(cell(tag, position, value) for position, value in enumerate(values))
        return f"<tr{' class=differs' if marked else ''}>{cells}</tr>"

    top = line_of("th", head) if any(head) else ""
    body = "".join(line_of("td", row, index in marks) for index, row in enumerate(listed))
    return f'<div class="scroll"><table>{top}{body}</table></div>'


def video(path: Path, caption: str) -> str:
    """A video that plays in the page.

    Raises:
        UnreadableError: it is no plain file, or larger than `VIDEO_LIMIT`.
    """
    data = base64.b64encode(read_plain_file(path, VIDEO_LIMIT)).decode()
    return (
        f'<figure><video controls muted loop playsinline preload="auto" src="data:video/mp4;base64,{data}"></video>'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def _scripts(charts: Mapping[str, Any]) -> str:
    # No "<" inside: a name from outside cannot end the element.
    described = json.dumps(charts, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<script type="application/json" id="charts">{described}</script>\n'
        f"<script>{_asset('plotly-basic.min.js')}</script>\n<script>{_asset('page.js')}</script>\n"
    )


@cache
def _asset(name: str) -> str:
    return resources.files(__name__).joinpath("assets", name).read_text(encoding="utf-8")


def _numbers(values: Sequence[float]) -> list[float | None]:
    """As JSON can hold them, rounded: an axis that spans the rounding errors of a mean would be nonsense."""
    return [float(f"{value:.10g}") if math.isfinite(value) else None for value in values]


BREAK, TICK = "<br>", 24
"""What begins a new line in Plotly's labels; and the characters that one at an axis has room for, also on a phone."""


def broken(name: str) -> str:
    """A name as a label at an axis, in lines that are short."""
    return BREAK.join(map(_label, textwrap.wrap(name, TICK, break_on_hyphens=False)))


def _label(name: str) -> str:
    """Plotly reads a small HTML of its own in labels: this keeps text as it is."""
    return html.escape(name, quote=False)


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
