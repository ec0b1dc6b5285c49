"""Bursts of many lengths, as a vector environment makes them that spends steps on resets, in pieces of few lengths."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

import polyak
from backends import NAMES
from polyak import Run, frameworks
from polyak.algorithm import drawn as draws_of
from polyak.algorithm import first_state
from polyak.algorithms import algorithm as algorithm_named
from polyak.algorithms import with_page
from polyak.environments.stepping import Environments
from polyak.run import learning, loop
from polyak.run.learning import pieces
from polyak.types import Batch, Learned, Spec
from tiny_cli import SMALL, Tiny, Uneven
from whole_runs import assert_same, bits, saved, snapshots


@given(st.integers(0, 10_000))
def test_pieces_are_few_and_of_few_lengths(due: int) -> None:
    found = pieces(due)
    assert sum(found) == due
    assert found == sorted(found, reverse=True)
    assert {math.log(each, 4) % 1 for each in found} <= {0.0}
    assert max(map(found.count, found), default=0) <= 3


def test_pieces_of_sixteen_environments() -> None:
    assert {length for due in range(17) for length in pieces(due)} == {1, 4, 16}
    assert pieces(27) == [16, 4, 4, 1, 1, 1]
    assert pieces(0) == []


class Vector:
    """Makes a vector environment of 16, half of whose episodes last 1 to 7 steps, with an autoreset mode."""

    def __init__(self, mode: AutoresetMode = AutoresetMode.NEXT_STEP) -> None:
        self._mode = mode

    def __call__(self) -> Any:
        return SyncVectorEnv([Uneven, lambda: Tiny(length=25)] * 8, autoreset_mode=self._mode)


class Noted:
    """A learner that notes what is launched."""

    def __init__(self, learner: Any) -> None:
        self.learner, self.launched = learner, list[tuple[Batch, dict[str, Any]]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learner, name)

    def launch(self, batches: Batch, noise: dict[str, Any]) -> Callable[[], Learned]:
        self.launched.append((batches, noise))
        return self.learner.launch(batches, noise)

    @property
    def lengths(self) -> list[int]:
        return [len(batches.records) for batches, _ in self.launched]

    def given(self) -> dict[str, bytes]:
        """All that was launched, end to end."""
        names = ["records", *self.launched[0][1]]
        columns = {
            name: [{"records": batches.records, **noise}[name] for batches, noise in self.launched] for name in names
        }
        return {name: np.concatenate(arrays).tobytes() for name, arrays in columns.items()}


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Noted]:
    """The learners of all runs from now on."""
    made, make = list[Noted](), frameworks.make_learner

    def noting(*given: Any) -> Any:
        made.append(Noted(make(*given)))
        return made[-1]

    monkeypatch.setattr(frameworks, "make_learner", noting)
    return made


def train(folder: Path, environment: Any, **options: Any) -> Run:
    given: dict[str, Any] = {**SMALL, "backend": "torch", "update_every": 1, "evaluation_episodes": 1, **options}
    return polyak.train(given.pop("algorithm", "td3"), environment, run_dir=folder, **given)


def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut no burst from now on."""
    monkeypatch.setattr(learning, "pieces", lambda due: [due])


@pytest.mark.parametrize("lag", [0, 1])
def test_what_is_learned_from_is_that_of_the_whole_burst(
    lag: int, noted: list[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in PyTorch, which computes one update after another, so is all that is learned, bit for bit."""
    options: dict[str, Any] = {"lag": lag, "steps": 160, "steps_per_epoch": 60}
    run = train(tmp_path, Vector(), **options)
    whole(monkeypatch)
    other = train(tmp_path, Vector(), **options)
    assert set(noted[0].lengths) <= {1, 4, 16}
    assert len(set(noted[1].lengths)) > 4
    assert noted[0].given() == noted[1].given()
    assert_same(run, other)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        (AutoresetMode.DISABLED, {}),
        (AutoresetMode.SAME_STEP, {}),
        (AutoresetMode.NEXT_STEP, {"update_every": 16}),  # each burst is of 16
        (AutoresetMode.DISABLED, {"updates_per_step": 0.7}),
        (AutoresetMode.DISABLED, {"update_every": 5}),
    ],
)
def test_all_others_are_launched_whole(
    mode: AutoresetMode, options: dict[str, Any], noted: list[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "pieces", lambda due: pytest.fail("a burst was cut"))
    train(tmp_path, Vector(mode), update_after=20, steps=120, **options)
    assert 1 < len(noted[0].lengths) <= 8
    assert len(set(noted[0].lengths)) <= 3  # the first, and where fractions or multiples add up to one more


def test_sixteen_environments_take_three_programs(tmp_path: Path, noted: list[Noted]) -> None:
    options: dict[str, Any] = {"steps": 150, "steps_per_epoch": 150, "batch_size": 4}
    train(tmp_path, Vector(), backend="jax", algorithm="ddpg", **options)
    assert noted[0].learner._burst._cache_size() == len(set(noted[0].lengths)) <= 3


@pytest.mark.parametrize("backend", NAMES)
def test_pieces_bring_what_the_whole_burst_brings(backend: str, spec: Spec) -> None:
    """In all frameworks to rounding, also where the pieces are waited for in another order."""
    what, generator = with_page(algorithm_named("td3"), backend), np.random.default_rng(0)
    config = what.Config(hidden_sizes=(8,), batch_size=8)
    state = first_state(what.state(spec, config), np.random.default_rng(1))
    one, other = (frameworks.make_learner(backend, what, spec, config, state) for _ in range(2))
    records = generator.standard_normal((2, 8, 2 * 3 + 2 + 3)).astype(np.float32)
    noise = draws_of(what.draws(spec, config), generator, 2)
    expected = one.update(Batch(records, spec.layout), noise)
    waited = [
        other.launch(Batch(records[part], spec.layout), {name: drawn[part] for name, drawn in noise.items()})
        for part in (slice(1), slice(1, 2))
    ]
    waited[1]()
    joined = learning._joined(waited)
    np.testing.assert_allclose(joined.metrics.values, expected.values, rtol=1e-4, atol=1e-5)
    assert joined.metrics.names == expected.names
    for name, value in one.actor().items():
        np.testing.assert_allclose(joined.actor[name], value, rtol=1e-4, atol=1e-5)
    if backend == "torch":
        assert bits(one.arrays()) == bits(other.arrays())


@pytest.mark.parametrize("lag", [0, 1])
def test_a_killed_run_goes_on_bit_for_bit(
    lag: int, noted: list[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the burst that was on its way. (Those that start episodes by themselves give up the running ones.)"""
    monkeypatch.setattr(Environments, "resets_take_steps", True)
    options: dict[str, Any] = {"envs": 6, "lag": lag, "steps": 60, "checkpoint_every": 6}
    taken = snapshots(monkeypatch, tmp_path, 6).taken
    expected = train(tmp_path, Uneven, **options)
    monkeypatch.setattr(loop.Loop, "_iterate", loop.Loop._iterate)
    assert ("launched" in saved(Run(taken[6])).manifest.state) is bool(lag)
    assert set(noted[0].lengths) == {1, 4}
    assert_same(polyak.resume(taken[6], environment=Uneven), expected)
