"""A store at a URL, by fsspec and the package that it needs for the kind of URL."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from polyak.errors import UnreadableError, UsageError
from polyak.system.foreign import message_of
from polyak.system.stores.store import CHUNK, away

PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
}
"""What the commonest kinds need; of others fsspec says it."""
WITH_FOLDERS = ("dbfs", "ftp", "hdfs", "sftp", "smb", "ssh", "webdav", "webhdfs")
"""Where a file's folder must be made first. Elsewhere that would be a bucket, which is nobody's wish."""


@dataclass(frozen=True)
class Remote:
    """As `Store` says it."""

    shown: str
    system: Any
    """Of fsspec."""
    path: str
    """Within it."""

    def files(self) -> dict[str, int]:
        """As it has them now: what fsspec has heard before is forgotten."""
        with self._answering("read"):
            self.system.invalidate_cache()
            try:
                found: dict[str, Any] = self.system.find(self.path, detail=True)
            except FileNotFoundError:
                return {}
        start = f"{self.path.strip('/')}/"
        names = ((name.lstrip("/"), told) for name, told in found.items())
        return {name.removeprefix(start): int(told["size"] or 0) for name, told in names if name.startswith(start)}

    def chunks(self, name: str) -> Iterator[bytes]:
        """As they come."""
        with self._answering("read"):
            self.system.invalidate_cache()
            try:
                with self.system.open(self._at(name), "rb") as file:
                    while chunk := file.read(CHUNK):
                        yield chunk
            except FileNotFoundError as error:
                raise UnreadableError(f"there is no file {self.shown}/{name}") from error

    def write(self, name: str, content: bytes) -> None:
        """As whole as the store makes it."""
        with self._answering("written"):
            self._make_folder_of(name)
            self.system.pipe_file(self._at(name), content)

    def send(self, name: str, file: Path) -> None:
        """Read in pieces where the store takes pieces."""
        file.stat()  # one that is not there is no fault of the store
        with self._answering("written"):
            self._make_folder_of(name)
            self.system.put_file(str(file), self._at(name))

    def create(self, name: str, content: bytes) -> bool:
        """By the store's own condition where it knows one, as S3 does; else by looking first."""
        with self._answering("written"):
            self._make_folder_of(name)
            try:
                self.system.pipe_file(self._at(name), content, mode="create")
            except FileExistsError:
                return False
            except (NotImplementedError, TypeError, ValueError):
                if self.system.exists(self._at(name)):
                    return False
                self.system.pipe_file(self._at(name), content)
        return True

    def remove(self, name: str) -> None:
        """Without a look whether it is there."""
        with self._answering("written"):
            try:
                self.system.rm_file(self._at(name))
            except FileNotFoundError:
                return

    def below(self, name: str) -> "Remote":
        """By the same connection."""
        return Remote(f"{self.shown}/{name}", self.system, self._at(name))

    def _at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def _make_folder_of(self, name: str) -> None:
        if self.shown.partition("://")[0] in WITH_FOLDERS:
            self.system.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _answering(self, what: str) -> Generator[None]:
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            raise away(self.shown, what, message_of(error) or type(error).__name__) from error


def remote_at(address: str) -> Remote:
    """The store at a URL; nothing is looked at yet.

    Raises:
        UsageError: fsspec or the package for this kind of URL is not installed, or there is no such kind.
    """
    protocol = address.partition("://")[0]
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise UsageError(
            f'{address} needs a package that is not installed: pip install "polyak[mirror]"{_more(protocol)}'
        ) from error
    try:
        found: tuple[Any, str] = cast(Any, fsspec).url_to_fs(address.rstrip("/"))
    except ImportError as error:
        needed = PACKAGES.get(protocol)
        told = f"pip install {needed}" if needed else message_of(error)
        raise UsageError(f"{address} needs a package that is not installed: {told}") from error
    except Exception as error:
        raise UsageError(f"{address} is no place that can be used: {message_of(error)}") from error
    return Remote(address.rstrip("/"), *found)


def _more(protocol: str) -> str:
    return f" {PACKAGES[protocol]}" if protocol in PACKAGES else ""
