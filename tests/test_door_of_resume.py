"""What `resume` checks before it touches anything: memory, checkpoints, remedies that exist."""

from pathlib import Path

import pytest

import polyak
from polyak import Run, UsageError
from polyak.errors import UnavailableError
from tiny_cli import untrained_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of 40 steps, which hold 40 transitions of 28 bytes."""
    return untrained_run(tmp_path / "runs", replay_size=1_000_000)


def contents(run: Run) -> dict[Path, bytes]:
    """Of all its files; the lock's says who was there last."""
    return {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}


# Memory


def test_memory_is_needed_for_what_the_run_will_keep(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full replay would take 28 MB; the 51 transitions that there may be at most take 1.4 kB."""
    monkeypatch.setattr("polyak.replay.memory_free", lambda: 51 * 28)
    monkeypatch.setattr("polyak.replay.Replay.require_burst", lambda *_: None)
    with pytest.raises(
        UsageError, match=r"keep 61 transitions, for 1\.7 kB, but 1\.4 kB are free: at most 51 .* fit; fr"
    ):
        polyak.resume(run.folder, steps=60)
    assert polyak.resume(run.folder, steps=50).metrics[-1]["step"] == 50


def test_bursts_that_do_not_fit_name_no_setting_that_resume_does_not_have(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyak.replay.memory_free", lambda: 2_000)
    with pytest.raises(UsageError, match=r"are free: free some$"):
        polyak.resume(run.folder, steps=50)


def test_no_memory_for_the_newest_checkpoint_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(run)
    with monkeypatch.context() as short:
        short.setattr("polyak.checkpoints.memory_free", lambda: 1_000)
        with pytest.raises(UnavailableError, match=r"-000003\..* cannot be read just now: it takes .* of memory"):
            polyak.resume(run.folder, steps=50)
    assert contents(run) == before
    assert polyak.resume(run.folder, steps=50).settings["resumed"][0]["step"] == 40


# Remedies


def test_no_checkpoint_names_no_remedy_that_needs_one(run: Run) -> None:
    for path in run.checkpoints.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="there is no checkpoint in") as caught:
        polyak.resume(run.folder)
    assert "--from" not in str(caught.value)


def test_a_new_run_is_offered_where_a_learner_is_left(run: Run, tmp_path: Path) -> None:
    segments = list(run.checkpoints.glob("replay-*"))
    for path in segments:
        path.unlink()
    with pytest.raises(UsageError, match=r"its learner is whole, and `polyak train \.\.\. --from .*` begins"):
        polyak.resume(run.folder)
    untrained_run(tmp_path, from_run=run.folder)  # the remedy exists
    for path in run.checkpoints.glob("learner-*"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"is damaged|there is no file") as caught:
        polyak.resume(run.folder)
    assert "--from" not in str(caught.value)
