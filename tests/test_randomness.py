"""Streams: reproducible, one per name and seed, and unaware of each other."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polyak.system.randomness import Streams, episode_seed, stream

SEEDS = st.integers(min_value=0, max_value=2**64)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def first(seed: int, name: str) -> int:
    return int(stream(seed, name).integers(2**63))


@given(SEEDS, NAMES)
def test_a_stream_is_reproducible(seed: int, name: str) -> None:
    assert first(seed, name) == first(seed, name)


@given(SEEDS, SEEDS, NAMES, NAMES)
def test_another_seed_or_name_is_another_stream(seed: int, other_seed: int, name: str, other_name: str) -> None:
    assume((seed, name) != (other_seed, other_name))
    assert first(seed, name) != first(other_seed, other_name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("environment/1", "environment/11"), ("environment/0", "environment/1"), ("replay", "repla"), ("ab", "ba")],
)
def test_near_names_give_uncorrelated_streams(one: str, other: str) -> None:
    draws = [stream(0, name).standard_normal(10_000) for name in (one, other)]
    assert abs(np.corrcoef(draws)[0, 1]) < 4 / math.sqrt(10_000)


def test_a_known_draw() -> None:
    """Fixed for ever: a run made with one version of polyak repeats with the next."""
    assert stream(0, "replay").integers(1000, size=4).tolist() == [713, 751, 580, 933]


def test_the_streams_of_a_run_are_named_and_all_different() -> None:
    streams = Streams(3)
    named = {
        "weights": streams.weights,
        "replay": streams.replay,
        "warm-up": streams.warm_up,
        "exploration": streams.exploration,
        "learner": streams.learner,
        **{f"environment/{index}": streams.environment(index) for index in range(3)},
        **{f"evaluation/{index}": streams.evaluation(index) for index in range(3)},
    }
    drawn = {name: generator.standard_normal(1000) for name, generator in named.items()}
    for name, value in drawn.items():
        np.testing.assert_array_equal(value, stream(3, name).standard_normal(1000))
    for one, other in combinations(drawn.values(), 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(1000)


def test_drawing_from_one_stream_changes_no_other() -> None:
    used, fresh = Streams(0), Streams(0)
    used.replay.standard_normal(100)
    used.environment(0).standard_normal(100)
    np.testing.assert_array_equal(used.learner.standard_normal(8), fresh.learner.standard_normal(8))
    np.testing.assert_array_equal(used.environment(1).standard_normal(8), fresh.environment(1).standard_normal(8))


def test_episode_seeds_are_small_enough_and_differ() -> None:
    generator = stream(0, "evaluation/0")
    seeds = [episode_seed(generator) for _ in range(1000)]
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)
    assert len(set(seeds)) > 990
    assert max(seeds) > 2**30
