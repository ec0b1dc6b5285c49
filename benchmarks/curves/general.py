"""What an environment without a preset gets, and what that rests on: a section of the page about algorithms."""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
from curves.cases import CANDIDATES
from curves.numbers import CLEAR, SEVERAL, Done, cell, done, seeds_told
from curves.store import Store
from scaling_pages import table

from polyak.algorithms import titled
from polyak.report.statistics import probability_of_improvement

Chances = Mapping[tuple[str, str], float]
"""How often a seed of the one is ahead of a seed of the other, by candidates."""


def section(store: Store) -> str:
    """The candidates beside each other, an environment and algorithm a row, and what they come to."""
    rows, sums = list[list[str]](), dict[str, list[Chances]]()
    for (environment, algorithm), sides in compared(store).items():
        chances = ahead(sides)
        clear = ", ".join(f"`{one}` of `{other}`" for (one, other), chance in chances.items() if chance >= CLEAR)
        rows.append([environment, titled(algorithm), *(shown(sides.get(name)) for name in CANDIDATES), clear])
        if chances:
            sums.setdefault(algorithm, []).append(chances)
    if not rows:
        return f"{TEXT}\n\n{UNKNOWN}"
    names = [f"`{name}`" for name in CANDIDATES]
    told = f"{TEXT}\n\n{table(('environment', '', *names, 'clearly ahead'), rows)}"
    summed = [[titled(each), *(mean(name, sums[each]) for name in CANDIDATES), str(len(sums[each]))] for each in sums]
    return f"{told}\n\n{SUM}\n\n{table(('', *names, 'environments'), summed)}" if summed else told


def compared(store: Store) -> dict[tuple[str, str], dict[str, Done]]:
    """What there is of each candidate, by environment and algorithm, where any of them has run."""
    found: dict[tuple[str, str], dict[str, Done]] = {}
    for each in done(store, "defaults"):
        found.setdefault((each.case.environment, each.case.algorithm), {})[each.case.variant] = each
    return {place: sides for place, sides in found.items() if any(side.results for side in sides.values())}


def ahead(sides: Mapping[str, Done]) -> Chances:
    """Of each pair of candidates; nothing where one of them has few seeds."""
    if any(len(side.results) < SEVERAL for side in sides.values()):
        return {}
    return {pair: probability_of_improvement(*(sides[name].fresh for name in pair)) for pair in permutations(sides, 2)}


def shown(side: Done | None) -> str:
    """Returns, and of how many seeds."""
    return f"{cell(side.fresh.tolist())}, {seeds_told([side])} seeds" if side and side.results else ""


def mean(name: str, found: Sequence[Chances]) -> str:
    """How often a candidate's seed is ahead, over the other candidates and the environments."""
    values = [chance for chances in found for (one, _), chance in chances.items() if one == name]
    return f"{np.mean(values):.2f}" if values else ""


TEXT = """## Settings where there is no preset

An environment that no preset is tuned for gets `general` with DDPG, TD3 and SAC, and the algorithm's own `defaults`
with what came after them, because their papers' networks take days on a CPU. `general` was chosen by what does best
where other settings are known, too (`python benchmarks/learning.py --part defaults`), and not by one paper. Candidates
were two presets, `paper` and `defaults`, and `today`: what the authors of TD3 train TD3 and DDPG with in their code of
today (layers of 256, batches of 256, step sizes of 3e-4), but after 1,000 random steps in place of 25,000. The seeds of
TD3's paper are the most often ahead with TD3, those of `today` with DDPG: see the last table. With SAC no order was
found, and `general` has its paper's. Below: returns of ten fresh episodes, the median over the seeds, the lowest and
the highest."""

SUM = """How often a seed of one is ahead of a seed of another, a tie counting half: the mean over the others and over
the environments in which all have three seeds."""

UNKNOWN = """**None of these has run yet.**"""
