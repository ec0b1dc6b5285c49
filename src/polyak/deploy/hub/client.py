"""The Hub by its own client, `huggingface_hub`: what is sent to it and asked of it; its errors in one line each."""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from polyak.errors import UnavailableError, UnreadableError, UsageError
from polyak.system.stores.store import CHUNK

PACKAGE = "huggingface_hub"
WORDS = 300
"""Letters of the Hub's own message that are shown."""


def require_package() -> None:
    """Check that the Hub's client is installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec(PACKAGE) is None:
        raise UsageError('the Hub needs a package that is not installed: pip install "polyak[hub]"')


class Client:
    """What polyak asks of the Hub; where it is and who asks is the client's own to know (HF_TOKEN, HF_ENDPOINT)."""

    def __init__(self) -> None:
        import huggingface_hub

        self._api: Any = huggingface_hub.HfApi(library_name="polyak")

    def require_login(self) -> None:
        """Check that the Hub knows who asks.

        Raises:
            UsageError: it does not.
            UnavailableError: it does not answer.
        """
        with answering("the Hub", "written"):
            self._api.whoami()

    def send(self, folder: Path, repo: str, *, private: bool, revision: str | None) -> str:
        """Put what is in a folder into a repository, in one commit, and take away what an earlier push has put there.

        Returns:
            Where it is.
        """
        with answering(repo, "written"):
            made = self._api.create_repo(repo, private=private or None, exist_ok=True)
            self._api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                revision=revision,
                commit_message="A policy trained with polyak",
                delete_patterns=["seed-*", "*.onnx", "*.mp4", "best.safetensors"],
            )
        return str(made)

    def store(self, repo: str, revision: str | None) -> "Repository":
        """A repository as it is now: what is read of it later is of the same commit."""
        with answering(repo, "read"):
            info = self._api.model_info(repo, revision=revision, files_metadata=True)
        sizes = {str(each.rfilename): int(each.size or 0) for each in info.siblings or ()}
        return Repository(self._api, repo, str(info.sha), sizes)


@dataclass(frozen=True)
class Repository:
    """A commit of a repository, or a folder of it, as what reads a run at a mirror takes it (`stores.Store`)."""

    api: Any
    repo: str
    commit: str
    sizes: dict[str, int]
    place: str = ""

    @property
    def shown(self) -> str:
        """The repository's name, with the folder."""
        return f"{self.repo}/{self.place}".rstrip("/")

    def files(self) -> dict[str, int]:
        """Name and bytes of every file below."""
        return {name.removeprefix(self.place): size for name, size in self.sizes.items() if name.startswith(self.place)}

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a file, in pieces; it is brought into a folder that is gone afterwards, into no cache."""
        with tempfile.TemporaryDirectory(prefix="polyak-pull-") as temporary:
            with answering(self.shown, "read"):
                path = self.api.hf_hub_download(
                    self.repo, f"{self.place}{name}", revision=self.commit, local_dir=temporary
                )
            with Path(path).open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk

    def below(self, name: str) -> "Repository":
        """The folder below."""
        return Repository(self.api, self.repo, self.commit, self.sizes, f"{self.place}{name}/")


@contextmanager
def answering(place: str, what: str) -> Generator[None]:
    """Say in one line why the Hub does not do what it is asked for; no message of ours holds a token.

    Raises:
        UsageError: there is no such repository or file, or whoever asks may not.
        UnavailableError: the Hub does not answer.
    """
    from huggingface_hub import errors

    login = "log in (`hf auth login`) or set HF_TOKEN, to a token that may write there"
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise UsageError(f"{place} cannot be {what}: the Hub does not know who asks; {login}") from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{place} has no such revision") from error
    except errors.GatedRepoError as error:
        raise UsageError(f"{place} is gated: ask for access on its page, and {login}") from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(f"there is no {place} on the Hub for whoever asks; where it is private, {login}") from error
    except errors.EntryNotFoundError as error:
        raise UnreadableError(f"{place} does not hold what it lists") from error
    except errors.HFValidationError as error:
        raise UsageError(f"{place} is no name that the Hub takes: {_line(error)}") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise UsageError(f"{place} cannot be {what}: the Hub refuses ({status}); {login}") from error
        raise UnavailableError(f"{place} cannot be {what} just now: {_line(error)}") from error
    except (OSError, _of_the_network()) as error:  # no network, or the client is told to be offline
        raise UnavailableError(f"{place} cannot be {what} just now: {_line(error)}") from error


def _of_the_network() -> type[Exception]:
    """What the client's own client raises where there is no way to the Hub."""
    from huggingface_hub import errors

    return cast("type[Exception]", vars(errors)["HTTPError"])


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:WORDS] or type(error).__name__
