"""A store in a folder, such as one that machines share: no package is needed, and no link is followed."""

import errno
import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from polyak.errors import UnreadableError
from polyak.system.files import opened, sync_folder, write_atomically
from polyak.system.stores.store import CHUNK, away


@dataclass(frozen=True)
class Folder:
    """As `Store` says it."""

    path: Path

    @property
    def shown(self) -> str:
        """Its path."""
        return str(self.path)

    def files(self) -> dict[str, int]:
        """Plain files alone."""
        found: dict[str, int] = {}

        def fail(error: OSError) -> None:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise error

        with self._answering("read"):
            for place, _, names in os.walk(self.path, onerror=fail):  # which goes into no link
                for path in (Path(place, name) for name in names):
                    with suppress(FileNotFoundError):  # it is being replaced
                        if path.is_file() and not path.is_symlink():
                            found[path.relative_to(self.path).as_posix()] = path.lstat().st_size
        return found

    def chunks(self, name: str) -> Iterator[bytes]:
        """Through no link, neither of the file nor of a folder on the way."""
        path = self.path / name
        for each in path.parents:
            if each == self.path:
                break
            if each.is_symlink():
                raise UnreadableError(f"{path} cannot be read: {each} is a link")
        with opened(path) as (file, _):
            while chunk := file.read(CHUNK):
                yield chunk

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all."""
        path = self.path / name
        with self._answering("written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
            sync_folder(path.parent)

    def send(self, name: str, file: Path) -> None:
        """The same; a segment of replay is the longest that there is."""
        self.write(name, file.read_bytes())

    def create(self, name: str, content: bytes) -> bool:
        """By a second name for a whole file, which one alone can make."""
        path = self.path / name
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        with self._answering("written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_atomically(temporary, content)
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(path.parent)
        return True

    def remove(self, name: str) -> None:
        """Its folder stays."""
        with self._answering("written"):
            (self.path / name).unlink(missing_ok=True)

    def below(self, name: str) -> "Folder":
        """The folder in it."""
        return Folder(self.path / name)

    @contextmanager
    def _answering(self, what: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise away(self.shown, what, str(error.strerror or error)) from error
