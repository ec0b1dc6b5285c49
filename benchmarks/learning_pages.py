"""Write from what `benchmarks/learning.py` has run: docs/results.md, its pictures, docs/which.md, what is verified.

python benchmarks/learning_pages.py
"""

import argparse
import re
from pathlib import Path

from curves import compared, experience, successors, tables, verified, which
from curves.cases import BLOCKS, LANDER, ROOT, trainings
from curves.numbers import Done
from curves.store import Result, Store
from matplotlib.figure import Figure

from polyak.algorithms import titled
from polyak.settings.presets.verified import FILE

DOCS = ROOT / "docs"
COLOURS = {"ddpg": "#c44e52", "td3": "#4c72b0", "sac": "#55a868"}
PICTURES = (
    ("pendulum-book", "Pendulum-v1, preset book, JAX", "book", "Pendulum-v1", "jax"),
    ("pendulum-book-torch", "Pendulum-v1, preset book, PyTorch", "book", "Pendulum-v1", "torch"),
    ("pendulum-book-tensorflow", "Pendulum-v1, preset book, TensorFlow", "book", "Pendulum-v1", "tensorflow"),
    ("pendulum-tuned", "Pendulum-v1, tuned, until -200", "tuned", "Pendulum-v1", ""),
    ("lander", "LunarLanderContinuous-v3, tuned, until solved", "tuned", LANDER, ""),
)
"""File, title, group, environment, variant."""


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=DOCS / "results" / "learning", help="the results' folder")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where results.md and results/ are written")
    known = ROOT / "src" / "polyak" / "settings" / "presets" / FILE
    parser.add_argument("--verified", type=Path, default=known, help="where what is verified is written")
    options = parser.parse_args()
    store = Store(options.results)
    (options.docs / "results.md").write_text(page(store))
    (options.docs / "which.md").write_text(which.page(store))
    for name, title, group, environment, variant in PICTURES:
        chosen = [each for each in tables.of(store, group, environment) if each.case.variant == variant]
        draw(chosen, title, options.docs / "results" / f"{name}.png")
    options.verified.write_text(verified.text(store))
    compared.draw(store, options.docs / "results" / compared.PICTURE)
    successors.draw(store, options.docs / "results" / successors.PICTURE)
    experience.draw(store, options.docs / "results")


def page(store: Store) -> str:
    """The whole text."""
    ours = (tables.presets, tables.book, tables.tuned, tables.lander, tables.book_lander)
    written = (experience.section, successors.section, compared.compared, compared.published, *ours)
    sections = [INTRODUCTION, *(section(store) for section in written), left(store), versions(store), commands(store)]
    return "\n\n".join(section for section in sections if section) + "\n"


INTRODUCTION = """# Results

Every number here was measured by `python benchmarks/learning.py` and written by `benchmarks/learning_pages.py` from
`docs/results/learning`, which holds every training's command, curve, settings and versions. Each training had one
thread of a virtual machine with two cores and no GPU, of an AMD EPYC but where [another processor](#versions) is named,
with other work beside it: seconds are an upper bound, steps and returns do not depend on it. Fresh episodes are drawn
from seed 1000, which no training used.

The lander's runs with the tuned preset were trained when Optax computed Adam; polyak now has its own, which differs
from Optax's by 1e-5 relative in the first steps and by rounding after that. A run repeats bit for bit with the same
version alone."""


def left(store: Store) -> str:
    """What has not run."""
    lines: list[str] = []
    for block in BLOCKS:
        missing = [training.case for training in block if store.read(training.name) is None]
        if missing:
            of_all = f"{len(missing)} of {block.seeds * len(block.cases)}"
            lines.append(f"- {missing[0].group}, {missing[0].environment}: {of_all}")
    if not lines:
        return ""
    there, wanted = len(results(store)), len(trainings())
    head = f"{there} of {wanted} trainings are done. These are not; `python benchmarks/learning.py` goes on with them:"
    return "\n".join(["## What has not run", "", head, "", *lines])


def results(store: Store) -> list[Result]:
    """All that there are, in the queue's order."""
    found = [store.read(training.name) for training in trainings()]
    return [result for result in found if result is not None]


def versions(store: Store) -> str:
    """On which processors and with which versions the trainings ran, and how many with each."""
    counts: dict[str, int] = {}
    for result in results(store):
        told = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        told = f"{result['processor']}; {told}" if "processor" in result else told
        counts[told] = counts.get(told, 0) + 1
    return "\n".join(["## Versions", "", *(f"- {count} trainings: {told}" for told, count in counts.items())])


def commands(store: Store) -> str:
    """Every command of polyak's that was run, seeds apart."""
    lines = dict[str, None]()
    for training in trainings():
        result = store.read(training.name)
        if result is not None and result["command"].startswith("polyak "):
            then = [f"{name} {value}" for name, value in verified.changed(training.case, result).items()]
            line = re.sub(r"--seed \d+", "--seed N", result["command"])
            lines[f"{line}  # {', '.join(then)}" if then else line] = None
    told = "With each seed; Stable-Baselines3's arguments are in the results' files."
    if any("  # " in line for line in lines):
        told += " After `#` stands what the preset then had, and has no more."
    return "\n".join(["## Commands", "", told, "", "```", *lines, "```"])


def draw(chosen: list[Done], title: str, path: Path) -> None:
    """One curve a run, one colour an algorithm."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for each in chosen:
        for number, result in enumerate(each.results.values()):
            steps, _, returns = zip(*result["curve"], strict=True)
            label = titled(each.case.algorithm) if number == 0 else None
            style = {"color": COLOURS[each.case.algorithm], "alpha": 0.75, "linewidth": 1.2, "marker": "."}
            axes.plot(steps, returns, markersize=4, label=label, **style)
    axes.set(title=f"{title}: evaluation return of each seed", xlabel="environment steps", ylabel="mean return")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
        figure.savefig(path, dpi=110, metadata={"Software": None})  # equal numbers make an equal file


if __name__ == "__main__":
    main()
