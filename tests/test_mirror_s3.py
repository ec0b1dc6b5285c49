"""A mirror at S3, for which moto stands in on this machine: what a kill leaves, what is said at the door."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import s3fs
from moto.server import ThreadedMotoServer

import polyak
from mirrored import OPTIONS, killed_at
from polyak import Run, UsageError
from polyak.run.mirror import attempts
from polyak.system.stores import store_at
from tiny_cli import untrained_run
from whole_runs import assert_same

pytestmark = pytest.mark.xdist_group("s3")
BUCKET = "s3://polyak/runs"
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 that has one bucket."""
    made = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    url = f"http://{host}:{port}"
    named = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **named)
    client.create_bucket(Bucket="polyak")
    client.close()
    yield url
    made.stop()


@pytest.fixture
def s3(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What a process is told of it, by the variables that it would have in earnest."""
    told = {
        **dict.fromkeys(CREDENTIALS, "key"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    yield told
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_run_killed_while_it_sends_goes_on_from_s3(s3: dict[str, str], tmp_path: Path) -> None:
    points = (3, 21, 34)
    killed_at(points, f"{BUCKET}/killed", tmp_path / "runs", **s3)
    alone = untrained_run(tmp_path / "alone", **OPTIONS)
    went_on = 0
    for number in range(len(points)):
        there = store_at(f"{BUCKET}/killed/{number}").files()
        (place,) = {name.partition("/attempts/")[0] for name in there if "/attempts/" in name}
        url = f"{BUCKET}/killed/{number}/{place}"
        if not [name for name in there if "/checkpoint-" in name]:
            with pytest.raises(UsageError, match=r"there is no (checkpoint|run) at s3://"):
                polyak.resume(url, run_dir=tmp_path / f"again/{number}")
            continue
        with pytest.warns(UserWarning, match="nothing is learned"):
            run = polyak.resume(url, run_dir=tmp_path / f"again/{number}")
        assert_same(run, alone)
        names = store_at(url).files()
        assert attempts.newest(names) == 2
        newest = max(run.checkpoints.glob("checkpoint-*.json"))
        assert names[f"checkpoints/{newest.name}"] == newest.stat().st_size
        went_on += 1
    assert went_on == 2


def test_s3_makes_a_file_for_one_alone_and_forgets_what_is_removed(s3: dict[str, str]) -> None:
    store = store_at(f"{BUCKET}/single")
    assert store.create("attempts/a", b"one")
    assert not store.create("attempts/a", b"other")
    assert b"".join(store.chunks("attempts/a")) == b"one"
    store.write("attempts/a", b"three")
    assert store.files() == {"attempts/a": 5}
    store.remove("attempts/a")
    store.remove("attempts/a")
    assert store.files() == {}


def test_a_damaged_object_is_named(s3: dict[str, str], tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "runs", mirror=f"{BUCKET}/damaged")
    store = store_at(f"{BUCKET}/damaged/{run.settings['place']}")
    (newest, *_) = sorted((name for name in store.files() if "/learner-" in name), reverse=True)
    store.write(newest, b"".join(store.chunks(newest))[:-1] + b"x")
    fetched = polyak.run.runs.to_go_on(f"{BUCKET}/damaged", tmp_path / "again")
    assert f"newer ones are damaged: {store.shown}/{newest} is damaged: it does not have the SHA-256" in fetched.said
    assert polyak.load(fetched.folder).settings["identity"] == run.settings["identity"]


@pytest.mark.parametrize(
    ("change", "mirror", "said"),
    [
        (
            {},
            "s3://no-such-bucket/a",
            "s3://no-such-bucket/a.* cannot be (read|written) just now: .*bucket does not exist",
        ),
        (dict.fromkeys(CREDENTIALS, ""), BUCKET, "cannot be (read|written) just now: Unable to locate credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, BUCKET, "cannot be (read|written) just now: Could not connect"),
    ],
)
def test_what_is_wrong_is_one_line_at_the_door(
    s3: dict[str, str], change: dict[str, str], mirror: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=said) as refusal:
        untrained_run(tmp_path / "runs", mirror=mirror)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "runs").exists()


def test_what_no_key_opens_is_said(s3: dict[str, str], tmp_path: Path) -> None:
    from moto.core import set_initial_no_auth_action_count

    @set_initial_no_auth_action_count(0)
    def refused() -> Run:
        return untrained_run(tmp_path / "runs", mirror=BUCKET)

    with pytest.raises(UsageError, match=r"cannot be (read|written) .*: .*Access Key Id .* does not exist"):
        refused()
    assert not os.path.lexists(tmp_path / "runs")
