"""A run's policy acts on what its environment shows, in the shape of its space, and answers in that of its actions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation

import polyak
from polyak import Run
from tiny import Shown
from tiny_cli import untrained_run


def short_run(folder: Path, environment: Any, **settings: Any) -> Run:
    return untrained_run(
        folder, environment, **{"steps": 4, "max_episode_steps": 2, "evaluation_episodes": 1, **settings}
    )


def box(*shape: int) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, shape, np.float32)


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (box(3), (3,)),
        (box(2, 3), (2, 3)),
        (box(3, 1), (3, 1)),
        (box(1, 3), (1, 3)),
        (box(1, 1), (1, 1)),
        (box(), ()),
        (box(2, 1, 2), (2, 1, 2)),
        (spaces.MultiBinary((2, 2)), (2, 2)),
        (spaces.Box(0, 9, (2, 2), np.int64), (2, 2)),
    ],
    ids=str,
)
def test_it_acts_on_what_the_environment_shows(space: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    run = short_run(tmp_path, lambda: Shown(space))
    space.seed(0)
    many = [space.sample() for _ in range(3)]
    loaded = polyak.load(run.folder)
    for policy in (loaded.policy, loaded.best_policy):
        assert policy.spec.observation_shape == shape
        alone = [policy.act(each) for each in many]
        assert [each.shape for each in alone] == [(2,)] * 3
        np.testing.assert_allclose(policy.act(np.stack(many)), alone, rtol=1e-5)
    assert loaded.evaluate(1, environment=lambda: Shown(space)).lengths == (2,)


@pytest.mark.parametrize("shape", [(), (1,), (1, 2), (2, 2)])
def test_the_action_has_the_shape_of_its_space(shape: tuple[int, ...], tmp_path: Path) -> None:
    policy = short_run(tmp_path, lambda: Shown(box(1, 3), box(*shape))).policy
    assert policy.act(np.zeros((1, 3))).shape == shape
    assert policy.act(np.zeros((5, 1, 3))).shape == (5, *shape)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: Shown(spaces.Dict(place=box(2, 2), gear=spaces.Discrete(3))), 7),
        (lambda: Shown(spaces.Tuple([box(), box(2)])), 3),
        (lambda: Shown(spaces.Discrete(4)), 4),
        (lambda: FlattenObservation(Shown(box(2, 3))), 6),  # whoever flattens by himself means the vector
    ],
    ids=["dict", "tuple", "discrete", "flattened by hand"],
)
def test_where_the_space_is_no_array_it_acts_on_the_vector(make: Any, size: int, tmp_path: Path) -> None:
    run = short_run(tmp_path, make)
    assert run.policy.spec.observation_shape == (size,)
    assert run.policy.act(np.zeros(size)).shape == (2,)
    assert run.policy.act(np.zeros((5, size))).shape == (5, 2)


def matrix() -> Shown:
    return Shown(box(2, 3))


def test_workers_and_several_environments_keep_the_shape(tmp_path: Path) -> None:
    for options in ({"envs": 2}, {"envs": 2, "vectorization": "async"}):
        policy = short_run(tmp_path, matrix, **options).policy
        assert policy.spec.observation_shape == (2, 3)


def test_a_checkpoint_from_before_the_shape_was_kept_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr("polyak.environments.spaces.Flat.shape_shown", (6,))
        run = short_run(tmp_path, matrix)
    assert run.policy.spec.observation_shape == (6,)
    resumed = polyak.resume(run.folder, steps=6, environment=matrix)
    assert resumed.policy.act(np.zeros((2, 3))).shape == (2,)


def test_an_environment_of_another_shape_is_not_gone_on_in(tmp_path: Path) -> None:
    run = short_run(tmp_path, matrix)
    with pytest.raises(polyak.UsageError, match="are not those of the run"):
        polyak.resume(run.folder, steps=6, environment=lambda: Shown(box(3, 2)))


MIXED = spaces.Dict(
    place=box(2, 2),
    gear=spaces.Discrete(3, start=-1),
    hands=spaces.Tuple([spaces.MultiBinary(2), spaces.MultiDiscrete([[2, 3]])]),
)


def stacked(samples: list[Any]) -> Any:
    """What a VecEnv shows of several environments: each part with a leading axis."""
    if isinstance(samples[0], dict):
        return {key: stacked([each[key] for each in samples]) for key in samples[0]}
    if isinstance(samples[0], tuple):
        return tuple(stacked([*each]) for each in zip(*samples, strict=True))
    return np.stack(samples)


@pytest.mark.parametrize(
    "space",
    [MIXED, spaces.Tuple([box(), box(2)]), spaces.Discrete(4), spaces.MultiDiscrete([2, 3])],
    ids=["dict", "tuple", "discrete", "multi-discrete"],
)
def test_it_acts_on_the_environments_own_observation(space: Any, tmp_path: Path) -> None:
    run = short_run(tmp_path, lambda: Shown(space), steps=2)
    space.seed(0)
    samples = [space.sample() for _ in range(3)]
    flat = np.stack([spaces.flatten(space, each) for each in samples]).astype(np.float32)
    for policy in (polyak.load(run.folder).policy, polyak.load(run.folder).best_policy):
        expected = policy.act(flat)
        for sample, action in zip(samples, expected, strict=True):
            np.testing.assert_allclose(policy.act(sample), action, rtol=1e-5)
            np.testing.assert_allclose(policy.predict(sample)[0], action, rtol=1e-5)
        np.testing.assert_allclose(policy.predict(stacked(samples))[0], expected, rtol=1e-5)


def test_as_many_choices_as_a_vector_has_numbers_are_choices_to_predict_and_a_vector_to_act(tmp_path: Path) -> None:
    policy = short_run(tmp_path, lambda: Shown(spaces.Discrete(4)), steps=2).policy
    shown = np.array([0, 1, 0, 0])
    np.testing.assert_allclose(policy.predict(shown)[0], policy.act(np.eye(4)[shown]), rtol=1e-5)
    np.testing.assert_allclose(policy.act(shown), policy.act(1), rtol=1e-5)


def test_what_is_none_of_the_environments_observations_is_refused(tmp_path: Path) -> None:
    policy = short_run(tmp_path, lambda: Shown(MIXED), steps=2).policy
    sample = MIXED.sample()
    for given, told in (
        ({"place": sample["place"]}, "no 'gear'; right is a dict with"),
        ({**sample, "gear": 7}, r"in its part \['gear'\]: 7; right is one of the 3 numbers -1 to 1"),
        ({**sample, "hands": sample["hands"][:1]}, "right is a tuple of 2"),
        ((sample, {}), "the pair that reset returns"),
        (3, r"int 3"),
        (stacked([sample, sample]) | {"gear": np.zeros(3)}, "part"),
    ):
        with pytest.raises(polyak.UsageError, match=told):
            policy.act(given)
    with pytest.raises(polyak.NonFiniteError, match="the observation holds nan at place 0 and 3 more"):
        policy.act({**sample, "place": np.full((2, 2), np.nan, np.float32)})


def test_a_run_from_before_policies_knew_the_parts_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr("polyak.environments.spaces.Flat.parts_shown", None)
        run = short_run(tmp_path, lambda: Shown(MIXED))
    sample, flat = MIXED.sample(), np.zeros(14)
    with pytest.raises(polyak.UsageError, match=r"give a Dict or Tuple as the vector that gymnasium\.spaces\.flatten"):
        run.policy.act(sample)
    resumed = polyak.resume(run.folder, steps=6, environment=lambda: Shown(MIXED))
    assert resumed.policy.act(sample).shape == resumed.policy.act(flat).shape == (2,)
