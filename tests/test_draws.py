"""What an update draws: its law, by enumeration where it can be, and its way to a page in each framework."""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import seen
from polyak import frameworks
from polyak.algorithm import Algorithm, Bits, Draws, Head, Net, Normal, Subset, drawn, first_state
from polyak.draws import undrawn
from polyak.errors import UsageError
from polyak.frameworks.execution import Carriage, Execution
from polyak.frameworks.jax.batched import Stacked
from polyak.networks.layers import body_of
from polyak.settings.shared import Settings
from polyak.types import Batch, Layout, Spec

B = 4
SPEC = Spec((2,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))
DRAWS: Draws = {
    "some": Bits((3, B, 5), 0.3),  # 60 bits: eight bytes, of which the last is half empty
    "noise": Normal((B, 2)),
    "chosen": Subset(3, 7),
    "other": Bits((1,), 0.5),
}


class Scripted:
    """A generator of which the gaps between ones are told."""

    def __init__(self, gaps: list[int]) -> None:
        self.gaps = gaps

    def geometric(self, probability: float, count: int) -> Any:
        """So many of them; behind the last, beyond any end."""
        taken, self.gaps = self.gaps[:count], self.gaps[count:]
        return np.array(taken + [2**62] * (count - len(taken)))


@pytest.mark.parametrize(("updates", "size"), [(1, 6), (2, 3), (3, 3), (1, 9)])
def test_every_pattern_of_bits_has_its_probability(updates: int, size: int) -> None:
    """A gap of n places has probability p (1 - p)^(n - 1), so that a pattern's is the product over its bits."""
    total, p, found = updates * size, 0.3, dict[bytes, float]()
    for pattern in product((False, True), repeat=total):
        gaps = np.diff(np.flatnonzero(pattern), prepend=-1).tolist()
        generator: Any = Scripted(list(gaps))
        bits = Bits((size,), p)
        patterns = seen(bits, drawn({"x": bits}, generator, updates)["x"])
        np.testing.assert_array_equal(patterns.ravel(), pattern)
        beyond = (1.0 - p) ** (total - sum(gaps))
        found[patterns.tobytes()] = math.prod(p * (1.0 - p) ** (gap - 1) for gap in gaps) * beyond
    assert len(found) == 2**total
    assert sum(found.values()) == pytest.approx(1.0)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    st.one_of(st.floats(1e-300, 1e-3), st.floats(1e-3, 1.0, exclude_max=True)),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
def test_bits_are_packed_and_follow_the_stream(shape: Any, probability: float, updates: int, seed: int) -> None:
    bits = Bits(shape, probability)
    sent, again = (drawn({"x": bits}, np.random.default_rng(seed), updates)["x"] for _ in range(2))
    np.testing.assert_array_equal(sent, again)
    each = math.prod(shape)
    assert (sent.shape, sent.dtype) == ((updates, -(-each // 8)), np.uint8)
    padding = np.unpackbits(sent, axis=1, bitorder="little")[:, each:]
    assert not padding.any()
    if probability < 1e-6:
        assert not sent.any()


@pytest.mark.parametrize("probability", [0.002, 0.01, 0.5, 0.97])
def test_bits_are_as_frequent_as_they_should_be_and_know_nothing_of_each_other(probability: float) -> None:
    bits, n = Bits((500,), probability), 100_000
    found = seen(bits, drawn({"x": bits}, np.random.default_rng(3), n // 500)["x"]).astype(float)
    spread = math.sqrt(probability * (1.0 - probability) / n)
    assert abs(found.mean() - probability) < 4 * spread
    flat = found.ravel() - probability
    for shift in (1, 2, 8, 500):  # of places, bytes and updates
        assert abs((flat[shift:] * flat[:-shift]).mean()) < 5 * spread**2 * math.sqrt(n)


@given(st.integers(1, 12).flatmap(lambda of: st.tuples(st.integers(1, of), st.just(of))), st.integers(0, 2**32))
def test_a_subset_is_of_different_members_and_follows_the_stream(sizes: tuple[int, int], seed: int) -> None:
    size, of = sizes
    found, again = (drawn({"x": Subset(size, of)}, np.random.default_rng(seed), 7)["x"] for _ in range(2))
    np.testing.assert_array_equal(found, again)
    assert (found.shape, found.dtype) == ((7, size), np.int32)
    assert 0 <= found.min() <= found.max() < of
    assert all(len(set(row)) == size for row in found.tolist())


def test_every_subset_is_as_likely_as_the_others() -> None:
    """All 20 ordered pairs of five, by Pearson's statistic of 19 degrees of freedom: above 43.8 once in a thousand."""
    n = 20_000
    pairs = drawn({"x": Subset(2, 5)}, np.random.default_rng(0), n)["x"]
    counts = np.bincount(5 * pairs[:, 0] + pairs[:, 1], minlength=25).reshape(5, 5)
    assert not np.diag(counts).any()
    others = counts[~np.eye(5, dtype=bool)]
    assert ((others - n / 20) ** 2 / (n / 20)).sum() < 43.8


def test_draws_come_in_the_order_declared_for_the_whole_burst() -> None:
    together = drawn(DRAWS, np.random.default_rng(5), 3)
    generator = np.random.default_rng(5)
    for name, draw in DRAWS.items():
        np.testing.assert_array_equal(together[name], drawn({name: draw}, generator, 3)[name])
    blank = undrawn(DRAWS, 3)
    assert {name: (x.shape, x.dtype) for name, x in blank.items()} == {
        name: (x.shape, x.dtype) for name, x in together.items()
    }


def test_integers_begin_where_they_may() -> None:
    carriage = Carriage(DRAWS, Layout(2, 1))
    starts = [place.start for place, _ in carriage.places.values()]
    assert starts == [0, 8, 20]
    assert carriage.bytes == 24
    assert carriage.width == Layout(2, 1).width + 2


# Through the learners: a page that measures what it sees


def numbers(draws: Mapping[str, Any]) -> dict[str, Any]:
    """Sums that tell every draw's every number apart, for NumPy and the frameworks' arrays alike."""
    weights = np.arange(1.0, 61.0, dtype=np.float32).reshape(3, B, 5)
    return {
        "bits": (draws["some"] * weights).sum(),
        "noise": (draws["noise"] * weights[0, :, :2]).sum(),
        "chosen": (draws["chosen"] * np.array([1, 10, 100], np.float32)).sum(),
        "other": (draws["other"] * np.ones(1, np.float32)).sum(),
    }


class Seeing:
    """An algorithm whose update measures its draws, and notes what they are."""

    def __init__(self, framework: str) -> None:
        self.framework, self.seen = framework, list[dict[str, Any]]()

    def update(self, state: Any, batch: Any, draws: Mapping[str, Any], due: Any, config: Any) -> Any:
        """Nothing is learned."""
        self.seen.append({name: (tuple(value.shape), str(value.dtype)) for name, value in draws.items()})
        if self.framework == "torch":
            import torch

            given = {name: value.numpy() for name, value in draws.items()}
            found = {name: torch.tensor(float(value)) for name, value in numbers(given).items()}
        else:
            found = numbers(draws)
        return state, {"critic_loss": batch.reward.sum(), **found}

    def algorithm(self) -> Algorithm:
        names = ("critic_loss", "bits", "noise", "chosen", "other")
        return Algorithm(
            Settings,
            state=lambda spec, config: {"actor": Net(2, body_of((2,), 1))},
            draws=lambda spec, config: DRAWS,
            head=lambda config: Head("deterministic"),
            value=lambda networks, observation, action, config: action[:, 0],
            metrics=names,
            pages={self.framework: self.update},
        )


def made(framework: str, fast: bool = True) -> tuple[Any, Seeing]:
    page = Seeing(framework)
    what, config = page.algorithm(), Settings(batch_size=B)
    arrays = first_state(what.state(SPEC, config), np.random.default_rng(0))
    return frameworks.make_learner(framework, what, SPEC, config, arrays, Execution("cpu", fast=fast)), page


def given_to(learners: list[Any], updates: int) -> list[Any]:
    """Bursts of the same draws, launched; and what each update should measure."""
    draws = drawn(DRAWS, np.random.default_rng(9), updates)
    records = np.zeros((updates, B, SPEC.layout.width), np.float32)
    waiting = [learner.launch(Batch(records, SPEC.layout), draws) for learner in learners]
    found = {name: seen(draw, draws[name]) for name, draw in DRAWS.items()}
    rows = [numbers({name: value[index] for name, value in found.items()}) for index in range(updates)]
    expected = np.array([[0.0, *row.values()] for row in rows])
    for each in waiting:
        np.testing.assert_allclose(each().metrics.values, expected, rtol=1e-5)
    return waiting


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_a_page_sees_what_was_drawn(framework: str, fast: bool) -> None:
    learner, page = made(framework, fast)
    given_to([learner], 5)
    kinds = {"some": (3, B, 5), "noise": (B, 2), "chosen": (3,), "other": (1,)}
    assert {name: shape for name, (shape, _) in page.seen[0].items()} == kinds
    words = {name: kind.removeprefix("torch.") for name, (_, kind) in page.seen[0].items()}
    assert words == {"some": "bool", "noise": "float32", "chosen": "int32", "other": "bool"}


def test_runs_that_learn_together_see_each_their_own() -> None:
    group, page = Stacked(), Seeing("jax")
    what, config = page.algorithm(), Settings(batch_size=B)
    execution = frameworks.start("jax", Execution("cpu"))
    arrays = first_state(what.state(SPEC, config), np.random.default_rng(0))
    given_to([group.learner(what, SPEC, config, arrays, execution) for _ in range(2)], 3)


def test_tensorflow_refuses_what_is_drawn_for_no_row() -> None:
    with pytest.raises(UsageError, match=r"draws 'some', a Bits, .* does not take: choose --backend jax or torch"):
        made("tensorflow")
