"""Which spaces are taken, what they come to, and what the refusals say."""

from typing import Any

import numpy as np
import pytest
from gymnasium import Space, spaces

from polyak.environments.spaces import needs_flattening, spec_of
from polyak.errors import UsageError

OBSERVATION = spaces.Box(-1.0, 1.0, (3,))
ACTION = spaces.Box(-1.0, 1.0, (2,))
IMAGE = spaces.Box(0, 255, (8, 8, 3), np.uint8)


def test_a_spec_has_the_boxes_shapes_and_bounds_in_float32() -> None:
    box = spaces.Box(np.array([[-1.0, 0.0], [-5.0, 2.0]]), np.array([[3.0, 0.5], [-4.0, 8.0]]), dtype=np.float64)
    spec = spec_of(OBSERVATION, box)
    assert (spec.observation_shape, spec.action_shape) == ((3,), (2, 2))
    assert spec.action_low.dtype == spec.action_high.dtype == np.float32
    np.testing.assert_array_equal(spec.action_low, [-1.0, 0.0, -5.0, 2.0])
    np.testing.assert_array_equal(spec.action_high, [3.0, 0.5, -4.0, 8.0])


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(4), ["Discrete(4)", "continuous actions", "LunarLanderContinuous-v3", "DQN or PPO"]),
        (spaces.MultiDiscrete([2, 3]), ["MultiDiscrete([2 3])", "continuous actions", "DQN or PPO"]),
        (spaces.MultiBinary(3), ["MultiBinary(3)", "continuous actions", "DQN or PPO"]),
        (spaces.Dict(arm=ACTION), ["must be a Box", "flatten it to one Box in a wrapper"]),
        (spaces.Tuple([ACTION, ACTION]), ["must be a Box", "flatten it to one Box in a wrapper"]),
        (spaces.Box(0, 5, (2,), np.int32), ["int32", "floats"]),
        (spaces.Box(-1.0, 1.0, (0,)), ["empty"]),
        (spaces.Box(-np.inf, 1.0, (2,)), ["unbounded", "finite bounds", "TransformAction"]),
        (spaces.Box(-1.0, np.inf, (2,)), ["unbounded", "finite bounds"]),
        (spaces.Box(np.array([0.0, 1.0]), np.array([1.0, 1.0]), dtype=np.float64), ["no room in dimension [1]"]),
        # Bounds that float32 cannot hold, or whose width it cannot, are none either.
        (spaces.Box(-1e300, 1e300, (2,), np.float64), ["unbounded", "finite bounds"]),
        (spaces.Box(-3e38, 3e38, (2,), np.float32), ["unbounded", "finite bounds"]),
        (spaces.Box(1.0, 1.0 + 1e-12, (1,), np.float64), ["no room in dimension [0]"]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Space) else "",
)
def test_other_action_spaces_are_refused_with_what_to_do(space: Space[Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        spec_of(OBSERVATION, space)
    for word in words:
        assert word in str(caught.value)


def test_an_observation_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="number to observe"):
        spec_of(spaces.Box(-1.0, 1.0, (0,)), ACTION)


@pytest.mark.parametrize(
    ("space", "flatten"),
    [
        (OBSERVATION, False),
        (spaces.Box(0, 255, (128,), np.uint8), False),  # a machine's memory, not an image
        (spaces.Box(-1.0, 1.0, ()), True),
        (spaces.Box(-1.0, 1.0, (4, 4)), True),
        (spaces.Discrete(4), True),
        (spaces.MultiDiscrete([2, 3]), True),
        (spaces.MultiBinary(3), True),
        (spaces.Dict(inner=spaces.Tuple([OBSERVATION, spaces.Discrete(2)])), True),
    ],
    ids=str,
)
def test_what_is_no_vector_must_be_flattened(space: Space[Any], flatten: bool) -> None:
    assert needs_flattening(space) is flatten


@pytest.mark.parametrize(
    "space",
    [IMAGE, spaces.Dict(speed=OBSERVATION, camera=IMAGE), spaces.Tuple([OBSERVATION, spaces.Dict(camera=IMAGE)])],
    ids=["image", "in a Dict", "deep inside"],
)
def test_images_are_refused_with_what_to_do(space: Space[Any]) -> None:
    with pytest.raises(UsageError, match=r"an image \(Box\(0, 255, \(8, 8, 3\), uint8\)\).*encode it first.*wrapper"):
        needs_flattening(space)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Sequence(OBSERVATION),
        spaces.Graph(OBSERVATION, None),
        spaces.Dict(words=spaces.Sequence(spaces.Discrete(3))),
        spaces.Text(10),
        spaces.Dict(words=spaces.Text(10)),
    ],
    ids=["Sequence", "Graph", "Sequence in a Dict", "Text", "Text in a Dict"],
)
def test_spaces_that_are_no_vector_are_refused_with_what_to_do(space: Space[Any]) -> None:
    with pytest.raises(UsageError, match=r"cannot be flattened to a vector.*encode it.*TransformObservation"):
        needs_flattening(space)
