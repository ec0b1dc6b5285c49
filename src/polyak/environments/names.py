"""What `module:Id` names, found out without importing anything."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec

from polyak.errors import UsageError

CODE = (".py", ".so", ".pyd")
NEVER_MEANT = {"benchmarks", "docs", "examples", "scripts", "test", "tests"}
"""Top-level modules that some distributions install by mistake."""


def id_of(name: str) -> str:
    """The id in `module:Id`, or in an id alone."""
    return name.rpartition(":")[2]


def module_of(name: str) -> str:
    """The module in `module:Id`, or "" where there is none; a distribution's name (`panda-gym`) gives its module.

    Raises:
        UsageError: a distribution that has several modules.
    """
    module = name.rpartition(":")[0]
    if not module or _is_there(module.partition(".")[0]):
        return module
    return _module_of_distribution(module, id_of(name)) or module


def _is_there(top: str) -> bool:
    try:
        return top.isidentifier() and find_spec(top) is not None
    except (ImportError, ValueError):  # something by that name is imported already, but says not from where
        return True


def _module_of_distribution(name: str, plain: str) -> str:
    written = re.sub(r"[-.]", "_", name)
    if _is_there(written):
        return written
    try:
        installed = distribution(name)
    except (PackageNotFoundError, ValueError):
        return ""
    modules = [top for top in _modules(installed) if _may_be_meant(top)]
    same = [top for top in modules if top.lower() == written.lower()]
    if len(modules) > 1 and len(same) != 1:
        raise UsageError(
            f"environment {name + ':' + plain!r}: {name!r} installs {len(modules)} modules: name the one that "
            f"registers {plain}, of {', '.join(modules[:8])}"
        )
    return (same or modules or [""])[0]


def _modules(installed: Distribution) -> list[str]:
    """The top-level modules that a distribution says it has, or else those of its files."""
    declared = (installed.read_text("top_level.txt") or "").split()
    files = [file for file in installed.files or [] if file.suffix in CODE]
    return sorted({*declared} or {file.parts[0].partition(".")[0] for file in files})


def _may_be_meant(top: str) -> bool:
    return top.isidentifier() and not top.startswith("_") and top not in NEVER_MEANT
