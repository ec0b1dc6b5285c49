"""Write docs/race.md, its picture and README's lines from what `benchmarks/race.py` has run.

python benchmarks/race_pages.py
"""

import argparse
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curves.cases import OURS, ROOT
from curves.races import COURSES, EPISODES, FRESH, LIBRARIES, Course, entries, sources
from curves.racing import LATE
from curves.standings import Runner, fastest, needless, number, ranged, runners
from curves.store import Store
from scaling_pages import GRAY, table

from polyak.algorithms import titled

DOCS, README, PICTURE = ROOT / "docs", ROOT / "README.md", "results/race.svg"
COLOURS = dict(zip(LIBRARIES, ("#1f9d8a", "#e07b39", "#5b8dd9"), strict=True))
ACROSS = 3
"""Environments beside each other in the picture."""
MARKED = re.compile(r"(<!-- race -->\n).*?(<!-- end of race -->)", re.DOTALL)


def page(store: Store) -> str:
    """The whole text."""
    raced = [(where, found) for where in COURSES if (found := runners(store, where))]
    parts = [INTRODUCTION.format(episodes=EPISODES, fresh=FRESH, late=LATE)]
    if raced:
        parts += [first(raced), *(section(where, found) for where, found in raced)]
    return "\n\n".join(filter(None, [*parts, left(store), SETTINGS, published(), conditions(store)])) + "\n"


INTRODUCTION = """# Seconds to a return

How long does it take from the command to a policy that has a certain return? Here polyak, Stable-Baselines3 (with TQC
and CrossQ of sb3-contrib) and SBX race, **each with its best published settings** for the environment, not with equal
ones ([those are elsewhere](results.md#equal-settings-equal-learning)). Every library runs the same three algorithms, so
that none has more tries than another: SAC, TQC and CrossQ.

- **The time** begins when the process does and ends when it tells of the evaluation that reached the goal: imports,
  compilation and all evaluations are in it. polyak's command is `polyak train` with nothing compiled before; from its
  second start on it would save a second or two. What Python reads from the disk has been read once before.
- **The evaluations** are the same for all: the mean of {episodes} episodes without noise in an environment of their
  own, every so many environment steps. That mean is partly luck: the policy that was stopped by it then plays {fresh}
  fresh episodes, untimed, and the tables say of how many seeds the mean is still at the goal.
- **Alone.** One run at a time on a machine with two cores, with as many threads as each library takes by itself. One
  seed of everybody, then the next; all of a course on one processor.
- **Not arrived** is what has not reached the goal within the course's steps or seconds, or within {late:g} times the
  seconds of the slowest run of another algorithm of its library, all of whose runs arrived: it cannot be the library's
  fastest any more. It counts as slower than all that did: a median is of all seeds. Where more than half of them have
  not arrived, neither has the median, and the seeds that are left are not run.

`make race` runs what is left, `make race RACE="--only Pendulum-v1"` a part, and `python benchmarks/race_pages.py`
writes this page from `docs/results/race`, which has each run's command, settings, versions, processor and every
evaluation."""


def first(raced: Sequence[tuple[Course, Sequence[Runner]]]) -> str:
    """The table over all courses: of each library its fastest algorithm, and how many times polyak's it takes."""
    heads = ["environment: return", *LIBRARIES, *(f"{library} / polyak" for library in LIBRARIES[1:])]
    rows: list[list[str]] = []
    for where, found in raced:
        best = fastest(found)
        cells = [seconds(best[library]) if library in best else "not run" for library in LIBRARIES]
        times = [ratio(best.get(library), best.get(OURS)) for library in LIBRARIES[1:]]
        rows.append([f"{where.environment}: {where.goal:,}", *cells, *times])
    told = "Seconds, medians over seeds, of each library's fastest algorithm there."
    return (
        f"{told}\n\n{table(heads, rows)}\n\n![Seconds of each library's fastest algorithm, a point a seed]({PICTURE})"
    )


def seconds(runner: Runner) -> str:
    """`**5.3** (SAC, 4.9 to 6.1)`, and how many seeds where some have not run."""
    low, high = (number(value) for value in (runner.seconds[0], runner.seconds[-1]))
    spread = "" if low == high else f", {low} to {high}"
    some = "" if runner.whole else f", {len(runner.results)} of {runner.course.seeds} seeds"
    return f"**{number(runner.median)}** ({runner.algorithm}{spread}{some})"


def ratio(theirs: Runner | None, ours: Runner | None) -> str:
    """Of the medians; there is none where seeds are left, or one side has not arrived."""
    if theirs is None or ours is None or not (theirs.whole and ours.whole):
        return ""
    if math.isinf(theirs.median) or math.isinf(ours.median):
        return ""
    return f"{theirs.median / ours.median:.1f}"


def section(where: Course, found: Sequence[Runner]) -> str:
    """Everybody on a course."""
    heads = ("", "seeds", "arrived", "seconds", "steps", f"{FRESH} fresh episodes", "still at the goal")
    rows: list[list[str]] = []
    for each in found:
        after = sorted(result["fresh_mean"] for result in each.arrived)
        rows.append(
            [
                f"{each.library}, {each.algorithm}",
                str(where.seeds) if each.whole else f"{len(each.results)} of {where.seeds}",
                str(len(each.arrived)),
                each.told("seconds", 1),
                each.told("steps", 0),
                ranged(after, 0) if after else "",
                f"{sum(value >= where.goal for value in after)} of {len(after)}" if after else "",
            ]
        )
    head = f"## {where.environment}: {where.goal:,}"
    rules = f"An evaluation every {where.look:,} steps; at most {where.steps:,} steps and {where.seconds:,} seconds."
    return f"{head}\n\n{rules} Medians, and the lowest and highest seed.\n\n{table(heads, rows)}"


def left(store: Store) -> str:
    """What has not run."""
    lines: list[str] = []
    for where in COURSES:
        wanted = [entry for entry in entries() if entry.case.environment == where.environment]
        missing = [entry for entry in wanted if store.read(entry.name) is None and not needless(entry, store)]
        if missing:
            lines.append(f"- {where.environment}: {len(missing)} of {len(wanted)}")
    if not lines:
        return ""
    return "\n".join(["## What has not run", "", "Runs that are left; `make race` goes on with them:", "", *lines])


SETTINGS = """## Settings

polyak's are its presets, which `polyak presets ENVIRONMENT` shows with a source for each value. The peers' are below,
each from where it was published; what is not named is the library's default. SBX's authors publish no values of their
own but send to rl-baselines3-zoo, whose file for CrossQ is theirs. Where an environment has no entry, the libraries run
with their defaults. `lin_X` is a learning rate that falls linearly from X to 0 over the course's steps."""


def published() -> str:
    """The peers' arguments with their sources."""
    rows = [
        [environment, titled(algorithm), arguments(values), source]
        for environment, algorithm, values, source in sources()
    ]
    return table(("", "", "arguments", "source"), rows)


def arguments(values: dict[str, Any]) -> str:
    """As Python has them."""
    return "`" + ", ".join(f"{name}={value!r}" for name, value in values.items()) + "`" if values else ""


def conditions(store: Store) -> str:
    """With which versions on which processor, and how busy the machine was."""
    found = [result for entry in entries() if (result := store.read(entry.name)) is not None]
    if not found:
        return ""
    counts: dict[str, int] = {}
    for result in found:
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        told = f"{result['processor']}; {versions}"
        counts[told] = counts.get(told, 0) + 1
    busy = sorted(result["busy_cores"] for result in found)
    alone = (
        "Cores at work during a run, all that the machine did counted: "
        f"{statistics.median(busy):.2f} in the middle, {busy[0]:.2f} to {busy[-1]:.2f}."
    )
    return "\n".join(
        ["## Processor and versions", "", alone, "", *(f"- {n} runs: {told}" for told, n in counts.items())]
    )


def summary(store: Store) -> str:
    """README's lines: courses with the algorithms whose medians all libraries have; empty before there is one."""
    lines, processors = list[str](), dict[str, None]()
    for where in COURSES:
        settled = [each for each in runners(store, where) if each.settled]
        ran = [{each.algorithm for each in settled if each.library == library} for library in LIBRARIES]
        best = fastest([each for each in settled if each.algorithm in set.intersection(*ran)])
        if best:
            told = (f"{number(best[name].median)} ({best[name].algorithm})" for name in LIBRARIES)
            lines.append(f"| {where.environment}: {where.goal:,} | {' | '.join(told)} |")
            processors |= {result["processor"]: None for each in settled for result in each.results}
    if not lines:
        return ""
    heads = [f"| seconds to a return | {' | '.join(LIBRARIES)} |", "|---|---|---|---|"]
    return "\n".join(
        ["", f"![{ALTERNATIVE}](docs/{PICTURE})", "", *heads, *lines, "", CLAIM.format(" or ".join(processors)), ""]
    )


ALTERNATIVE = "Seconds from a cold command to a return: each library's fastest algorithm, a point a seed"
CLAIM = """Medians over seeds, from a cold command to an evaluation that reaches the return, each library with its best
published settings and its fastest of the algorithms that all three have run there, on two cores of one processor
({}): [everybody, and what has not run](docs/race.md)."""


def marked(text: str, store: Store) -> str:
    """README with its lines."""
    return MARKED.sub(lambda found: f"{found[1]}{summary(store)}{found[2]}", text)


def draw(store: Store, path: Path) -> None:
    """A panel for each course that has results: a point a seed, a bar for the median."""
    import matplotlib
    from matplotlib.figure import Figure

    raced = [(where, fastest(found)) for where in COURSES if (found := runners(store, where))]
    if not raced:
        return
    gray = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GRAY)
    across = min(ACROSS, len(raced))
    rows = -(-len(raced) // across)
    with matplotlib.rc_context({**gray, "svg.fonttype": "none", "svg.hashsalt": "polyak", "font.size": 9}):
        figure = Figure(figsize=(max(5.0, 3.6 * across), 1.7 * rows + 0.2), layout="constrained")
        panels = figure.subplots(rows, across, squeeze=False).flat
        for panel in panels:
            panel.set_visible(False)
        for panel, (where, best) in zip(figure.axes, raced, strict=False):
            draw_course(panel, where, best)
        figure.savefig(path, transparent=True, metadata={"Date": None})


def draw_course(panel: Any, where: Course, best: dict[str, Runner]) -> None:
    """The fastest of each library, polyak on top; what has not arrived is at its course's limit, hollow."""
    end = max(value if not math.isinf(value) else where.seconds for each in best.values() for value in each.seconds)
    for row, (library, runner) in enumerate(best.items()):
        reached = [value for value in runner.seconds if not math.isinf(value)]
        panel.barh(row, min(runner.median, end), height=0.5, color=COLOURS[library], alpha=0.35)
        panel.plot(reached, [row] * len(reached), "o", color=COLOURS[library], markersize=4)
        lost = len(runner.seconds) - len(reached)
        panel.plot([end] * lost, [row] * lost, "o", color=COLOURS[library], markerfacecolor="none", markersize=5)
    panel.set_visible(True)
    panel.set_yticks(range(len(best)), [f"{library}, {runner.algorithm}" for library, runner in best.items()])
    panel.invert_yaxis()
    panel.set_xlim(0, 1.05 * end)
    panel.set(title=where.environment, xlabel=f"seconds to a return of {where.goal:,}")
    panel.grid(axis="x", color=GRAY, alpha=0.25)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)


def main() -> None:
    """Write the page, the picture and README's lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=DOCS / "results", help="in which the folder race is")
    store = Store(parser.parse_args().results)
    (DOCS / "race.md").write_text(page(store), encoding="utf-8")
    README.write_text(marked(README.read_text(encoding="utf-8"), store), encoding="utf-8")
    draw(store, DOCS / PICTURE)


if __name__ == "__main__":
    main()
