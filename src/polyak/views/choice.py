"""Which view there is: a notebook's cell, a live picture in a terminal, plain lines elsewhere, or none.

What draws is imported once it is chosen: a script whose output goes nowhere does not pay for it.
"""

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO, cast

from polyak.algorithms import titled
from polyak.many.seat import Seat
from polyak.many.sweep import Job, Watcher
from polyak.run.plan import Plan
from polyak.run.progress import Observer, Several, watching
from polyak.settings.kinds import checked

ViewOfMany = Watcher
"""What shows many runs."""


def watched(observer: Observer | None, progress: bool | None) -> Observer:
    """Who watches a run: the `observer` that was given, if any, and the view that `progress` asks for.

    Args:
        observer: somebody's own.
        progress: None is a view where a person watches, a terminal or a notebook; True one in any case, in lines where
            nothing can be drawn; False none.

    Raises:
        UsageError: one of them is of another kind.
    """
    own = watching(observer)
    if not is_wanted(progress):
        return own
    return Several((make_view(), own))


@contextmanager
def watched_together(
    plan: Plan, seeds: Sequence[int], observers: Sequence[Observer], progress: bool | None
) -> Generator[Sequence[Observer]]:
    """The same for runs of a plan that train together, one for each seed: who watches each, within this block.

    Raises:
        UsageError: as there.
    """
    if not is_wanted(progress):
        yield observers
        return
    name, steps = plan.algorithm.name, plan.config.length
    facts = {
        "runs": f"{len(seeds)}, together in this process",
        "settings": f"preset {plan.preset}, {plan.backend}, {steps:,} steps",
    }
    view = make_view_of_many(f"{titled(name)} on {plan.label}, seeds {', '.join(map(str, seeds))}", facts)
    seats = [Seat(Job(name, plan.name, seed, steps=steps), plan.run_dir, view) for seed in seeds]
    view.begun(seats)
    try:
        yield [Several(pair) for pair in zip(seats, observers, strict=True)]
    finally:
        view.closed()


def is_wanted(progress: bool | None) -> bool:
    """Whether there is to be a view.

    Raises:
        UsageError: `progress` is of another kind.
    """
    asked: bool | None = checked("progress", progress, bool | None)
    if asked is False or in_notebook():
        return asked is not False
    errors = cast(TextIO | None, sys.stderr)  # none in a process without a console
    return errors is not None and (asked or _is_terminal(errors))


def make_view(stream: TextIO | None = None, *, plain: bool = False) -> Observer:
    """The view of one run on `stream`, standard error by default; in lines where `plain` asks for them."""
    if stream is None and in_notebook():
        from polyak.views.notebook import InCell

        return InCell()
    from polyak.views.terminal import LiveView, PlainView

    chosen = stream or sys.stderr
    return LiveView(chosen) if can_be_drawn_on(chosen) and not plain else PlainView(chosen)


def make_view_of_many(
    title: str, facts: Mapping[str, str], stream: TextIO | None = None, *, plain: bool = False
) -> ViewOfMany:
    """The same of many runs, under a title and with what is worth knowing at the start."""
    if stream is None and in_notebook():
        from polyak.views.notebook import ManyInCell

        return ManyInCell(title, facts)
    from polyak.views.sweep import LiveView, PlainView

    chosen = stream or sys.stderr
    return (LiveView if can_be_drawn_on(chosen) and not plain else PlainView)(title, facts, chosen)


def in_notebook() -> bool:
    """Whether this code runs in a notebook's kernel, whose cells show what it displays."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def can_be_drawn_on(stream: TextIO) -> bool:
    """Whether a picture on a stream can be drawn anew: on a terminal that obeys, and not below a notebook's `!polyak`.

    What a kernel starts has a terminal that is none: it is shown as it comes.
    """
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return _is_terminal(stream) and not dumb and "JPY_PARENT_PID" not in os.environ


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False
