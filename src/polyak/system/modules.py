"""Where a module would be imported from, found out without importing anything, and which places are refused."""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, NamedTuple, cast

from polyak.errors import UsageError


class Place(NamedTuple):
    """What an import of a module, or of a package that it is in, would run or search."""

    module: str
    path: str
    package: bool
    """Whether the path is a folder of a package; else it is a file."""


def refuse_code_of(folder: Path, module: str, told: str, otherwise: str = "") -> None:
    """Check that a module that a run's settings name did not come with the run: to import it would run its code.

    It did where its file, or a folder of a package that it is in, lies within the run's folder, and where such a
    package holds that folder; a file beside the folders of runs did not. Nothing is imported to find that out.

    Args:
        folder: the run's.
        module: its dotted name.
        told: how the message begins, such as "runs/x was trained on 'm:Id'".
        otherwise: how it ends, where there is another remedy than to move the module.

    Raises:
        UsageError: it did.
    """
    for place in places(module):
        if is_within(place.path, folder) or (place.package and is_within(folder, place.path)):
            raise UsageError(
                f"{told}, and {place.module!r} would be imported from the run's own folder, or from a package around "
                f"it, which may be a stranger's ({place.path}): move that module elsewhere{otherwise}"
            )


def places(module: str) -> Iterator[Place]:
    """Of a module and of each package that it is in, from the outermost."""
    importlib.invalidate_caches()
    name, parts, searched = "", module.split("."), None
    for number, part in enumerate(parts):
        name = part if number == 0 else f"{name}.{part}"
        found = [*_loaded(name), *_found(name, part, searched)]
        yield from found
        searched = [place.path for place in found if place.package]
        if not searched:
            return


def _loaded(name: str) -> Iterator[Place]:
    """Of a module that has been imported already; a worker process would import it again."""
    loaded: Any = sys.modules.get(name)
    file, path = getattr(loaded, "__file__", None), getattr(loaded, "__path__", None)
    if isinstance(file, str):
        yield Place(name, file, package=False)
    yield from (Place(name, str(each), package=True) for each in path or ())


def _found(name: str, part: str, searched: Sequence[str] | None) -> Iterator[Place]:
    spec = _spec(name, part, searched)
    if spec is None:
        return
    if spec.has_location and spec.origin is not None:
        yield Place(name, spec.origin, package=False)
    yield from (Place(name, str(each), package=True) for each in spec.submodule_search_locations or ())


def _spec(name: str, part: str, searched: Sequence[str] | None) -> ModuleSpec | None:
    """As the import system finds it, but with the folders of a package that has not been imported."""
    for finder in cast(list[Any], sys.meta_path):
        try:
            # By its last part alone: for a whole name, a namespace package asks for its parent in sys.modules.
            spec = finder.find_spec(part if finder is PathFinder else name, searched, None)
        except (ImportError, AttributeError, ValueError, KeyError):
            continue  # one that cannot say so here; what is left is asked below
        if spec is not None:
            return cast(ModuleSpec, spec)
    return None


def is_within(path: str | Path, folder: str | Path) -> bool:
    """Whether a path is a folder, or lies in it, by its own name or by that which links lead to."""
    named = [Path(form) for form in {os.path.abspath(path), os.path.realpath(path)}]  # noqa: PTH100 - without following
    return any(_same(each, folder) for form in named for each in (form, *form.parents))


def _same(path: Path, folder: str | Path) -> bool:
    try:
        return path.samefile(folder)
    except (OSError, ValueError):  # one of them is not there, as what lies in an archive is not
        return False
