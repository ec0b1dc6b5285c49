"""Policies and metrics that are damaged, or another run's: named where they are read, and put right by `resume`."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import Policy, Run, TrainingError, UsageError
from polyak.policies.contents import FORM
from polyak.system import arrayfiles
from polyak.types import Spec
from test_resume import Told
from tiny import make_policy
from tiny_cli import TINY, Tiny, call_cli, untrained_run

SPEC = Spec((3,), (2,), np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its last checkpoint was made after its last evaluation."""
    return untrained_run(tmp_path_factory.mktemp("runs"), algorithm="sac")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its last evaluation came after its last checkpoint, because it is no end of an epoch."""
    return untrained_run(tmp_path_factory.mktemp("runs"), steps=33)


@pytest.fixture(params=["ended", "short"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    return Run(shutil.copytree(request.getfixturevalue(request.param).folder, tmp_path / "run"))


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


# A policy's file


def test_a_flipped_bit_in_any_byte_of_a_policy_is_seen_or_harmless(tmp_path: Path) -> None:
    file = tmp_path / "policy.safetensors"
    policy = dataclasses.replace(make_policy(SPEC, "squashed_gaussian"), made_for={"algorithm": "sac", "seed": 1})
    policy.save(file)
    whole, harmless = file.read_bytes(), 0
    for place in range(len(whole)):
        file.write_bytes(flipped(whole, place, place % 8))
        try:
            read = Policy.load(file)
        except UsageError as error:
            said = str(error)
        else:
            assert_same(read, policy)
            harmless, said = harmless + 1, str(file)
        assert str(file) in said
    assert harmless < 20  # the word sha256 itself: a file without one is an older one's


def assert_same(one: Policy, other: Policy) -> None:
    assert (one.kind, one.exploration_noise, one.made_for) == (other.kind, other.exploration_noise, other.made_for)
    assert one.spec.to_json() == other.spec.to_json()
    assert one.parameters.keys() == other.parameters.keys()
    for name, value in one.parameters.items():
        assert value.tobytes() == other.parameters[name].tobytes()


def test_a_changed_weight_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "policy"
    make_policy(SPEC).save(file)
    content = file.read_bytes()
    file.write_bytes(flipped(content, len(content) - 30, 0))
    with pytest.raises(UsageError, match="policy is damaged: its content does not have the SHA-256 that it states"):
        Policy.load(file)


def test_a_file_without_a_checksum_is_an_older_one_and_is_read(tmp_path: Path) -> None:
    policy = make_policy(SPEC)
    form = dataclasses.replace(FORM, sealed=False)
    arrays, metadata = arrayfiles.arrays_in(policy.content(), Path("p"), FORM)
    (tmp_path / "policy").write_bytes(arrayfiles.content_of(form, arrays, metadata))
    assert b"sha256" not in (tmp_path / "policy").read_bytes()
    assert_same(Policy.load(tmp_path / "policy"), policy)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_refused_by_name(number: float, tmp_path: Path) -> None:
    policy = make_policy(SPEC)
    policy.parameters["1/bias"][1] = number
    policy.save(tmp_path / "policy")
    with pytest.raises(UsageError, match="policy is not a whole polyak policy: 1/bias holds a number that is not fin"):
        Policy.load(tmp_path / "policy")


@pytest.mark.parametrize("marks", [5, [], {"seed": 1.5}, {"seed": None}, {"algorithm": ["sac"]}, "sac"])
def test_marks_that_are_none_are_refused(marks: Any, tmp_path: Path) -> None:
    policy = make_policy(SPEC)
    arrays, metadata = arrayfiles.arrays_in(policy.content(), Path("p"), FORM)
    metadata["policy"] = json.dumps({**json.loads(metadata["policy"]), "made_for": marks})
    (tmp_path / "policy").write_bytes(arrayfiles.content_of(FORM, arrays, metadata))
    with pytest.raises(UsageError, match="what it was made for"):
        Policy.load(tmp_path / "policy")


# Another run's


def change(**by: Any) -> Callable[[Policy], Policy]:
    return lambda policy: dataclasses.replace(policy, **by)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (change(made_for={"algorithm": "td3", "environment": TINY, "seed": 0}), "algorithm 'td3', not 'sac'"),
        (change(made_for={"algorithm": "sac", "environment": "E-v0", "seed": 0}), f"environment 'E-v0', not '{TINY}'"),
        (change(made_for={"algorithm": "sac", "environment": TINY, "seed": 7}), "seed 7, not 0"),
        (lambda _: make_policy(Spec((2,), (1,), *bounds(-1, 3)), "deterministic"), "which sac does not learn"),
        (lambda _: make_policy(Spec((4,), (1,), *bounds(-1, 3)), "squashed_gaussian"), "has the spaces"),
        (lambda _: make_policy(Spec((2,), (1, 1), *bounds(-1, 3)), "squashed_gaussian"), "has the spaces"),
        (lambda _: make_policy(Spec((2,), (1,), *bounds(-1, 2)), "squashed_gaussian"), "has the spaces"),
    ],
)
def test_the_policy_of_another_run_is_refused(
    other: Callable[[Policy], Policy], said: str, ended: Run, tmp_path: Path
) -> None:
    run = Run(shutil.copytree(ended.folder, tmp_path / "run"))
    other(run.policy).save(run.policy_file)
    for command in ("evaluate", "record"):
        code, _, errors = call_cli(command, str(run.folder))
        assert (code, errors.count("\n")) == (2, 1)
        assert f"{run.policy_file} is the policy of another run" in errors
        assert said in errors
    assert Policy.load(run.policy_file)
    assert polyak.load(run.folder).best_policy


def bounds(low: float, high: float) -> tuple[Any, Any]:
    return np.array([low], np.float32), np.array([high], np.float32)


def test_a_policy_saved_by_hand_is_the_runs_where_it_fits(ended: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(ended.folder, tmp_path / "run"))
    make_policy(run.policy.spec, "squashed_gaussian").save(run.policy_file)
    assert run.evaluate(1).lengths == (5,)


def test_equal_runs_are_equal_files_and_a_callable_has_no_name(tmp_path: Path) -> None:
    one, other = (
        untrained_run(tmp_path / name, environment=made) for name, made in (("a", Tiny), ("b", partial(Tiny, length=5)))
    )
    assert one.policy_file.read_bytes() == other.policy_file.read_bytes()
    assert one.policy.made_for == {"algorithm": "ddpg", "seed": 0}


# Folders in place of files


@pytest.mark.parametrize("name", ["policy.safetensors", "best.safetensors", "metrics.jsonl", "settings.json"])
def test_a_folder_in_place_of_a_file_is_named(name: str, run: Run) -> None:
    file = run.folder / name
    file.unlink()
    file.mkdir()
    commands = [["resume"], ["resume", "--steps", "60"]] if name != "settings.json" else []
    commands += [["evaluate"]] if name == "policy.safetensors" else []
    commands += [["evaluate", "--best"]] if name == "best.safetensors" else []
    commands += [["report"]] if name in ("metrics.jsonl", "settings.json") else []
    for command in commands:
        code, _, errors = call_cli(*command, str(run.folder))
        assert (code, errors.count("\n")) == (2, 1), errors
        assert str(file) in errors


def test_a_folder_that_appears_while_training_is_named(tmp_path: Path) -> None:
    class Interferes(Told):
        def started(self, progress: Any) -> None:
            super().started(progress)
            (Path(progress.folder) / "policy.safetensors").mkdir()

    with pytest.raises(TrainingError, match=r"cannot write .*policy\.safetensors: .*the checkpoint of step"):
        untrained_run(tmp_path, observer=Interferes())


# What `resume` does about it


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a bit": lambda file: file.write_bytes(flipped(file.read_bytes(), file.stat().st_size // 2, 1)),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "missing": lambda file: file.unlink(),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "no text": lambda file: file.write_bytes(b"\xff" * 100),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["policy.safetensors", "best.safetensors", "metrics.jsonl"])
def test_a_run_that_is_over_is_put_right(name: str, damage: str, ended: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(ended.folder, tmp_path / "run"))
    whole = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    DAMAGE[damage](run.folder / name)
    code, _, errors = call_cli("resume", str(run.folder))
    assert code == 0
    if (damage, name) == ("a link", "policy.safetensors"):
        assert (
            "nothing to do: it has done its 40 steps; ask for more steps to go on\n" in errors
        )  # it is read through it
    else:
        assert f"put right from the checkpoint: {name} (" in errors.replace("\n", " ")
    assert {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name in whole} == whole
    assert "put right" not in call_cli("resume", str(run.folder))[2]


def test_a_version_that_became_another_is_damage(ended: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(ended.folder, tmp_path / "run"))
    whole = run.policy_file.read_bytes()
    run.policy_file.write_bytes(whole.replace(b'"version":"1"', b'"version":"3"'))
    assert "put right from the checkpoint: policy.safetensors (" in call_cli("resume", str(run.folder))[2]
    assert run.policy_file.read_bytes() == whole


def test_all_three_at_once_and_those_of_another_run(ended: Run, short: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(ended.folder, tmp_path / "run"))
    files = (run.policy_file, run.best_policy_file, run.metrics_file)
    whole = [file.read_bytes() for file in files]
    for file in files:
        shutil.copyfile(short.folder / file.name, file)
    errors = call_cli("resume", str(run.folder))[2]
    assert all(file.name in errors for file in files)
    assert [file.read_bytes() for file in files] == whole


@pytest.mark.parametrize("name", ["policy.safetensors", "best.safetensors", "metrics.jsonl"])
def test_a_last_evaluation_that_no_checkpoint_holds_is_made_again(name: str, short: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(short.folder, tmp_path / "run"))
    file = run.folder / name
    content = file.read_bytes()  # a number of the last record that is another number is not seen
    place = content.index(b"\n") + 1 if name == "metrics.jsonl" else len(content) // 2
    file.write_bytes(flipped(content, place, 1))
    told = Told()
    again = polyak.resume(run.folder, observer=told)
    assert name in told.facts["put right"]
    assert again.policy_file.read_bytes() == short.policy_file.read_bytes()
    assert again.best_policy_file.read_bytes() == short.best_policy_file.read_bytes()
    assert [record["eval/return"] for record in again.metrics] == [record["eval/return"] for record in short.metrics]


def test_a_run_that_goes_on_says_what_it_writes_anew(short: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(short.folder, tmp_path / "run"))
    for name in ("policy.safetensors", "best.safetensors"):
        DAMAGE["a bit"](run.folder / name)
    content = run.metrics_file.read_bytes()
    run.metrics_file.write_bytes(content.replace(b'"step": 20', b'"step": 21', 1))
    told = Told()
    again = polyak.resume(run.folder, steps=45, observer=told)
    for fault in ("policy.safetensors (", "best.safetensors (", "metrics.jsonl (line 1 is not what the checkpoint has"):
        assert fault in told.facts["put right"]
    assert [record["step"] for record in again.metrics] == [20, 40, 45]


def test_whole_runs_are_left_as_they_are(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.*[!k]") if path.is_file()}
    assert "put right" not in call_cli("resume", str(run.folder))[2]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_each_flipped_byte_of_the_metrics_is_seen_or_put_right(ended: Run, tmp_path: Path) -> None:
    """Read as it is, the file names a line that is no record; `resume` compares it with the checkpoint's copy."""
    run = Run(shutil.copytree(ended.folder, tmp_path / "run"))
    whole = run.metrics_file.read_bytes()
    for place in range(0, len(whole), 29):
        run.metrics_file.write_bytes(flipped(whole, place, place % 7))
        assert "put right from the checkpoint: metrics.jsonl (" in call_cli("resume", str(run.folder))[2].replace(
            "\n", " "
        )
        assert run.metrics_file.read_bytes() == whole


@pytest.mark.parametrize("letter", [b"J", b"\x0b", b"\xff", b" x"])
def test_a_last_line_with_something_after_it_is_damaged_and_not_cut_off(
    letter: bytes, ended: Run, tmp_path: Path
) -> None:
    run = Run(shutil.copytree(ended.folder, tmp_path / "run"))
    run.metrics_file.write_bytes(run.metrics_file.read_bytes().removesuffix(b"\n") + letter)
    with pytest.raises(UsageError, match=r"metrics\.jsonl, line 2, is not JSON"):
        _ = run.metrics
