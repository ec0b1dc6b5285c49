"""Write docs/results.md and its curves from what `benchmarks/results.py` has run."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
COLOURS = {"ddpg": "#c44e52", "td3": "#4c72b0", "sac": "#55a868"}
CHAPTER = {  # mean test return of epochs 1 to 5, one run each: PyTorch, TensorFlow
    "ddpg": ((-425, -159, -164, -143, -168), (-205, -122, -148, -146, -147)),
    "td3": ((-3820, -167, -121, -98, -144), (-3891, -135, -215, -200, -142)),
    "sac": ((-255, -132, -173, -165, -149), (-196, -149, -158, -150, -170)),
}

Results = list[tuple[int, dict[str, Any]]]


def main() -> None:
    """Write the page."""
    data: dict[str, Any] = json.loads((DOCS / "results" / "runs.json").read_text())
    sections = [INTRODUCTION, versions(data), book(data), tuned(data), lander(data), commands(data)]
    (DOCS / "results.md").write_text("\n\n".join(section for section in sections if section) + "\n")
    for name, title in TITLES.items():
        draw(data, name, title)


INTRODUCTION = """# Results

Every number here was measured by `python benchmarks/results.py` and written by `benchmarks/publish_results.py` from
`docs/results/runs.json`, which holds every run's command, curve and versions. Machine: 2 cores of an AMD EPYC virtual
machine without a GPU, two runs side by side with one thread each, other work going on at the same time: seconds are an
upper bound, steps and returns do not depend on it. Fresh episodes are drawn from seed 1000, which no training used.

The lander's runs were trained when Optax computed Adam; polyak now has its own, which differs from Optax's by 1e-5
relative in the first steps and by rounding after that. A run repeats bit for bit with the same version alone."""

FRAMEWORKS = {"JAX": "pendulum-book", "PyTorch": "pendulum-book-torch", "TensorFlow": "pendulum-book-tensorflow"}

TITLES = {
    "pendulum-book": "Pendulum-v1, preset book, JAX",
    "pendulum-book-torch": "Pendulum-v1, preset book, PyTorch",
    "pendulum-book-tensorflow": "Pendulum-v1, preset book, TensorFlow",
    "pendulum-tuned": "Pendulum-v1, tuned, until -200",
    "lander": "LunarLanderContinuous-v3, tuned, until solved",
}


def versions(data: dict[str, Any]) -> str:
    """The versions that all runs had."""
    lines: list[str] = []
    for experiment in ("pendulum", "lander"):
        of_these = [result["versions"] for key, result in data.items() if key.startswith(experiment)]
        found = {json.dumps(each, sort_keys=True) for each in of_these}
        each = "; ".join(
            ", ".join(f"{name} {version}" for name, version in json.loads(v).items()) for v in sorted(found)
        )
        lines.append(f"Versions, {experiment}: {each}.")
    return "\n\n".join(lines)


def book(data: dict[str, Any]) -> str:
    """Pendulum with the chapter's settings beside the chapter's own rows."""
    rows: list[tuple[Any, ...]] = []
    for algorithm in COLOURS:
        name = algorithm.upper()
        for framework, experiment in FRAMEWORKS.items():
            results = of(data, experiment, algorithm)
            ends: list[float] = []
            for seed, result in results:
                returns = [point[2] for point in result["curve"]]
                ends.append(statistics.mean(returns[-2:]))
                epochs = " ".join(f"{value:.0f}" for value in returns)
                rows.append((name, f"polyak, {framework}, seed {seed}", epochs, f"{ends[-1]:.1f}", spread(result)))
            if ends:
                fresh = mean([result["fresh_mean"] for _, result in results])
                who = f"**polyak, {framework}, {len(ends)} seeds**"
                rows.append((name, who, "", f"**{mean(ends)}**", f"**{fresh}**"))
        for framework, returns in zip(("PyTorch", "TensorFlow"), CHAPTER[algorithm], strict=True):
            chapter_end = statistics.mean(returns[-2:])
            rows.append((name, f"chapter, {framework}", " ".join(map(str, returns)), f"{chapter_end:.1f}", ""))
    heads = ("", "", "test return, epochs 1 to 5", "mean of the last two", "100 fresh episodes: mean (std)")
    return f"""## Pendulum-v1, preset `book`

20,000 steps, five epochs, episodes of 1,000 steps, ten test episodes an epoch. The chapter's rows are one run each.
Ten episodes of Pendulum have a standard error of about 27, nearly all of it from where they start, and the algorithms
share their starts at the same seed: a difference of 10 between two rows means nothing, and a hard draw of starts lowers
all three algorithms together. The hundred fresh episodes of the final policies start alike for all rows.

The three frameworks start a seed from the same weights, draw the same noise and the same batches, and agree to rounding
([how that is tested](performance.md#the-same-numbers)). Rounding grows, as it does in every such training: after a few
thousand steps the runs of one seed are different runs of the same algorithm.

{table(heads, rows)}

![curves, JAX](results/pendulum-book.png)
![curves, PyTorch](results/pendulum-book-torch.png)
![curves, TensorFlow](results/pendulum-book-tensorflow.png)"""


def tuned(data: dict[str, Any]) -> str:
    """Steps and seconds to -200 on Pendulum."""
    rows: list[tuple[Any, ...]] = []
    for algorithm in COLOURS:
        results = [result for _, result in of(data, "pendulum-tuned", algorithm)]
        if results:
            steps = [result["curve"][-1][0] for result in results]
            seconds = [result["curve"][-1][1] for result in results]
            rows.append(
                (
                    algorithm.upper(),
                    len(results),
                    " ".join(f"{value:,}" for value in steps),
                    f"{statistics.median(steps):,.0f}",
                    f"{statistics.median(seconds):.0f}",
                    " ".join(f"{result['fresh_mean']:.0f}" for result in results),
                )
            )
    heads = ("", "seeds", "steps until -200", "median", "median seconds", "mean of 100 fresh episodes, each seed")
    return f"""## Pendulum-v1, tuned preset: how soon

Training stops at the first evaluation (ten episodes of 200 steps, every 1,000 steps) whose mean reaches -200. The
seconds count from the start of training, compilation included. Published for another library: SAC 6,200 steps, TD3
8,600. A policy that has just reached -200 in ten episodes is not finished; the fresh episodes tell.

{table(heads, rows)}

![curves](results/pendulum-tuned.png)"""


def lander(data: dict[str, Any]) -> str:
    """Steps until the lander is solved, and whether 100 fresh episodes agree."""
    rows: list[tuple[Any, ...]] = []
    for algorithm in COLOURS:
        for seed, result in of(data, "lander", algorithm):
            steps, seconds, last = result["curve"][-1]
            solved = "yes" if result["fresh_mean"] >= 200 else "**no**"
            rows.append(
                (algorithm.upper(), seed, f"{steps:,}", f"{seconds:.0f}", f"{last:.1f}", spread(result), solved)
            )
    heads = (
        "",
        "seed",
        "steps",
        "seconds",
        "last evaluation",
        "100 fresh episodes: mean (std)",
        "solved",
    )
    return f"""## LunarLanderContinuous-v3, tuned preset

Training stops at the first evaluation whose mean reaches 220, or at 300,000 steps. It has 50 episodes in some runs and
100 in others, as each command tells; 100 is what `benchmarks/results.py` asks for now, because a mean of 50 picked out
of many evaluations flatters. Solved is a mean of at least 200 over 100 fresh episodes with the latest policy. The
chapter's own runs end between -230 and -15.

{table(heads, rows)}

![curves](results/lander.png)"""


def commands(data: dict[str, Any]) -> str:
    """Every command that was run."""
    lines = "\n".join(result["command"] for result in data.values())
    return f"## Commands\n\n```\n{lines}\n```"


def draw(data: dict[str, Any], name: str, title: str) -> None:
    """One curve a run, one colour an algorithm."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for algorithm, colour in COLOURS.items():
        for number, (_, result) in enumerate(of(data, name, algorithm)):
            steps, _, returns = zip(*result["curve"], strict=True)
            label = algorithm.upper() if number == 0 else None
            axes.plot(steps, returns, color=colour, alpha=0.75, linewidth=1.2, marker=".", markersize=4, label=label)
    axes.set(title=f"{title}: evaluation return of each seed", xlabel="environment steps", ylabel="mean return")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
        figure.savefig(DOCS / "results" / f"{name}.png", dpi=110)


def of(data: dict[str, Any], name: str, algorithm: str) -> Results:
    """The seeds and results of one experiment and algorithm."""
    prefix = f"{name}/{algorithm}/"
    found = {int(key.removeprefix(prefix)): value for key, value in data.items() if key.startswith(prefix)}
    return sorted(found.items())


def spread(result: dict[str, Any]) -> str:
    """Mean and standard deviation of the fresh episodes."""
    return f"{result['fresh_mean']:.1f} ({result['fresh_std']:.1f})"


def mean(values: list[float]) -> str:
    """The mean of a list, one digit."""
    return f"{statistics.mean(values):.1f}"


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


if __name__ == "__main__":
    main()
