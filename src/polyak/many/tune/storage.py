"""Where a study is kept: a SQLite file, a journal file, or a database that a URL names. All are Optuna's own.

None of them holds a pickle: SQLite has numbers and JSON, a journal is lines of JSON.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from polyak.errors import UsageError
from polyak.system.files import prepare_to_write

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = ".journal"
"""How a journal file's name ends; any other file is SQLite's."""
BUSY_SECONDS = 60.0
"""How long SQLite waits for another process that writes."""
REMEDY = 'tune needs Optuna, which is not installed: pip install "polyak[tune]"'


def require_optuna() -> None:
    """Check that Optuna is installed, without importing it.

    Raises:
        UsageError: it is not.
    """
    if find_spec("optuna") is None:
        raise UsageError(REMEDY)


@contextmanager
def quiet() -> Generator[None]:
    """Let Optuna say no more than warnings in this block, since what it does is told here."""
    import optuna

    logger = logging.getLogger(optuna.__name__)
    level = logger.level
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def is_url(storage: str) -> bool:
    """Whether it names a database and no file."""
    return "://" in storage


def shown(storage: str) -> str:
    """A storage as it may be printed: a URL without user, password and arguments."""
    if not is_url(storage):
        return storage
    try:
        parts = urlsplit(storage)
        place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return f"{storage.partition('://')[0]}://..."
    return f"{parts.scheme}://{place}{parts.path}"


def prepare(storage: str) -> None:
    """Refuse a storage that cannot be written, or in which Optuna leaves pickles, before anything else is made.

    Raises:
        UsageError: it is Redis, or a file that cannot be written.
    """
    if storage.startswith("redis"):
        raise UsageError(
            "storage is redis://..., in which Optuna leaves pickles: give a file, or an SQL database's URL"
        )
    if not is_url(storage):
        prepare_to_write(Path(storage).expanduser())


def opened(storage: str, *, make: bool = True) -> "BaseStorage":
    """Open it; with `make`, a file that is not there is made.

    Raises:
        UsageError: it cannot be opened; nothing secret of a URL is told.
    """
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    file = Path(storage).expanduser()
    if not make and not is_url(storage) and not file.is_file():
        raise UsageError(f"there is no study in {storage}: there is no such file")
    prepare(storage)
    try:
        if storage.endswith(JOURNAL) and not is_url(storage):
            return JournalStorage(JournalFileBackend(str(file)))
        if is_url(storage):
            return RDBStorage(storage)
        return RDBStorage(f"sqlite:///{file.absolute()}", engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})
    except Exception as error:  # noqa: BLE001 - whatever SQLAlchemy, a driver of somebody's, or Optuna raises
        raise UsageError(f"storage {shown(storage)} cannot be opened: {told(error, storage)}") from None


def told(error: BaseException, storage: str) -> str:
    """What an error says, in a line, without what a URL has that is secret."""
    text = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
    text = text.partition(" (Background on this error")[0].partition(" [SQL:")[0]
    if is_url(storage):
        text = text.replace(storage, shown(storage))
        try:
            secrets = [urlsplit(storage).password, urlsplit(storage).query]
        except ValueError:
            return type(error).__name__
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
    return f"{type(error).__name__}: {text}"
