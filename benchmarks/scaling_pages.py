"""Markdown tables and charts of what `scaling.py` has measured."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

LIMITS = ("products jax", "products onednn")
CONTENDERS = (*LIMITS, "jax bursts", "jax single", "torch bursts", "torch single")
PARTS = ("acting", "environment", "add", "sample", "update")
STEPS = ("replay", "observation")
"""The sections about environment steps; the others are about updates."""
TITLES = {
    "replay": "What replay holds",
    "observation": "The size of the observation",
    "batch": "The batch",
    "width": "The width of the networks",
}
ALTERNATIVES = {
    "replay": "Time of an environment step and of its parts, and memory of a transition, against what replay holds",
    "observation": "Time of an environment step and of its parts, and memory of a transition, against the observation",
    "batch": "Milliseconds an update and the fraction of the limit against the batch",
    "width": "Milliseconds an update and the fraction of the limit against the networks' width",
}
"""What a chart shows, for those who do not see it."""
AXES = {
    "replay": "transitions held",
    "observation": "numbers in an observation",
    "batch": "batch",
    "width": "width of both hidden layers",
}
GRAY, COLOURS = "#808080", {"jax": "#1f9d8a", "torch": "#e07b39", "sample": "#5b8dd9", "add": "#c05fa8"}
"""Legible on white and on the dark page alike."""

Answer = dict[str, Any]


def framework_of(name: str) -> str:
    """The framework of a contender, which is also the process that it lives in."""
    return "jax" if "jax" in name else "torch"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown."""
    lines = [list(heads), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def steps_table(name: str, rows: list[Answer]) -> str:
    """Of `replay` or `observation`."""
    timed = ("ms a step (lowest, highest)", "times the first", *(f"{part}, µs" for part in PARTS))
    heads = (AXES[name], "GFLOP in products", *timed, "bytes a transition: resident (theory)")
    lines: list[list[str]] = []
    for row in rows:
        if "absent" in row:
            lines.append([f"{size_of(name, row):,}", row["absent"], *[""] * (len(heads) - 2)])
        elif "milliseconds" in row:
            parts = row["milliseconds"]
            spread = f"{parts['step']:.2f} ({row['lowest']:.2f}, {row['highest']:.2f})"
            micro = [f"{1e3 * parts[part]:,.0f}" for part in PARTS]
            memory = f"{row['bytes']:,.1f} ({row['theoretical_bytes']:,})"
            first = (f"{size_of(name, row):,}", f"{row['gigaflop']:.2f}")
            lines.append([*first, spread, f"{row['times_the_first']:.2f}", *micro, memory])
    return table(heads, lines)


def updates_table(name: str, rows: list[Answer]) -> str:
    """Of `batch` or `width`."""
    names = [each for each in CONTENDERS if each in rows[0]["contenders"]]
    heads = (AXES[name], "GFLOP in products", "burst", *names)
    lines: list[list[str]] = []
    for row in rows:
        found = row["contenders"]
        cells = [f"{found[each]['milliseconds']:.2f} ({found[each]['fraction_of_limit']:.0%})" for each in names]
        lines.append([f"{size_of(name, row):,}", f"{row['gigaflop']:.2f}", str(row["burst"]), *cells])
    return table(heads, lines)


def size_of(name: str, row: Answer) -> int:
    """What varies."""
    return row["hidden"][0] if name == "width" else row["transitions" if name == "replay" else name]


def show(results: dict[str, Any]) -> None:
    """Print every section that has been measured as Markdown."""
    for name in filter(results.get, TITLES):
        section = results[name]
        text = (steps_table if name in STEPS else updates_table)(name, section["rows"])
        packages = ", ".join(f"{package} {number}" for package, number in section["versions"].items())
        cells = "" if name in STEPS else "; milliseconds an update, and the fraction of the limit"
        print(f"\n### {TITLES[name]}\n\n`{section['command']}`: medians of {section['rounds']} rounds{cells}.")
        print(f"{section['threads']} threads; {packages}.\n\n{text}\n")
        print(f"![{ALTERNATIVES[name]}](results/scaling-{name}.svg)")


def draw(name: str, rows: list[Answer], path: Path) -> None:
    """A chart of two panels: cost, and memory or the fraction of the limit."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    gray = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GRAY)
    settings = {**gray, "svg.fonttype": "none", "svg.hashsalt": "polyak", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        panels = figure.subplots(1, 2)
        if name in STEPS:
            draw_steps(name, [row for row in rows if "milliseconds" in row], panels)
        else:
            draw_updates(name, rows, panels)
        for panel in panels:
            panel.grid(color=GRAY, alpha=0.25)
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False, fontsize="small")
            panel.set_xscale("log")
            ticks = [size_of(name, row) for row in rows]
            panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=30)
            if panel.get_yscale() == "log":
                panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            panel.minorticks_off()
        figure.savefig(path, transparent=True, metadata={"Date": None})


def draw_steps(name: str, rows: list[Answer], panels: Any) -> None:
    """Microseconds of a step and its parts; bytes a transition."""
    sizes = [size_of(name, row) for row in rows]
    styles = {"step": GRAY, "update": COLOURS["jax"], "sample": COLOURS["sample"], "add": COLOURS["add"]}
    for part, colour in styles.items():
        values = [1e3 * row["milliseconds"][part] for row in rows]
        label = "whole step" if part == "step" else part
        panels[0].plot(sizes, values, "o--" if part == "step" else "o-", color=colour, label=label)
    panels[0].set(yscale="log", ylabel="microseconds an environment step", xlabel=AXES[name])
    panels[1].plot(sizes, [row["theoretical_bytes"] for row in rows], "--", color=GRAY, label="4 (2 O + A + 4)")
    panels[1].plot(sizes, [row["bytes"] for row in rows], "o", color=COLOURS["jax"], label="resident memory")
    panels[1].set(ylabel="bytes a transition", xlabel=AXES[name])
    if name == "observation":  # grows with it: a line where both axes are logarithmic
        panels[1].set_yscale("log")
    else:
        panels[1].set_ylim(0, 1.2 * max(row["bytes"] for row in rows))


def draw_updates(name: str, rows: list[Answer], panels: Any) -> None:
    """Milliseconds an update with the limit; the fractions of it."""
    sizes = [size_of(name, row) for row in rows]
    limits = [row["contenders"][row["limit"]]["milliseconds"] for row in rows]
    panels[0].plot(sizes, limits, ":", color=GRAY, label="matrix products alone")
    panels[1].axhline(1.0, linestyle=":", color=GRAY)
    for each in [each for each in CONTENDERS if each not in LIMITS and each in rows[0]["contenders"]]:
        style = {"color": COLOURS[framework_of(each)], "label": each.replace("jax", "JAX").replace("torch", "PyTorch")}
        line = "o-" if "bursts" in each else "s--"
        for panel, value in zip(panels, ("milliseconds", "fraction_of_limit"), strict=True):
            panel.plot(sizes, [row["contenders"][each][value] for row in rows], line, **style)
    panels[0].set(yscale="log", ylabel="milliseconds an update", xlabel=AXES[name])
    panels[1].set(ylabel="fraction of the limit", xlabel=AXES[name])
    panels[1].set_ylim(bottom=0)
