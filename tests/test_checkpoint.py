"""A learner's state on disk, and runs that go on from another run's, in any framework."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from frameworks import NAMES
from polyak import Run, UsageError, arrayfiles, cli
from polyak.checkpoint import FORMAT, VERSION, load_learner, save_learner
from polyak.types import Arrays
from reference.cases import make_case
from tiny_cli import TINY

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


@pytest.fixture
def state() -> Arrays:
    return dict(make_case("sac").cast(np.float32).arrays)


@pytest.fixture
def file(tmp_path: Path, state: Arrays) -> Path:
    path = tmp_path / "learner.safetensors"
    save_learner(path, "sac", state)
    return path


def assert_equal(actual: Arrays, expected: Arrays) -> None:
    assert sorted(actual) == sorted(expected)
    for name, value in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(actual[name], value)


def test_what_is_saved_is_loaded_bit_for_bit(file: Path, state: Arrays) -> None:
    assert_equal(load_learner(file, "sac", state), state)


def test_another_algorithm_is_refused(file: Path, state: Arrays) -> None:
    with pytest.raises(UsageError, match="is a learner of sac, but td3 is asked for"):
        load_learner(file, "td3", state)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"actor/0/kernel": np.zeros((4, 2), np.float32)},
            r"actor/0/kernel is float32 \[5, 16\], but must be float32 \[4",
        ),
        ({"step": np.zeros((), np.float32)}, r"step is int32 \[\], but must be float32 \[\]"),
        ({"extra": np.zeros(3, np.float32)}, r"extra is absent, but must be float32 \[3\]"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change: Arrays, told: str, file: Path, state: Arrays) -> None:
    with pytest.raises(UsageError, match=f"does not fit .*{told}.*hidden_sizes"):
        load_learner(file, "sac", state | change)


def test_an_array_too_many_is_refused(file: Path, state: Arrays) -> None:
    del state["log_alpha"]
    with pytest.raises(UsageError, match=r"log_alpha is float32 \[\], but must be absent"):
        load_learner(file, "sac", state)


def test_broken_files_are_refused_by_name(file: Path, state: Arrays, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for content in (b"", whole[:7], whole[:200], whole[:-1]):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=r"learner\.safetensors cannot be read as safetensors"):
            load_learner(file, "sac", state)
    with pytest.raises(UsageError, match="there is no learner file"):
        load_learner(tmp_path / "none", "sac", state)


def test_foreign_and_newer_files_are_refused(file: Path, state: Arrays) -> None:
    metadata = {"format": FORMAT, "version": str(VERSION), "algorithm": "sac"}
    for change, told in (
        ({"format": "polyak-policy"}, "is not a polyak learner"),
        ({"version": str(VERSION + 1)}, f"format version {VERSION + 1}, but this polyak reads up to {VERSION}"),
    ):
        arrayfiles.write_arrays(file, state, metadata | change)
        with pytest.raises(UsageError, match=told):
            load_learner(file, "sac", state)
    arrayfiles.write_arrays(file, state | {"step": np.zeros((), np.float64)}, metadata)
    with pytest.raises(UsageError, match="step holds F64, not F32 or I32"):
        load_learner(file, "sac", state)


# Runs that go on from another


def trained(folder: Path, backend: str = "jax", **options: Any) -> Run:
    return polyak.train("td3", TINY, backend=backend, run_dir=folder, **{**SMALL, **options})


def learner_state(run: Run) -> Arrays:
    arrays, _ = arrayfiles.read_arrays(run.learner_file, "learner", FORMAT, VERSION, ("F32", "I32"))
    return arrays


@pytest.mark.parametrize("backend", NAMES)
def test_a_run_goes_on_in_every_framework(backend: str, tmp_path: Path) -> None:
    first = trained(tmp_path)
    before = learner_state(first)
    assert before["step"] == 30  # 10 each after steps 10, 20, 30
    second = polyak.train("td3", TINY, backend=backend, from_run=first.folder, run_dir=tmp_path, steps=10)
    after = learner_state(second)
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
    second = polyak.train("td3", TINY, from_run=first.folder, run_dir=tmp_path, steps=5, update_after=8)
    assert_equal(second.policy.parameters, first.policy.parameters)


def test_settings_of_a_preset_go_before_those_of_the_run(tmp_path: Path) -> None:
    first = trained(tmp_path, discount=0.7)
    options: dict[str, Any] = {"from_run": first.folder, "run_dir": tmp_path}
    second = polyak.train("td3", TINY, preset="paper", **options, **SMALL)
    assert second.settings["settings"]["discount"] == 0.99
    assert second.settings["settings"]["start_steps"] == 10
    assert second.settings["preset"] == "paper"


@pytest.mark.parametrize(
    ("algorithm", "options", "told"),
    [
        ("sac", {}, "is a run of td3, but sac is asked for"),
        ("td3", {"hidden_sizes": (9,)}, r"actor/0/bias is float32 \[8\], but must be float32 \[9\]"),
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


def test_a_run_without_a_learner_is_refused(tmp_path: Path) -> None:
    first = trained(tmp_path)
    first.learner_file.unlink()
    with pytest.raises(UsageError, match=r"there is no learner file .*learner\.safetensors"):
        polyak.train("td3", TINY, from_run=first.folder, run_dir=tmp_path)


def test_the_command_line_goes_on_from_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = trained(tmp_path)
    command = ["train", "td3", TINY, "--from", str(first.folder), "--steps", "10", "--run-dir", str(tmp_path)]
    assert cli.main(command) == 0
    captured = capsys.readouterr()
    second = polyak.load(captured.out.strip())
    assert learner_state(second)["step"] == 40
    assert f"from         {first.folder}" in captured.err


def test_a_learner_that_diverged_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good state stays."""
    from polyak.learners.jax.learner import JaxLearner

    real, calls = JaxLearner.update, []

    def update(self: JaxLearner, *arguments: Any) -> Any:
        calls.append(1)
        metrics = real(self, *arguments)
        if len(calls) == 3:
            metrics = metrics._replace(values=metrics.values * np.nan)
            self._state = self._state._replace(log_alpha=self._state.log_alpha * np.nan)
        return metrics

    monkeypatch.setattr(JaxLearner, "update", update)
    with pytest.raises(polyak.TrainingError, match="diverged"):
        polyak.train("sac", TINY, run_dir=tmp_path, **{**SMALL, "steps_per_epoch": 20})
    (file,) = tmp_path.rglob("learner.safetensors")
    kept = learner_state(Run(file.parent))
    assert kept["step"] == 20
    assert np.isfinite(kept["log_alpha"])
