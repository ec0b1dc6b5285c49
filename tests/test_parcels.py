"""A run's folder on its way: resumable at every moment, whatever is pruned meanwhile; late parcels; too many deaths."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from polyak import UsageError
from polyak.many import parcels
from polyak.many import ray as places_of_ray
from polyak.many.parcels import Inbox, Outbox, Parcel, Piece, made_below, within
from polyak.many.places import Job
from polyak.many.ray import ATTEMPTS, MISSES, OnRay, Share
from polyak.run.checkpoints.manifest import File, Manifest, read
from polyak.system.locking import in_use


def checkpoint(folder: Path, serial: int) -> None:
    """Write a checkpoint whose files are not looked into, and prune as `Checkpoints` does."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    names = {
        role: f"{role}-{serial:06}.{'jsonl' if role == 'metrics' else 'safetensors'}"
        for role in ("learner", "loop", "metrics")
    }
    for name in names.values():
        (folder / "checkpoints" / name).write_bytes(name.encode() * 3)
    made = Manifest(
        serial, serial, {}, {}, {role: File(name, 3 * len(name), "") for role, name in names.items()}, 0, ()
    )
    (folder / "checkpoints" / made.name).write_bytes(made.content())
    for each in (folder / "checkpoints").glob(f"*-{serial - 2:06}.*"):
        each.unlink()


def newest_is_whole(folder: Path) -> int:
    """The number of the newest checkpoint here, all of whose files are; 0 if there is none."""
    found = sorted((folder / "checkpoints").glob("checkpoint-*.json"))
    for each in found:
        made = read(each)
        assert all((each.parent / file.name).stat().st_size == file.bytes for file in made.files.values())
    return read(found[-1]).serial if found else 0


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """A folder there, and the same here."""
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "there" / "settings.json").write_text("{}")
    return tmp_path / "there", tmp_path / "here"


def test_every_moment_can_be_gone_on_with(both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though each file comes in pieces, and checkpoints are made and pruned while one is on its way."""
    monkeypatch.setattr(parcels, "PIECE_BYTES", 16)
    there, here = both
    outbox, inbox, made, seen = Outbox(there), Inbox(here), 1, list[int]()
    checkpoint(there, made)
    while made < 6 or outbox.is_sending or seen[-1] < 6:
        for piece in outbox.take(limit=1):
            inbox.take(piece)
        seen.append(newest_is_whole(here))
        if made < 6 and len(seen) % 9 == 0:
            made += 1
            checkpoint(there, made)
    assert seen == sorted(seen)
    assert {*seen} < {0, 1, 2, 3, 4, 5, 6}  # one that was too slow was passed over
    assert len(list((here / "checkpoints").iterdir())) == 8
    inbox.close()


def test_files_that_grow_and_files_that_are_replaced(both: tuple[Path, Path]) -> None:
    there, here = both
    outbox, inbox = Outbox(there), Inbox(here)

    def sent() -> list[Piece]:
        pieces = outbox.take()
        for piece in pieces:
            inbox.take(piece)
        return pieces

    (there / "tensorboard").mkdir()
    (there / "metrics.jsonl").write_text("one\n")
    (there / "tensorboard" / "events").write_text("1")
    (there / "train.log").write_text("goes another way")
    (there / ".half.tmp").write_text("half")
    sent()
    with (there / "metrics.jsonl").open("a") as file:
        file.write("two\n")
    (there / "policy.safetensors").write_text("policy")
    told = [(piece.name, piece.data) for piece in sent()]
    assert told == [
        ("metrics.jsonl", b"two\n"),
        ("policy.safetensors", b"policy"),
    ]
    assert sent() == []
    (there / "new").write_text("1\n")
    (there / "new").replace(there / "metrics.jsonl")  # as a run that goes on mends it
    sent()
    assert {each.name: each.read_text() for each in here.rglob("*") if each.is_file() and each.name != ".lock"} == {
        "settings.json": "{}",
        "metrics.jsonl": "1\n",
        "events": "1",
        "policy.safetensors": "policy",
    }
    assert in_use(here)
    inbox.close()
    assert not in_use(here)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../run", "a/../../b"])
def test_nothing_is_written_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no path within a folder of runs"):
        within(name)
    with pytest.raises(UsageError, match="no path within a folder of runs"):
        made_below(tmp_path, name)


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    assert made_below(tmp_path, "a/b") == tmp_path / "a" / "b"
    assert made_below(tmp_path, "a/b") == tmp_path / "a" / "b-2"


# Attempts


class Died(Exception):  # noqa: N818 - as Ray's is
    actor_init_failed = False


class Unavailable(Died):
    pass


class Scripted:
    """In the place of Ray: each answer that is waited for is the next of a script; an error is raised."""

    class exceptions:  # noqa: N801
        RayError = RayActorError = WorkerCrashedError = NodeDiedError = ObjectLostError = Died
        RayTaskError, ActorUnavailableError = ZeroDivisionError, Unavailable

    def __init__(self, answers: Sequence[Parcel | Exception]) -> None:
        self.answers, self.begun, self.killed, self.alive = list(answers), 0, 0, list[str]()

    def remote(self, *_: Any, **__: Any) -> Any:
        return self

    def options(self, **asked: Any) -> Any:
        self.asked = asked
        self.begun += 1
        return self

    @property
    def start(self) -> Any:
        return self

    look = stop = close = start

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": each, "Alive": True} for each in self.alive]

    def put(self, value: Any) -> Any:
        return value

    def wait(self, refs: Any, **_: Any) -> Any:
        return (refs if self.answers else []), []

    def get(self, ref: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Any) -> None:
        self.killed += 1
        raise Died("Actor creation cancelled")  # as Ray says of one that it has given up


def test_what_a_replaced_attempt_still_says_is_dropped(tmp_path: Path) -> None:
    settings = Piece("settings.json", 0, b"{}", 0, grows=False)
    ray, said = Scripted([Parcel(1, "E/a/run", (settings,), b"first\n"), Died(), Parcel(2)]), list[str]()
    child = OnRay(ray, Share(1, 0.5), said.append).begin(Job("sac", "E-v0", 0), tmp_path)
    assert child.exit_code() is None
    assert said == ["seed 0  its node or worker has died; it begins anew (attempt 2)"]  # no checkpoint had come
    assert not list(tmp_path.rglob("settings.json"))
    child.take(Parcel(1, "E/a/run", (settings,), b"late\n", exit_code=0))
    assert child.exit_code() is None
    assert not list(tmp_path.rglob("settings.json"))
    assert child.log.read_text() == "first\n"
    child.take(Parcel(2, "E/a/run", (settings,), b"second\n", exit_code=0))
    assert child.exit_code() == 0
    assert child.log == tmp_path / "E" / "a" / "run" / "train.log"
    assert child.log.read_text() == "first\nsecond\n"
    assert (ray.asked["num_cpus"], ray.asked["num_gpus"], ray.asked["max_restarts"]) == (1, 0.5, 0)
    child.close()


def test_a_run_is_not_begun_again_for_ever(tmp_path: Path) -> None:
    deaths = [each for attempt in range(ATTEMPTS + 3) for each in (Parcel(attempt), Died("the node was terminated"))]
    ray = Scripted(deaths)
    child = OnRay(ray, Share(1)).begin(Job("sac", "E-v0", 0), tmp_path)
    assert child.exit_code() == 1
    assert ray.begun == ATTEMPTS
    assert child.tail() == [f"polyak: its node or worker has died {ATTEMPTS} times, last: the node was terminated"]
    child.close()
    assert not list(tmp_path.iterdir())


def test_a_node_that_is_heard_no_more_is_not_chosen_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as there until the cluster has missed it long enough: so long the run waits."""
    monkeypatch.setattr(places_of_ray, "LOOK_SECONDS", 0.0)
    ray = Scripted([Parcel(1, node="a"), Unavailable("socket closed"), Parcel(2, node="b")])
    ray.alive = ["a", "b"]
    child = OnRay(ray, Share(1)).begin(Job("sac", "E-v0", 0), tmp_path)
    assert child.exit_code() is None
    assert (child.is_waiting(), ray.begun) == (True, 1)
    ray.alive = ["b"]
    assert child.exit_code() is None
    assert (child.is_waiting(), ray.begun) == (False, 2)


def test_one_that_no_node_begins_is_tried_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has just died still counts as there, and is chosen: that is no death of the run's."""
    monkeypatch.setattr(places_of_ray, "MISS_SECONDS", 0.0)
    never = Died("it was cancelled before it started running")
    ray, said = Scripted([never] * ATTEMPTS * 2 + [Parcel(ATTEMPTS * 2 + 1)]), list[str]()
    child = OnRay(ray, Share(1), said.append).begin(Job("sac", "E-v0", 0), tmp_path)
    assert child.exit_code() is None
    assert not child.is_waiting()
    assert said == []
    ray.answers = [Died("the node was terminated"), *[never] * MISSES]
    assert child.exit_code() == 1
    assert len(said) == 1
    assert child.tail()[0].startswith(f"polyak: no node has begun it in {MISSES} attempts")


@pytest.mark.parametrize("refused", [True, False])
def test_what_cannot_be_begun_is_not_tried_again(refused: bool, tmp_path: Path) -> None:
    error: Exception = ZeroDivisionError("no space left")
    if refused:
        error = Died("in its first lines\nit has polyak 0.0.1, this is 0.1.0: use the same on all machines")
        error.actor_init_failed = True  # type: ignore[attr-defined]
    child = OnRay(Scripted([error]), Share(1)).begin(Job("sac", "E-v0", 0), tmp_path)
    assert child.exit_code() == 1
    (line,) = child.tail()
    began = "it could not be begun on its node: it has polyak 0.0.1" if refused else "on its node: no space"
    assert line.startswith(f"polyak: {began}")
