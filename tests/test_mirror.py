"""A run's mirror: what lies there at every moment, who may write to it, and how a run goes on from it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import polyak
from mirrored import OPTIONS, killed_at
from polyak import Run, TrainingError, UsageError
from polyak.run.checkpoints import manifest
from polyak.run.mirror import attempts, sending
from polyak.system.stores import store_at
from polyak.system.stores.folder import Folder
from polyak.system.stores.remote import Remote
from polyak.system.stores.store import read
from tiny_cli import untrained_run
from whole_runs import assert_same

RAISES = "tiny_cli:Raises-v0"
"""Its simulator breaks in the 25th step of an instance, so that a run of 40 has to be gone on with once."""


def failed_run(folder: Path, mirror: str | Path, **options: Any) -> None:
    """A run that has ended by itself after 24 steps, all of which its mirror has."""
    with pytest.raises(TrainingError, match="the simulator broke"):
        untrained_run(folder, RAISES, mirror=mirror, **options)


def resumed(what: Any, **options: Any) -> Run:
    with pytest.warns(UserWarning, match="nothing is learned"):
        return polyak.resume(what, **options)


def only(folder: Path) -> Path:
    """The one run below a folder."""
    (found,) = folder.glob("*/*/*")
    return found


def names(folder: Path) -> set[str]:
    """Of the files below, but for what each side has for itself."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("attempts/") and name != ".lock"}


def beside(folder: Path) -> set[str]:
    """Of the files beside the checkpoints."""
    return {name for name in names(folder) if not name.startswith("checkpoints/") or name.endswith(".tmp")}


@pytest.fixture
def memory() -> Iterator[str]:
    """A mirror at a URL of fsspec's."""
    import fsspec

    yield "memory://copies"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training waits for what is being sent, so that it is known what is there."""
    made = sending.Mirror.__init__

    def begin(self: sending.Mirror, *given: Any, **_: Any) -> None:
        made(self, *given, waits=True)

    monkeypatch.setattr(sending.Mirror, "__init__", begin)


# What lies there


def test_a_mirror_is_the_folder_as_it_ends(tmp_path: Path, waiting: None) -> None:
    run = untrained_run(tmp_path / "runs", mirror=tmp_path / "copies")
    copy = tmp_path / "copies" / run.settings["place"]
    assert copy.relative_to(tmp_path / "copies") == run.folder.relative_to(tmp_path / "runs")
    assert names(copy) == names(run.folder)
    for name in names(copy):
        assert (copy / name).read_bytes() == (run.folder / name).read_bytes(), name
    assert len(list((copy / "checkpoints").glob("*.json"))) == 2  # what is pruned here vanishes there
    assert run.settings["mirror"] == str(tmp_path / "copies")
    assert_same(polyak.load(copy), run)  # readers take it as it is
    assert_same(untrained_run(tmp_path / "alone"), run)  # and it has changed no number


def test_each_checkpoint_is_one_consistent_run_whose_manifest_comes_last(
    tmp_path: Path, waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each single write and removal, a copy of what lies there can be read, and is a run to go on from."""
    order: list[str] = []

    def watched(name: str) -> None:
        usual: Any = getattr(Folder, name)

        def act(self: Folder, file: str, *given: Any) -> Any:
            made = usual(self, file, *given)
            order.append(f"{name} {file}")
            manifests = sorted(self.path.glob("checkpoints/checkpoint-*.json"))
            for each in manifests:
                of = manifest.read(each)
                assert all((self.path / "checkpoints" / other).exists() for other in of.names), order
            return made

        monkeypatch.setattr(Folder, name, act)

    watched("write")
    watched("remove")
    untrained_run(tmp_path / "runs", mirror=tmp_path / "copies", checkpoint_every=10)
    sent = [each for each in order if each.startswith("write")]
    assert len([each for each in sent if "checkpoint-" in each]) == 5
    assert len({each for each in sent if "checkpoints/" in each}) == len(
        [each for each in sent if "checkpoints/" in each]
    )


def test_segments_of_replay_are_sent_once(tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from polyak.run.checkpoints import segments

    monkeypatch.setattr(segments, "SMALL", 0)  # so that each checkpoint has a segment of its own
    sent: list[str] = []
    usual = Remote.send
    monkeypatch.setattr(Remote, "send", lambda self, name, file: (sent.append(name), usual(self, name, file))[1])
    failed_run(tmp_path, memory, checkpoint_every=5)
    shutil.rmtree(tmp_path)
    run = resumed(memory, run_dir=tmp_path)
    segment_names = [name for name in sent if "replay-" in name]
    assert len(segment_names) == len(set(segment_names)) >= 4
    held = manifest.read(sorted(run.checkpoints.glob("*.json"))[-1]).segments
    assert {f"checkpoints/{each.file.name}" for each in held} <= set(segment_names)


# Going on from it


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_a_run_goes_on_from_its_mirror_bit_for_bit(where: str, tmp_path: Path, memory: str) -> None:
    mirror = memory if where == "memory" else str(tmp_path / "copies")
    failed_run(tmp_path / "runs", mirror)
    place = only(tmp_path / "runs").relative_to(tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs")
    run = resumed(f"{mirror}/{place}", run_dir=tmp_path / "runs")
    assert run.folder == tmp_path / "runs" / place
    undisturbed = untrained_run(tmp_path / "alone")
    ours, theirs = (
        [{key: value for key, value in record.items() if "/" not in key or key[0] in "te"} for record in each.metrics]
        for each in (run, undisturbed)
    )
    clocks = ("seconds", *(key for key in ours[0] if key.startswith("time/")))
    for mine, other in zip(ours, theirs, strict=True):
        assert {k: v for k, v in mine.items() if k not in clocks} == {k: v for k, v in other.items() if k not in clocks}
    there = store_at(f"{mirror}/{place}")
    assert attempts.newest(there.files()) == 2
    (last,) = [
        name for name in there.files() if name == f"checkpoints/{sorted(run.checkpoints.glob('*.json'))[-1].name}"
    ]
    assert json.loads(read(there, last, 10**6))["step"] == 40
    assert json.loads(read(there, "ending.json", 1000))["state"] == "done"
    assert run.settings["mirror"] == mirror
    assert run.settings["resumed"][0]["changed"] == []


def test_what_was_killed_at_any_moment_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """SIGKILL before a single write or removal at the mirror, or in the middle of one; then only the mirror is left."""
    alone = untrained_run(tmp_path / "alone", **OPTIONS)
    points = (*range(2, 40, 5), *range(-3, -40, -7))
    killed_at(points, str(tmp_path / "copies"), tmp_path / "runs")
    went_on = 0
    for number, point in enumerate(points):
        copies = tmp_path / f"copies/{number}"
        (place,) = copies.glob("*/*/*") if copies.exists() else [None]
        assert place is not None, point
        if not list(place.glob("checkpoints/checkpoint-*.json")):
            with pytest.raises(UsageError, match=r"there is no (checkpoint|run) at"):
                polyak.resume(place, run_dir=tmp_path / f"again/{number}")
            continue
        run = resumed(place, run_dir=tmp_path / f"again/{number}")
        assert_same(run, alone)
        assert beside(place) == beside(run.folder)  # nothing is left of what was cut
        assert_same(polyak.load(place), alone)
        went_on += 1
    assert went_on >= len(points) // 2
