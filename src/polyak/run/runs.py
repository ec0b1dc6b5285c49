"""A folder of runs: a new one gets its own in it, and all are found again, by their folder or as the latest."""

import datetime
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from polyak.errors import Interrupted, TrainingError, UsageError
from polyak.run.checkpoints import manifest
from polyak.run.description import VERSION, stamped, write_settings
from polyak.run.folder import Run
from polyak.run.mirror.fetching import Fetched, address_of, fetched
from polyak.settings.door import door
from polyak.settings.kinds import URL, checked

LATEST = "latest"
"""The name of the run that was begun last; a folder of this name is `./latest`."""
LONGEST = 120
"""Letters of a folder's name."""
SHOWN = 200
"""Characters of a path that a message shows at most, where it cannot be one."""
NAMED = re.compile(r"([0-9]{8}-[0-9]{6})-seed[0-9]+(-[0-9]+)?", re.ASCII)
"""What a run's folder is called, where nobody has renamed it."""


# A new one


def create(directory: Path, environment: str, algorithm: str, seed: int, settings: Mapping[str, Any]) -> Run:
    """Make the folder of a new run, `DIRECTORY/ENVIRONMENT/ALGORITHM/DATE-TIME-seedN`, and write its settings.

    Raises:
        UsageError: the folder cannot be written.
    """
    now = datetime.datetime.now(datetime.UTC)
    told = {"format": VERSION, "identity": secrets.token_hex(16), "begun": now.isoformat(timespec="microseconds")}
    parent = _parent(directory, environment, algorithm)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        run = Run(_fresh_folder(parent, f"{now.astimezone():%Y%m%d-%H%M%S}-seed{seed}"))
        if settings.get("mirror"):
            told["place"] = run.folder.relative_to(directory).as_posix()
        write_settings(run.settings_file, {**told, **stamped(settings)})
    except OSError as error:
        raise UsageError(
            f"cannot write the run folder below {directory}: {error.strerror or error}; choose another with --run-dir"
        ) from error
    return run


@contextmanager
def new_run(
    directory: Path, environment: str, algorithm: str, seed: int, settings: Mapping[str, Any]
) -> Generator[Run]:
    """`create`; where this block is refused before there is a checkpoint, nothing of it is left."""
    parent = _parent(directory, environment, algorithm)
    absent = [each for each in (parent, parent.parent, directory) if not each.exists()]
    run = create(directory, environment, algorithm, seed, settings)
    try:
        yield run
    except (TrainingError, Interrupted):
        raise
    except Exception:
        if not has_checkpoint(run):
            shutil.rmtree(run.folder, ignore_errors=True)
            for each in absent:
                with suppress(OSError):  # another run is there by now
                    each.rmdir()
        raise


def has_checkpoint(run: Run) -> bool:
    """Whether it can go on from somewhere."""
    return run.checkpoints.is_dir() and any(
        manifest.MANIFEST_NAME.fullmatch(each.name) for each in run.checkpoints.iterdir()
    )


def _parent(directory: Path, environment: str, algorithm: str) -> Path:
    safe = "".join(letter if letter.isalnum() or letter in "-_.+=" else "_" for letter in environment)[:LONGEST]
    return directory / safe / algorithm


def _fresh_folder(parent: Path, name: str) -> Path:
    """Make a folder that was not there: two runs started in the same second get two."""
    attempt = 1
    while True:
        folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            attempt += 1
        else:
            return folder


# One that is there


@door
def load(folder: str | os.PathLike[str], *, run_dir: str | os.PathLike[str] = "runs") -> Run:
    """Open the run in a folder, or with the name "latest" the one that was begun last.

    Args:
        folder: its folder, or the URL of its mirror; a folder that is itself called so is "./latest", or a `Path`.
        run_dir: where "latest" is looked for, as for `train`, and where a run at a URL is brought to.

    Raises:
        UsageError: it holds no run, or "latest" finds none.
    """
    run = named(folder, run_dir)
    _ = run.settings
    return run


def named(name: str | os.PathLike[str], run_dir: str | os.PathLike[str] = "runs", *, acting: bool = False) -> Run:
    """The run that a name is of, whatever is in its folder: "latest", the folder itself, or the URL of its mirror.

    What readers need of a run at a URL is brought into its folder below `run_dir`.

    `acting` asks for one that has a policy; the latest must have one then.

    Raises:
        UsageError: it is no path, there is no such run, or its mirror does not answer.
    """
    directory: Path = checked("run_dir", run_dir, Path)
    if isinstance(name, str) and URL.fullmatch(name):
        return fetched(str(address_of(name)), directory, whole=False)
    if not isinstance(name, str) or name != LATEST:
        return Run(_looked_at(checked("folder", name, Path)))
    runs = [run for _, run in sorted(_begun_in(directory), key=lambda pair: pair[0])]
    if not runs:
        raise UsageError(
            f"there is no run in {directory}, where {LATEST} is looked for: --run-dir says where else, and "
            f"polyak train makes one; a folder of that name is ./{LATEST}"
        )
    if acting and not runs[-1].policy_file.exists():
        others = [run for run in runs if run.policy_file.exists()]
        last = f"the last that has one is {others[-1].folder}" if others else f"no run in {directory} has one"
        raise UsageError(
            f"the latest run, {runs[-1].folder}, has no policy yet: its first evaluation writes one; {last}"
        )
    return runs[-1]


def is_policy_file(name: object) -> bool:
    """Whether a name is that of a policy's file, and not of a run."""
    try:
        file = Path(os.fspath(cast("str | os.PathLike[str]", name)))
        return file.suffix == ".safetensors" or os.path.isfile(file)  # noqa: PTH113 - a name of any length is asked for
    except (TypeError, ValueError):
        return False


def to_go_on(name: str | os.PathLike[str], run_dir: str | os.PathLike[str] = "runs") -> Run:
    """`named`, to be trained: what lies at a mirror, a URL or a folder, is brought here with its newest checkpoint.

    Raises:
        UsageError: as for `named`; or no checkpoint there is whole.
    """
    address = address_of(name)
    if isinstance(name, Fetched) or address is None:
        return name if isinstance(name, Fetched) else named(name, run_dir)
    return fetched(address, checked("run_dir", run_dir, Path), whole=True)


def _looked_at(path: Path) -> Path:
    """A path that the system takes for one, whatever is there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        shown = str(path) if len(str(path)) < SHOWN else f"{str(path)[:SHOWN]}..."
        raise UsageError(f"{shown} is not a run: {error.strerror or error}") from error
    return path


def _begun_in(directory: Path) -> Iterator[tuple[tuple[datetime.datetime, str], Run]]:
    """The runs below a folder with when each was begun; other programs' folders are left out."""
    for run in find_runs(directory) if directory.is_dir() else ():
        with suppress(UsageError):
            yield (begun(run), str(run.folder)), run


def begun(run: Run) -> datetime.datetime:
    """When a run was begun: as it says itself, or of earlier versions, as its folder's name or its settings' file does.

    Raises:
        UsageError: it is no run that can be read, and not called as one either.
    """
    settings, called = run.settings_if_whole, NAMED.fullmatch(run.folder.absolute().name)
    if settings is not None and "begun" in settings:
        return datetime.datetime.fromisoformat(settings["begun"])
    with suppress(ValueError, OverflowError):
        if called is not None:
            return datetime.datetime.strptime(called[1], "%Y%m%d-%H%M%S").astimezone()  # of the clock on the wall
    if settings is None:
        _ = run.settings  # says what is wrong
    return datetime.datetime.fromtimestamp(run.settings_file.lstat().st_mtime, datetime.UTC)


def find_runs(directory: Path) -> Iterator[Run]:
    """All runs below a folder, in the order of their paths; what lies within a run is its own, and links lead nowhere.

    Raises:
        UsageError: there is no such folder.
    """
    if not directory.is_dir():
        raise UsageError(f"there is no folder {directory}")
    found: list[Path] = []
    for place, folders, files in os.walk(directory):
        if "settings.json" in files:
            found.append(Path(place))
            folders.clear()
    yield from map(Run, sorted(found))
