"""Replay against a plain list, its sampling, and its memory."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.errors import UsageError
from polyak.experience import replay as module
from polyak.experience.batches import accumulated, sample_batch
from polyak.experience.choosers import Chosen, Uniform
from polyak.experience.links import NO_EPISODE
from polyak.experience.replay import Replay, memory_needed
from polyak.types import Batch, Float, Transitions

O, A = 3, 2  # noqa: E741 - the letters of the shapes


def transitions(first: int, count: int) -> Transitions:
    """Transitions numbered from `first`, every entry of which is different and tells its number."""
    number = np.arange(first, first + count, dtype=np.float32)[:, np.newaxis]
    observation = number + np.array([0.125, 0.25, 0.375], np.float32)
    action = -number - np.array([0.125, 0.25], np.float32)
    return Transitions(
        observation=observation,
        action=action,
        reward=number[:, 0],
        next_observation=observation + np.float32(0.5),
        terminated=number[:, 0] % 3 == 0,
        truncated=number[:, 0] % 5 == 0,
        episode=np.arange(first, first + count, dtype=np.int32) // 4,
    )


def assert_holds(records: Float, numbers: list[int]) -> None:
    """`records` [n, ...] are those of the transitions of these numbers."""
    assert len(records) == len(numbers)
    layout = Replay(1, O, A).layout
    for record, number in zip(records, numbers, strict=True):
        for name, column in list(transitions(number, 1)._asdict().items())[:-1]:
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
        assert ring.episodes(ring.oldest, added).tolist() == [number // 4 for number in model]
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
    np.testing.assert_array_equal(single._episodes, whole._episodes)


class Told:
    """Replay and a list of all that was ever added to it, each with its environment's count of episodes."""

    def __init__(self, capacity: int, environments: int) -> None:
        self.ring, self.environments = Replay(capacity, O, A), environments
        self.episode, self.added = list(range(environments)), list[int]()

    def step(self, present: list[bool], ended: list[int]) -> None:
        """Environments that are present take a step, which may end their episode, by itself (1) or by a limit (2)."""
        here = [index for index, there in enumerate(present[: self.environments]) if there]
        number, over = len(self.added), np.array([ended[index] for index in here])
        rows = transitions(number, len(here))
        numbers = np.array([self.episode[index] for index in here], np.int32)
        self.ring.add(rows._replace(terminated=over == 1, truncated=over == 2, episode=numbers))
        self.added += numbers.tolist()
        for index in here:
            if ended[index]:
                self.episode[index] += self.environments

    def assert_linked(self) -> None:
        held = range(self.ring.oldest, len(self.added))
        expected = [
            next((later for later in held[place + 1 :] if self.added[later] == self.added[number] >= 0), -1)
            for place, number in enumerate(held)
        ]
        assert self.ring.successors(np.array(held, np.int64)).tolist() == expected


STEPS = st.tuples(
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=3, max_size=3),
    st.sampled_from(["goes on", "goes on", "gives up", "resumes", "was stored before format 5", "asks"]),
)


@given(st.integers(1, 12), st.integers(1, 3), st.lists(STEPS, max_size=25))
def test_a_transition_is_followed_by_the_next_of_its_episode(capacity: int, envs: int, steps: list[Any]) -> None:
    """Whatever ends, is given up or overwritten meanwhile, whether links are kept up or made anew."""
    told = Told(capacity, envs)
    for present, ended, then in steps:
        told.step(present, ended)
        if then == "gives up":
            told.episode[0] += envs
        elif then in ("resumes", "was stored before format 5"):
            ring, back = told.ring, Replay(capacity, O, A)
            held = ring.oldest, ring.added
            episodes = ring.episodes(*held)
            if then != "resumes":
                episodes[:] = NO_EPISODE
                told.added = [NO_EPISODE] * len(told.added)
            back.successors(np.arange(0))  # links that must not outlive what is put back
            back.restore(ring.oldest, ring.records(*held), episodes)
            told.ring = back
        elif then == "asks":
            told.assert_linked()
    told.assert_linked()


def test_episodes_that_have_ended_are_forgotten() -> None:
    told = Told(8, 2)
    told.assert_linked()
    for ended in [[0, 1], [2, 0]] * 20:
        told.step([True, True], ended)
    assert told.ring._links is not None
    assert len(told.ring._links._latest) == 1


@pytest.mark.parametrize("count", [3, 5, 12])
def test_what_is_added_at_once_is_linked_as_one_by_one(count: int) -> None:
    whole, single = Replay(5, O, A), Replay(5, O, A)
    for ring, sizes in ((whole, [2, count]), (single, [1] * (2 + count))):
        ring.successors(np.arange(0))
        for size in sizes:
            numbers = np.arange(ring.added, ring.added + size, dtype=np.int32)
            ring.add(transitions(ring.added, size)._replace(episode=numbers % 2))
    held = np.arange(whole.oldest, whole.added)
    np.testing.assert_array_equal(whole.successors(held), single.successors(held))


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
        records[:, batch.layout.terminated :] = np.stack([numbers % 3 == 0, numbers % 5 == 0], axis=1)
        assert_holds(records, numbers.tolist())


def test_the_next_observation_counts_gamma_and_nothing_after_a_termination() -> None:
    ring = Replay(50, O, A)
    ring.add(transitions(0, 50))
    batch = sample_batch(ring, np.random.default_rng(0), 5, 20, discount=0.99)
    terminated = batch.reward % 3 == 0
    assert 0 < terminated.sum() < terminated.size
    np.testing.assert_array_equal(batch.discount, np.where(terminated, np.float32(0), np.float32(0.99)))
    np.testing.assert_array_equal(batch.weight, np.ones((5, 20)))


# Several steps ahead


def ahead(told: Told, number: int, discount: float, n_step: int) -> tuple[float, int, float]:
    """R, the number of the last transition that it counts, and what follows that counts: by the definition, one by one.

    The m steps are those up to the first that ended the episode, or that is the newest stored of it.
    """
    everything = [transition_of(told, each) for each in range(told.ring.oldest, told.ring.added)]
    stream = [each for each in everything if each.episode == transition_of(told, number).episode >= 0]
    steps = [each for each in stream if each.number >= number][:n_step] or [transition_of(told, number)]
    end = next((place for place, each in enumerate(steps) if each.terminated or each.truncated), len(steps) - 1)
    steps = steps[: end + 1]
    total = sum(discount**power * each.reward for power, each in enumerate(steps))
    return total, steps[-1].number, 0.0 if steps[-1].terminated else discount ** len(steps)


class One(NamedTuple):
    """What replay should hold under a number."""

    number: int
    episode: int
    reward: float
    terminated: bool
    truncated: bool


def transition_of(told: Told, number: int) -> One:
    record = told.ring.records(number, number + 1)[0]
    layout = told.ring.layout
    flags = record[layout.terminated] > 0, record[layout.truncated] > 0
    return One(number, told.added[number], float(record[layout.reward]), *map(bool, flags))


def assert_looks_ahead(told: Told, n_step: int, discount: float = 0.75) -> None:
    ring, layout = told.ring, told.ring.layout
    numbers = np.arange(ring.oldest, ring.added)[np.newaxis]
    batch = accumulated(ring, Chosen(numbers, np.full(numbers.shape, 0.5, np.float32)), discount, n_step)
    for number, record in zip(numbers[0], batch.records[0], strict=True):
        total, last, left = ahead(told, int(number), discount, n_step)
        one, other = transitions(int(number), 1), transitions(last, 1)
        np.testing.assert_array_equal(record[layout.observation], one.observation[0])
        np.testing.assert_array_equal(record[layout.action], one.action[0])
        np.testing.assert_allclose(record[layout.reward], total, rtol=1e-6)
        np.testing.assert_array_equal(record[layout.next_observation], other.next_observation[0])
        np.testing.assert_allclose(record[layout.discount], left, rtol=1e-6)
        assert record[layout.weight] == 0.5


@pytest.mark.parametrize("n_step", [1, 2, 3, 5, 30])
def test_a_target_counts_the_next_rewards_of_its_own_episode(n_step: int) -> None:
    """In a ring of 12 that comes round four times, whatever has just been overwritten, two environments taking turns.

    The one's episodes terminate, the other's are cut off; their lengths go through all phases of ring and n.
    """
    told = Told(12, 2)
    for step in range(24):
        told.step([True, step % 7 != 3], [int(step % 5 == 4), 2 * (step % 4 == 1)])
        assert_looks_ahead(told, n_step)
        if step == 15:  # an episode that is given up
            told.episode[1] += 2


@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 6), st.lists(STEPS, max_size=25))
def test_whatever_ends_or_is_given_up(capacity: int, envs: int, n_step: int, steps: list[Any]) -> None:
    told = Told(capacity, envs)
    for present, ended, then in steps:
        told.step(present, ended)
        if then == "gives up":
            told.episode[0] += envs
    if told.added:
        assert_looks_ahead(told, n_step)


def test_one_step_ahead_is_the_transition_itself() -> None:
    ring = Replay(50, O, A)
    ring.add(transitions(0, 80))
    drawn = [sample_batch(ring, np.random.default_rng(0), 3, 9, 0.97, n_step=n) for n in (1, 2)]
    assert ring._links is not None
    assert (drawn[0].records[..., : O + A] == drawn[1].records[..., : O + A]).all()  # the same are chosen
    assert (drawn[0].records != drawn[1].records).any()
    numbers = drawn[0].records[..., ring.layout.reward].astype(np.int64)
    np.testing.assert_array_equal(drawn[0].next_observation, ring.gathered(numbers)[..., ring.layout.next_observation])


def test_a_batch_is_one_contiguous_float32_gather_and_a_copy() -> None:
    ring = Replay(10, O, A)
    ring.add(transitions(0, 10))
    batch = sample(ring, np.random.default_rng(0), 3, 4)
    assert batch.records.dtype == np.float32
    assert batch.records.flags.c_contiguous
    before = batch.records.copy()
    ring.add(transitions(100, 10))
    np.testing.assert_array_equal(batch.records, before)


def test_a_record_is_observation_action_reward_next_observation_terminated_truncated() -> None:
    ring = Replay(1, O, A)
    ring.add(transitions(3, 1))
    expected = [3.125, 3.25, 3.375, -3.125, -3.25, 3.0, 3.625, 3.75, 3.875, 1.0, 0.0]
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


@pytest.mark.parametrize("added", [6, 8, 21])
def test_transitions_are_chosen_by_numbers_that_none_had_before(added: int) -> None:
    ring = Replay(8, O, A)
    ring.add(transitions(0, added))
    chosen = Uniform().choose(ring, np.random.default_rng(3), 20, 10)
    assert set(chosen.numbers.ravel()) == set(range(max(0, added - 8), added))
    np.testing.assert_array_equal(ring.gathered(chosen.numbers)[..., ring.layout.reward], chosen.numbers)
    rows = np.random.default_rng(3).integers(0, ring.size, size=(20, 10))
    np.testing.assert_array_equal(chosen.numbers % 8, rows, "one draw each, of the rows")


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


def test_half_cheetah_takes_176_megabytes() -> None:
    assert memory_needed(1_000_000, observation_size=17, action_size=6) == 176_000_000
    assert bytes_of(Replay(1000, 17, 6)) == memory_needed(1000, 17, 6)


def bytes_of(ring: Replay) -> int:
    return ring._records.nbytes + ring._episodes.nbytes


def test_a_replay_that_cannot_fit_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_free", lambda: 100_000_000)
    with pytest.raises(UsageError) as caught:
        Replay(1_000_000, 17, 6)
    message = str(caught.value)
    for part in ("replay_size 1,000,000", "176 MB", "100 MB are free", "568,181 transitions", "lower replay_size"):
        assert part in message
    assert Replay(568_181, 17, 6).capacity == 568_181  # what the message says fits does


def test_where_few_transitions_are_expected_memory_is_needed_for_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_free", lambda: 200_000)
    ring = Replay(1_000_000, 17, 6, expected=1_000)
    assert bytes_of(ring) == memory_needed(1_000, 17, 6)
    assert ring.capacity == 1_000_000
    with pytest.raises(UsageError, match=r"keep 2,000 transitions, for 352 kB, but 200 kB are free: .*; free some, or"):
        Replay(1_000_000, 17, 6, expected=2_000)
    assert Replay(1_000, 17, 6, expected=10**9).capacity == 1_000  # never more than the ring holds


def test_what_the_system_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_free", lambda: 10**30)
    with pytest.raises(UsageError, match=r"replay_size 1,000,000,000,000,000 needs .* GB, which the system refuses"):
        Replay(10**15, 17, 6)
