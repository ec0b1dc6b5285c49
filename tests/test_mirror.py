"""A run's mirror: what lies there at every moment, who may write to it, and how a run goes on from it."""

import json
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import polyak
from mirrored import OPTIONS, killed_at
from polyak import Run, TrainingError, UsageError
from polyak.errors import BehindError, ReplacedError, UnavailableError, UnreadableError
from polyak.run.checkpoints import manifest
from polyak.run.mirror import attempts, sending
from polyak.run.mirror.copy import PLENTY
from polyak.system.stores import store_at
from polyak.system.stores.folder import Folder
from polyak.system.stores.remote import Remote
from polyak.system.stores.store import read
from tiny_cli import PATIENCE, SMALL, TINY, call_cli, untrained_run
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
    points = (*range(2, 40, 8), *range(-3, -40, -12))
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


# One attempt at a time


class TakesOver:
    """Stands in for another attempt that begins elsewhere, after so many steps of this one."""

    def __init__(self, mirror: str, after: int) -> None:
        self._mirror, self._after, self.steps = mirror, after, 0
        self.there: dict[str, int] = {}

    def stepped(self, training: Any) -> None:
        self.steps += 1
        if self.steps == self._after:
            (place,) = {name.split("/attempts/")[0] for name in store_at(self._mirror).files() if "/attempts/" in name}
            store = store_at(f"{self._mirror}/{place}")
            attempts.take_over(store, attempts.identity_at(store, store.files()) or "")
            self.there = store_at(self._mirror).files()


def test_an_attempt_that_was_replaced_stops_and_writes_no_more(tmp_path: Path, memory: str, waiting: None) -> None:
    other = TakesOver(memory, after=25)
    with pytest.raises(ReplacedError, match=r"attempt 2 goes on with .* \(process \d+ on .*\): this one, attempt 1,"):
        untrained_run(tmp_path, mirror=memory, callbacks=[other], checkpoint_every=10)
    run = Run(only(tmp_path))
    assert manifest.read(sorted(run.checkpoints.glob("*.json"))[-1]).step == 30  # at its next checkpoint, which is here
    assert store_at(memory).files() == other.there
    assert json.loads((run.folder / "ending.json").read_text())["state"] == "failed"


def test_one_that_was_replaced_at_its_very_end_says_so_too(tmp_path: Path, memory: str) -> None:
    with pytest.raises(ReplacedError, match="attempt 2 goes on"):
        untrained_run(tmp_path, mirror=memory, callbacks=[TakesOver(memory, after=40)])


def test_of_two_that_take_over_at_once_one_writes(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(f"{memory}/a")
    first = attempts.take_over(store, "a")
    seen = store.files()
    monkeypatch.setattr(Remote, "files", lambda self: dict(seen))  # both look before either has written
    second = attempts.Attempt(1, "another")
    store.write(second.name, json.dumps({"run": "a", "mark": second.mark}).encode())  # to a store that keeps no order
    attempts.require_newest(store, second)
    with pytest.raises(ReplacedError):
        attempts.require_newest(store, first)
    monkeypatch.undo()
    assert attempts.take_over(store, "a").number == 2
    with pytest.raises(ReplacedError, match="attempt 2 goes on"):
        attempts.require_newest(store, second)


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_file_is_made_for_one_alone(kind: str, tmp_path: Path, memory: str) -> None:
    store = store_at(memory if kind == "memory" else str(tmp_path))
    made: list[bool] = []
    each = [threading.Thread(target=lambda: made.append(store.create("attempts/x", b"1"))) for _ in range(8)]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    assert made.count(True) == 1
    assert store.files() == {"attempts/x": 1}


def test_attempts_name_their_checkpoints_in_ranges_of_their_own(tmp_path: Path, memory: str) -> None:
    failed_run(tmp_path, memory)
    run = resumed(only(tmp_path))
    assert min(manifest.read(each).serial for each in sorted(run.checkpoints.glob("*.json"))[-1:]) > PLENTY


# A mirror that is slow or gone


def broken(monkeypatch: pytest.MonkeyPatch, now: Callable[[], bool]) -> None:
    """Let a mirror at a URL refuse to take anything while it is so."""
    usual = Remote.send

    def send(self: Remote, name: str, file: Path) -> None:
        if now():
            raise UnavailableError(f"{self.shown} cannot be written just now: the line is cut")
        usual(self, name, file)

    monkeypatch.setattr(Remote, "send", send)


def test_a_mirror_that_is_gone_for_a_while_is_told_once_and_caught_up(
    tmp_path: Path, memory: str, waiting: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = TakesOver(memory, after=0)
    broken(monkeypatch, lambda: 8 < watch.steps < 28)
    run = untrained_run(tmp_path, mirror=memory, callbacks=[watch], checkpoint_every=5)
    told = [line for line in capfd.readouterr().err.splitlines() if "mirror" in line]
    place = f"{memory}/{run.settings['place']}"
    reason = f"{place} cannot be written just now: the line is cut. Training goes on; each checkpoint tries again"
    assert told == [
        f"polyak: the mirror is behind, at the checkpoint of step 5: {reason}",
        "polyak: the mirror answers again, at the checkpoint of step 30",
    ]
    assert_same(resumed_elsewhere(memory, tmp_path), run)


def resumed_elsewhere(mirror: str, folder: Path) -> Run:
    """What a mirror has, brought into another folder; the run is over."""
    return polyak.resume(mirror, run_dir=folder / "elsewhere")


def test_a_mirror_that_is_behind_in_the_end_is_said_and_brought_up_to_date_later(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = TakesOver(memory, after=0)
    with monkeypatch.context() as patched:
        broken(patched, lambda: watch.steps > 15)
        with pytest.raises(BehindError, match=r"mirror is behind, .*: the line is cut. All is in .*: polyak resume "):
            untrained_run(tmp_path, mirror=memory, callbacks=[watch])
    run = Run(only(tmp_path))
    assert json.loads((run.folder / "ending.json").read_text())["state"] == "done"
    polyak.resume(run)  # there is nothing to do, but to send it
    assert_same(resumed_elsewhere(memory, tmp_path), run)
    polyak.resume(run, mirror=tmp_path / "copies")  # or to another place
    assert_same(polyak.load(only(tmp_path / "copies")), run)


def test_training_does_not_wait_for_a_mirror_that_does_not_answer(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, usual = threading.Event(), Remote.send

    def send(self: Remote, name: str, file: Path) -> None:
        answers.wait()
        usual(self, name, file)

    monkeypatch.setattr(Remote, "send", send)
    monkeypatch.setattr(sending, "SOON", 0.01)
    monkeypatch.setattr(sending, "SILENCE", 0.01)
    with pytest.raises(BehindError, match=r"without a checkpoint: nothing got through for 0.01 seconds"):
        untrained_run(tmp_path, mirror=memory, checkpoint_every=5)
    answers.set()
    for thread in threading.enumerate():
        if thread.name == "polyak-mirror":
            thread.join(PATIENCE)
    run = Run(only(tmp_path))
    assert len(run.metrics) == 2
    # What was being sent all the time has been kept for it: the first checkpoint, which is whole.
    polyak.resume(run)
    assert_same(resumed_elsewhere(memory, tmp_path), run)


@pytest.mark.filterwarnings("ignore:.*nothing is learned")
def test_one_whose_mirror_is_behind_stops_none_of_those_together(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Remote.send

    def send(self: Remote, name: str, file: Path) -> None:
        if "seed1" in self.shown:
            raise OSError("no more")
        usual(self, name, file)

    monkeypatch.setattr(Remote, "send", send)
    with pytest.raises(TrainingError, match=r"1 of 3 runs failed, .*: seed 1: the mirror is behind, .*: no more"):
        polyak.train_together(
            "ddpg", TINY, seeds=[0, 1, 2], run_dir=tmp_path, mirror=memory, **{**SMALL, "update_after": 1000}
        )
    for folder in (tmp_path).glob("*/*/*"):
        assert polyak.load(folder).metrics[-1]["step"] == 40
        place = store_at(f"{memory}/{folder.relative_to(tmp_path)}")
        assert ("ending.json" in place.files()) == ("seed1" not in folder.name)


# Damage and strangers


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[:-7])
    else:
        file.write_bytes(content[:-7] + bytes([content[-7] ^ 1]) + content[-6:])


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_damage_at_the_mirror_is_named_and_the_checkpoint_before_is_taken(
    how: str, tmp_path: Path, waiting: None
) -> None:
    failed_run(tmp_path / "runs", tmp_path / "copies", checkpoint_every=10)
    alone = untrained_run(tmp_path / "alone", RAISES, checkpoint_every=10, steps=20)
    kept = tmp_path / "copies"
    newest = manifest.read(sorted(only(kept).glob("checkpoints/*.json"))[-1])
    before = manifest.read(sorted(only(kept).glob("checkpoints/*.json"))[-2])
    assert (newest.step, before.step) == (24, 20)
    own = {file.name for file in newest.files.values()}
    for number, name in enumerate([*sorted(own), newest.name]):
        copy = Path(shutil.copytree(kept, tmp_path / f"{how}{number}"))
        damage(only(copy) / "checkpoints" / name, how)
        fetching_said = polyak.run.runs.to_go_on(only(copy), tmp_path / f"again{number}")
        assert "fetched, at the checkpoint of step 20" in fetching_said.said
        assert (name in fetching_said.said) == (name != newest.name or how != "missing")
        restored = polyak.load(fetching_said.folder)
        assert manifest.read(next(restored.checkpoints.glob("*.json"))).step == 20
    assert alone.metrics[-1]["step"] == 20
    shared = Path(shutil.copytree(kept, tmp_path / "shared"))
    for segment in {each.file.name for each in (*newest.segments, *before.segments)}:
        damage(only(shared) / "checkpoints" / segment, how)
    with pytest.raises(UnreadableError, match=r"copies|shared.*replay-.*nor is any of the 1 before it whole"):
        polyak.resume(only(shared), run_dir=tmp_path / "never")


def test_settings_that_are_damaged_at_the_mirror_are_read_from_the_checkpoint(tmp_path: Path) -> None:
    failed_run(tmp_path / "runs", tmp_path / "copies")
    damage(only(tmp_path / "copies") / "settings.json", "cut")
    assert resumed(only(tmp_path / "copies"), run_dir=tmp_path / "again").metrics[-1]["step"] == 40


def test_a_strangers_settings_lead_to_no_place_of_ones_own(tmp_path: Path) -> None:
    """A run's own copy alone is written to because its settings say so."""
    failed_run(tmp_path / "runs", tmp_path / "copies")
    run = Run(only(tmp_path / "runs"))
    mine = tmp_path / "mine" / run.settings["place"]
    mine.mkdir(parents=True)
    (mine / "settings.json").write_text("my own")
    made = manifest.read(sorted(run.checkpoints.glob("*.json"))[-1])
    hostile = {**made.run, "mirror": str(tmp_path / "mine")}
    path = run.checkpoints / made.name
    path.write_bytes(replace(made, run=hostile).content())
    with pytest.raises(UsageError, match="holds no copy of this run, as it should: --mirror URL says where"):
        polyak.resume(run)
    path.write_bytes(replace(made, run={**hostile, "place": "../../mine"}).content())
    with pytest.raises(UsageError, match=r"place is '../../mine', but must be plain names"):
        polyak.resume(run)
    assert [each.name for each in mine.iterdir()] == ["settings.json"]
    assert (mine / "settings.json").read_text() == "my own"
    path.write_bytes(replace(made, run=hostile).content())
    assert resumed(run, mirror="").settings["mirror"] is None  # who wants none says so


def test_what_is_fetched_leads_nowhere_else(tmp_path: Path) -> None:
    """Links at a mirror are not followed, names that are none are left, and nothing is written through a link here."""
    failed_run(tmp_path / "runs", tmp_path / "copies")
    place, secret = only(tmp_path / "copies"), tmp_path / "secret"
    secret.write_text("mine")
    (place / "train.log").symlink_to(secret)
    (place / "videos").symlink_to(tmp_path)
    (place / "policy.safetensors").unlink()
    (place / "policy.safetensors").symlink_to(secret)
    (place / ".bashrc").write_text("x")
    (place / "payload.py").write_text("x")
    run = polyak.run.runs.to_go_on(place, tmp_path / "again")
    left = {path.name for path in run.folder.rglob("*")}
    assert not {"train.log", "videos", "policy.safetensors", ".bashrc", "payload.py", "attempts"} & left
    shutil.rmtree(tmp_path / "again")
    run.folder.mkdir(parents=True)
    (run.folder / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="checkpoints is a link"):
        polyak.resume(place, run_dir=tmp_path / "again")


def test_what_would_not_fit_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed_run(tmp_path / "runs", tmp_path / "copies")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UsageError, match=r"takes .*, but 1\.0 kB are free in .*: choose another --run-dir"):
        polyak.resume(only(tmp_path / "copies"), run_dir=tmp_path / "again")


# The folder here, and the mirror


def test_a_folder_that_has_come_further_goes_on_as_it_is(tmp_path: Path) -> None:
    failed_run(tmp_path / "runs", tmp_path / "copies")
    place = only(tmp_path / "copies")
    kept = Path(shutil.copytree(tmp_path / "copies", tmp_path / "kept"))
    resumed(only(tmp_path / "runs"))
    shutil.rmtree(tmp_path / "copies")
    shutil.copytree(kept, tmp_path / "copies")  # as if nothing more had got through
    run = polyak.run.runs.to_go_on(place, tmp_path / "runs")
    assert "here is step 40, as far as there, and goes on" in run.said


def test_a_folder_that_was_replaced_is_kept_aside(tmp_path: Path) -> None:
    """It has come to step 40, while elsewhere another attempt has gone on from step 24, and has come to 30."""
    failed_run(tmp_path / "runs", tmp_path / "copies")
    place, first = only(tmp_path / "copies"), Path(shutil.copytree(tmp_path / "copies", tmp_path / "kept"))
    resumed(only(tmp_path / "runs"), mirror="")
    shutil.copytree(only(first), tmp_path / "old", ignore=shutil.ignore_patterns("attempts"))
    polyak.resume(only(tmp_path / "runs"), mirror=tmp_path / "copies2")
    with pytest.raises(UsageError, match=r"has come further than this folder, to step 40; here is step 24"):
        polyak.resume(tmp_path / "old", mirror=tmp_path / "copies2")
    resumed(place, run_dir=tmp_path / "b", steps=30)
    run = polyak.run.runs.to_go_on(place, tmp_path / "runs")
    assert "fetched, at the checkpoint of step 30" in run.said
    aside = Run(run.folder.with_name(f"{run.folder.name}-replaced-1"))
    assert str(aside.folder) in run.said
    assert aside.metrics[-1]["step"] == 40
    assert manifest.read(next(run.checkpoints.glob("*.json"))).step == 30


def test_another_runs_folder_is_left_alone(tmp_path: Path) -> None:
    failed_run(tmp_path / "runs", tmp_path / "copies")
    place = only(tmp_path / "copies")
    other = tmp_path / "again" / place.relative_to(tmp_path / "copies")
    shutil.copytree(only(tmp_path / "runs"), other)
    (other / "settings.json").write_text(
        (other / "settings.json").read_text().replace('"identity": "', '"identity": "0')
    )
    with pytest.raises(UsageError, match=r"is there and is not the run at .*: choose another --run-dir"):
        polyak.resume(place, run_dir=tmp_path / "again")


# Doors


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        ("s3://me:secret/x@bucket/a", "mirror is a URL of s3:// that has a password or a query in it"),
        ("https://host/a?token=secret", "mirror is a URL of https:// that has a password or a query in it"),
        (Path("s3://bucket/a"), "two slashes"),
        ("simplecache::s3://bucket/a", "one place, not one within another"),
        ("reference://a", "reference:// reads what is elsewhere"),
        ("gs://bucket/a", "needs a package that is not installed: pip install gcsfs"),
        ("nowhere://a", "Protocol not known: nowhere"),
        (3, "a folder or a URL, as a text"),
        ("/dev/null/a", "cannot be"),
    ],
)
def test_a_mirror_that_cannot_be_is_refused_before_anything_is_trained(mirror: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as refusal:
        untrained_run(tmp_path, mirror=mirror)
    assert "secret" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match=r'pip install "polyak\[mirror\]" s3fs'):
        untrained_run(tmp_path, mirror="s3://bucket")
    assert untrained_run(tmp_path, mirror=tmp_path / "copies").settings["place"]  # a folder needs none


def test_a_mirror_is_not_where_the_run_lies_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="where the run itself lies"):
        untrained_run(tmp_path / "runs", mirror=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_commands_take_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed_run(Path("runs"), "copies")
    url = only(tmp_path / "copies").as_uri()
    code, output, errors = call_cli("evaluate", url, "--run-dir", "here", "--episodes", "2")
    assert (code, output.count("episode ")) == (0, 2), errors
    assert f"is {only(Path('here'))}: fetched, without what only resume needs" in errors
    assert not (only(Path("here")) / "checkpoints").exists()
    code, output, errors = call_cli("report", url, "--run-dir", "here")
    assert (code, output) == (0, f"{only(Path('here'))}/report.html\n"), errors
    code, output, errors = call_cli(
        "resume", f"file://{tmp_path}/copies", "--run-dir", "here", "--plain", "--alpha", "1"
    )
    assert (code, "resume has no --alpha" in errors) == (2, True)
    code, output, errors = call_cli("resume", f"file://{tmp_path}/copies", "--run-dir", "here", "--plain")
    assert (code, output) == (0, f"{only(Path('here'))}\n"), errors
    assert "fetched, at the checkpoint of step 24" in errors
    code, _, errors = call_cli("resume", f"file://{tmp_path}/nothing", "--run-dir", "here")
    assert (code, errors) == (2, f"polyak: there is no run at {tmp_path}/nothing: nothing of one is there\n")
    failed_run(Path("runs"), "copies", seed=1)
    code, _, errors = call_cli("resume", f"file://{tmp_path}/copies", "--run-dir", "here")
    assert (code, "it holds 2: " in errors) == (2, True)
    assert run_line(errors).endswith("; name one of them")


def run_line(errors: str) -> str:
    (line,) = errors.splitlines()
    return line
