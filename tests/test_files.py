"""A file is written whole or not at all."""

import os
from pathlib import Path

import pytest

from polyak.system.files import write_atomically


def test_content_is_written_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")
    assert file.read_bytes() == b"old"
    write_atomically(file, b"new and longer")
    assert file.read_bytes() == b"new and longer"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failing_write_leaves_the_old_content_and_no_temporary_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert list(tmp_path.iterdir()) != [file]  # something had been begun beside the file
        raise OSError(28, "No space left on device")

    file = tmp_path / "file"
    file.write_bytes(b"old")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_readers_see_the_old_content_until_the_new_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    seen: list[bytes] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: seen.append(file.read_bytes()) or fsync(number))
    write_atomically(file, b"new")
    assert seen == [b"old"]


def test_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", b"")


def test_a_link_that_somebody_left_is_not_written_through(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to(elsewhere)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert elsewhere.read_bytes() == b"mine"
