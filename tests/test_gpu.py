"""On an NVIDIA GPU, where there is one: `JAX_PLATFORMS=cuda,cpu python -m pytest tests/test_gpu.py`."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from backends import frameworks_of
from polyak import frameworks
from polyak.algorithms import with_page
from polyak.frameworks.execution import Execution
from polyak.run.checkpoints import Checkpoints
from polyak.run.saved import read_checkpoint
from polyak.types import Arrays
from reference.cases import assert_agree, make_case, play, solve
from tiny_cli import SMALL, TINY, run_cli

ALGORITHMS = ("ddpg", "td3", "sac", "tqc", "crossq", "redq")
FRAMEWORKS = ("jax", "torch", "tensorflow")
DEVICE: Any = "cuda"
ROUNDING = 1e-4
"""Of fourteen updates in float32, beside the oracle's in float64."""
CHANGED: dict[str, Any] = {
    "network": "layer_norm",
    "activation": "tanh",
    "adam_beta_1": 0.5,
    "weight_decay": 0.1,
    "learning_rate_schedule": "cosine",
    "learning_rate_end": 0.1,
    "steps": 40,
    "update_after": 27,  # of fourteen updates
}
"""All that makes a network and its steps other than they are by default."""
OWN: dict[str, dict[str, Any]] = {
    "redq": {"critics": 3, "policy_delay": 3, "dropout": 0.2},  # subsets and bits
    # Its oracle has its own networks, and its batches are larger.
    "crossq": {"network": "batch_renorm", "activation": "relu", "steps": 100, "update_after": 87},
}


@cache
def has_gpu(backend: str) -> bool:
    return find_spec(backend) is not None and frameworks.start(backend, Execution("auto")).device == DEVICE


@pytest.fixture(params=FRAMEWORKS)
def backend(request: pytest.FixtureRequest) -> str:
    if not has_gpu(request.param):
        pytest.skip("no GPU")
    return request.param


def trained(folder: Path, algorithm: str, backend: str, **settings: Any) -> polyak.Run:
    asked = {"backend": backend, "device": DEVICE, "run_dir": folder, "seed": 3, **SMALL, **settings}
    return polyak.train(algorithm, TINY, **asked)


def learner_in(run: polyak.Run) -> Arrays:
    checkpoints = Checkpoints(run.checkpoints)
    return checkpoints.newest(lambda made: read_checkpoint(checkpoints, made)).learner


def assert_same_numbers(ours: Arrays, theirs: Arrays) -> None:
    different = [name for name, value in ours.items() if not np.array_equal(value, theirs[name])]
    assert not different


@pytest.mark.parametrize("settings", [{}, CHANGED], ids=["plain", "changed"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_gpu_computes_what_the_oracle_does(backend: str, algorithm: str, settings: dict[str, Any]) -> None:
    """In bursts that start in both phases of TD3's delay, each length and phase twice: recorded, then replayed."""
    own = OWN.get(algorithm, {})
    if backend not in frameworks_of(algorithm):
        pytest.skip("no page")
    case = make_case(algorithm, updates=14, **{**settings, **own})
    states, expected = solve(case)
    single, what = case.cast(np.float32), with_page(case.what, backend)
    learner = frameworks.make_learner(backend, what, case.spec, case.config, single.arrays, Execution(DEVICE))
    metrics = play(learner, single, [3, 3, 3, 3, 2])
    assert_agree(metrics, expected, ROUNDING)
    assert_agree(learner.arrays(), states[-1], ROUNDING)


@pytest.mark.parametrize("algorithm", ["td3", "sac"])
def test_equal_seeds_are_equal_runs(backend: str, algorithm: str, tmp_path: Path) -> None:
    runs = [trained(tmp_path / str(number), algorithm, backend, envs=2) for number in range(2)]
    assert_same_numbers(learner_in(runs[0]), learner_in(runs[1]))


def test_equal_seeds_are_equal_policies_at_full_width(backend: str, tmp_path: Path) -> None:
    """In processes of their own, each of which could choose its kernels by itself."""
    asked = ("--steps", "300", "--steps-per-epoch", "300", "--start-steps", "256", "--update-after", "256", "--plain")
    policies: list[bytes] = []
    for number in range(3):
        place = ("--backend", backend, "--device", DEVICE, "--run-dir", str(tmp_path / str(number)))
        code, folder, errors = run_cli("train", "sac", TINY, *place, *asked)
        assert code == 0, errors
        policies.append(polyak.load(folder.strip()).policy_file.read_bytes())
    assert len(set(policies)) == 1


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("algorithm", ["td3", "sac"])
def test_a_run_goes_on_as_if_nothing_had_been(backend: str, algorithm: str, lag: int, tmp_path: Path) -> None:
    """In another process, which compiles and records everything anew."""
    whole = trained(tmp_path / "whole", algorithm, backend, lag=lag)
    half = trained(tmp_path / "half", algorithm, backend, lag=lag, steps=20)
    code, _, errors = run_cli("resume", str(half.folder), "--steps", str(SMALL["steps"]), "--plain")
    assert code == 0, errors
    assert "not exact" not in errors
    assert_same_numbers(learner_in(whole), learner_in(polyak.load(half.folder)))
    assert whole.policy_file.read_bytes() == half.policy_file.read_bytes()


def test_a_learner_goes_on_on_the_cpu(backend: str, tmp_path: Path) -> None:
    """A policy that a GPU learned acts in NumPy, and its run goes on where there is none."""
    run = trained(tmp_path, "sac", backend, steps=20)
    code, _, errors = run_cli("resume", str(run.folder), "--steps", "40", "--device", "cpu", "--plain")
    assert code == 0, errors
    assert "device cuda is cpu now" in errors
    assert np.isfinite(polyak.load(run.folder).policy.act([0.5, 1.0])).all()


def test_runs_together_equal_their_single_ones_to_rounding(tmp_path: Path) -> None:
    if not has_gpu("jax"):
        pytest.skip("no GPU")
    asked: dict[str, Any] = {"device": DEVICE, **SMALL}
    together = polyak.train_together("sac", TINY, seeds=[3, 4], run_dir=tmp_path / "together", **asked)
    for run in together:
        alone = trained(tmp_path / "alone", "sac", "jax", seed=run.settings["seed"])
        assert_agree(learner_in(run), learner_in(alone), ROUNDING)
