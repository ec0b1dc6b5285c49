"""A run at a mirror, brought into a folder of this machine; what lies there is a stranger's until it has been checked.

Names lead to no other folder, nothing is longer than it says, and each file of a checkpoint has its SHA-256 before the
manifest is written, which comes last. What is then in the folder is read as any stranger's run is.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from polyak.errors import UnreadableError, UsageError
from polyak.run.checkpoints import manifest
from polyak.run.checkpoints.manifest import File, Manifest
from polyak.run.description import PLACE, SIZE_LIMIT, require_description, write_settings
from polyak.run.folder import Run
from polyak.run.mirror.attempts import newest as newest_attempt
from polyak.run.mirror.contents import CHECKPOINTS, MOST, is_beside, manifests_among
from polyak.run.mirror.copy import MANIFESTS, read_manifest
from polyak.settings.kinds import URL, Address, checked
from polyak.system.files import read_plain_file, write_atomically
from polyak.system.locking import in_use, locked
from polyak.system.memory import readable_bytes
from polyak.system.stores import store_at
from polyak.system.stores.store import Readable, read

SETTINGS = "settings.json"
SHOWN = 3
"""Runs that are named where there are several."""


@dataclass(frozen=True)
class Fetched(Run):
    """A run that lies at a mirror and is in a folder here now."""

    mirror: str = ""
    """The folder or URL below which it lies."""
    place: str = ""
    """By which name."""
    said: str = ""
    """What was done, in a line."""


def address_of(name: object) -> str | None:
    """The mirror's place that a name is of, or None where it is a run's own folder.

    Raises:
        UsageError: it is a URL that cannot be.
    """
    if isinstance(name, str) and URL.fullmatch(name):
        return str(checked("the run", name, Address)).rstrip("/")
    try:
        folder = Path(os.fspath(cast("str | os.PathLike[str]", name)))
        is_copy = newest_attempt(f"attempts/{each.name}" for each in (folder / "attempts").iterdir()) > 0
    except (OSError, TypeError, ValueError):
        return None
    return str(folder.absolute()) if is_copy else None


def fetched(address: str, run_dir: Path, *, whole: bool) -> Fetched:
    """The run that lies at an address, or below it where it is the only one, in its folder below `run_dir`.

    The folder is left as it is where it goes on from what is there. Where it has come further, but by an attempt that
    was replaced, it is kept under another name too.

    Args:
        address: of a mirror's place.
        run_dir: where the folder is, or is made.
        whole: with the newest checkpoint that is whole, to go on from; else what a reader needs.

    Raises:
        UnreadableError: no checkpoint there is whole; the message names the file.
        UnavailableError: the store does not answer, or the folder has not the room.
        UsageError: there is no run, or another one is in the folder.
    """
    store, there = _run_at(address)
    settings = _settings_at(store, there)
    mirror, place = _named(store.shown, settings)
    run = Run(run_dir / place)
    run.require_no_links()
    _require_same_run(run, settings, store)
    if not whole and run.settings_file.exists() and in_use(run.folder):
        return _as(run, mirror, place, "it is being trained here")
    run.folder.mkdir(parents=True, exist_ok=True)
    with locked(run.folder):
        said = _bring_all(store, there, settings, run) if whole else _bring_beside(store, there, settings, run)
    return _as(run, mirror, place, said)


def brought(store: Readable, there: Mapping[str, int], folder: Path) -> Fetched:
    """The run in a place of which nobody goes on here, in this folder: what a reader needs of it.

    `there` are the place's files, bytes by name. Errors are as for `fetched`.
    """
    settings, run = _settings_at(store, there), Run(folder)
    run.require_no_links()
    _require_same_run(run, settings, store)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        said = _bring_beside(store, there, settings, run)
    return Fetched(folder, mirror=store.shown, said=f"{store.shown} is {folder}: {said}")


def settings_at(address: str) -> dict[str, Any]:
    """What the settings of the run at an address say; errors as for `fetched`."""
    return _settings_at(*_run_at(address))


def _as(run: Run, mirror: str, place: str, said: str) -> Fetched:
    return Fetched(run.folder, mirror=mirror, place=place, said=f"{mirror}/{place} is {run.folder}: {said}")


# Which run


def _run_at(address: str) -> tuple[Readable, dict[str, int]]:
    """The place of the one run at or below an address, and what lies there: bytes by name."""
    store = store_at(address)
    there = store.files()
    if SETTINGS in there or manifests_among(there):
        return store, there
    places = sorted({name.removesuffix(f"/{SETTINGS}") for name in there if name.endswith(f"/{SETTINGS}")})
    places = [each for each in places if PLACE.fullmatch(each)]
    if len(places) != 1:
        others = f", and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        found = f"; it holds {len(places)}: {', '.join(places[:SHOWN])}{others}; name one of them" if places else ""
        raise UsageError(f"there is no run at {store.shown}{found or ': nothing of one is there'}")
    start = f"{places[0]}/"
    inside = {name.removeprefix(start): size for name, size in there.items() if name.startswith(start)}
    return store.below(places[0]), inside


def _settings_at(store: Readable, there: Mapping[str, int]) -> dict[str, Any]:
    """What its settings say, or where they are damaged its newest manifest does."""
    path = f"{store.shown}/{SETTINGS}"
    fault: Exception = UnreadableError(f"there is no file {path}")
    if SETTINGS in there:
        try:
            found: Any = json.loads(read(store, SETTINGS, SIZE_LIMIT))
            require_description(found, path)
        except (UnreadableError, ValueError, RecursionError) as error:
            fault = error
        else:
            return cast(dict[str, Any], found)
    for name in manifests_among(there)[:MANIFESTS]:
        with suppress(UnreadableError):
            return dict(read_manifest(store, name)[0].run)
    raise UsageError(f"{path} cannot be read, and no manifest beside it either: {fault}") from fault


def _named(shown: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """A mirror and the place below it, of which an address is made up."""
    told = str(settings.get("place", ""))
    if told and shown.endswith(f"/{told}"):
        return shown.removesuffix(f"/{told}"), told
    mirror, _, name = shown.rpartition("/")
    if not PLACE.fullmatch(name) or mirror.endswith(":/"):
        raise UsageError(f"{shown} cannot be fetched: a run's folder is called as its last part, which must be a name")
    return mirror, name


def _require_same_run(run: Run, settings: Mapping[str, Any], store: Readable) -> None:
    if not run.folder.is_dir() or all(each.name.startswith(".") for each in run.folder.iterdir()):
        return
    here = run.settings_if_whole
    if here is None or here.get("identity") != settings.get("identity"):
        raise UsageError(
            f"{run.folder} is there and is not the run at {store.shown}: choose another --run-dir, or move it away"
        )


# Its files


def _bring_all(store: Readable, there: Mapping[str, int], settings: Mapping[str, Any], run: Run) -> str:
    """Bring all that there is with the newest whole checkpoint, unless what is here goes on from it; what was done."""
    faults: list[str] = []
    for name in manifests_among(there)[:MANIFESTS]:
        try:
            made, content = read_manifest(store, name)
            manifest.require_own(made, settings, f"{store.shown}/{name}")
            here = _newest_here(run)
            if here is not None and here.step >= made.step and _continues(here, made):
                return f"here is step {here.step:,}, as far as there, and goes on"
            aside = "" if here is None or here.step <= made.step else _put_aside(run)
            write_settings(run.settings_file, dict(settings))  # first: it says whose folder this is
            _bring_checkpoint(store, there, made, run)
            write_atomically(run.checkpoints / made.name, content)
            _remove_other_manifests(run, made)
            _bring_beside(store, there, settings, run)
        except UnreadableError as error:
            faults.append(str(error))
        else:
            damaged = f"; newer ones are damaged: {'; '.join(faults)}" if faults else ""
            return f"fetched, at the checkpoint of step {made.step:,}{damaged}{aside}"
    if not faults:
        raise UsageError(f"there is no checkpoint at {store.shown}, so that nothing was trained: start it anew")
    others = f"; nor is any of the {len(faults) - 1} before it whole" if len(faults) > 1 else ""
    raise UnreadableError(f"{faults[0]}{others}")


def _newest_here(run: Run) -> Manifest | None:
    """The newest checkpoint in a folder, if it is whole."""
    names = [path.name for path in run.checkpoints.iterdir()] if run.checkpoints.is_dir() else []
    for name in manifests_among(f"{CHECKPOINTS}/{each}" for each in names)[:1]:
        with suppress(UnreadableError):
            made = manifest.read(run.folder / name)
            return made if all(_is_here(run, file) for file in made.all_files) else None
    return None


def _continues(here: Manifest, made: Manifest) -> bool:
    """Whether what is here has gone on from what is there: nobody has resumed that since without it."""
    ours, theirs = (list[Any](each.run.get("resumed", [])) for each in (here, made))
    return ours[: len(theirs)] == theirs


def _put_aside(run: Run) -> str:
    """Keep a folder that has come further by itself than the mirror, which another attempt goes on from."""
    number = 1
    while os.path.lexists(aside := run.folder.with_name(f"{run.folder.name}-replaced-{number}")):
        number += 1
    shutil.copytree(run.folder, aside, symlinks=True, ignore=shutil.ignore_patterns(".lock"))
    return f"; what was here, which another attempt has replaced, is {aside} now"


def _is_here(run: Run, file: File) -> bool:
    try:
        content = read_plain_file(run.checkpoints / file.name, file.bytes)
    except UnreadableError:
        return False
    return len(content) == file.bytes and hashlib.sha256(content).hexdigest() == file.sha256


def _bring_checkpoint(store: Readable, there: Mapping[str, int], made: Manifest, run: Run) -> None:
    """Bring the files of a checkpoint that are not here yet."""
    wanted = [file for file in made.all_files if not _is_here(run, file)]
    for file in wanted:
        size = there.get(f"{CHECKPOINTS}/{file.name}")
        if size != file.bytes:
            has = "is missing" if size is None else f"has {size:,} bytes instead of {file.bytes:,}"
            raise UnreadableError(f"{store.shown}/{CHECKPOINTS}/{file.name} {has}")
    _require_room(run, sum(file.bytes for file in wanted), store)
    run.checkpoints.mkdir(exist_ok=True)
    for file in wanted:
        _download(store, f"{CHECKPOINTS}/{file.name}", run.checkpoints / file.name, file.bytes, file.sha256)


def _remove_other_manifests(run: Run, made: Manifest) -> None:
    for path in run.checkpoints.iterdir():
        if manifest.MANIFEST_NAME.fullmatch(path.name) and path.name != made.name:
            path.unlink()


def _bring_beside(store: Readable, there: Mapping[str, int], settings: Mapping[str, Any], run: Run) -> str:
    """Bring what lies beside the checkpoints; what was done."""
    names = [name for name, size in there.items() if is_beside(name, size)][:MOST]
    _require_room(run, sum(there[name] for name in names), store)
    for name in sorted(names, key=lambda name: name != SETTINGS):
        if name == SETTINGS:
            write_settings(run.settings_file, dict(settings))
            continue
        path = run.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(store, name, path, there[name])
    return "fetched, without what only resume needs"


def _download(store: Readable, name: str, path: Path, size: int, sha256: str | None = None) -> None:
    """Bring a file of so many bytes, and of this SHA-256 if one is known; until it is whole, none is there.

    Raises:
        UnreadableError: it is missing, or another.
    """
    temporary, digest, count = path.with_name(f".{path.name}.{os.getpid()}.tmp"), hashlib.sha256(), 0
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            for chunk in store.chunks(name):
                count += len(chunk)
                if count > size:
                    break
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if count != size or sha256 not in (None, digest.hexdigest()):
            raise UnreadableError(
                f"{store.shown}/{name} is damaged: "
                + ("its length changed" if count != size else "it does not have the SHA-256 that the manifest states")
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _require_room(run: Run, needed: int, store: Readable) -> None:
    free = shutil.disk_usage(run.folder).free
    if needed > free:
        raise UsageError(
            f"{store.shown} takes {readable_bytes(needed)}, but {readable_bytes(free)} are free in {run.folder}: "
            "choose another --run-dir"
        )
