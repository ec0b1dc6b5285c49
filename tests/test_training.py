"""The training loop: its schedule, its determinism, what it writes, and every way in which a run can end."""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyak
from clocks import Clock
from polyak import Interrupted, TrainingError, UsageError
from polyak.algorithms import ddpg, sac
from polyak.experience.batches import Batches
from polyak.experience.replay import Replay
from polyak.networks.names import part
from polyak.policies.evaluation import Evaluation
from polyak.policies.policy import Policy
from polyak.run import evaluating, start
from polyak.run.checkpoints import Checkpoints
from polyak.run.folder import Run
from polyak.run.learning import UpdateSchedule
from polyak.run.plan import planned
from polyak.run.progress import Progress
from polyak.settings.options import Options
from polyak.settings.shared import Settings
from polyak.system import stopwatch
from polyak.types import Arrays, Learned, Metrics
from tiny_cli import PATIENCE, SMALL, TINY, Tiny, making, start_cli

TIMES = ("seconds", "speed/steps_per_second", *(f"time/{part}" for part in stopwatch.PARTS))


class Still:
    """A learner without a framework. Its actor always pushes to the upper end; its last bias counts the updates."""

    def __init__(self) -> None:
        self.bursts: list[int] = []
        self.begun_at: list[int] = []
        self.clock: Callable[[], int] = lambda: 0
        self.broken_from = math.inf
        self.broken = "critic_loss"

    def begin(self, backend: str, algorithm: Any, spec: Any, config: Any, arrays: Arrays, execution: Any) -> "Still":
        """What `make_learner` gives."""
        self.zeros = {name: np.zeros_like(value) for name, value in arrays.items()}
        return self

    @property
    def updates(self) -> int:
        return sum(self.bursts)

    def launch(self, batches: Any, noise: Any) -> Callable[[], Learned]:
        learned = Learned(self.update(batches, noise), self.actor())
        return lambda: learned

    def update(self, batches: Any, noise: Any) -> Metrics:
        self.bursts.append(len(batches.records))
        self.begun_at.append(self.clock())
        losses = np.ones((len(batches.records), len(ddpg.ALGORITHM.metrics)), np.float32)
        if self._is_broken("critic_loss"):
            losses[-1] = np.nan
        return Metrics(ddpg.ALGORITHM.metrics, losses)

    def actor(self) -> Arrays:
        return part(self.arrays(), "actor")

    def arrays(self) -> Arrays:
        arrays = {name: value.copy() for name, value in self.zeros.items()}
        last = last_bias(part(arrays, "actor"))
        for name in ("actor", "critic"):
            arrays.setdefault(f"{name}/{last}", np.zeros(1))[:] = 10 + self.updates
        if self._is_broken("actor"):
            arrays[f"actor/{last}"][:] = np.inf
        return arrays | {"step": np.array(self.updates, np.int32)}

    def _is_broken(self, part: str) -> bool:
        return self.broken == part and self.updates >= self.broken_from


def last_bias(network: Arrays) -> str:
    return f"{len(network) // 2 - 1}/bias"


def age(policy: Policy) -> int:
    """How many updates made a policy of `Still`."""
    return int(policy.parameters[last_bias(policy.parameters)][0]) - 10


class Watcher:
    """Counts what an observer is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def started(self, progress: Progress) -> None:
        self.calls.append("started")
        self.progress = progress

    def epoch_ended(self, progress: Progress) -> None:
        self.calls.append("epoch_ended")

    def ended(self, progress: Progress) -> None:
        self.calls.append("ended")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Still:
    learner = Still()
    monkeypatch.setattr(start.frameworks, "make_learner", learner.begin)
    return learner


@pytest.fixture
def train(tmp_path: Path, still: Still) -> Callable[..., Run]:
    """`polyak.train` with DDPG's settings, without noise and without a framework."""

    def run(environment: Any = TINY, **options: Any) -> Run:
        config = dict(run_dir=tmp_path, exploration_noise=0.0, **SMALL)
        return polyak.train("ddpg", environment, **{**config, **options})

    return run


def the_run(folder: Path) -> Run:
    (settings,) = folder.rglob("settings.json")
    return polyak.load(settings.parent)


def script_evaluations(monkeypatch: pytest.MonkeyPatch, *returns: float) -> None:
    script = iter(returns)
    monkeypatch.setattr(
        evaluating, "evaluate", lambda *_, **__: Evaluation((next(script),), (5,), None, (0.0,), (0.0,))
    )


# The schedule


def bursts(config: Settings, envs: int, steps: int) -> Iterator[tuple[int, int]]:
    """(step, updates due) wherever some are due."""
    schedule = UpdateSchedule(config)
    for before in range(0, steps, envs):
        due = schedule.due(before, before + envs)
        if due:
            yield before + envs, due


@pytest.mark.parametrize("envs", [1, 3, 8, 64])
def test_chapter_updates_50_times_every_50_steps_whatever_the_number_of_environments(envs: int) -> None:
    config = ddpg.Config(update_after=1_000, update_every=50, batch_size=100)
    done = list(bursts(config, envs, 20_000))
    assert sum(due for _, due in done) == 50 * 381  # at 1,000, 1,050, ..., 20,000
    assert done[0] == (math.ceil(1_000 / envs) * envs, 50)
    if envs == 1:
        assert done == [(step, 50) for step in range(1_000, 20_001, 50)]


def test_one_update_a_step_from_update_after_on() -> None:
    config = ddpg.Config(update_after=10, update_every=1, batch_size=8)
    assert list(bursts(config, 1, 20)) == [(step, 1) for step in range(10, 21)]
    assert list(bursts(config, 4, 20)) == [(12, 3), (16, 4), (20, 4)]


def test_fractions_of_an_update_are_carried_over() -> None:
    config = ddpg.Config(update_after=8, update_every=1, batch_size=8, updates_per_step=0.3)
    assert [due for _, due in bursts(config, 1, 107)] == [1] * 30  # 100 steps from the eighth on
    config = ddpg.Config(update_after=8, update_every=2, batch_size=8, updates_per_step=1.25)
    assert [due for _, due in bursts(config, 1, 14)] == [2, 3, 2, 3]


@given(
    envs=st.integers(1, 64),
    every=st.integers(1, 100),
    after=st.integers(1, 500),
    ratio=st.sampled_from([0.01, 0.1, 0.3, 1.0, 1.7, 4.0]),
    iterations=st.integers(0, 400),
)
def test_updates_so_far_are_the_ratio_times_the_steps(
    envs: int, every: int, after: int, ratio: float, iterations: int
) -> None:
    config = ddpg.Config(update_after=after, update_every=every, batch_size=1, updates_per_step=ratio)
    total = 0
    for step, due in bursts(config, envs, envs * iterations):
        assert step >= after
        total += due
        counted = step // every - (after - 1) // every
        assert counted * every * ratio - 1 < total < counted * every * ratio + 1e-6
    steps = max(0, envs * iterations - after + 1)
    assert abs(total - ratio * steps) <= ratio * every + 1


# Determinism


def values(run: Run) -> list[dict[str, float]]:
    return [{name: value for name, value in record.items() if name not in TIMES} for record in run.metrics]


@pytest.mark.parametrize(("algorithm", "envs"), [("ddpg", 1), ("td3", 1), ("sac", 1), ("sac", 2)])
def test_same_seed_gives_the_same_run_bit_by_bit(algorithm: str, envs: int, tmp_path: Path) -> None:
    first, second = (
        polyak.train(algorithm, TINY, seed=3, envs=envs, run_dir=tmp_path / name, **SMALL) for name in ("a", "b")
    )
    assert [record["learner/updates"] for record in first.metrics] == [16, 36]  # 4 at 8, 12, ..., 20, ..., 40
    assert all(math.isfinite(record["learner/critic_loss"]) for record in first.metrics)
    assert values(first) == values(second)
    assert first.policy_file.read_bytes() == second.policy_file.read_bytes()
    assert first.best_policy_file.read_bytes() == second.best_policy_file.read_bytes()


def test_another_seed_gives_another_run(train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real learner: the weights come from the seed as well
    first, second = (train(seed=seed, update_after=1_000) for seed in (0, 1))
    assert first.policy_file.read_bytes() != second.policy_file.read_bytes()
    for one, other in zip(values(first), values(second), strict=True):
        assert one["train/return"] != other["train/return"]
        assert one["eval/return"] != other["eval/return"]


# Settings


def test_preset_in_force_is_the_environments_own_or_else_the_general_one() -> None:
    plan = planned("sac", "Pendulum-v1", None, Options(), {})
    assert (plan.preset, plan.config.steps) == ("Pendulum-v1", 20_000)
    plan = planned("ddpg", TINY, None, Options(), {})
    assert (plan.preset, plan.config.batch_size) == ("general", 256)
    assert planned("sac", "Pendulum-v1", None, Options(preset="paper"), {}).preset == "paper"


def test_single_settings_go_over_the_presets() -> None:
    config = planned("sac", "Pendulum-v1", None, Options(), {"steps": 7, "alpha": 0.5}).config
    assert isinstance(config, sac.Config)
    assert (config.steps, config.alpha, config.batch_size) == (7, 0.5, 256)


def test_config_gives_all_settings(train: Callable[..., Run], tmp_path: Path) -> None:
    config = ddpg.Config(**SMALL, exploration_noise=0.25)
    run = polyak.train("DDPG", TINY, config=config, run_dir=tmp_path)
    assert run.settings["algorithm"] == "ddpg"
    assert run.settings["preset"] == "none"
    assert run.settings["settings"] == json.loads(json.dumps(config.__dict__))


@pytest.mark.parametrize("algorithm", ["ddpg", "td3"])
def test_book_preset_is_the_chapters_for_pendulum(algorithm: str, tmp_path: Path, still: Still) -> None:
    options = {"steps": 1_000, "steps_per_epoch": 1_000, "evaluation_episodes": 1, "replay_size": 1_000}
    run = polyak.train(algorithm, "Pendulum-v1", preset="book", run_dir=tmp_path, **options)
    noises = {name: value for name, value in run.settings["settings"].items() if "noise" in name}
    chapter = {"exploration_noise": 0.05, "target_noise": 0.1, "target_noise_clip": 0.25}  # half-range 2
    assert noises == {name: chapter[name] for name in noises}
    (record,) = run.metrics
    assert (record["train/length"], record["eval/length"]) == (1_000, 1_000)  # not Pendulum's own limit of 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sise": 8}, "ddpg has no setting 'batch_sise': did you mean 'batch_size'?"),
        ({"alpha": 0.2}, "ddpg has no setting 'alpha'"),
        ({"batch_size": 0}, "batch_size is 0, but must be at least 1"),
        ({"config": ddpg.Config(**SMALL)}, "either config, or preset and single settings"),
        ({"seed": -1}, "seed is -1, but must be at least 0"),
        ({"step_timeout": 0}, "step_timeout is 0, but must be above 0"),
        ({"step_timeout": 1e300}, r"step_timeout is 1e\+300, but must be above 0 and at most 10,000,000"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0, but must be at least 1"),
        ({"envs": 0}, "envs is 0, but must be at least 1"),
        ({"backend": "abacus"}, "backend is 'abacus', but must be jax, torch, tensorflow"),
        ({"preset": "bok"}, "did you mean 'book'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    options: dict[str, Any], message: str, train: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        train(**options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"preset": "paper"}, {"steps": 10}])
def test_config_together_with_others_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not both"):
        polyak.train("ddpg", TINY, config=ddpg.Config(**SMALL), run_dir=tmp_path, **options)


def test_config_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"algorithms\.sac Config, but ddpg needs its own"):
        polyak.train("ddpg", TINY, config=sac.Config(**SMALL), run_dir=tmp_path)


def test_unknown_algorithm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'sac'"):
        polyak.train("sacc", TINY, run_dir=tmp_path)


def test_replay_that_does_not_fit_is_refused_with_numbers(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyak.experience.replay.memory_free", lambda: 2_800)
    made: list[Tiny] = []
    with pytest.raises(UsageError, match=r"replay_size 1,000 needs 36 kB, but 2\.8 kB are free: at most 77 tran"):
        train(making(made), replay_size=1_000)  # (2 x 2 + 1 + 3) float32 numbers each, and the number of its episode
    assert not list(tmp_path.iterdir())
    assert all(environment.closed for environment in made)


def test_bursts_that_do_not_fit_are_refused_with_numbers(train: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"bursts of 4,000,000,000 updates, whose batches of 8 need 3456 GB, but"):
        train(updates_per_step=1e9)
    assert not list(tmp_path.iterdir())


# The loop


def test_first_actions_are_uniform_and_later_ones_the_policys(train: Callable[..., Run]) -> None:
    made: list[Tiny] = []
    train(making(made), steps=300, steps_per_epoch=300, start_steps=200)
    actions = np.array(made[0].actions)
    random, chosen = actions[:200], actions[200:]
    assert -1 <= random.min() < -0.9
    assert 2.9 < random.max() <= 3
    assert random.std() == pytest.approx(4 / math.sqrt(12), rel=0.1)
    assert random.mean() == pytest.approx(1, abs=0.3)
    assert len(chosen) == 100
    assert (chosen == 3).all()


def test_updates_start_at_update_after_and_are_counted(train: Callable[..., Run], still: Still) -> None:
    made: list[Tiny] = []
    still.clock = lambda: made[0].taken
    run = train(making(made), update_after=9)
    assert still.begun_at == [12, 16, 20, 24, 28, 32, 36, 40]
    assert still.bursts == [4] * 8
    assert [record["learner/updates"] for record in run.metrics] == [12, 32]
    assert age(run.policy) == 32


@pytest.mark.parametrize(
    ("lag", "ages"),
    [
        (0, [0, 0, 4, 8, 12, 16, 20, 24, 28, 32, 36]),
        (1, [0, 0, 0, 4, 8, 16, 16, 20, 24, 28, 36]),  # the end of an epoch, step 20 and 40, waits for the newest
    ],
)
def test_with_a_lag_the_environments_go_on_with_the_policy_before(
    lag: int, ages: list[int], train: Callable[..., Run], still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    acted, real = list[int](), Policy.explore

    def explore(self: Policy, *given: Any) -> Any:
        acted.append(age(self))
        return real(self, *given)

    monkeypatch.setattr(Policy, "explore", explore)
    run = train(lag=lag, start_steps=0, steps=41)
    assert acted[::4] == ages
    assert [record["learner/updates"] for record in run.metrics] == [16, 36, 36]


@pytest.mark.parametrize(
    ("envs", "steps", "evaluated"), [(1, 25, [10, 20, 25]), (1, 20, [10, 20]), (1, 7, [7]), (3, 20, [12, 21])]
)
def test_evaluation_after_each_epoch_and_at_the_end(
    envs: int, steps: int, evaluated: list[int], train: Callable[..., Run]
) -> None:
    watcher = Watcher()
    run = train(steps=steps, steps_per_epoch=10, envs=envs, observer=watcher)
    assert [record["step"] for record in run.metrics if "eval/return" in record] == evaluated
    assert len(run.metrics) == len(evaluated)
    assert watcher.calls == ["started", *["epoch_ended"] * len(evaluated), "ended"]
    assert watcher.progress.outcome == f"done after {evaluated[-1]} steps"


def test_records_hold_returns_lengths_and_speed(
    train: Callable[..., Run], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking(monkeypatch, clock, Tiny, "step", 0.5)
    first, second = train(environment=making(made := []), steps=40).metrics
    assert first["train/episodes"] == second["train/episodes"] == 4
    assert first["train/length"] == first["eval/length"] == 5
    assert first["eval/return"] < 0
    assert first["eval/return_std"] > 0
    assert first["learner/critic_loss"] == 1
    assert (first["seconds"], second["seconds"]) == (15, 30)  # with the 10 steps of each evaluation
    assert second["speed/steps_per_second"] == 2
    assert first["eval/discounted_return"] > first["eval/return"]  # rewards are negative
    assert first["eval/q"] != second["eval/q"]
    assert made[0].taken == 40
    assert made[1].taken == 2 * 2 * 5  # evaluations have an environment of their own


def taking(patch: pytest.MonkeyPatch, clock: Clock, owner: Any, name: str, seconds: float) -> None:
    """Let each call of a method take so long."""
    real = getattr(owner, name)

    def slow(*given: Any, **options: Any) -> Any:
        clock.passes(seconds)
        return real(*given, **options)

    patch.setattr(owner, name, slow)


def test_every_moment_of_a_run_belongs_to_a_part(
    train: Callable[..., Run], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name, seconds in (
        (Tiny, "step", 2.0),  # 20 an epoch in training, 10 in an evaluation
        (Policy, "explore", 0.25),  # of each step but the first ten
        (Replay, "add", 0.5),  # 20 an epoch
        (Batches, "sample", 0.125),  # 4 bursts until step 20, then 5 an epoch
        (Still, "launch", 1.0),
        (evaluating, "evaluate", 7.0),
        (Checkpoints, "save", 3.0),  # once before each record
    ):
        taking(monkeypatch, clock, owner, name, seconds)
    records = train(steps=60).metrics
    times = [{part: record.get(f"time/{part}", 0.0) for part in stopwatch.PARTS} for record in records]
    one = {"environment": 40.0, "acting": 5.0, "replay": 10.625, "learner": 5.0, "evaluation": 27.0, "saving": 3.0}
    one["callbacks"] = 0.0
    assert times == [{**one, "acting": 2.5, "replay": 10.5, "learner": 4.0}, one, one]
    assert [record["seconds"] for record in records] == [sum(sum(e.values()) for e in times[:n]) for n in (1, 2, 3)]
    assert [record["speed/steps_per_second"] for record in records] == [20 / 60, 20 / 63.625, 20 / 63.625]


class Scribbler(Watcher):
    """Writes into what it is shown."""

    def started(self, progress: Progress) -> None:
        super().started(progress)
        self.epoch_ended(progress)

    def epoch_ended(self, progress: Progress) -> None:
        progress.steps = progress.updates = -100
        progress.best, progress.record, progress.total_steps = (0, 1e9), {}, 1


def test_nothing_of_a_run_follows_from_what_is_shown_of_it(
    train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    script_evaluations(monkeypatch, -3.0, 5.0)
    run = train(observer=Scribbler())
    assert [(record["step"], record["learner/updates"]) for record in run.metrics] == [(20, 16), (40, 36)]
    checkpoint = Checkpoints(run.checkpoints).newest(lambda made: made)
    assert (checkpoint.step, checkpoint.state["updates"], checkpoint.state["best"]) == (40, 36, [40, 5.0])
    assert run.best_policy_file.read_bytes() == run.policy_file.read_bytes()


def test_best_policy_is_that_of_the_best_evaluation(train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    script_evaluations(monkeypatch, -3.0, 5.0, 1.0)
    watcher = Watcher()
    run = train(steps=60, observer=watcher)
    assert watcher.progress.best == (40, 5.0)
    assert (age(run.best_policy), age(run.policy)) == (36, 56)


def test_run_stops_at_the_wanted_return(train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    script_evaluations(monkeypatch, 4.9, 5.0)
    watcher = Watcher()
    run = train(steps=100, stop_at_return=5.0, observer=watcher)
    assert [record["step"] for record in run.metrics] == [20, 40]
    assert watcher.progress.outcome == "reached an evaluation return of 5.0 (asked for 5) after 40 steps"


def test_callable_environments_are_named_in_the_settings(train: Callable[..., Run]) -> None:
    run = train(lambda: Tiny(length=5))
    assert run.settings["environment_is_callable"] is True
    assert "lambda" in run.settings["environment"]
    assert "<" not in run.settings["environment"]
    assert train().settings["environment_is_callable"] is False


def test_training_works_outside_the_main_thread(train: Callable[..., Run], tmp_path: Path) -> None:
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert the_run(tmp_path).metrics[-1]["step"] == 40


# Ends


@pytest.mark.parametrize("broken", ["critic_loss", "actor"])
def test_divergence_keeps_the_last_finite_policy(
    broken: str, train: Callable[..., Run], still: Still, tmp_path: Path
) -> None:
    still.broken, still.broken_from = broken, 21  # the sixth burst of 4, at step 28
    made: list[Tiny] = []
    watcher = Watcher()
    with pytest.raises(TrainingError, match=r"diverged.* 28 .*steps.*24 updates"):
        train(making(made), observer=watcher)
    run = the_run(tmp_path)
    assert run.policy.finite()
    assert age(run.policy) == 20
    assert run.metrics[0]["step"] == 20
    assert watcher.calls == ["started", "epoch_ended", "ended"]
    assert watcher.progress.outcome.startswith("training diverged")
    assert all(environment.closed for environment in made)


def test_real_learner_that_diverges_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="diverged"):
        polyak.train("ddpg", lambda: Tiny(reward_scale=1e38), run_dir=tmp_path, **SMALL)
    policy = the_run(tmp_path).policy
    assert policy.finite()
    assert np.isfinite(policy.act(np.zeros(2))).all()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"raises_at": 25}, "RuntimeError after 24 environment steps: the simulator broke"),
        ({"nan_at": 25}, "environment 0 returned a non-finite reward after 24 environment steps: nan"),
    ],
)
def test_fault_of_the_environment_ends_the_run_and_all_is_saved(
    fault: dict[str, int], message: str, train: Callable[..., Run], tmp_path: Path
) -> None:
    made: list[Tiny] = []
    watcher = Watcher()
    with pytest.raises(TrainingError, match=message):
        train(making(made, **fault), observer=watcher)
    run = the_run(tmp_path)
    assert run.metrics[0]["step"] == 20
    assert age(run.policy) == 20
    assert watcher.calls == ["started", "epoch_ended", "ended"]
    assert watcher.progress.outcome.endswith(message) or message in watcher.progress.outcome
    assert all(environment.closed for environment in made)


def test_last_record_of_a_run_that_failed_holds_what_came_after_the_last_epoch(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError):
        train(making([], raises_at=38))
    last = the_run(tmp_path).metrics[-1]
    assert (last["step"], last["learner/updates"], last["train/episodes"]) == (37, 32, 3)
    assert "eval/return" not in last


def test_environment_that_raises_in_an_evaluation_is_a_training_error(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    made: list[Tiny] = []

    def make() -> Tiny:
        made.append(Tiny(raises_at=15 if made else None))
        return made[-1]

    with pytest.raises(TrainingError, match="the simulator broke"):
        train(make)
    assert age(the_run(tmp_path).policy) == 36  # the second evaluation, at step 40
    assert all(environment.closed for environment in made)


class Signalled(Tiny):
    """Sends its own process signals during one of its steps."""

    numbers: tuple[int, ...] = ()

    def step(self, action: Any) -> Any:
        if self.taken == 24:
            for number in self.numbers:
                signal.raise_signal(number)
        return super().step(action)


@pytest.fixture
def handlers() -> Iterator[tuple[Any, Any]]:
    """The caller's own handlers, which make a test fail instead of ending its process."""

    def unexpected(number: int, frame: Any) -> None:
        pytest.fail(f"signal {number} was not noted")

    signals = (signal.SIGINT, signal.SIGTERM)
    usual = [signal.signal(number, unexpected) for number in signals]
    yield (unexpected, unexpected)
    for number, handler in zip(signals, usual, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "lag"), [(signal.SIGINT, 0), (signal.SIGTERM, 1)])
def test_signal_ends_the_run_after_the_step(
    number: int, lag: int, train: Callable[..., Run], tmp_path: Path, handlers: tuple[Any, Any]
) -> None:
    made = [environment := Signalled(), Tiny()]
    environment.numbers = (number,)
    order = iter(made)
    watcher = Watcher()
    with pytest.raises(Interrupted, match="everything is saved, and this goes on: polyak resume ") as caught:
        train(lambda: next(order), observer=watcher, lag=lag)
    assert caught.value.signal_number == number
    run = the_run(tmp_path)
    assert environment.taken == 25  # the step was not cut
    assert [record["step"] for record in run.metrics] == [20, 25]
    assert run.metrics[-1]["train/episodes"] == 1
    assert age(run.policy) == 20
    assert watcher.progress.outcome == "interrupted after 25 steps; everything is saved"
    assert all(environment.closed for environment in made)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_signals_are_the_callers_again_after_a_run(train: Callable[..., Run], handlers: tuple[Any, Any]) -> None:
    train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_second_ctrl_c_cuts_the_step_and_the_policy_is_saved(train: Callable[..., Run], tmp_path: Path) -> None:
    made = [environment := Signalled(), Tiny()]
    environment.numbers = (signal.SIGINT, signal.SIGINT)
    order = iter(made)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(lambda: next(order))
    assert not isinstance(caught.value, Interrupted)
    assert age(the_run(tmp_path).policy) == 20
    assert all(environment.closed for environment in made)


def test_signal_in_an_evaluation_adds_no_empty_record(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: Any, **__: Any) -> Evaluation:
        signal.raise_signal(signal.SIGINT)
        return Evaluation((1.0,), (5,), None, (0.0,), (0.0,))

    monkeypatch.setattr(evaluating, "evaluate", evaluate)
    with pytest.raises(Interrupted):
        train()
    assert [record["step"] for record in the_run(tmp_path).metrics] == [20]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_to_a_process_saves_everything_and_sets_the_exit_code(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    options = (
        "--steps 10000000 --steps-per-epoch 100 --start-steps 20 --update-after 20 --batch-size 8 --hidden-sizes 4"
    )
    process = start_cli("train", "ddpg", TINY, *options.split(), "--update-every", "20", "--run-dir", str(tmp_path))
    try:
        assert process.stdout is not None
        run = Run(Path(process.stdout.readline().rstrip("\n")))
        while not run.metrics and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert rest == ""
    assert (
        errors.splitlines()[-1]
        == f"polyak: interrupted; everything is saved, and this goes on: polyak resume {run.folder}"
    )
    steps = [json.loads(line)["step"] for line in run.metrics_file.read_text().splitlines()]
    assert steps[0] == 100
    assert steps == sorted(steps)
    assert run.policy.act(np.zeros(2)).shape == (1,)
    assert not list(run.folder.rglob("*.tmp"))
