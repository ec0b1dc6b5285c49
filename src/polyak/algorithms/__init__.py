"""WHAT is learned, in NumPy alone: settings, noise and initial state of each algorithm. `learners/` has the HOW."""

import difflib
import importlib
from types import ModuleType

from polyak.errors import UsageError

NAMES = ("ddpg", "td3", "sac")


def algorithm(name: str) -> ModuleType:
    """The module of an algorithm by its name in any case: `Config`, `draw_noise`, `initial_state`, `POLICY_KIND`.

    Raises:
        UsageError: no such algorithm; the message names the nearest.
    """
    known = name.lower()
    if known not in NAMES:
        near = difflib.get_close_matches(known, NAMES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown algorithm {name!r}: polyak has {', '.join(NAMES)}.{hint}")
    return importlib.import_module(f"polyak.algorithms.{known}")
