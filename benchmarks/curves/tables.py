"""The sections of the page about polyak alone: the chapter's settings, and polyak's own."""

import statistics
from itertools import pairwise

from curves import verified
from curves.cases import ALGORITHMS, LANDER
from curves.numbers import Done, done
from curves.store import Result, Store
from scaling_pages import table

from polyak.algorithms import titled
from polyak.settings.presets.verified import digits
from polyak.settings.presets.verified import spread as narrow

FRAMEWORKS = {"jax": "JAX", "torch": "PyTorch", "tensorflow": "TensorFlow"}
CHAPTER = {  # mean test return of epochs 1 to 5, one run each: PyTorch, TensorFlow
    ("ddpg", "Pendulum-v1"): ((-425, -159, -164, -143, -168), (-205, -122, -148, -146, -147)),
    ("td3", "Pendulum-v1"): ((-3820, -167, -121, -98, -144), (-3891, -135, -215, -200, -142)),
    ("sac", "Pendulum-v1"): ((-255, -132, -173, -165, -149), (-196, -149, -158, -150, -170)),
    ("ddpg", LANDER): ((-139, -173, -250, -309, -230), (-149, -63, -30, -121, -114)),
    ("td3", LANDER): ((-278, 48, -100, -229, -29), (-174, 22, -64, -119, -106)),
    ("sac", LANDER): ((-66, -14, -136, -142, -15), (-39, -80, -23, -15, -78)),
}
EPOCHS = 5


def of(store: Store, group: str, environment: str) -> list[Done]:
    """The cases of a group in one environment that have a result, algorithm by algorithm."""
    found = [each for each in done(store, group) if each.case.environment == environment and each.results]
    return sorted(found, key=lambda each: ALGORITHMS.index(each.case.algorithm))


def book(store: Store) -> str:
    """Pendulum with the chapter's settings beside the chapter's own rows."""
    heads = ("", "", "test return, epochs 1 to 5", "mean of the last two", "100 fresh episodes: mean (std)")
    rows: list[list[str]] = []
    for algorithm in ALGORITHMS:
        name = titled(algorithm)
        for each in of(store, "book", "Pendulum-v1"):
            if each.case.algorithm == algorithm:
                who, ends = f"polyak, {FRAMEWORKS[each.case.variant]}", list[float]()
                for seed, result in each.results.items():
                    returns = first_epochs(result)
                    ends.append(statistics.mean(returns[-2:]))
                    rows.append([name, f"{who}, seed {seed}", epochs(returns), f"{ends[-1]:.1f}", spread(result)])
                mean, fresh = statistics.mean(ends), statistics.mean(each.fresh)
                rows.append([name, f"**{who}, {len(ends)} seeds**", "", f"**{mean:.1f}**", f"**{fresh:.1f}**"])
        rows += [[*row, ""] for row in chapters(algorithm, "Pendulum-v1")]
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


def book_lander(store: Store) -> str:
    """The lander with the chapter's settings, at its five epochs and at its advised fifty."""
    found = of(store, "book", LANDER)
    if not found:
        return ""
    heads = ("", "", "test return, epochs 1 to 5", "mean of the last two", "epoch 50", "100 fresh episodes: mean (std)")
    rows: list[list[str]] = []
    for algorithm in ALGORITHMS:
        for each in found:
            if each.case.algorithm == algorithm:
                for result in each.results.values():
                    returns, last = first_epochs(result), f"{result['curve'][-1][2]:.0f}"
                    who = f"polyak, {FRAMEWORKS[each.case.variant]}"
                    end = f"{statistics.mean(returns[-2:]):.1f}"
                    rows.append([titled(algorithm), who, epochs(returns), end, last, spread(result)])
        rows += [[*row, "", ""] for row in chapters(algorithm, LANDER)]
    return f"""## LunarLanderContinuous-v3, preset `book`

The chapter's settings, one run each, to the fifty epochs that it advises; its own five are their beginning.

{table(heads, rows)}"""


def chapters(algorithm: str, environment: str) -> list[list[str]]:
    """The chapter's own rows."""
    return [
        [titled(algorithm), f"chapter, {framework}", epochs(returns), f"{statistics.mean(returns[-2:]):.1f}"]
        for framework, returns in zip(("PyTorch", "TensorFlow"), CHAPTER[algorithm, environment], strict=True)
    ]


def tuned(store: Store) -> str:
    """Steps and seconds to -200 on Pendulum."""
    heads = ("", "seeds", "steps until -200", "median", "median seconds", "mean of 100 fresh episodes, each seed")
    rows: list[list[str]] = []
    for each in of(store, "tuned", "Pendulum-v1"):
        steps, seconds = each.ends[:, 0], each.ends[:, 1]
        rows.append(
            [
                titled(each.case.algorithm),
                str(len(steps)),
                " ".join(f"{value:,.0f}" for value in steps),
                f"{statistics.median(steps):,.0f}",
                f"{statistics.median(seconds):.0f}",
                " ".join(f"{value:.0f}" for value in each.fresh),
            ]
        )
    return f"""## Pendulum-v1, tuned preset: how soon

Training stops at the first evaluation (ten episodes of 200 steps, every 1,000 steps) whose mean reaches -200. The
seconds count from the start of training, compilation included. Published for another library: SAC 6,200 steps, TD3
8,600. A policy that has just reached -200 in ten episodes is not finished; the fresh episodes tell.

{table(heads, rows)}

![curves](results/pendulum-tuned.png)"""


def lander(store: Store) -> str:
    """Steps until the lander is solved, and whether 100 fresh episodes agree."""
    rows: list[list[str]] = []
    for each in of(store, "tuned", LANDER):
        for seed, result in each.results.items():
            steps, seconds, last = result["curve"][-1]
            solved = "yes" if result["fresh_mean"] >= 200 else "**no**"
            row = (
                titled(each.case.algorithm),
                seed,
                f"{steps:,}",
                f"{seconds:.0f}",
                f"{last:.1f}",
                str(falls(result)),
                spread(result),
                solved,
            )
            rows.append([str(cell) for cell in row])
    heads = ("", "seed", "steps", "seconds", "last evaluation", "falls", "100 fresh episodes: mean (std)", "solved")
    return f"""## LunarLanderContinuous-v3, tuned preset

Training stops at the first evaluation, of 100 episodes every 5,000 steps, whose mean reaches 220, or at 300,000 steps.
Solved is a mean of at least 200 over 100 fresh episodes with the latest policy. The chapter's own runs end between
-230 and -15.

{table(heads, rows)}

A fall is an evaluation more than {FALL} below the one before.

The presets were others before: layers of 256, targets that count one reward, noise that is new in each step, and for
SAC a target entropy of -2. The same three seeds then took 115,000, 155,000 and 35,000 steps with TD3 and 75,000,
165,000 and 30,000 with SAC. DDPG landed about as early as the others and unlearned it again: each seed was above 100
after 30,000 to 90,000 steps and then below 50 in more than ten evaluations, and the fresh episodes, after 300,000,
205,000 and 270,000 steps, had 158, 197 and 208, so that one of three had solved it.

What is slow to begin hovers: of twelve episodes of SAC's seed 1 of then after 50,000 steps six went on to the time
limit and six ended in a crash; to hover costs next to nothing, and a landing that fails costs 100.
[The first landing](#the-first-landing-lunarlandercontinuous-v3) compares what ends that, in most seeds and not in all.
Beforehand, apart from the queue and on the Xeon
(`polyak train ALGORITHM LunarLanderContinuous-v3 --seed N --stop-at-return 200 --threads 1`), nine of ten seeds of SAC
came to 200 within 70,000 steps, and seed 8 still hovered after 120,000; seven of eight of TD3 within 85,000, and seed 7
still hovered after 150,000.

![curves](results/lander.png)"""


FALL = 100
"""Of an evaluation's return below the one before."""


def falls(result: Result) -> int:
    """How often an evaluation was much lower than the one before."""
    returns = [point[2] for point in result["curve"]]
    return sum(before - after > FALL for before, after in pairwise(returns))


def presets(store: Store) -> str:
    """What the presets reach as they are."""
    found = verified.entries(store)
    if not found:
        return ""
    heads = ("", "environment", "preset", "seeds", "return", "steps", "minutes", "fresh episodes")
    rows = [
        [
            *(titled(each.algorithm), each.environment, "its own" if each.preset == each.environment else each.preset),
            *(str(len(each.seeds)), narrow(each.returns, digits(each.returns)), narrow(each.steps)),
            *(narrow(each.minutes, 1), str(each.episodes)),
        ]
        for each in found
    ]
    return f"""## Presets that are verified

What `polyak train ALGORITHM ENVIRONMENT` reaches with a preset as it is, in fresh episodes of the last policy: the
median over the seeds, the lowest and the highest. Three seeds or more verify a preset, as long as it sets what they
had; `polyak presets` shows the same, and which are not verified. Where seeds differ in steps, training stopped at a
return.

{table(heads, rows)}"""


def first_epochs(result: Result) -> list[float]:
    """The returns of the chapter's epochs."""
    return [point[2] for point in result["curve"]][:EPOCHS]


def epochs(returns: "list[float] | tuple[int, ...]") -> str:
    """Of a row."""
    return " ".join(f"{value:.0f}" for value in returns)


def spread(result: Result) -> str:
    """Mean and standard deviation of the fresh episodes."""
    return f"{result['fresh_mean']:.1f} ({result['fresh_std']:.1f})"
