"""Minari's datasets: read as data alone, checked against the environment; written so that Minari reads them."""

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from polyak.errors import UsageError
from polyak.experience import minari
from polyak.types import Spec, Transitions

LOW, HIGH = np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32)
BOX = Spec((3,), (2,), LOW, HIGH)
PARTS = [
    "dict",
    [
        ["goal", ["array", [2, 1], "float64"]],
        ["kind", ["choices", [3], [5], []]],
        ["pair", ["tuple", [["array", [1], "float32"], ["choices", [2, 2], [0, 1], [2]]]]],
    ],
]
NAMED = Spec((10,), (2,), LOW, HIGH, PARTS)


def episodes(spec: Spec) -> list[Transitions]:
    """Two: one of three steps that terminates, one of two that is still running."""
    generator, made = np.random.default_rng(0), list[Transitions]()
    for number, length in enumerate((3, 2)):
        shown = generator.normal(size=(length + 1, spec.observation_size)).astype(np.float32)
        if spec.observation_parts:
            shown[:, 2:5] = np.eye(3)[generator.integers(0, 3, length + 1)]
            for first in (6, 8):
                shown[:, first : first + 2] = np.eye(2)[generator.integers(0, 2, length + 1)]
        made.append(
            Transitions(
                observation=shown[:-1],
                action=generator.uniform(-1, 1, (length, 2)).astype(np.float32),
                reward=generator.normal(size=length).astype(np.float32),
                next_observation=shown[1:],
                terminated=np.arange(length) == (2 if number == 0 else -1),
                truncated=np.zeros(length, np.bool_),
                episode=np.full(length, number, np.int32),
            )
        )
    return made


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-v0"
    minari.write(path, episodes(BOX), BOX, {"algorithm_name": "sac"})
    return path


def altered(dataset: Path, **metadata: Any) -> None:
    file = dataset / "data" / "metadata.json"
    told = {**json.loads(file.read_text()), **metadata}
    file.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))


def opened(dataset: Path) -> Any:
    return h5py.File(dataset / "data" / "main_data.hdf5", "r+")


@pytest.mark.parametrize("spec", [BOX, NAMED], ids=["box", "dict"])
def test_what_was_written_is_read_again(spec: Spec, tmp_path: Path) -> None:
    made = episodes(spec)
    minari.write(tmp_path / "mine-v0", made, spec, {})
    replay = minari.demonstrations(str(tmp_path / "mine-v0"), spec)
    read = replay.layout.unpacked(replay.records(0, 5), replay.episodes(0, 5))
    for name in ("observation", "reward", "next_observation", "terminated", "episode"):
        whole = np.concatenate([getattr(each, name) for each in made])
        np.testing.assert_array_equal(getattr(read, name), whole, err_msg=name)
    np.testing.assert_allclose(read.action, np.concatenate([each.action for each in made]), atol=1e-6)
    np.testing.assert_array_equal(read.truncated, [False, False, False, False, True])
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("spec", [BOX, NAMED], ids=["box", "dict"])
def test_minari_reads_what_was_written(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    minari.write(tmp_path / "lander" / "expert-v0", made := episodes(spec), spec, {"algorithm_name": "sac"})
    found = theirs.load_dataset("lander/expert-v0")
    assert (found.total_episodes, found.total_steps) == (2, 5)
    assert np.array_equal(found.action_space.low, LOW)
    for episode, own in zip(found.iterate_episodes(), made, strict=True):
        np.testing.assert_array_equal(episode.rewards, own.reward)
        np.testing.assert_allclose(episode.actions, spec.to_environment(own.action), rtol=1e-6)
        shown = {"": episode.observations} if spec is BOX else episode.observations
        assert all(found.observation_space.contains(row) for row in shown[""]) if spec is BOX else len(shown) == 3
    assert list(theirs.list_local_datasets()) == ["lander/expert-v0"]
    replay = minari.demonstrations("lander/expert-v0", spec)  # by its id
    assert replay.size == 5


@pytest.mark.filterwarnings("ignore:.*set to None:UserWarning", "ignore:env_spec is None:UserWarning")
def test_what_minari_wrote_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    made = episodes(BOX)
    buffers = [
        EpisodeBuffer(
            observations=np.concatenate([each.observation, each.next_observation[-1:]]),
            actions=BOX.to_environment(each.action),
            rewards=each.reward,
            terminations=each.terminated,
            truncations=each.truncated,
        )
        for each in made
    ]
    theirs.create_dataset_from_buffers(
        "theirs-v3",
        buffer=buffers,
        observation_space=spaces.Box(-np.inf, np.inf, (3,), np.float32),
        action_space=spaces.Box(LOW, HIGH),
        data_format="hdf5",
    )
    replay = minari.demonstrations("theirs-v3", BOX)
    read = replay.layout.unpacked(replay.records(0, 5), replay.episodes(0, 5))
    np.testing.assert_array_equal(read.next_observation, np.concatenate([each.next_observation for each in made]))
    np.testing.assert_array_equal(read.terminated, [False, False, True, False, False])


def test_an_environment_that_a_dataset_names_is_not_made(dataset: Path) -> None:
    """Minari makes it where the dataset tells no spaces, by whatever entry point it names."""
    ran = dataset.parent / "ran"
    spec = {"id": "Theirs-v0", "entry_point": "os:mkdir", "kwargs": {"path": str(ran)}}
    altered(dataset, env_spec=json.dumps(spec), observation_space=None, action_space=None)
    assert minari.demonstrations(str(dataset), BOX).size == 5
    assert not ran.exists()


def link_outside(file: Any, folder: Path) -> None:
    with h5py.File(folder / "other.hdf5", "w") as other:
        other["rewards"] = np.zeros(3)
    del file["episode_0/rewards"]
    file["episode_0/rewards"] = h5py.ExternalLink(str(folder / "other.hdf5"), "rewards")


def raw_outside(file: Any, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(24))
    del file["episode_0/rewards"]
    outside = [(str(folder / "secret"), 0, 24)]
    file["episode_0"].create_dataset("rewards", (3,), np.float64, external=outside)


def virtual(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((3,), np.float64)
    layout[:] = h5py.VirtualSource(str(folder / "other.hdf5"), "rewards", (3,))
    del file["episode_0/rewards"]
    file["episode_0"].create_virtual_dataset("rewards", layout)


def soft(file: Any, folder: Path) -> None:
    del file["episode_0/rewards"]
    file["episode_0/rewards"] = h5py.SoftLink("/episode_1/rewards")


def pickled(file: Any, folder: Path) -> None:
    """Bytes of any length, as a pickle would be kept."""
    del file["episode_0/rewards"]
    file["episode_0"].create_dataset("rewards", (3,), h5py.vlen_dtype(np.uint8))


def reference(file: Any, folder: Path) -> None:
    del file["episode_0/rewards"]
    file["episode_0"].create_dataset("rewards", (3,), h5py.ref_dtype)


def huge(file: Any, folder: Path) -> None:
    """More than any memory, in a few bytes of file: nothing of it is read."""
    del file["episode_0/rewards"]
    file["episode_0"].create_dataset("rewards", (2**45,), np.float64, chunks=(1024,), compression="gzip")


def shorter(file: Any, folder: Path) -> None:
    del file["episode_0/observations"]
    file["episode_0/observations"] = np.zeros((3, 3))


def group(file: Any, folder: Path) -> None:
    del file["episode_0/observations"]
    file["episode_0"].create_group("observations")


def gap(file: Any, folder: Path) -> None:
    file.move("episode_1", "episode_5")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (link_outside, "is a link, which is not followed"),
        (soft, "is a link, which is not followed"),
        (raw_outside, "is in another file, which is not followed"),
        (virtual, "is in another file, which is not followed"),
        (pickled, "holds object, and no numbers"),
        (reference, "holds object, and no numbers"),
        (huge, "the 35,184,372,088,834 transitions of .* need .* are free"),
        (shorter, r"observations has the shape \[3, 3\], but the environment's is \[4, 3\]"),
        (group, "is no array; the environment shows one"),
        (gap, "has no episode_1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_strangers_file_may_hold_is_refused(dataset: Path, harm: Any, said: str) -> None:
    with opened(dataset) as file:
        harm(file, dataset.parent)
    with pytest.raises(UsageError, match=said):
        minari.demonstrations(str(dataset), BOX)


def test_a_file_that_is_cut_off_or_none_is_said(dataset: Path) -> None:
    file = dataset / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(UsageError, match=r"main_data.hdf5 cannot be read"):
        minari.demonstrations(str(dataset), BOX)
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="is missing, or no plain file"):
        minari.demonstrations(str(dataset), BOX)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"data_format": "arrow"}, "is kept as arrow, but polyak reads hdf5"),
        ({"action_space": '{"type": "Discrete", "n": 3}'}, "the actions of .* are a Discrete of 0 numbers"),
        (
            {"action_space": json.dumps({"type": "Box", "low": [-1.0, -1.0], "high": [1.0, 1.0]})},
            r"are from \[-1., -1.\] to \[1., 1.\], but the environment's from \[-1.,  0.\] to \[3. , 0.5\]",
        ),
        ({"action_space": "["}, "the action space of .* cannot be read"),
    ],
    ids=["arrow", "discrete", "bounds", "broken"],
)
def test_a_dataset_of_another_scale_or_kind_is_refused(dataset: Path, metadata: dict[str, Any], said: str) -> None:
    altered(dataset, **metadata)
    with pytest.raises(UsageError, match=said):
        minari.demonstrations(str(dataset), BOX)


def test_a_dataset_without_the_environments_parts_is_refused(dataset: Path) -> None:
    with pytest.raises(UsageError, match="is an array; the environment shows parts by name"):
        minari.demonstrations(str(dataset), NAMED)


def test_where_there_is_no_dataset_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    for given, said in (
        (str(tmp_path), "neither a run nor a Minari dataset"),
        ("../up-v0", "neither a path nor the id"),
        ("D4RL/door/human-v2", "`minari download D4RL/door/human-v2` brings it"),
    ):
        with pytest.raises(UsageError, match=said):
            minari.demonstrations(given, BOX)


def test_a_place_that_is_taken_or_has_no_version_is_refused(dataset: Path) -> None:
    for path, said in ((dataset, "there is something at"), (dataset.parent / "mine", "a version, as my-data-v0")):
        with pytest.raises(UsageError, match=said):
            minari.write(path, episodes(BOX), BOX, {})


def test_nothing_is_left_of_a_dataset_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(UsageError, match=r"cannot write .*: No space left"):
        minari.write(tmp_path / "mine-v0", episodes(BOX), BOX, {})
    assert not list(tmp_path.iterdir())
