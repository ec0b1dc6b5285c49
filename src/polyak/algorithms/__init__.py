"""The algorithms, a folder each: WHAT is learned, and beside it HOW each framework computes it, a page each."""

import difflib
import importlib
import pkgutil
from dataclasses import replace
from importlib.util import find_spec

from polyak.algorithm import Algorithm, Page
from polyak.errors import UsageError

NAMES = tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.ispkg))
"""Those that polyak has."""


def algorithm(name: str) -> Algorithm:
    """An algorithm by its name in any case.

    Raises:
        UsageError: no such algorithm; the message names the nearest.
    """
    known = name.lower()
    if known not in NAMES:
        near = difflib.get_close_matches(known, NAMES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown algorithm {name!r}: polyak has {', '.join(NAMES)}.{hint}")
    found: Algorithm = importlib.import_module(_module(known)).ALGORITHM
    return replace(found, name=known)


def frameworks_of(algorithm: Algorithm, known: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the `known` frameworks in which an algorithm has a page; none of them is imported."""
    beside = _module(algorithm.name)
    return tuple(name for name in known if name in algorithm.pages or find_spec(f"{beside}.with_{name}"))


def with_page(algorithm: Algorithm, framework: str) -> Algorithm:
    """The same with its page in a framework, which is imported now."""
    if framework in algorithm.pages:
        return algorithm
    page: Page = importlib.import_module(f"{_module(algorithm.name)}.with_{framework}").update
    return replace(algorithm, pages={**algorithm.pages, framework: page})


def _module(name: str) -> str:
    return f"polyak.algorithms.{name}"
