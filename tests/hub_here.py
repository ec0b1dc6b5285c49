"""A stand-in for the Hub: its client's interface, in a folder of this machine, with the errors of the real one."""

import fnmatch
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub import errors


def refused(kind: type[Any], status: int) -> Exception:
    """An error of the client, as a response of this status makes it."""
    return kind("refused", response=SimpleNamespace(status_code=status, headers={}, request=None))


@dataclass
class HubHere:
    """Repositories as folders; stands for the class `HfApi` and its instances."""

    root: Path
    token: str | None = "a secret"
    down: Exception | None = None
    """What everything raises."""
    asked: list[str] = field(default_factory=list[str])
    private: bool | None = None
    lies: dict[str, int] = field(default_factory=dict[str, int])
    """Sizes that are said instead of the real ones."""

    def __call__(self, **_: Any) -> "HubHere":
        return self

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.down is not None:
            raise self.down

    def whoami(self) -> dict[str, str]:
        self._answer("whoami")
        if self.token is None:
            raise errors.LocalTokenNotFoundError("no token")
        return {"name": "someone"}

    def create_repo(self, repo: str, *, private: bool | None, exist_ok: bool) -> str:
        self._answer("create_repo")
        self.private = private
        (self.root / repo).mkdir(parents=True, exist_ok=exist_ok)
        return f"https://hub.test/{repo}"

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: Path,
        revision: str | None,
        commit_message: str,
        delete_patterns: Sequence[str],
    ) -> None:
        self._answer("upload_folder")
        del revision, commit_message
        for name in self._names(repo_id):
            if any(fnmatch.fnmatch(name, pattern) for pattern in delete_patterns):
                (self.root / repo_id / name).unlink()
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)

    def model_info(self, repo: str, *, revision: str | None, files_metadata: bool) -> Any:
        self._answer("model_info")
        assert files_metadata
        if not (self.root / repo).is_dir():
            raise refused(errors.RepositoryNotFoundError, 404)
        if revision not in (None, "main"):
            raise refused(errors.RevisionNotFoundError, 404)
        sizes = {name: (self.root / repo / name).lstat().st_size for name in self._names(repo)} | self.lies
        siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
        return SimpleNamespace(siblings=siblings, sha=hashlib.sha1(repo.encode()).hexdigest())

    def hf_hub_download(self, repo: str, name: str, *, revision: str, local_dir: str) -> str:
        self._answer(f"download {name}")
        assert revision == hashlib.sha1(repo.encode()).hexdigest()
        if not (self.root / repo / name).is_file():
            raise refused(errors.RemoteEntryNotFoundError, 404)
        place = Path(local_dir, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        return shutil.copy(self.root / repo / name, place)

    def _names(self, repo: str) -> list[str]:
        top = self.root / repo
        return sorted(Path(at, name).relative_to(top).as_posix() for at, _, names in os.walk(top) for name in names)
