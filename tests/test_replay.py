"""Replay against a plain list, its sampling, and its memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.errors import UsageError
from polyak.experience import replay as module
from polyak.experience.batches import sample_batch
from polyak.experience.replay import Replay, memory_needed
from polyak.types import Batch, Float, Transitions

O, A = 3, 2  # noqa: E741 - the letters of the shapes


def transitions(first: int, count: int) -> Transitions:
    """Transitions numbered from `first`, every entry of which is different and tells its number."""
    number = np.arange(first, first + count, dtype=np.float32)[:, np.newaxis]
    observation = number + np.array([0.125, 0.25, 0.375], np.float32)
    action = -number - np.array([0.125, 0.25], np.float32)
    return Transitions(observation, action, number[:, 0], observation + np.float32(0.5), number[:, 0] % 3 == 0)


def assert_holds(records: Float, numbers: list[int]) -> None:
    """`records` [n, ...] are those of the transitions of these numbers."""
    assert len(records) == len(numbers)
    layout = Replay(1, O, A).layout
    for record, number in zip(records, numbers, strict=True):
        for name, column in transitions(number, 1)._asdict().items():
            np.testing.assert_array_equal(record[getattr(layout, name)], column[0], err_msg=name)


def sample(ring: Replay, generator: np.random.Generator, updates: int, batch_size: int) -> Batch:
    return sample_batch(ring, generator, updates, batch_size, discount=0.75)


@given(st.integers(1, 12), st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_the_ring_holds_the_newest_as_a_list_does(capacity: int, counts: list[int]) -> None:
    ring, model, added = Replay(capacity, O, A), list[int](), 0
    for count in counts:
        ring.add(transitions(added, count))
        model = [*model, *range(added, added + count)][-capacity:]
        added += count
        assert (ring.size, ring.added, ring.capacity) == (len(model), added, capacity)
        records = ring.records(added - ring.size, added)
        assert_holds(records, model)
        if model:
            drawn = sample(ring, np.random.default_rng(added), 2, 5)
            assert set(drawn.reward.ravel()) <= set(model)


@given(st.integers(1, 9), st.integers(0, 30))
def test_added_one_by_one_or_at_once_is_the_same(capacity: int, count: int) -> None:
    single, whole = Replay(capacity, O, A), Replay(capacity, O, A)
    whole.add(transitions(0, count))
    for number in range(count):
        single.add(transitions(number, 1))
    np.testing.assert_array_equal(single._records, whole._records)


def test_samples_are_whole_transitions_in_batches() -> None:
    ring = Replay(50, O, A)
    ring.add(transitions(0, 80))
    batch = sample(ring, np.random.default_rng(0), updates=4, batch_size=7)
    assert batch.observation.shape == batch.next_observation.shape == (4, 7, O)
    assert batch.action.shape == (4, 7, A)
    assert batch.reward.shape == batch.discount.shape == batch.weight.shape == (4, 7)
    assert batch.records.shape == (4, 7, 2 * O + A + 3)
    for records in batch.records:
        numbers = records[:, batch.layout.reward].astype(int)
        records[:, batch.layout.terminated] = numbers % 3 == 0
        assert_holds(records, numbers.tolist())


def test_the_next_observation_counts_gamma_and_nothing_after_a_termination() -> None:
    ring = Replay(50, O, A)
    ring.add(transitions(0, 50))
    batch = sample_batch(ring, np.random.default_rng(0), 5, 20, discount=0.99)
    terminated = batch.reward % 3 == 0
    assert 0 < terminated.sum() < terminated.size
    np.testing.assert_array_equal(batch.discount, np.where(terminated, np.float32(0), np.float32(0.99)))
    np.testing.assert_array_equal(batch.weight, np.ones((5, 20)))


def test_a_batch_is_one_contiguous_float32_gather_and_a_copy() -> None:
    ring = Replay(10, O, A)
    ring.add(transitions(0, 10))
    batch = sample(ring, np.random.default_rng(0), 3, 4)
    assert batch.records.dtype == np.float32
    assert batch.records.flags.c_contiguous
    before = batch.records.copy()
    ring.add(transitions(100, 10))
    np.testing.assert_array_equal(batch.records, before)


def test_a_record_is_observation_action_reward_next_observation_terminated() -> None:
    ring = Replay(1, O, A)
    ring.add(transitions(3, 1))
    expected = [3.125, 3.25, 3.375, -3.125, -3.25, 3.0, 3.625, 3.75, 3.875, 1.0]
    np.testing.assert_array_equal(ring.records(0, 1), [expected])


def test_sampling_is_uniform_over_what_is_held() -> None:
    ring = Replay(20, O, A)
    ring.add(transitions(0, 33))  # wrapped: 13 to 32 are held
    draws = sample(ring, np.random.default_rng(0), 100, 200).reward.astype(int).ravel()
    counts = np.bincount(draws, minlength=33)
    assert (counts[:13] == 0).all()
    expected = draws.size / 20
    chi_square = float(((counts[13:] - expected) ** 2 / expected).sum())
    assert chi_square < 43.8  # the 99.9 % point with 19 degrees of freedom


def test_sampling_from_a_part_filled_ring_draws_held_rows_alone() -> None:
    ring = Replay(1000, O, A)
    ring.add(transitions(5, 3))
    assert set(sample(ring, np.random.default_rng(0), 10, 50).reward.ravel()) == {5.0, 6.0, 7.0}


def test_the_generator_alone_decides_what_is_drawn() -> None:
    ring = Replay(30, O, A)
    ring.add(transitions(0, 30))
    first, again, other = (sample(ring, np.random.default_rng(seed), 5, 6).records for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_empty_replay_says_so() -> None:
    with pytest.raises(UsageError, match="empty replay: add transitions first"):
        sample(Replay(5, O, A), np.random.default_rng(0), 1, 1)


def test_half_cheetah_takes_168_megabytes() -> None:
    assert memory_needed(1_000_000, observation_size=17, action_size=6) == 168_000_000
    assert Replay(1000, 17, 6)._records.nbytes == memory_needed(1000, 17, 6)


def test_a_replay_that_cannot_fit_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_free", lambda: 100_000_000)
    with pytest.raises(UsageError) as caught:
        Replay(1_000_000, 17, 6)
    message = str(caught.value)
    for part in ("replay_size 1,000,000", "168 MB", "100 MB are free", "595,238 transitions", "lower replay_size"):
        assert part in message
    assert Replay(595_238, 17, 6).capacity == 595_238  # what the message says fits does


def test_where_few_transitions_are_expected_memory_is_needed_for_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_free", lambda: 200_000)
    ring = Replay(1_000_000, 17, 6, expected=1_000)
    assert ring._records.nbytes == memory_needed(1_000, 17, 6)
    assert ring.capacity == 1_000_000
    with pytest.raises(UsageError, match=r"keep 2,000 transitions, for 336 kB, but 200 kB are free: .*; free some, or"):
        Replay(1_000_000, 17, 6, expected=2_000)
    assert Replay(1_000, 17, 6, expected=10**9).capacity == 1_000  # never more than the ring holds


def test_what_the_system_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_free", lambda: 10**30)
    with pytest.raises(UsageError, match=r"replay_size 1,000,000,000,000,000 needs .* GB, which the system refuses"):
        Replay(10**15, 17, 6)
