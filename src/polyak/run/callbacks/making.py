"""Callbacks made from what a run was asked for; what a text names is imported, and is a class with hooks."""

import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyak.environments.history import generators_kept
from polyak.errors import UsageError
from polyak.run.callbacks import Callbacks, Made
from polyak.settings.called import Called, called, is_object, name_of, require_hook
from polyak.system.foreign import foreign, not_imported, told
from polyak.system.modules import refuse_code_of


def require(asked: Sequence[Any]) -> None:
    """Check, before anything is made, that what is named can be imported and is a callback's class.

    Raises:
        UsageError: it is not.
    """
    for each in asked:
        if isinstance(each, str):
            _class(called(each), each)


def require_for_many(asked: Sequence[Any]) -> None:
    """Check that several runs in a process get callbacks of their own.

    Raises:
        UsageError: one is an object, which would be that of all.
    """
    for each in asked:
        if not isinstance(each, str):
            raise UsageError(
                f"callbacks has {name_of(each)}, one object for several runs: name its class instead, as module:Class, "
                "so that each run makes its own"
            )


def made(asked: Sequence[Any], run: Path | None = None) -> Callbacks:
    """The callbacks of one run; those that only the settings of a `run`'s folder name must not come from there.

    Raises:
        UsageError: one cannot be made, or was an object, which a folder cannot hold.
    """
    try:
        return Callbacks([Made(name_of(each), _itself(each, run)) for each in asked])
    except UsageError as error:
        if run is None:
            raise
        raise UsageError(f"{run}: {error}") from error


def _itself(asked: Any, run: Path | None) -> Any:
    if not isinstance(asked, str):
        return asked
    if is_object(asked):
        raise UsageError(
            f"it was trained with the callback {asked}, an object, which a folder cannot hold: pass all that it "
            "is to have as callbacks=[...], in the same order; callbacks=[] is none"
        )
    wanted = called(asked)
    if run is not None:
        refuse_code_of(run, wanted.module, f"it was trained with the callback {asked!r}")
    kind = _class(wanted, asked)
    with generators_kept(), foreign(lambda error: f"callback {asked!r}: {type(error).__name__}{_told(error, wanted)}"):
        itself = kind(*wanted.positional, **dict(wanted.named))
    require_hook(f"callback {asked!r}", itself)
    return itself


def _told(error: BaseException, wanted: Called) -> str:
    return told(error, wanted.module.partition(".")[0])


def _class(wanted: Called, asked: str) -> Any:
    """The class that a text names, imported.

    Raises:
        UsageError: there is none, or it has no hook: nothing of it has been called then.
    """
    what = f"callback {asked!r}"
    with generators_kept(), foreign(lambda error: not_imported(what, wanted.module, error)):
        module = importlib.import_module(wanted.module)
    kind = getattr(module, wanted.name, None)
    if not isinstance(kind, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        near = difflib.get_close_matches(wanted.name, classes, n=1)
        hint = f"did you mean {wanted.module}:{near[0]}?" if near else "it is named as module:Class"
        raise UsageError(f"{what}: {wanted.module!r} has no class {wanted.name!r}: {hint}")
    require_hook(f"callback {asked!r}: {wanted.name}", kind)
    return kind
