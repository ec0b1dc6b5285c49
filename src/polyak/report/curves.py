"""Learning curves as pictures (matplotlib, without a screen)."""

import io
from collections.abc import Iterable

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polyak.metrics import Record

PANELS = (
    ("Return", (("train/return", "training"), ("eval/return", "evaluation"))),
    ("Critic loss", (("learner/critic_loss", "critic loss"),)),
    ("Q-value", (("learner/q", "mean Q"),)),
    ("Temperature and entropy", (("learner/alpha", "alpha"), ("learner/entropy", "entropy, nats"))),
    ("Speed", (("speed/steps_per_second", "environment steps per second"),)),
)
"""Each panel's title, and the metrics that it shows with their labels."""


def figure(records: list[Record]) -> Figure:
    """One panel for each group of metrics that the records hold, over environment steps."""
    panels = [(title, lines) for title, lines in PANELS if any(_has(records, name) for name, _ in lines)]
    whole = Figure(figsize=(8, 2.6 * max(len(panels), 1)), layout="constrained")
    for position, (title, lines) in enumerate(panels, start=1):
        axes = whole.add_subplot(len(panels), 1, position)
        _draw(axes, records, lines)
        axes.set_title(title, loc="left")
    if panels:
        whole.axes[-1].set_xlabel("environment steps")
    return whole


def svg(records: list[Record]) -> str:
    """The figure as an SVG element to put into a page."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "polyak"}):  # the same run gives the same page
        figure(records).savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    written = text.getvalue()
    return written[written.index("<svg") :]


def _draw(axes: Axes, records: list[Record], lines: Iterable[tuple[str, str]]) -> None:
    for name, label in lines:
        points = [(record["step"], record[name]) for record in records if name in record]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker=".", markersize=4, linewidth=1.4)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", frameon=False)


def _has(records: list[Record], name: str) -> bool:
    return any(name in record for record in records)
