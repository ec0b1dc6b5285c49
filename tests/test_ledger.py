"""The ledger: what its state keeps, also that of an earlier version, which measured less."""

import json

import numpy as np
import pytest

from clocks import Clock
from polyak.experience.collector import Episode
from polyak.run.ledger import FIRST_NAMES, Ledger
from polyak.system.stopwatch import PARTS
from polyak.types import Metrics

NAMES = ("critic_loss", "q", "q_std")


def filled() -> Ledger:
    ledger = Ledger(NAMES)
    ledger.episodes.append(Episode(7, -3.5, 4, True))
    ledger.measured.append(Metrics(NAMES, np.array([[1, 2, 3], [3, 4, np.nan]], np.float32)))
    ledger.given_up = 1
    ledger.stopwatch.restore({part: float(seconds) for seconds, part in enumerate(PARTS, start=10)})
    return ledger


def test_a_restored_ledger_makes_the_same_record(clock: Clock) -> None:
    whole = filled()
    clock.passes(4.0)
    state, values = whole.state()
    clock.passes(1_000.0)  # the interruption, which is not counted
    restored = Ledger(NAMES)
    restored.restore(json.loads(json.dumps(state)), values)
    clock.passes(0.5)
    assert restored.speed(9) == 2
    record = restored.record(20, 5, {"eval/return": 1.0})
    assert record == {**filled().record(20, 5, {"eval/return": 1.0}), "seconds": 4.5}
    assert (record["learner/critic_loss"], record["learner/q_std"]) == (2, 3)
    assert [record[f"time/{part}"] for part in PARTS] == [10, 11, 12, 13, 14, 15, 16]
    again = restored.record(40, 9, {})
    assert "learner/q" not in again
    assert sum(again.get(f"time/{part}", 0) for part in PARTS) == 0


def test_columns_are_found_by_their_names() -> None:
    """A state may come from a version that measured less, or in another order."""
    state, _ = filled().state()
    restored = Ledger(NAMES)
    restored.restore(state | {"metrics": ["q", "gone", "critic_loss"]}, np.array([[2, 9, 1]], np.float32))
    record = restored.record(20, 1, {})
    assert (record["learner/critic_loss"], record["learner/q"]) == (1, 2)
    assert "learner/q_std" not in record
    assert "learner/gone" not in record


def test_a_state_of_the_first_format_says_no_names() -> None:
    state, _ = filled().state()
    old = {name: value for name, value in state.items() if name not in ("metrics", "times")}
    restored = Ledger(NAMES)
    restored.restore(old, np.array([[1, 2]], np.float32))  # of FIRST_NAMES, those that are measured today as well
    record = restored.record(20, 1, {})
    assert [name for name in FIRST_NAMES if name in NAMES] == ["critic_loss", "q"]
    assert (record["learner/critic_loss"], record["learner/q"]) == (1, 2)


@pytest.mark.parametrize("names", ["critic_loss", [1, 2, 3], None])
def test_names_that_are_none(names: object) -> None:
    state, values = filled().state()
    with pytest.raises(ValueError, match="no names"):
        Ledger(NAMES).restore(state | {"metrics": names}, values)
