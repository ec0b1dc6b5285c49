"""The algorithms, a folder each: WHAT is learned, and beside it HOW each framework computes it, a page each.

polyak's own are found here by their folders. Any other is a module that its user names, one file or such a folder.
Numbers such as (8.5) are those of the chapter "Combining policy gradient and Q-learning"; each equation that is cited
stands with its number in docs/algorithms and docs/lessons, so that nobody needs the chapter.
"""

import functools
import importlib
import pkgutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from types import ModuleType

from polyak.algorithm import Algorithm, Page
from polyak.algorithms.checks import require_declared
from polyak.errors import UsageError
from polyak.settings.names import ALGORITHMS as ELSEWHERE
from polyak.settings.names import nearest
from polyak.settings.options import BACKENDS
from polyak.system.foreign import code_that_raised, foreign, not_imported


def found() -> tuple[str, ...]:
    """The algorithms of which there is a folder here."""
    return tuple(sorted(each.name for each in pkgutil.iter_modules(__path__) if each.ispkg))


NAMES = found()
"""Those that polyak has a folder of."""


@functools.cache
def presets_by_name() -> dict[str, str]:
    """The presets that work as names, each with the algorithm that it sets: `{"droq": "redq"}`."""
    declared = {name: importlib.import_module(f"{__name__}.{name}").ALGORITHM for name in NAMES}
    return {preset: name for name, algorithm in declared.items() for preset in algorithm.presets}


def names() -> tuple[str, ...]:
    """All that polyak has, as they are asked for."""
    return tuple(sorted((*NAMES, *presets_by_name())))


def is_built_in(name: str) -> bool:
    """Whether polyak has an algorithm of this name, in any case; any other name is that of a user's module."""
    return name.lower() in NAMES or name.lower() in presets_by_name()


SPELLED = {"crossq": "CrossQ", "droq": "DroQ"}
"""Those whose papers do not write them in capitals."""


def titled(name: str) -> str:
    """An algorithm's name as it heads a line: `SAC`, and a module's as it is written."""
    return SPELLED.get(name.lower(), name.upper()) if is_built_in(name) else name


def algorithm(name: str) -> Algorithm:
    """An algorithm by its name in any case, or by the name of a module, whose `ALGORITHM` is taken.

    By the name of a preset, it is the algorithm that it sets, under that name.

    The module is imported. No framework is by those of polyak; a user's file imports what it likes.

    Raises:
        UsageError: there is no such algorithm or module, and the message names the nearest; the module raises, which is
            told with the line; or what it has is no algorithm.
    """
    name = name.lower() if is_built_in(name) else name
    module = importlib.import_module(_module(name)) if is_built_in(name) else _imported(name)
    declared = getattr(module, "ALGORITHM", None)
    if not isinstance(declared, Algorithm):
        has = f"an ALGORITHM that is a {type(declared).__name__}" if hasattr(module, "ALGORITHM") else "no ALGORITHM"
        raise UsageError(f"the module {name!r} has {has}: it must have ALGORITHM = polyak.algorithm.Algorithm(...)")
    named = replace(declared, name=name)
    require_declared(named)
    return named


def require_page(algorithm: Algorithm, framework: str) -> None:
    """Check that an algorithm can be computed in a framework, which is not imported.

    Raises:
        UsageError: it has no page there; the message says where it has one.
    """
    there = frameworks_of(algorithm)
    if framework not in there:
        has = f"pages for {', '.join(there)}, not" if there else "no page"
        remedy = f"take --backend {there[0]}" if there else 'ALGORITHM takes them as pages={"jax": update}'
        raise UsageError(f"{algorithm.name} has {has} for {framework}: {remedy}")


def frameworks_of(algorithm: Algorithm) -> list[str]:
    """The frameworks in which an algorithm has a page; none is imported."""
    return [name for name in BACKENDS if _has_page(algorithm, name)]


def without_page(framework: str) -> list[str]:
    """Polyak's own algorithms that have no page in a framework, which is not imported."""
    return [name for name in NAMES if find_spec(f"{_module(name)}.with_{framework}") is None]


def with_page(algorithm: Algorithm, framework: str) -> Algorithm:
    """The same with its page in a framework, which is imported now.

    Raises:
        UsageError: as for `require_page`, or the page's module raises.
    """
    require_page(algorithm, framework)
    if framework in algorithm.pages:
        return algorithm
    name = f"{_module(algorithm.name)}.with_{framework}"
    with foreign(lambda error: not_imported(f"algorithm {algorithm.name!r}", name, error)):
        page: Page = importlib.import_module(name).update
    return replace(algorithm, pages={**algorithm.pages, framework: page})


def _module(name: str) -> str:
    folder = presets_by_name().get(name, name)
    return f"{__name__}.{folder}" if folder in NAMES else name


def _has_page(algorithm: Algorithm, framework: str) -> bool:
    module = _module(algorithm.name)
    beside = hasattr(sys.modules[module], "__path__")  # else it is one file
    return framework in algorithm.pages or (beside and find_spec(f"{module}.with_{framework}") is not None)


def _imported(name: str) -> ModuleType:
    """A user's module."""
    if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
        raise UsageError(_unknown(name))
    with foreign(lambda error: _not_imported(name, error)):
        return importlib.import_module(name)


def _not_imported(name: str, error: BaseException) -> str:
    top = name.partition(".")[0]
    absent = isinstance(error, ModuleNotFoundError) and error.name == top and not code_that_raised(error)
    return _unknown(name) if absent else not_imported(f"algorithm {name!r}", name, error)


def _unknown(name: str) -> str:
    near = nearest(name.lower(), names())
    hint = f" Did you mean {near!r}?" if near else ""
    hint = f" ({ELSEWHERE[name.lower()]})." if name.lower() in ELSEWHERE else f".{hint}"
    return (
        f"unknown algorithm {name!r}: polyak has {', '.join(names())}{hint} One of your own is named by its module: "
        "my_algorithm for my_algorithm.py, my_folder.my_algorithm for one in a folder"
    )
