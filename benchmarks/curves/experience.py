"""The section of the page about better experience: a question each, its cases beside each other."""

from pathlib import Path

import numpy as np
from curves.cases import EXPERIENCE, Question
from curves.compared import line
from curves.numbers import Done, Scores, done, seeds_told
from curves.store import Store
from scaling_pages import GRAY, table

COLOURS = ("#5b8dd9", "#e07b39", "#1f9d8a", "#c05fa8")
MARKS = 4
"""Columns of a table, at equal distances of steps, the last one at the end."""


def section(store: Store) -> str:
    """All questions that there are results of; empty before there is one."""
    parts = [asked(question, found) for question in EXPERIENCE if (found := there(store, question))]
    return "\n\n".join([TEXT, *parts]) if parts else ""


def there(store: Store, question: Question) -> list[Done]:
    """The cases of a question that have a result."""
    return [each for each in done(store, "experience") if each.case in question.cases and each.results]


def asked(question: Question, found: list[Done]) -> str:
    """A question's part of the page."""
    marks = at(found, question.measure)
    heads = ["", "seeds", *(f"{mark:,.0f} steps" for mark in marks)]
    heads += [] if question.reached is None else [f"steps to {question.reached:g}"]
    rows = [row(question, each, marks) for each in found]
    said = f"Median {question.measure} of the evaluations, and lowest and highest seed."
    missing = [case.variant for case in question.cases if case not in [each.case for each in found]]
    left = f"\n\nNot run yet: {', '.join(missing)}." if missing else ""
    return f"""### {question.title}

{question.text} {said}{data(found)}

{table(heads, rows)}{left}

![Median of each case over steps, with its seeds' spread](results/{question.name}.svg)"""


def at(found: list[Done], measure: str) -> Scores:
    """The steps that the columns are of: those at which all cases were evaluated, nearest to equal distances."""
    steps = found[0].curves(measure)[0]
    for each in found[1:]:
        steps = np.intersect1d(steps, each.curves(measure)[0])
    wanted = np.linspace(0, steps[-1], MARKS + 1)[1:]
    return np.unique(steps[[int(np.abs(steps - each).argmin()) for each in wanted]])


def row(question: Question, each: Done, marks: Scores) -> list[str]:
    """Of a case."""
    digits = 0 if question.measure == "return" else 2
    steps, values = each.curves(question.measure)
    cells = [spread(values[:, steps == mark][:, 0], digits) for mark in marks]
    if question.reached is not None:
        cells.append(first(each, question.reached, question.measure))
    return [each.case.variant, seeds_told([each]), *cells]


def spread(values: Scores, digits: int) -> str:
    """`12 (10 to 15)`: the median, the lowest and the highest."""
    middle = f"{np.median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({values.min():,.{digits}f} to {values.max():,.{digits}f})"


def first(each: Done, wanted: float, measure: str) -> str:
    """After how many steps evaluations came to a number, and how many seeds did."""
    alone = [Done(each.case, 1, {seed: result}).curves(measure) for seed, result in each.results.items()]
    came = np.array([steps[value >= wanted][0] for steps, (value,) in alone if (value >= wanted).any()])
    if not len(came):
        return "not reached"
    return spread(came, 0) + ("" if len(came) == len(alone) else f", {len(came)} of {len(alone)} seeds")


def data(found: list[Done]) -> str:
    """What the demonstrations returned, where there are any."""
    told = [result["shown"] for each in found for result in each.results.values() if "shown" in result]
    if not told:
        return ""
    return (
        f" The {told[0]['episodes']} episodes have a mean return of {told[0]['mean']:.0f} (std {told[0]['std']:.0f})."
    )


TEXT = """## Better experience

What a learner learns from, changed by one setting at a time, or by those that are named; everything else is the
environment's own preset, unless said. Three seeds show what is large, and nothing that is small."""


def draw(store: Store, folder: Path) -> None:
    """A picture a question that has results: medians, and bands from the lowest to the highest seed."""
    import matplotlib
    from matplotlib.figure import Figure

    gray = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GRAY)
    for question in EXPERIENCE:
        found = there(store, question)
        if not found:
            continue
        with matplotlib.rc_context({**gray, "svg.fonttype": "none", "svg.hashsalt": "polyak", "font.size": 8}):
            figure = Figure(figsize=(6.0, 3.2), layout="constrained")
            panel = figure.add_subplot()
            for each, colour in zip(found, COLOURS, strict=False):
                steps, values = each.curves(question.measure)
                band = (values.min(axis=0), values.max(axis=0)) if len(values) > 1 else None
                line(
                    panel, steps, np.median(values, axis=0), band, colour, f"{each.case.variant} ({seeds_told([each])})"
                )
            panel.set(title=question.title, xlabel=question.axis, ylabel=question.measure)
            panel.grid(color=GRAY, alpha=0.25)
            panel.spines[["top", "right"]].set_visible(False)
            panel.ticklabel_format(axis="x", style="plain")
            panel.legend(frameon=False)
            figure.savefig(folder / f"{question.name}.svg", transparent=True, metadata={"Date": None})
