"""All ways to better experience at once: a run goes on bit for bit, with collectors too; and what makes no sense.

Each has tests of its own. Here, everything that one of them keeps or draws meets everything of the others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polyak
from collecting_here import put_here
from polyak import Run, UsageError
from tiny_cli import SMALL, untrained_run
from whole_runs import assert_same, snapshots

GOALS = "tiny_goals:Points-v0"
FEATURES: dict[str, dict[str, Any]] = {
    "n-step": {"n_step": 3},
    "observations": {"normalize_observations": True},
    "rewards": {"normalize_rewards": True},
    "priorities": {"prioritized": "proportional"},
    "goals": {"hindsight": True},
    "demonstrations": {"demonstration_fraction": 0.5},
    "exploration": {"exploration_hold": 5, "exploration_spread": (0.1, 0.8)},
}
ALL = {name: value for feature in FEATURES.values() for name, value in feature.items()}
CONFIG: dict[str, Any] = {
    **SMALL,
    "steps": 60,
    "replay_size": 45,
    "seed": 3,
    "backend": "torch",
    "checkpoint_every": 7,
    "probe": False,
    "preset": "defaults",
    "exploration_correlation": 0.0,
}
OFFLINE = {"steps": 0, "offline_updates": 8}
COLLECTORS: dict[str, Any] = {"collectors": 2, "envs": 2, "update_every": 8, "checkpoint_every": 8}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Runs that others learn from, with hindsight and without: they keep an observation's parts in different orders."""
    asked: dict[str, Any] = {"preset": "defaults", "probe": False}
    folder = tmp_path_factory.mktemp("shown")
    return {
        hindsight: untrained_run(folder / str(hindsight), GOALS, hindsight=hindsight, **asked).folder
        for hindsight in (True, False)
    }


@pytest.fixture
def train(tmp_path: Path, shown: dict[bool, Path]) -> Callable[..., Run]:
    def run(algorithm: str = "td3", **options: Any) -> Run:
        if "demonstration_fraction" in options:
            options["demonstrations"] = shown["hindsight" in options]
        return polyak.train(algorithm, GOALS, **{"run_dir": tmp_path / "runs", **CONFIG, **options})

    return run


# Killed, and gone on


@pytest.mark.parametrize("name", FEATURES)
def test_each_alone(name: str, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a lag, so that a burst is under way where the run is killed."""
    taken = snapshots(monkeypatch, tmp_path, 24).taken
    whole = train(**FEATURES[name], lag=1, envs=2)
    assert_same(polyak.resume(taken[24]), whole)


@pytest.mark.parametrize(
    ("algorithm", "options", "at"),
    [
        ("td3", {"envs": 2, "lag": 1}, (3, 14, 29)),
        ("sac", {"updates_per_step": 0.5, "prioritized": "lap"}, (8, 33)),
        ("sac", {"backend": "jax", "envs": 2}, (5, 28)),
        ("tqc", {"lag": 1}, (41,)),
    ],
    ids=["td3-torch", "sac-torch", "sac-jax", "tqc-torch"],
)
def test_all_together(
    algorithm: str,
    options: dict[str, Any],
    at: tuple[int, ...],
    train: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = snapshots(monkeypatch, tmp_path, *at).taken
    whole = train(algorithm, **ALL | options)
    assert sorted(taken) == list(at)
    for folder in list(taken.values()):
        assert_same(polyak.resume(folder), whole)


def test_all_together_with_collectors_in_step(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, and a collector lost; on a cluster: `test_ray_collectors.py`."""
    here = put_here(monkeypatch)
    with monkeypatch.context() as patch:
        taken = snapshots(patch, tmp_path, 2, 5).taken
        whole = train(**ALL, **COLLECTORS)
    for folder in list(taken.values()):
        assert_same(polyak.resume(folder), whole)
    here.loses = {(1, 2), (0, 4)}
    assert_same(train(**ALL, **COLLECTORS), whole)


# What makes no sense


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"exploration_hold": 4, "exploration_correlation": 0.5}, "exploration_hold is 4, but must be 1 where"),
        ({"hindsight": True, "action_repeat": 2}, "action_repeat is 2, but must be 1 with hindsight"),
        ({**OFFLINE, "demonstration_fraction": 0.5, "collectors": 2}, "collectors is 2, but a run of offline_updates"),
        ({**OFFLINE}, "offline_updates is 8, but there is nothing to learn from"),
        ({"demonstration_fraction": 0.01}, "demonstration_fraction 0.01 of batch_size 8 is 0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_is_refused_at_the_door(
    options: dict[str, Any], told: str, train: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told):
        train(**options)
    assert not (tmp_path / "runs").exists()
