"""Checkpoints: what they cost, what a crash at any of their moments leaves, and what is not believed."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyak
from backends import NAMES
from polyak import Run, TrainingError, UsageError, cli
from polyak.errors import NewerFormatError, UnavailableError, UnreadableError
from polyak.experience.replay import Replay
from polyak.run.checkpoints import LEARNER, Checkpoints, Content, manifest, segments
from polyak.run.saved import read_checkpoint
from polyak.system import arrayfiles
from polyak.types import Arrays, Learned, Transitions
from reference.cases import make_case
from tiny_cli import TINY
from whole_runs import saved

O, A = 3, 2  # noqa: E741


def content(step: int, learner: Arrays | None = None, **changes: Any) -> Content:
    given: dict[str, Any] = {
        "step": step,
        "run": {"seed": 0},
        "state": {"step": step},
        "algorithm": "sac",
        "learner": learner or {"step": np.array(step, np.int32)},
        "loop": {"noise": np.full(2, step, np.float32)},
        "metrics": b"",
        "best": None,
    }
    return Content(**{**given, **changes})


def add(replay: Replay, count: int) -> None:
    numbers = np.arange(replay.added, replay.added + count, dtype=np.float32)
    wide = numbers[:, np.newaxis]
    replay.add(
        Transitions(
            observation=np.repeat(wide, O, 1),
            action=np.repeat(wide / 7, A, 1),
            reward=numbers,
            next_observation=np.repeat(-wide, O, 1),
            terminated=numbers % 9 == 8,
            truncated=numbers % 7 == 6,
            episode=numbers.astype(np.int32) // 3,
        )
    )


def kept(replay: Replay) -> tuple[bytes, bytes]:
    held = replay.oldest, replay.added
    return replay.records(*held).tobytes(), replay.episodes(*held).tobytes()


def read_replay(folder: Path, capacity: int) -> Replay:
    checkpoints = Checkpoints(folder)
    return checkpoints.newest(lambda made: checkpoints.replay(made, Replay(capacity, O, A)))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Replay in segments


@given(st.integers(1, 30), st.lists(st.integers(0, 40), min_size=1, max_size=8), st.sampled_from([0, 200, 10**6]))
def test_replay_comes_back_whatever_was_added_between_checkpoints(capacity: int, counts: list[int], small: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SMALL", small)
        patch.setattr(segments, "LARGE", 10 * 4 * (2 * O + A + 4))
        replay, disk, now = Replay(capacity, O, A), dict[str, bytes](), ()
        for number, count in enumerate(counts):
            add(replay, count)

            def write(first: int, data: bytes, number: int = number) -> manifest.File:
                name = f"replay-{first}-{number:06}.safetensors"
                assert name not in disk, "written twice"
                disk[name] = data
                return manifest.File(name, len(data), "")

            now = segments.append(replay, now, write)
            back = Replay(capacity, O, A)
            segments.load(back, replay.added, now, lambda file, limit: disk[file.name], Path())
            assert (back.added, back.size, kept(back)) == (replay.added, replay.size, kept(replay))
            assert all(each.count <= 10 for each in now)
            assert all(each.end > replay.added - replay.size for each in now), "one that the ring has passed"
            if small == 0:
                assert sum(each.count for each in now) <= replay.size + max(counts), "no transition twice"


def test_a_checkpoint_costs_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SMALL", 0)
    replay, checkpoints = Replay(10_000, O, A), Checkpoints(tmp_path / "checkpoints")
    add(replay, 9_000)
    checkpoints.save(content(1), replay)
    first = files(tmp_path / "checkpoints")
    add(replay, 10)
    checkpoints.save(content(2), replay)
    second = files(tmp_path / "checkpoints")
    new = {name: len(data) for name, data in second.items() if name not in first}
    assert {name: first[name] for name in first} == {name: second[name] for name in first}, "files are immutable"
    assert sorted(new) == [
        "checkpoint-000002.json",
        "learner-000002.safetensors",
        "loop-000002.safetensors",
        "metrics-000002.jsonl",
        "replay-9000-000002.safetensors",
    ]
    assert new["replay-9000-000002.safetensors"] < 10 * replay.row_bytes + segments.HEADER


def test_small_segments_are_merged_and_old_ones_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay, checkpoints = Replay(100, O, A), Checkpoints(tmp_path)
    monkeypatch.setattr(segments, "SMALL", 30 * replay.row_bytes)
    for step in range(1, 60):
        add(replay, 7)
        checkpoints.save(content(step), replay)
        latest = checkpoints.latest
        assert latest is not None
        assert len(latest.segments) <= 1 + -(-100 // 30) + 1
        held = {path.name for path in tmp_path.glob("replay-*")}
        assert held <= {each.file.name for manifest in checkpoints._kept for each in manifest.segments}
        assert kept(read_replay(tmp_path, 100)) == kept(replay)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "learner-best.safetensors").write_text("mine")
    replay, checkpoints = Replay(10, O, A), Checkpoints(tmp_path)
    for step in range(4):
        checkpoints.save(content(step), replay)
    assert (tmp_path / "notes.txt").read_text() == (tmp_path / "learner-best.safetensors").read_text() == "mine"


# A crash at every moment


class Crash(BaseException):
    """The process ends here; what is on the disk is what there is."""


@contextlib.contextmanager
def crashing_at(call: int, folder: Path, copy: Path) -> Iterator[list[str]]:
    """Copy the folder as it is at the call of that number of those with which files are made, and end there."""
    calls: list[str] = []

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call_it(*arguments: Any, **options: Any) -> Any:
            if len(calls) == call:
                if not copy.exists():
                    copy.mkdir()
                    shutil.copytree(folder, copy, dirs_exist_ok=True)
                raise Crash
            calls.append(name)
            return real(*arguments, **options)

        return call_it

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "open")):
            patch.setattr(owner, name, watched(name, getattr(owner, name)))
        yield calls


def test_a_crash_at_any_moment_of_a_checkpoint_leaves_a_whole_one(tmp_path: Path) -> None:
    """The old one or the new one, until nothing is left to crash at."""
    folder = tmp_path / "checkpoints"
    replay, checkpoints = Replay(50, O, A), Checkpoints(folder)
    for step in (1, 2):
        add(replay, 20)
        checkpoints.save(content(step, best=b"best %d" % step), replay)
    before, outcomes = files(folder), list[int]()
    add(replay, 20)
    for call in range(1_000):
        work, copy = tmp_path / f"work{call}", tmp_path / f"copy{call}"
        shutil.copytree(folder, work)
        again = Checkpoints(work)
        again.newest(lambda made: made)
        with crashing_at(call, work, copy) as calls:
            try:
                again.save(content(3, best=b"best 3"), replay)
            except Crash:
                pass
            else:
                break
        for path in copy.glob("checkpoint-*.json"):
            assert manifest.read(path).names <= {each.name for each in copy.iterdir()}, "a manifest without its files"
        left = Checkpoints(copy)
        made = left.newest(lambda made: made)
        outcomes.append(made.step)
        back = left.replay(made, Replay(50, O, A))
        assert left.content(made.files["best"]) == b"best %d" % made.step
        assert back.added == {2: 40, 3: 60}[made.step]
        left.save(content(4), replay)  # and life goes on
        assert left.newest(lambda made: made).step == 4
    assert {"open", "fsync", "replace", "unlink"} <= set(calls)
    assert outcomes == sorted(outcomes)
    assert outcomes.count(2) > 12
    assert outcomes.count(3) > 3
    assert files(folder) == before


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a descriptor is")
def test_files_are_on_the_disk_before_their_names_and_all_before_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power, nothing may be there whose parts are not."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append("folder" if target.is_dir() else target.name.strip(".").rsplit(".", 2)[0])
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        events.append(f"named {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    replay = Replay(50, O, A)
    add(replay, 20)
    Checkpoints(tmp_path).save(content(1, best=b"best"), replay)
    files = ["learner-000001.safetensors", "loop-000001.safetensors", "metrics-000001.jsonl", "best-000001.safetensors"]
    files += ["replay-0-000001.safetensors"]
    expected = [event for name in files for event in (name, f"named {name}")]
    manifest_last = ["folder", "checkpoint-000001.json", "named checkpoint-000001.json", "folder"]
    assert events == [*expected, *manifest_last]


def test_a_full_disk_leaves_the_last_checkpoint_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write of each file in turn is the one for which there is no more room."""
    folder = tmp_path / "checkpoints"
    replay, checkpoints = Replay(50, O, A), Checkpoints(folder)
    add(replay, 20)
    checkpoints.save(content(1, best=b"best"), replay)
    before = files(folder)
    add(replay, 20)
    real = os.fsync
    writes = 4 + 1 + 1 + 1  # learner, loop, metrics, best; replay; the folder; the manifest
    for failing in range(writes):
        count = iter(range(100))

        def fsync(descriptor: int, count: Iterator[int] = count, failing: int = failing) -> None:
            if next(count) == failing:
                raise OSError(28, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(TrainingError) as caught:
                checkpoints.save(content(2, best=b"best"), replay)
        assert str(caught.value).startswith(f"cannot write a checkpoint to {folder}: No space left on device; the one")
        assert files(folder) == before
    checkpoints.save(content(2), replay)
    assert Checkpoints(folder).newest(lambda made: made).step == 2


# What is not believed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with two checkpoints, three segments each, and a best policy."""
    options: dict[str, Any] = {"steps": 60, "steps_per_epoch": 20, "start_steps": 10, "update_after": 8}
    options |= {"update_every": 4, "batch_size": 8, "replay_size": 1_000, "hidden_sizes": (4,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SMALL", 0)
        return polyak.train("sac", TINY, run_dir=tmp_path_factory.mktemp("runs"), evaluation_episodes=1, **options)


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    """A copy of its checkpoints, to be spoiled."""
    return Path(shutil.copytree(run.checkpoints, tmp_path / "checkpoints"))


def read(folder: Path) -> Any:
    checkpoints = Checkpoints(folder)
    return checkpoints.newest(lambda made: read_checkpoint(checkpoints, made)), checkpoints


SPOIL: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "one bit": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "missing": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link": lambda path: (path.rename(path.with_name("elsewhere")), path.symlink_to("elsewhere")),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("spoil", SPOIL)
@pytest.mark.parametrize("role", ["checkpoint", "learner", "loop", "metrics", "best", "replay-40"])
def test_a_spoiled_file_of_the_newest_gives_the_one_before(spoil: str, role: str, copy: Path, run: Run) -> None:
    newest = saved(run)
    (path,) = [path for path in copy.glob(f"{role}-*") if path.stem.endswith(f"{newest.manifest.serial:06}")]
    if (role, spoil) == ("checkpoint", "longer"):
        path.write_bytes(path.read_bytes() + b" ")  # which says the same
        assert read(copy)[0].manifest.step == 60
        return
    SPOIL[spoil](path)
    older, checkpoints = read(copy)
    if (role, spoil) == ("checkpoint", "missing"):
        assert not checkpoints.faults
    else:
        assert str(path) in str(checkpoints.faults[0])
    assert (older.manifest.step, older.replay.added) == (40, 40)


def test_where_none_is_whole_the_error_names_the_newest_fault(copy: Path) -> None:
    for path in copy.glob("learner-*"):
        SPOIL["cut"](path)
    with pytest.raises(
        UnreadableError, match=r"learner-000004\.safetensors is damaged: .*; nor is any of the 1 before"
    ):
        read(copy)
    for path in copy.glob("checkpoint-*"):
        path.unlink()
    with pytest.raises(UnreadableError, match="there is no checkpoint in"):
        read(copy)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest and give it the SHA-256 of what it then holds, as a hostile author would."""
    body = json.loads(path.read_text())
    del body["sha256"]
    change(body)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest, **body}))


def newest(folder: Path) -> Path:
    return max(folder.glob("checkpoint-*.json"))


@pytest.mark.parametrize("version", [manifest.VERSION + 1, 0, "1", None, 1.5])
def test_a_newer_format_is_refused_and_no_older_one_taken(version: Any, copy: Path) -> None:
    rewrite(newest(copy), lambda body: body.update(version=version))
    with pytest.raises(NewerFormatError, match=r"checkpoint-000004\.json is a checkpoint of format .*upgrade polyak"):
        read(copy)


@pytest.mark.parametrize("name", ["../learner-000001.safetensors", "/etc/passwd", "learner-1.safetensors/..", "x", 7])
def test_names_in_a_manifest_cannot_leave_the_folder(name: Any, copy: Path) -> None:
    rewrite(newest(copy), lambda body: body["files"]["learner"].update(name=name))
    assert read(copy)[0].manifest.step == 40
    assert "no name for a checkpoint's file" in str(read(copy)[1].faults[0])


HUGE = 10**15


def swap_files(segments: list[dict[str, Any]]) -> None:
    """Of the first two, which are as long."""
    segments[0]["file"], segments[1]["file"] = segments[1]["file"], segments[0]["file"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body["run"]["settings"].update(hidden_sizes=[HUGE, HUGE]), "hidden_sizes"),
        (lambda body: body["run"]["settings"].update(replay_size=HUGE, steps=HUGE), "the run will keep 1,000,000,000,"),
        (lambda body: body["run"].update(envs=HUGE), "exploration_noise"),
        (lambda body: body["state"].update(measured=HUGE), "measured"),
        (lambda body: body["state"]["spec"].update(observation_shape=[HUGE]), "makes no sense: ValueError shapes"),
        (lambda body: body["state"]["spec"].update(observation_shape=[10**8]), "observation"),
        (lambda body: body["segments"][-1].update(count=10**7), "does not hold all transitions"),
        (lambda body: swap_files(body["segments"]), "begins with transition 20, not with 0"),
        (lambda body: body.update(added=61), "does not hold all transitions"),
        (lambda body: body["segments"].pop(0), "does not hold all transitions"),
        (lambda body: body["segments"].pop(1), "does not hold all transitions"),
        (lambda body: body["run"].update(algorithm="os.system"), "cannot import 'os.system'"),
        (lambda body: body["run"].update(algorithm="td3"), "alpha"),
        (lambda body: body["run"]["settings"].update(batch_size="8"), "batch_size is '8'"),
        (
            lambda body: body["run"].update(seed="1"),
            r"checkpoint-000004\.json makes no sense: ValueError seed is '1', but must be a whole",
        ),
        (lambda body: body["run"].pop("seed"), "makes no sense: KeyError 'seed'"),
        (lambda body: body["state"].clear(), "makes no sense: KeyError 'spec'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_memory_is_taken(change: Any, told: str, copy: Path) -> None:
    rewrite(newest(copy), change)
    with pytest.raises(UsageError, match=told):
        read(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["files"]["learner"].update(bytes=HUGE),
        lambda body: body["files"]["learner"].update(bytes=-1),
        lambda body: body["files"]["metrics"].update(sha256=None),
        lambda body: body["files"].pop("loop"),
        lambda body: body["files"].update(extra=body["files"]["loop"]),
        lambda body: body.update(serial=3),
        lambda body: body.update(state=[]),
        lambda body: body["state"].update(seconds=float("nan")),
        lambda body: body["segments"][0].update(first="0"),
    ],
)
def test_a_manifest_that_is_not_one_gives_the_one_before(change: Any, copy: Path) -> None:
    rewrite(newest(copy), change)
    assert read(copy)[0].manifest.step == 40


def test_a_manifest_that_was_changed_is_noticed_whatever_was(copy: Path) -> None:
    whole = newest(copy).read_text()
    for change in (('"updates": 56', '"updates": 57'), ('"step": 60', '"step": 61'), ('"seed": 0', '"seed": 1')):
        assert whole != whole.replace(*change)
        newest(copy).write_text(whole.replace(*change))
        older, checkpoints = read(copy)
        assert older.manifest.step == 40
        assert "does not have the SHA-256 that it states" in str(checkpoints.faults[0])


@pytest.mark.parametrize("name", ["best-999999999999.safetensors", "checkpoint-999999999999.json"])
def test_a_number_that_nobody_counts_to_changes_nothing(name: str, copy: Path) -> None:
    """Later checkpoints would be numbered beyond what is read, or count as older."""
    rewrite(newest(copy), lambda body: body.update(serial=999_999_999_999))
    shutil.move(newest(copy), copy / name)
    older, checkpoints = read(copy)
    assert older.manifest.step == 40
    for step in (41, 42, 43):
        checkpoints.save(content(step), Replay(10, O, A))
        assert Checkpoints(copy).newest(lambda made: made).step == step


def test_a_file_that_would_not_fit_into_memory_is_not_read_and_no_damage(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest checkpoint is whole: an older one in its place would have the next save remove it."""
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with monkeypatch.context() as short:
        short.setattr("polyak.run.checkpoints.memory_free", lambda: 1_000)
        with pytest.raises(
            UnavailableError, match=r"-000004\..* read just now: it takes .* of memory, more than is fre"
        ):
            read(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert read(copy)[0].manifest.step == 60


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.EINTR, errno.EACCES, errno.ENOMEM])
@pytest.mark.parametrize("name", ["checkpoint-000004.json", "learner-000004.safetensors", "replay-", "metrics"])
def test_what_may_be_over_in_a_moment_is_no_damage(
    copy: Path, code: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = os.open

    def refuse(path: Path, *rest: Any, **others: Any) -> int:
        if name in str(path):
            raise OSError(code, os.strerror(code))
        return open_file(path, *rest, **others)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnavailableError, match=f"{name}.* read just now: {os.strerror(code)}; .* try again once"):
        read(copy)


@pytest.mark.parametrize("where", ["json.loads", "polyak.system.arrayfiles.load"])
def test_no_memory_while_it_is_read_is_no_damage(copy: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(where, fail)
    with pytest.raises(UnavailableError, match="read just now: memory is short"):
        read(copy)


def test_a_folder_that_cannot_be_listed_is_no_damage(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(UnavailableError, match="checkpoints cannot be read just now: Too many open files"):
        read(copy)


def test_a_file_larger_than_its_kind_can_be_is_not_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copy / "metrics-000004.jsonl"
    with path.open("r+b") as file:
        file.truncate(100_000_000)
    rewrite(newest(copy), lambda body: body["files"]["metrics"].update(bytes=100_000_000))
    monkeypatch.setattr("polyak.run.checkpoints.memory_free", lambda: 10**12)
    older, checkpoints = read(copy)
    assert older.manifest.step == 40
    assert "has 100,000,000 bytes, but at most 64,000,000 can be right" in str(checkpoints.faults[0])


def test_a_deep_or_endless_manifest_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest(copy).write_text("[" * 100_000)
    assert read(copy)[0].manifest.step == 40
    newest(copy).write_text("9" * 10_000)
    assert read(copy)[0].manifest.step == 40
    monkeypatch.setattr(manifest, "SIZE_LIMIT", 9_999)
    newest(copy).write_text(" " * 10_001)
    assert "holds more than 9,999 bytes" in str(read(copy)[1].faults[0])


def test_a_manifest_that_would_take_much_more_memory_than_its_bytes_is_refused(copy: Path) -> None:
    newest(copy).write_text('{"state": [' + "[]," * 1_000_000 + "[]]}")
    assert "holds more than 1,000,000 values" in str(read(copy)[1].faults[0])


def test_a_checkpoint_of_another_run_under_this_ones_name_is_noticed(copy: Path, run: Run, tmp_path: Path) -> None:
    other = polyak.train("sac", TINY, run_dir=tmp_path, seed=9, **json_settings(run))
    serial = saved(other).manifest.serial
    for role in ("learner", "loop"):
        shutil.copy(other.checkpoints / f"{role}-{serial:06}.safetensors", copy)
    assert read(copy)[0].manifest.step == 40


def json_settings(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.settings["settings"].items() if name != "max_episode_steps"}


# The learner, for `--from`


SMALL: dict[str, Any] = {
    "steps": 30,
    "start_steps": 10,
    "update_after": 10,
    "update_every": 10,
    "batch_size": 8,
    "hidden_sizes": (8,),
    "steps_per_epoch": 30,
    "evaluation_episodes": 1,
    "max_episode_steps": 5,
}


def assert_equal(actual: Arrays, expected: Arrays) -> None:
    assert sorted(actual) == sorted(expected)
    for name, value in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(actual[name], value)


@pytest.fixture
def state() -> Arrays:
    return dict(make_case("sac").cast(np.float32).arrays)


@pytest.fixture
def kept_learner(tmp_path: Path, state: Arrays) -> Callable[[str, Arrays], Arrays]:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(content(1, state), Replay(10, O, A))
    return lambda algorithm, expected: checkpoints.newest(lambda made: checkpoints.learner(made, algorithm, expected))


def test_a_learner_is_kept_bit_for_bit(kept_learner: Any, state: Arrays) -> None:
    assert_equal(kept_learner("sac", state), state)


def test_a_learner_of_another_algorithm_is_refused(kept_learner: Any, state: Arrays) -> None:
    with pytest.raises(UsageError, match="is a learner of sac, but td3 is asked for"):
        kept_learner("td3", state)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"actor/0/kernel": np.zeros((4, 2), np.float32)}, r"actor/0/kernel is F32 \[5, 16\], but must be F32 \[4"),
        ({"step": np.zeros((), np.float32)}, r"step is I32 \[\], but must be F32 \[\]"),
        ({"extra": np.zeros(3, np.float32)}, r"extra is absent, but must be F32 \[3\]"),
    ],
)
def test_a_learner_that_does_not_fit_is_refused(change: Arrays, told: str, kept_learner: Any, state: Arrays) -> None:
    with pytest.raises(UsageError, match=f"does not fit .*{told}.*hidden_sizes"):
        kept_learner("sac", state | change)


def test_an_array_too_many_is_refused(kept_learner: Any, state: Arrays) -> None:
    del state["log_alpha"]
    with pytest.raises(UsageError, match=r"log_alpha is F32 \[\], but must be absent"):
        kept_learner("sac", state)


def test_files_of_arrays_of_another_form_are_refused(state: Arrays) -> None:
    for form, told in (
        (arrayfiles.Form("polyak-policy", 1, "", ()), "is not a polyak learner"),
        (arrayfiles.Form(LEARNER.name, 2, "", ()), "format version 2, but this polyak reads up to 1: upgrade polyak"),
    ):
        with pytest.raises(UsageError, match=told):
            arrayfiles.arrays_in(arrayfiles.content_of(form, state, {}), Path("file"), LEARNER)
    wrong = arrayfiles.content_of(LEARNER, {"step": np.zeros((), np.float64)}, {})
    with pytest.raises(UsageError, match="step holds F64, not F32 or I32"):
        arrayfiles.arrays_in(wrong, Path("file"), LEARNER)


def trained(folder: Path, backend: str = "torch", **options: Any) -> Run:
    return polyak.train("td3", TINY, backend=backend, run_dir=folder, **{**SMALL, **options})


@pytest.mark.parametrize("backend", NAMES)
def test_a_new_run_begins_with_anothers_learner_in_every_framework(backend: str, tmp_path: Path) -> None:
    first = trained(tmp_path)
    before = saved(first).learner
    assert before["step"] == 30  # 10 each after steps 10, 20, 30
    second = polyak.train("td3", TINY, backend=backend, from_run=first.folder, run_dir=tmp_path, steps=10)
    after = saved(second).learner
    assert after["step"] == 40
    assert after["adam_critic_1/count"] == 40
    assert second.settings["from_run"] == str(first.folder.resolve())
    assert second.settings["preset"] == f"that of {first.folder.name}"
    kept = {name: second.settings["settings"][name] for name in ("hidden_sizes", "batch_size", "update_every")}
    assert kept == {"hidden_sizes": [8], "batch_size": 8, "update_every": 10}
    assert second.settings["settings"]["start_steps"] == 0
    moved = np.abs(after["actor/0/kernel"] - before["actor/0/kernel"]).max()
    assert 0 < moved <= 5 * 1.01 * 1e-3, "five steps of Adam from where the first run ended"


def test_a_run_goes_on_with_the_policy_that_the_first_had(tmp_path: Path) -> None:
    first = trained(tmp_path)
    given: dict[str, Any] = {"backend": "torch", "steps": 5, "update_after": 8}
    second = polyak.train("td3", TINY, from_run=first.folder, run_dir=tmp_path, **given)
    assert_equal(second.policy.parameters, first.policy.parameters)


def test_settings_of_a_preset_go_before_those_of_the_run(tmp_path: Path) -> None:
    first = trained(tmp_path, discount=0.7)
    options: dict[str, Any] = {"from_run": first.folder, "run_dir": tmp_path, "backend": "torch"}
    second = polyak.train("td3", TINY, preset="paper", **options, **SMALL)
    assert second.settings["settings"]["discount"] == 0.99
    assert second.settings["settings"]["start_steps"] == 10
    assert second.settings["preset"] == "paper"


@pytest.mark.parametrize(
    ("algorithm", "options", "told"),
    [
        ("sac", {}, "is a run of td3, but sac is asked for"),
        ("td3", {"hidden_sizes": (9,)}, r"hidden_sizes is \(9,\), but the run .* has \(8,\)"),
        ("td3", {"from_run": "nowhere"}, "nowhere is not a run"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(
    algorithm: str, options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    first = trained(tmp_path / "first")
    with pytest.raises(UsageError, match=told):
        polyak.train(algorithm, TINY, **({"from_run": first.folder, "run_dir": tmp_path / "second"} | options))
    assert not (tmp_path / "second").exists()


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    first = trained(tmp_path)
    shutil.rmtree(first.checkpoints)
    with pytest.raises(UsageError, match="there is no checkpoint in "):
        polyak.train("td3", TINY, from_run=first.folder, run_dir=tmp_path)


def test_the_command_line_goes_on_from_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = trained(tmp_path)
    command = [
        "train",
        "td3",
        TINY,
        "--from",
        str(first.folder),
        "--steps",
        "10",
        "--run-dir",
        str(tmp_path),
        "--backend",
        "torch",
    ]
    assert cli.main(command) == 0
    captured = capsys.readouterr()
    second = polyak.load(captured.out.strip())
    assert saved(second).learner["step"] == 40
    assert f"from         {first.folder}" in captured.err


@pytest.mark.parametrize("seen", [True, False])
def test_a_learner_that_diverged_is_not_kept(seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good state stays, whether a loss showed it or not."""
    from polyak.frameworks.jax.learner import JaxLearner

    real, calls = JaxLearner.launch, []

    def launch(self: JaxLearner, *arguments: Any) -> Any:
        calls.append(1)
        metrics, actor, _ = real(self, *arguments)()
        if len(calls) == 3:
            if seen:
                metrics = metrics._replace(values=metrics.values * np.nan)
            self._packed = self._packed._replace(floats=self._packed.floats * np.nan)
        return lambda: Learned(metrics, actor)

    monkeypatch.setattr(JaxLearner, "launch", launch)
    with pytest.raises(TrainingError, match="diverged"):
        polyak.train("sac", TINY, run_dir=tmp_path, **{**SMALL, "steps_per_epoch": 20})
    (settings,) = tmp_path.rglob("settings.json")
    last = saved(Run(settings.parent))
    assert last.learner["step"] == 20
    assert np.isfinite(last.learner["log_alpha"])
