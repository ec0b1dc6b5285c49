"""Prioritized replay: the tree of sums, both rules against an oracle that counts, errors of all pages, exact resume."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyak
from backends import (
    NAMES,
    Framework,
    framework,
    learner_of,
    parts_of,
    plain,
)
from polyak import Run, UsageError, parts
from polyak.cli.request import parse
from polyak.experience.batches import Batches
from polyak.experience.priorities import Prioritized
from polyak.experience.replay import Replay
from polyak.experience.sums import ROW_BYTES, Sums
from polyak.run.learning import Updates, pieces
from polyak.settings.shared import Settings
from polyak.types import Transitions
from reference.cases import assert_agree, make_case, play, relative_error, solve
from test_checkpoints import newest, rewrite
from tiny_cli import SMALL, TINY
from whole_runs import assert_same, saved, snapshots

Rule = Any
RULES: tuple[Rule, ...] = ("proportional", "lap")
CAPACITY, BATCH = 12, 9

# Sums


def filled(values: Any, capacity: int | None = None) -> Sums:
    found = Sums(capacity or len(values))
    found.fill(0, len(values), np.asarray(values, np.float64))
    return found


def everything(sums: Any) -> Any:
    return sums._nodes[sums._roots :]


@given(st.integers(1, 3_000), st.integers(0, 99), st.lists(st.integers(1, 200), max_size=6))
def test_a_tree_is_that_of_its_leaves_whatever_came_before(rows: int, seed: int, changes: list[int]) -> None:
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, rows + 1))
    sums = Sums(rows)
    for first in range(0, size, 700):
        sums.fill(first, min(first + 700, size), float(generator.random() + 0.1))
    for count in changes:
        chosen = np.unique(generator.integers(0, size, count))
        sums.put(chosen, 1e6 ** generator.standard_normal(len(chosen)))
    again = filled(sums.values(), rows)
    np.testing.assert_array_equal(everything(again), everything(sums))
    assert np.sum(sums.values()) == pytest.approx(everything(sums)[: sums._roots].sum(), rel=1e-12)


@given(st.integers(1, 2_500), st.integers(0, 999))
def test_a_row_takes_as_much_of_the_whole_as_its_number(rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = 1e3 ** generator.standard_normal(rows)
    sums, ends = filled(values, rows + int(generator.integers(0, 2_000))), np.cumsum(values) / values.sum()
    places = generator.random(200)
    found = sums.drawn(places)
    at_an_edge = np.abs(ends[found] - places) < 1e-12
    np.testing.assert_array_equal(found[~at_an_edge], np.searchsorted(ends, places, side="right")[~at_an_edge])
    assert sums.drawn(np.array([0.0]))[0] == 0
    assert sums.drawn(np.array([1.0 - 2.0**-53])) <= rows - 1, "never behind the last, however sums are rounded"


def test_small_priorities_among_a_million_are_not_lost() -> None:
    """Rows of 0.01 behind one of 100,000 are drawn as often as they should be; by a running total of float32, which
    others have, a fifth of them is lost."""
    values = np.full(1_000_000, 0.01)
    values[0] = 1e5
    places, share = np.random.default_rng(0).random(200_000), values[1:].sum() / values.sum()
    assert np.mean(filled(values).drawn(places) > 0) == pytest.approx(share, rel=0.02)
    total = np.cumsum(values, dtype=np.float32)
    assert np.mean(np.searchsorted(total, places * total[-1]) > 0) != pytest.approx(share, rel=0.02)


# The rules, beside an oracle


def transitions(numbers: Any) -> Transitions:
    """Those of which each says its number."""
    column = np.asarray(numbers, np.float32)[:, None]
    flags, episode = np.zeros(len(column), bool), np.zeros(len(column), np.int32)
    return Transitions(column, column, column[:, 0], column, flags, flags, episode)


class Oracle:
    """Priorities in a dictionary, one transition after another; written from the papers."""

    def __init__(self, rule: Rule, exponent: float, correction: float, updates: int) -> None:
        self.rule, self.exponent, self.correction, self.updates = rule, exponent, correction, updates
        self.priority: dict[int, float] = {}
        self.largest, self.added, self.chosen = 1.0, 0, 0

    def entered(self, count: int) -> None:
        for _ in range(count):
            self.priority[self.added] = self.largest
            self.priority.pop(self.added - CAPACITY, None)
            self.added += 1

    def probability(self, number: int) -> float:
        return self.priority[number] / sum(self.priority.values())

    def weights(self, numbers: Any) -> Any:
        found = np.ones(numbers.shape)
        for row, batch in enumerate(numbers):
            if self.rule == "proportional":
                beta = self.correction + (1 - self.correction) * min((self.chosen + row) / self.updates, 1.0)
                weight = [(len(self.priority) * self.probability(int(n))) ** -beta for n in batch]
                found[row] = np.array(weight) / max(weight)
        self.chosen += len(numbers)
        return found

    def learned(self, numbers: Any, errors: Any) -> None:
        new = {}
        for number, error in zip(numbers.ravel(), errors.ravel(), strict=True):
            least = max(abs(error), 1.0) if self.rule == "lap" else abs(error) + 1e-6
            new[int(number)] = least**self.exponent
        held = {number: value for number, value in new.items() if number in self.priority}
        self.priority |= held
        self.largest = max([self.largest, *held.values()])


def lives(kind: type[Any], rule: Rule) -> None:
    for seed in range(5):
        lived(kind, rule, seed)


def lived(kind: type[Any], rule: Rule, seed: int, rounds: int = 40) -> None:
    """A life in a ring of twelve: what the chooser chooses, weighs and remembers is what the oracle says."""
    generator, oracle = np.random.default_rng(seed), Oracle(rule, 0.7, 0.3, 60)
    replay = Replay(CAPACITY, 1, 1)
    made = chooser(replay, rule, kind)
    batches = Batches(replay, 0.99, 1, made)
    for _ in range(rounds):
        count = int(generator.integers(1, 6))
        batches.add(transitions(range(oracle.added, oracle.added + count)))
        oracle.entered(count)
        updates = int(generator.integers(1, 4))
        batch = batches.sample(generator, updates, BATCH)
        numbers = batch.reward.astype(int)  # what was drawn, by itself
        assert set(numbers.ravel()) <= set(oracle.priority)
        np.testing.assert_allclose(batch.weight, oracle.weights(numbers), rtol=1e-6)
        late = int(generator.integers(0, 9))  # come before the errors do, with a lag
        batches.add(transitions(range(oracle.added, oracle.added + late)))
        oracle.entered(late)
        errors = (10.0 ** generator.uniform(-2, 2, numbers.shape)).astype(np.float32)
        batches.learned(errors)
        oracle.learned(numbers, errors.astype(float))
        told, kept = made.state()
        held = sorted(oracle.priority)
        rows = np.array(held) % CAPACITY
        np.testing.assert_allclose(kept["priorities"][rows], [oracle.priority[n] for n in held], rtol=1e-12)
        total = made._priorities._nodes[made._priorities._roots :].sum()
        assert total == pytest.approx(sum(oracle.priority.values()), rel=1e-12), "duplicates count once"
        assert (told["largest"], told["chosen"]) == (pytest.approx(oracle.largest, rel=1e-12), oracle.chosen)


def chooser(replay: Replay, rule: Rule = "proportional", kind: type[Any] = Prioritized, exponent: float = 0.7) -> Any:
    return kind(replay, rule, exponent, 0.3, 60)


@pytest.mark.parametrize("rule", RULES)
def test_it_chooses_weighs_and_remembers_as_the_oracle_does(rule: Rule) -> None:
    lives(Prioritized, rule)


class DuplicatesAdded(Prioritized):
    """A tree that is updated by differences, once for each time that a transition was chosen."""

    def learned(self, numbers: Any, errors: Any) -> None:
        before = dict(enumerate(self._priorities.values()))
        super().learned(numbers, errors)
        again = [
            row for row, count in zip(*np.unique(numbers % CAPACITY, return_counts=True), strict=True) if count > 1
        ]
        for row in again:
            self._priorities._nodes[self._priorities._leaves + row] += self._priorities.of(row) - before[row]


class FirstOfDuplicates(Prioritized):
    def learned(self, numbers: Any, errors: Any) -> None:
        super().learned(numbers.ravel()[::-1], errors.ravel()[::-1])


class OverwrittenToo(Prioritized):
    """Errors go to the row, whoever is there now."""

    def learned(self, numbers: Any, errors: Any) -> None:
        super().learned(self._added - 1 - (self._added - 1 - numbers) % self._capacity, errors)


class WeightsOverTheBurst(Prioritized):
    """Divided by the largest of all batches."""

    def _weights(self, rows: Any) -> Any:
        return super()._weights(rows.reshape(1, -1)).reshape(rows.shape)


class WeightsOverTheirMean(Prioritized):
    def _weights(self, rows: Any) -> Any:
        found = super()._weights(rows)
        return found / found.mean(axis=1, keepdims=True)


class BetaOfTheBurst(Prioritized):
    """Counts bursts for updates."""

    def choose(self, replay: Any, generator: Any, updates: int, batch_size: int) -> Any:
        found = super().choose(replay, generator, updates, batch_size)
        self._chosen += 1 - updates
        return found


class NewOnesByTheLargestNow(Prioritized):
    """The largest priority that there is, which is not the largest that there was."""

    def entered(self, count: int) -> None:
        if self._added:
            self._largest = float(self._priorities.values().max())
        super().entered(count)


class NoExponent(Prioritized):
    def _priority(self, error: Any) -> Any:
        return super()._priority(error) ** (1.0 / self._exponent)


class Squares(Prioritized):
    def _priority(self, error: Any) -> Any:
        return super()._priority(error**2)


BROKEN = (
    *(DuplicatesAdded, FirstOfDuplicates, OverwrittenToo, WeightsOverTheBurst, WeightsOverTheirMean),
    *(BetaOfTheBurst, NewOnesByTheLargestNow, NoExponent, Squares),
)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_copy_is_caught(broken: type[Any]) -> None:
    with pytest.raises(AssertionError):
        lives(broken, "proportional")


def test_how_often_each_is_drawn() -> None:
    """Chi-squared of 300,000 draws, with eleven degrees of freedom: above 42 by chance once in 100,000 times."""
    for rule in RULES:
        replay = Replay(CAPACITY, 1, 1)
        replay.add(transitions(range(CAPACITY)))
        made = chooser(replay, rule)
        made.learned(np.arange(CAPACITY)[None], np.arange(CAPACITY, dtype=np.float32)[None])
        numbers = made.choose(replay, np.random.default_rng(1), 10, 30_000).numbers
        priority = made.state()[1]["priorities"]
        expected = 300_000 * priority / priority.sum()
        assert np.sum((np.bincount(numbers.ravel(), minlength=CAPACITY) - expected) ** 2 / expected) < 42


@pytest.mark.parametrize("rule", RULES)
def test_an_exponent_of_zero_is_uniform_with_weights_of_one(rule: Rule) -> None:
    replay = Replay(CAPACITY, 1, 1)
    replay.add(transitions(range(5)))
    made = chooser(replay, rule, exponent=0.0)
    made.learned(np.array([[0, 3, 4]]), np.array([[1e-3, 5.0, 70.0]], np.float32))
    found = made.choose(replay, np.random.default_rng(0), 200, 50)
    np.testing.assert_array_equal(found.weight, 1.0)
    np.testing.assert_array_equal(made.state()[1]["priorities"], 1.0)
    assert np.bincount(found.numbers.ravel()) == pytest.approx(2_000, abs=200)


@pytest.mark.parametrize("rule", RULES)
def test_what_is_kept_goes_on_bit_for_bit(rule: Rule) -> None:
    replay = Replay(CAPACITY, 1, 1)
    batches = Batches(replay, 0.99, 1, chooser(replay, rule))
    generator = np.random.default_rng(0)
    for _ in range(9):
        batches.add(transitions(range(replay.added, replay.added + 3)))
        batches.sample(generator, 2, BATCH)
        batches.learned(generator.random((2, BATCH), np.float32))
    batches.sample(generator, 2, BATCH)  # is on its way
    again = Batches(replay, 0.99, 1, chooser(replay, rule))
    again.restore(*batches.state())
    for one in (batches, again):
        one.learned(np.linspace(0, 9, 2 * BATCH, dtype=np.float32).reshape(2, BATCH))
    drawn = [one.sample(np.random.default_rng(5), 3, BATCH).records for one in (batches, again)]
    np.testing.assert_array_equal(*drawn)
    assert again.state()[0] == batches.state()[0]
    np.testing.assert_array_equal(again.state()[1]["chooser/priorities"], batches.state()[1]["chooser/priorities"])


# LAP is PAL: Fujimoto et al. 2020, theorem 3


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", NAMES)
def test_lap_is_pal_in_expectation(name: str) -> None:
    """Of five transitions: the mean gradient of LAP's loss where they are drawn by priority, and of PAL's where all are
    drawn alike: up to 1 it is delta, and beyond its sign times |delta|^alpha, over the mean priority."""
    alpha, delta = 0.4, np.array([-7.0, -0.4, 0.02, 1.5, 30.0])
    replay = Replay(5, 1, 1)
    replay.add(transitions(range(5)))
    made = Prioritized(replay, "lap", alpha, 0.4, 1)
    made.learned(np.arange(5)[None], np.abs(delta)[None].astype(np.float32))
    priority = made.state()[1]["priorities"]
    framed: Framework = framework(name)
    regression = parts_of(framed).regression

    def loss(error: Any, weight: Any) -> Any:
        return regression(error, weight, Settings(prioritized="lap"))

    with framed.precisely():
        _, slope = parts_of(framed).value_and_gradient(loss, framed.tensor(delta), framed.tensor(np.ones(5)))
    lap = np.sum(priority / priority.sum() * 5.0 * plain(slope))  # `regression` is a mean
    size = np.abs(delta)
    pal = np.mean(np.where(size <= 1.0, delta, np.sign(delta) * size**alpha) / priority.mean())
    assert lap == pytest.approx(2.0 * pal, rel=1e-7)
    assert lap != pytest.approx(2.0 * np.mean(np.clip(delta, -1, 1)), rel=0.01)


# Errors of the pages


def test_errors_come_back_only_where_they_are_wanted() -> None:
    """That they are the oracle's, from all pages, is seen in tests/test_learners.py and tests/test_redq.py."""
    case = make_case("ddpg", updates=2)
    (batch, draws), (asked, silent) = case.burst(0, 2), (learner_of(case, "torch") for _ in range(2))
    wanted = asked.launch(batch, draws)()
    assert wanted.errors is not None
    assert wanted.errors.shape == (2, case.config.batch_size)
    unasked = silent.launch(dataclasses.replace(batch, wants_errors=False), draws)()
    assert unasked.errors is None
    np.testing.assert_array_equal(unasked.metrics.values, wanted.metrics.values)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("algorithm", ["ddpg", "td3", "crossq", "redq"])
def test_whole_updates_of_lap_are_those_of_the_oracle(algorithm: str) -> None:
    """In PyTorch; `regression` is the same in all, and SAC is seen in tests/test_learners.py."""
    case = make_case(algorithm, updates=4, prioritized="lap")
    states, metrics = solve(case)
    assert metrics["critic_loss"][0] != solve(make_case(algorithm, updates=1))[1]["critic_loss"][0]
    learner = learner_of(case, "torch")
    assert relative_error(play(learner, case, [4])["critic_loss"], metrics["critic_loss"]) < 1e-11
    assert_agree(learner.arrays(), states[-1], 1e-10)


# Runs

PRIORITIZED = {"prioritized": "proportional", "backend": "torch", "seed": 3, "replay_size": 33, "checkpoint_every": 7}


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    def run(algorithm: str = "ddpg", **options: Any) -> Run:
        return polyak.train(algorithm, TINY, **{"run_dir": tmp_path / "runs", **SMALL, **PRIORITIZED, **options})

    return run


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, (9, 22, 38)),
        ({"prioritized": "lap", "lag": 1, "update_every": 3}, (8, 15, 29, 38)),
        ({"lag": 1, "update_every": 2, "n_step": 3, "envs": 2}, (5, 12, 18)),
        ({"collectors": 2, "update_every": 4}, (5, 8)),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(
    options: dict[str, Any],
    at: tuple[int, ...],
    train: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = snapshots(monkeypatch, tmp_path, *at).taken
    whole = train(**options)
    assert sorted(taken) == list(at)
    kept = saved(Run(taken[at[-1]]))
    assert kept.batches["chooser/priorities"].shape == (kept.replay.size,)
    assert ("sampled" in kept.batches) == ("errors" in kept.loop) == bool(options.get("lag") or "collectors" in options)
    for folder in list(taken.values()):
        assert_same(polyak.resume(folder), whole)


def test_learning_from_priorities_is_another_run(train: Callable[..., Run]) -> None:
    ends = {rule: train(prioritized=rule).metrics[-1]["learner/q"] for rule in ("none", "proportional", "lap")}
    assert len(set(ends.values())) == 3


def test_a_loop_of_ones_own_is_the_run_of_the_same_settings(train: Callable[..., Run]) -> None:
    environments = parts.make_environments(TINY)
    config = parts.make_config("ddpg", **{**SMALL, "prioritized": "proportional"})
    collector, replay = parts.make_collector(environments, config), parts.make_replay(environments.spec, config)
    batches = parts.make_batches(environments.spec, config, replay)
    learner = parts.make_learner("torch", "ddpg", environments.spec, config)
    schedule, sampling = parts.UpdateSchedule(config), parts.Streams(0).replay
    while collector.steps < config.steps:
        before = collector.steps
        batches.add(collector.step(None if before < config.start_steps else learner.policy))
        if due := schedule.due(before, collector.steps):
            learner.update(batches.sample(sampling, due, config.batch_size))
            batches.learned(learner.errors)
    environments.close()
    run = train(seed=0, replay_size=100, probe=False)
    theirs = saved(run)
    np.testing.assert_array_equal(batches.state()[1]["chooser/priorities"], theirs.batches["chooser/priorities"])
    np.testing.assert_array_equal(learner.arrays()["actor/0/kernel"], theirs.learner["actor/0/kernel"])
    with pytest.raises(UsageError, match="prioritized is proportional, but these batches were not drawn so"):
        learner.update(parts.sample_batch(replay, sampling, 1, config.batch_size, config.discount))


def test_runs_together_equal_their_single_runs(train: Callable[..., Run], tmp_path: Path) -> None:
    options = {**SMALL, **PRIORITIZED, "backend": "jax", "run_dir": tmp_path / "together"}
    options.pop("seed")
    for run in polyak.train_together("ddpg", TINY, seeds=(3, 4), **options):
        assert_same(run, train(backend="jax", seed=run.settings["seed"]))


def test_pieces_of_a_burst_bring_all_errors(train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector environment that spends steps on resets makes bursts of many lengths, which go in pieces."""
    whole = train(update_every=6)
    patched = "polyak.run.learning.Updates.__init__"
    begin = Updates.__init__
    monkeypatch.setattr(patched, lambda self, *given, **named: begin(self, *given, **{**named, "in_pieces": True}))
    assert len(pieces(6)) > 1
    assert_same(train(update_every=6), whole)


# At the door


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a rule that is none": ({"prioritized": "per"}, "prioritized is 'per', but must be none, proportional, lap"),
    "an exponent for none": (
        {"priority_exponent": 0.5},
        "priority_exponent is 0.5, but prioritized is none: leave it out, or choose prioritized proportional or lap",
    ),
    "weights of lap": (
        {"prioritized": "lap", "priority_correction": 0.5},
        "priority_correction is 0.5, but prioritized is lap: leave it out, or choose prioritized proportional",
    ),
    "an exponent above 1": (
        {"prioritized": "lap", "priority_exponent": 1.5},
        "priority_exponent is 1.5, but must be in [0, 1], or None",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused(case: str) -> None:
    options, words = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        Settings(**options)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("words", "rule"),
    [(["--prioritized"], "proportional"), (["--prioritized", "lap"], "lap"), ([], "none")],
)
def test_the_flag_alone_means_proportional(words: list[str], rule: str) -> None:
    assert parse("sac", TINY, [*words, "--seed", "1"]).plan.config.prioritized == rule


def test_memory_for_priorities_is_asked_for_at_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 10_000
    each = Replay(rows, 3, 1, beside=ROW_BYTES).row_bytes
    assert each == Replay(rows, 3, 1).row_bytes + ROW_BYTES
    assert everything(Sums(rows)).nbytes <= ROW_BYTES * (rows + 16)
    monkeypatch.setattr("polyak.experience.replay.memory_free", lambda: rows * each - 1)
    Replay(rows, 3, 1)
    with pytest.raises(UsageError, match="at most 9,999 transitions of this environment fit"):
        Replay(rows, 3, 1, beside=ROW_BYTES)


DAMAGE: dict[str, Callable[[Any, Any], None]] = {
    "no priorities": lambda state, arrays: arrays.pop("chooser/priorities"),
    "one too few": lambda state, arrays: arrays.update({"chooser/priorities": arrays["chooser/priorities"][1:]}),
    "of float32": lambda state, arrays: arrays.update(
        {"chooser/priorities": arrays["chooser/priorities"].astype(np.float32)}
    ),
    "one of 0": lambda state, arrays: arrays["chooser/priorities"].__setitem__(3, 0.0),
    "one NaN": lambda state, arrays: arrays["chooser/priorities"].__setitem__(3, np.nan),
    "one above the largest": lambda state, arrays: arrays["chooser/priorities"].__setitem__(3, 1e9),
    "the largest NaN": lambda state, arrays: state["chooser"].update(largest=float("nan")),
    "the largest infinite": lambda state, arrays: state["chooser"].update(largest=float("inf")),
    "no largest": lambda state, arrays: state["chooser"].pop("largest"),
    "chosen below 0": lambda state, arrays: state["chooser"].update(chosen=-1),
    "chosen a text": lambda state, arrays: state["chooser"].update(chosen="9"),
    "nothing of the chooser": lambda state, arrays: state.clear(),
    "something of another": lambda state, arrays: state.update(other={}),
    "an array of another": lambda state, arrays: arrays.update(other=np.zeros(1)),
    "numbers of what was never added": lambda state, arrays: arrays["sampled"].__setitem__((0, 0), 99),
    "numbers below 0": lambda state, arrays: arrays["sampled"].__setitem__((0, 0), -1),
    "numbers as floats": lambda state, arrays: arrays.update(sampled=arrays["sampled"].astype(float)),
    "numbers in a row": lambda state, arrays: arrays.update(sampled=arrays["sampled"].ravel()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_a_checkpoint_cannot_hold_is_refused(damage: str) -> None:
    replay = Replay(CAPACITY, 1, 1)
    batches = Batches(replay, 0.99, 1, chooser(replay))
    batches.add(transitions(range(9)))
    batches.sample(np.random.default_rng(0), 2, BATCH)
    state, arrays = batches.state()
    Batches(replay, 0.99, 1, chooser(replay)).restore(state, dict(arrays))
    DAMAGE[damage](state, arrays)
    with pytest.raises((ValueError, TypeError, KeyError)):
        Batches(replay, 0.99, 1, chooser(replay)).restore(state, arrays)


def test_a_uniform_run_keeps_nothing_and_takes_nothing() -> None:
    batches = Batches(Replay(CAPACITY, 1, 1), 0.99)
    assert batches.state() == ({}, {})
    with pytest.raises(ValueError, match="keeps nothing"):
        batches.restore({"chooser": {"largest": 1.0}}, {})


def test_priorities_that_cannot_be_are_refused_on_resume(train: Callable[..., Run]) -> None:
    run = train(lag=1, steps=30, steps_per_epoch=40, checkpoint_every=10)
    rewrite(newest(run.checkpoints), lambda body: body["state"]["batches"]["chooser"].update(largest=1e-9))
    with pytest.raises(UsageError, match="not above 0 and at most the largest"):
        polyak.resume(run, steps=50)


def test_more_steps_move_the_end_of_beta_which_is_said(train: Callable[..., Run]) -> None:
    run = train()
    again = polyak.resume(run, steps=44)
    assert "priority_correction comes to 1 at 44 steps now, 40 before" in str(again.settings["resumed"])
