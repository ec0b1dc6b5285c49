"""What is checked before a run's folder is touched: memory, environment, whose checkpoints these are, links."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import Run, UsageError, tracking
from polyak.errors import UnavailableError
from polyak.report.page import write_report
from polyak.run.folder import WRITTEN
from test_resume import Told
from tiny_cli import SMALL, TINY, Tiny, call_cli, untrained_run
from whole_runs import saved

DATA = Path(__file__).parent / "data"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of 40 steps, which hold 40 transitions of 28 bytes."""
    return untrained_run(tmp_path / "runs", replay_size=1_000_000)


def contents(run: Run) -> dict[Path, bytes]:
    """Of all its files; the lock's says who was there last."""
    return {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}


# Memory


def test_memory_is_needed_for_what_the_run_will_keep(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full replay would take 36 MB; the 51 transitions that there may be at most take 1.8 kB."""
    monkeypatch.setattr("polyak.experience.replay.memory_free", lambda: 51 * 36)
    monkeypatch.setattr("polyak.experience.replay.Replay.require_burst", lambda *_: None)
    with pytest.raises(
        UsageError, match=r"keep 61 transitions, for 2\.2 kB, but 1\.8 kB are free: at most 51 .* fit; fr"
    ):
        polyak.resume(run.folder, steps=60)
    assert polyak.resume(run.folder, steps=50).metrics[-1]["step"] == 50


def test_bursts_that_do_not_fit_name_no_setting_that_resume_does_not_have(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyak.experience.replay.memory_free", lambda: 2_000)
    with pytest.raises(UsageError, match=r"are free: free some$"):
        polyak.resume(run.folder, steps=50)


def test_no_memory_for_the_newest_checkpoint_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(run)
    with monkeypatch.context() as short:
        short.setattr("polyak.run.checkpoints.memory_free", lambda: 1_000)
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


# The environment


def test_a_run_of_an_id_goes_on_with_its_id(run: Run) -> None:
    before = contents(run)
    for other, name in (
        ("tiny_cli:Uneven-v0", "tiny_cli:Uneven-v0"),
        (Tiny, "Tiny"),
        (lambda: Tiny(length=3), "lambda"),
    ):
        with pytest.raises(UsageError, match=f"was trained on {TINY} and goes on with it, not with .*{name}: leave"):
            polyak.resume(run.folder, steps=50, environment=other)
    code, _, errors = call_cli("resume", str(run.folder), "--steps", "50", "--environment", "tiny_cli:Uneven-v0")
    assert (code, "goes on with it, not with tiny_cli:Uneven-v0" in errors) == (2, True)
    assert contents(run) == before
    assert polyak.resume(run.folder, steps=50, environment=TINY).settings["resumed"][0]["changed"] == []


def test_evaluation_and_recording_take_any_environment(run: Run) -> None:
    assert run.evaluate(1, environment=lambda: Tiny(length=3)).lengths == (3,)
    assert run.record(1, environment=Tiny).exists()


class Other(Tiny):
    """The same by another name."""


def test_another_callable_is_recorded(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, Tiny)
    assert polyak.resume(run.folder, steps=45, environment=Tiny).settings["resumed"][-1]["changed"] == []
    told = Told()
    resumed = polyak.resume(run.folder, steps=50, environment=Other, observer=told)
    assert told.facts["trains on"] == "Other from now on; Tiny before"
    assert resumed.settings["environment"] == "Other"
    assert resumed.settings["environment_is_callable"] is True
    assert resumed.settings["resumed"][-1]["changed"] == ["environment Tiny is Other now"]
    assert saved(resumed).manifest.run["environment"] == "Other"
    resumed = polyak.resume(run.folder, steps=55, environment=TINY)
    assert resumed.settings["resumed"][-1]["changed"] == [f"environment Other is {TINY} now"]
    with pytest.raises(UsageError, match="which a folder cannot hold: pass it as `environment`"):
        polyak.resume(run.folder, steps=60)


# Whose checkpoints these are


def exchanged(run: Run, other: Run) -> None:
    """Give a run the checkpoints of another."""
    shutil.rmtree(run.checkpoints)
    shutil.copytree(other.checkpoints, run.checkpoints)


@pytest.mark.parametrize("changes", [{"algorithm": "td3"}, {"seed": 1}, {"environment": "tiny_cli:Uneven-v0"}, {}])
def test_the_checkpoints_of_another_run_are_refused(changes: dict[str, Any], run: Run, tmp_path: Path) -> None:
    """Also those of one that is equal in all that was asked for."""
    asked = {"algorithm": "ddpg", "environment": TINY, **changes}
    other = polyak.train(run_dir=tmp_path / "other", **{**SMALL, "update_after": 1_000, **asked})
    exchanged(run, other)
    before = contents(run)
    with pytest.raises(UsageError, match=r"checkpoint-000003\.json belongs to another run than .*: its identity is "):
        polyak.resume(run.folder, steps=50)
    with pytest.raises(UsageError, match="belongs to another run"):
        polyak.train("ddpg", TINY, from_run=run.folder, run_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert contents(run) == before
    run.settings_file.unlink()  # the remedy
    assert polyak.resume(run.folder, steps=50).settings["identity"] == other.settings["identity"]


def test_one_manifest_of_another_run_among_the_own_is_refused_and_not_removed(run: Run, tmp_path: Path) -> None:
    other = untrained_run(tmp_path / "other", checkpoint_every=5)
    newest = max(other.checkpoints.glob("*.json"))
    shutil.copy(newest, run.checkpoints)
    with pytest.raises(UsageError, match=f"{newest.name} belongs to another run"):
        polyak.resume(run.folder, steps=50)
    assert (run.checkpoints / newest.name).exists()


@pytest.mark.parametrize(("name", "value"), [("algorithm", "td3"), ("seed", 5), ("environment", "Pendulum-v1")])
def test_runs_from_before_there_were_identities_are_told_by_what_was_asked_for(
    name: str, value: Any, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(DATA / "run-format-3", tmp_path / "run")))
    original = run.settings_file.read_text()
    run.settings_file.write_text(json.dumps({**json.loads(original), name: value}))
    with pytest.raises(UsageError, match=f"belongs to another run .*: its {name} is "):
        polyak.resume(run.folder)
    run.settings_file.write_text(json.dumps({**json.loads(original), "identity": "0" * 32}))
    with pytest.raises(UsageError, match=r"belongs to another run .*: its identity is none, not 000"):
        polyak.resume(run.folder)


def test_a_run_keeps_its_identity_and_its_other_files_do_not_know_it(tmp_path: Path) -> None:
    runs = [untrained_run(tmp_path / name) for name in "ab"]
    names = [run.settings["identity"] for run in runs]
    assert len(set(names)) == 2
    for run, name in zip(runs, names, strict=True):
        assert saved(run).manifest.run["identity"] == name
        assert name not in tracking.parameters(run.settings).values()
        holding = {path.name for path in contents(run) if name.encode() in path.read_bytes()}
        assert holding == {"settings.json", "checkpoint-000002.json", "checkpoint-000003.json"}
    for mine in contents(runs[0]):
        if mine.suffix == ".safetensors":
            assert mine.read_bytes() == (runs[1].folder / mine.relative_to(runs[0].folder)).read_bytes()
    moved = Path(shutil.copytree(runs[0].folder, tmp_path / "copy"))
    assert polyak.resume(moved, steps=50).settings["identity"] == names[0]
    runs[0].folder.rename(tmp_path / "renamed")
    exchanged(Run(tmp_path / "renamed"), Run(moved))  # copies of one run may stand in for one another
    assert polyak.resume(tmp_path / "renamed", steps=60).metrics[-1]["step"] == 60


# Links


@pytest.mark.parametrize("name", WRITTEN)
def test_a_link_is_refused_before_anything_is_written_or_removed(name: str, run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    if (run.folder / name).exists():
        (run.folder / name).rename(outside)
    else:
        outside.mkdir()
    (run.folder / name).symlink_to(outside)
    before = state(tmp_path)
    refused = rf"{name} (is a link: polyak neither writes|cannot be read: it is a link)"
    for use in (
        lambda: polyak.resume(run.folder, steps=50),
        lambda: Run(run.folder).evaluate(1),
        lambda: Run(run.folder).record(1),
        lambda: Run(run.folder).record(1, output=tmp_path / "film.mp4"),
        lambda: write_report([Run(run.folder)]),
        lambda: write_report([Run(run.folder)], tmp_path / "page.html"),
        lambda: polyak.train("ddpg", TINY, from_run=run.folder, run_dir=tmp_path / "new"),
    ):
        with pytest.raises(UsageError, match=refused):
            use()
    assert state(tmp_path) == before


def test_a_link_to_nowhere_is_refused_and_one_to_the_run_itself_is_not(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run.folder)
    assert polyak.resume(tmp_path / "latest", steps=50).metrics[-1]["step"] == 50
    (run.folder / "videos").symlink_to(tmp_path / "nowhere")
    many = ("train", "ddpg", TINY, "--from", str(run.folder), "--seeds", "0-1", "--run-dir", str(tmp_path / "new"))
    for command in (("record", str(run.folder)), many):
        code, _, errors = call_cli(*command)
        assert (code, "videos is a link: polyak neither" in errors) == (2, True)
    assert not (tmp_path / "new").exists()


def state(folder: Path) -> dict[str, Any]:
    """All that is in it: links, folders, contents."""
    return {
        str(path): path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def test_a_film_is_not_written_through_a_link_that_somebody_left(run: Run, tmp_path: Path) -> None:
    (outside := tmp_path / "outside").write_text("mine")
    run.videos.mkdir()
    (run.videos / f".policy-seed0.mp4.{os.getpid()}.tmp").symlink_to(outside)
    (run.videos / "policy-seed0.mp4").symlink_to(outside)
    assert run.record(1).stat().st_size > 100
    assert outside.read_text() == "mine"
