"""The mirror of a run that goes on: where it is, and whether this run may write there, before anything is made."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyak.environments.history import generators_kept
from polyak.errors import UsageError
from polyak.run.changes import Changes
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.description import PLACE, write_settings
from polyak.run.folder import Run
from polyak.run.mirror.attempts import identity_at
from polyak.run.mirror.copy import newest_at
from polyak.run.mirror.fetching import Fetched
from polyak.run.mirror.sending import mirrored
from polyak.system.stores import store_at
from polyak.system.stores.store import Store


def with_mirror(changes: Changes, fetched: Fetched | None, then: Mapping[str, Any]) -> Changes:
    """What is to be other, with the mirror that the run was fetched from, unless one was asked for."""
    if fetched is None or "mirror" in changes.options or fetched.mirror == then.get("mirror"):
        return changes
    return replace(changes, options={**changes.options, "mirror": fetched.mirror})


def is_there(fetched: Fetched | None, mirror: str) -> bool:
    """Whether a run has been fetched from its mirror just now."""
    return fetched is not None and fetched.mirror == mirror


def told(run: Run, mirror: str | None, fetched: Fetched | None, then: Mapping[str, Any]) -> dict[str, Any]:
    """As `settings.json` says where a run's mirror is, and where below it the run lies."""
    if not mirror:
        return {"mirror": None}
    if fetched is not None and fetched.mirror == mirror:
        return {"mirror": mirror, "place": fetched.place}
    return {"mirror": mirror, "place": then["place"] if "place" in then else _place_of(run.folder)}


def _place_of(folder: Path) -> str:
    """The place of a run that had no mirror: as it lies below the folder of runs, as far as names tell."""
    parts = [*folder.absolute().parts[-3:]]
    while parts and not PLACE.fullmatch("/".join(parts)):
        parts.pop(0)
    if not parts:
        raise UsageError(f"{folder} can have no mirror: its name is none that every store takes; rename it")
    return "/".join(parts)


def require_own_place(run: Run, mirror: str, before: str | None, saved: Manifest) -> None:
    """Check that a run that goes on from a checkpoint may do so at a mirror; `before` is the one that it had.

    Raises:
        UsageError: as `require_own` says.
    """
    with generators_kept():
        store = store_at(mirror).below(told(run, mirror, None, saved.run)["place"])
        require_own(store, saved.run, saved.step, known=mirror == before)


def bring_the_end(run: Run, mirror: str | None, checkpoints: Checkpoints) -> None:
    """Let the mirror of a run that is over have all of it, where it was behind or is a new one; it may write there.

    Raises:
        BehindError: it still does not answer.
    """
    saved = checkpoints.latest
    if not mirror or saved is None:
        return
    where, settings = told(run, mirror, None, saved.run), Run(run.folder).settings
    if any(settings.get(name) != value for name, value in where.items()):
        write_settings(run.settings_file, {**settings, **where})
    with mirrored(mirror, Run(run.folder), checkpoints, resumed=True, waits=False):
        pass


def require_own(store: Store, settings: Mapping[str, Any], step: int, *, known: bool) -> None:
    """Check that a run that goes on from a step may write to a place; `known` says that it has done so before.

    Raises:
        UsageError: another run is there, or this one has come further there; or what should be there is not.
    """
    there = store.files()
    newest = newest_at(store, there)
    ours = settings.get("identity")
    theirs = identity_at(store, there) or (newest and newest.run.get("identity"))
    if ours is None:
        raise UsageError("this run was begun by an earlier polyak, which gave it no identity: it can have no mirror")
    otherwise = "--mirror URL says where it is to lie from now on, --mirror '' nowhere"
    if theirs is None and (known or there):
        raise UsageError(f"{store.shown} holds no copy of this run, as it should: {otherwise}")
    if theirs not in (None, ours):
        raise UsageError(f"{store.shown} is another run's: {otherwise}")
    if newest is not None and newest.step > step:
        raise UsageError(
            f"{store.shown} has come further than this folder, to step {newest.step:,}; here is step {step:,}: "
            f"`polyak resume {store.shown}` goes on from there, --mirror '' from here, without it"
        )
