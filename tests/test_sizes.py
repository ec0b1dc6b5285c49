"""Sizes are looked at before anything is read: no file of a stranger's takes the machine's memory."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import Policy, Run, UsageError, tracking
from polyak.algorithms import algorithm
from polyak.errors import UnavailableError, UnreadableError
from polyak.html import video
from polyak.report.page import page, write_report
from polyak.settings import presets
from polyak.system.files import read_plain_file
from tiny_cli import call_cli, untrained_run

HUGE = 20_000_000_000
"""Bytes of a file with a hole in it, which takes no room on the disk."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(made.folder, tmp_path / "run")))


@contextmanager
def little_memory() -> Generator[None]:
    """At most 64 MB, whatever this block reads."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()


def grown(path: Path, size: int = HUGE) -> Path:
    os.truncate(path, size)
    return path


READ: dict[str, Callable[[Run], Any]] = {
    "policy.safetensors": lambda run: run.policy,
    "best.safetensors": lambda run: run.evaluate(1, best=True),
    "metrics.jsonl": lambda run: run.metrics,
    "settings.json": lambda run: polyak.load(run.folder),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("size", [HUGE, 600_000_000])
def test_a_file_that_has_grown_is_not_read(name: str, size: int, run: Run) -> None:
    grown(run.folder / name, size)
    with little_memory(), pytest.raises(UnreadableError, match=rf"{name} holds more than [0-9,]+ bytes"):
        READ[name](run)


@pytest.mark.parametrize("more", [1, 100_000_000])
def test_a_policy_longer_than_its_header_says_is_not_read(more: int, run: Run) -> None:
    size = run.policy_file.stat().st_size
    grown(run.policy_file, size + more)
    with (
        little_memory(),
        pytest.raises(UnreadableError, match=rf"has {size + more:,} bytes, but {size:,} by its own h"),
    ):
        Policy.load(run.policy_file)


@pytest.mark.parametrize("end", [2**62, -1, "8", None, [8]])
def test_a_header_that_lies_about_where_arrays_end_is_refused(end: Any, tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, end]}}).encode()
    (path := tmp_path / "policy.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with little_memory(), pytest.raises(UsageError, match=r"policy\.safetensors (is damaged|cannot be read)"):
        Policy.load(path)


@pytest.mark.parametrize("length", [2**63, 2_000_000, 10**9])
def test_a_header_longer_than_any_is_refused(length: int, tmp_path: Path) -> None:
    (path := tmp_path / "policy.safetensors").write_bytes(length.to_bytes(8, "little"))
    grown(path, 400_000_000)
    with little_memory(), pytest.raises(UsageError, match="its header is cut off"):
        Policy.load(path)


def test_resume_reads_neither_a_grown_manifest_nor_a_grown_learner(run: Run) -> None:
    newest, before = sorted(run.checkpoints.glob("checkpoint-*.json"), reverse=True)
    grown(newest)
    grown(run.checkpoints / json.loads(before.read_text())["files"]["learner"]["name"])
    with little_memory(), pytest.raises(UnreadableError, match=r"\.json holds more than 16,000,000 bytes"):
        polyak.resume(run.folder)


def test_a_grown_note_of_trackers_is_left_unread(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.folder / tracking.FILE).write_text("{}")
    grown(run.folder / tracking.FILE)
    with little_memory():
        assert tracking.track((), run) == ([], {})
    assert "tracking.json holds more than 100,000 bytes" in capsys.readouterr().err


def test_a_preset_that_is_no_text_of_a_person_is_not_read(tmp_path: Path) -> None:
    (path := tmp_path / "own.toml").write_text("")
    grown(path)
    with little_memory(), pytest.raises(UsageError, match=r"own\.toml cannot be read: .* more than 100,000 bytes"):
        presets.load(str(path), algorithm("sac"), "Pendulum-v1")
    path.write_text("a = " + "[" * 50_000)
    with pytest.raises(UsageError, match=r"own\.toml cannot be read"):
        presets.load(str(path), algorithm("sac"), "Pendulum-v1")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageError, match=r"own\.toml is not a plain file"):
        presets.load(str(path), algorithm("sac"), "Pendulum-v1")


def test_a_video_too_large_for_a_page_is_said_and_left_out(run: Run) -> None:
    run.videos.mkdir()
    (run.videos / "policy-seed0.mp4").write_bytes(b"")
    film = grown(run.videos / "policy-seed0.mp4")
    with little_memory(), pytest.raises(UnreadableError, match=r"holds more than 100,000,000 bytes"):
        video(film, "")
    code, output, _ = call_cli("report", str(run.folder))
    assert code == 0
    assert "is left out: there are 300,000,000 bytes of video already" in Path(output.strip()).read_text()
    grown(film, 200_000_000)
    assert "holds more than 100,000,000 bytes" in page([run])


def test_a_report_reads_no_more_than_it_has_room_for(run: Run, made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as small:
        small.setattr("polyak.report.page.METRICS_LIMIT", 1_000)
        with pytest.raises(UsageError, match="metrics of 2 runs hold more than 1,000 bytes together: report on fewer"):
            write_report([made, run])
    grown(run.metrics_file)
    with little_memory(), pytest.raises(UnreadableError, match=r"metrics\.jsonl holds more than 64,000,000 bytes"):
        write_report([made, run])


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "file").write_bytes(bytes(100))
    fstat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        with path.open("ab") as file:
            file.write(bytes(100))
        return found

    monkeypatch.setattr("polyak.system.files.os.fstat", growing)
    with pytest.raises(UnreadableError, match="holds more than 150 bytes"):
        read_plain_file(path, 150)


def test_no_memory_for_a_policy_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("polyak.system.arrayfiles.load", fail)
    with pytest.raises(UnavailableError, match=r"policy\.safetensors cannot be read just now: memory is short"):
        Policy.load(run.policy_file)


def test_a_small_file_takes_little_memory_and_one_that_grows_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "file").write_bytes(b"first ")
    with little_memory():
        assert read_plain_file(path, 1_000_000_000) == b"first "
    fstat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        with path.open("ab") as file:
            file.write(b"and more")
        return found

    monkeypatch.setattr("polyak.system.files.os.fstat", growing)
    assert read_plain_file(path, 1_000) == b"first and more"
