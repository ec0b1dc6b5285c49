"""Environments that end no episode: said at the start, cut off in evaluation, and Ctrl-C is obeyed there at once."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeLimit

import polyak
from polyak.environments.make import make_environments
from polyak.environments.traits import Traits, traits_of
from polyak.errors import Interrupted
from polyak.policies import evaluation
from polyak.policies.evaluation import evaluate
from polyak.run.progress import Progress
from test_resume import Told
from tiny import Numbers, Shown, constant_policy
from tiny_cli import OPTIONS, TINY, Tiny, call_cli, untrained_run
from whole_runs import assert_same

SHORT: dict[str, Any] = {"steps": 30, "steps_per_epoch": 12, "backend": "torch", "probe": False}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Steps of an evaluation's episode that nothing limits."""
    monkeypatch.setattr(evaluation, "MOST_STEPS", 7)
    return 7


class Endless(Tiny):
    """One that ends no episode."""

    def __init__(self, **options: Any) -> None:
        super().__init__(length=10**9, **options)


def played(environment: Any, episodes: int = 4, count: int = 1, **options: Any) -> evaluation.Evaluation:
    environments = make_environments(environment, count, Numbers)
    policy = constant_policy(environments.spec, [0.5])
    try:
        return evaluate(policy, environments, episodes, **options)
    finally:
        environments.close()


# Cut off


def test_an_evaluations_episode_that_nothing_limits_is_cut_off(few: int) -> None:
    bootstrapped = played(Endless, 3, discount=0.5, value=lambda observation: np.full(len(observation), 1000.0))
    assert bootstrapped.lengths == (few,) * 3
    assert bootstrapped.cut_off == 3
    assert all(value > 1000 * 0.5**few - 2 for value in bootstrapped.discounted_returns)  # as where a limit cuts off
    assert bootstrapped.to_json()["cut_off"] == 3
    assert len(set(bootstrapped.returns)) == 3  # each from a seed of its own
    assert played(Endless, 5, count=2).lengths == (few,) * 5


def test_one_that_ends_in_time_is_not(few: int) -> None:
    assert played(lambda: Tiny(length=few)).cut_off == 0
    assert "cut_off" not in played(lambda: Tiny(length=few)).to_json()
    limited = played(lambda: TimeLimit(Endless(), few + 5))
    assert (limited.lengths, limited.cut_off) == ((few + 5,) * 4, 0)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_in_a_vector_that_resets_itself_too(mode: AutoresetMode, few: int) -> None:
    result = played(lambda: SyncVectorEnv([Endless] * 2, autoreset_mode=mode))
    assert (result.lengths, result.cut_off) == ((few,) * 4, 4)


@pytest.mark.parametrize(
    ("make", "limited"),
    [
        (lambda: gymnasium.make("Pendulum-v1"), True),
        (lambda: gymnasium.make("Pendulum-v1", max_episode_steps=-1), False),
        (lambda: gymnasium.wrappers.ClipAction(TimeLimit(Tiny(), 3)), True),
        (lambda: SyncVectorEnv([lambda: TimeLimit(Tiny(), 3)] * 2), True),
        (lambda: SyncVectorEnv([lambda: TimeLimit(Tiny(), 3), Tiny]), False),
        (lambda: gymnasium.make_vec("Pendulum-v1", 2), True),
        (Shown, False),
    ],
)
def test_whether_a_limit_is_known(make: Callable[[], Any], limited: bool) -> None:
    assert traits_of(make()) == Traits(limited)


def test_it_is_said_at_the_start_and_in_the_record(few: int, tmp_path: Path) -> None:
    told = Told()
    run = untrained_run(tmp_path, Endless, observer=told, **SHORT)
    assert told.facts["time limit"] == (
        "none is known: episodes end where the environment ends them, an evaluation's after 10,000 steps at the "
        "latest; --max-episode-steps sets one"
    )
    assert [record["eval/cut_off"] for record in run.metrics] == [2, 2, 2]
    limited = untrained_run(tmp_path, Endless, observer=told, max_episode_steps=few, **SHORT)
    assert "time limit" not in told.facts
    assert "eval/cut_off" not in limited.metrics[0]
    untrained_run(tmp_path, Endless, observer=told, evaluate_in="training", **SHORT)
    assert "evaluation waits for an episode's end" in told.facts["time limit"]
    code, output, _ = call_cli("evaluate", str(run.folder), "--episodes", "1", "--environment", TINY)
    assert code == 0
    assert "1 of 1 episodes cut off" not in output


# Ctrl-C


class Pressing(Endless):
    """Somebody presses Ctrl-C in its step `at`."""

    def __init__(self, at: int, **options: Any) -> None:
        super().__init__(**options)
        self.at = at

    def step(self, action: Any) -> Any:
        if self.taken == self.at:
            signal.raise_signal(signal.SIGINT)
        return super().step(action)


class Stopping(Told):
    """Notes what it is told when a signal comes."""

    said = ""

    def stopping(self, progress: Progress, running: int) -> None:
        self.said = f"{running}: {progress.evaluating and progress.evaluating()}"


@pytest.mark.parametrize(("at", "step"), [(3, 12), (17, 24), (15, 24)])
@pytest.mark.parametrize("mode", ["own", "training"])
def test_an_evaluation_is_given_up_and_done_again_on_resume(
    at: int, step: int, mode: str, few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second evaluation begins after 14 steps in its environment; the run is what it would have been."""
    options = {**SHORT, "evaluate_in": mode, "max_episode_steps": 5 if mode == "training" else None}
    whole = untrained_run(tmp_path / "whole", Endless, **options)
    made: list[Any] = []

    def make() -> Any:
        made.append(Pressing(at) if len(made) == (mode == "own") else Endless())
        return made[-1]

    watching = Stopping()
    with pytest.raises(Interrupted) as raised:
        untrained_run(tmp_path / "cut", make, observer=watching, **options)
    folder = next((tmp_path / "cut").rglob("settings.json")).parent
    assert str(folder) in str(raised.value)
    if mode == "own":
        assert watching.said == f"1: in episode {at % 14 // 7 + 1} of 2, after {at % 7} of its steps"
        assert made[1].taken == at + 1  # not one step more
        assert polyak.load(folder).metrics[-1]["step"] == step
        assert "eval/return" not in polyak.load(folder).metrics[-1]
    assert_same(polyak.resume(folder, environment=Endless), whole)


def test_in_the_last_evaluation(few: int, tmp_path: Path) -> None:
    options = {**SHORT, "steps": 12}
    whole = untrained_run(tmp_path / "whole", Endless, **options)
    made: list[Any] = []

    def make() -> Any:
        made.append(Pressing(9) if made else Endless())
        return made[-1]

    with pytest.raises(Interrupted):
        untrained_run(tmp_path / "cut", make, **options)
    folder = next((tmp_path / "cut").rglob("settings.json")).parent
    assert_same(polyak.resume(folder, environment=Endless), whole)


def test_a_plain_view_says_at_once_that_it_is_stopping(few: int, tmp_path: Path) -> None:
    gymnasium.register("Pressing-v0", entry_point=Pressing, kwargs={"at": 12})
    flags = ["--backend", "torch", "--plain", "--run-dir", str(tmp_path), "--no-probe"]
    try:
        code, _, errors = call_cli("train", "ddpg", "Pressing-v0", *OPTIONS, "--steps-per-epoch", "12", *flags)
    finally:
        del gymnasium.registry["Pressing-v0"]
    assert code == 130
    said, _, last = errors.splitlines()[-3:]
    assert said == (
        "interrupted: it saves and ends; a second Ctrl-C kills it; it is evaluating in episode 2 of 2, after 5 of its "
        "steps"
    )
    assert last.startswith("polyak: interrupted; everything is saved, and this goes on: polyak resume ")


def test_where_polyak_evaluate_was_interrupted_is_said(few: int, tmp_path: Path) -> None:
    run = untrained_run(tmp_path, **SHORT)
    gymnasium.register("Pressing-v1", entry_point=Pressing, kwargs={"at": 10})
    try:
        code, _, errors = call_cli("evaluate", str(run.folder), "--environment", "Pressing-v1", "--episodes", "3")
        assert code == 130
        assert (
            errors.splitlines()[-1] == "polyak: interrupted in the evaluation, in episode 2 of 3, after 3 of its steps"
        )
    finally:
        del gymnasium.registry["Pressing-v1"]


# Averages


def test_a_wrapper_that_averages_is_warned_of(tmp_path: Path) -> None:
    told = Told()
    wrapper = "gymnasium.wrappers:NormalizeObservation"
    run = untrained_run(tmp_path, TINY, observer=told, wrappers=wrapper, **SHORT)
    assert told.facts["averages"].startswith("NormalizeObservation normalizes by running averages, which are in no")
    with pytest.warns(RuntimeWarning, match="NormalizeObservation normalizes by running averages, which begin anew"):
        run.evaluate(1)
    with pytest.warns(UserWarning, match="NormalizeObservation normalizes by running averages"):
        untrained_run(tmp_path, lambda: NormalizeObservation(Tiny()), **SHORT)
    assert traits_of(SyncVectorEnv([lambda: NormalizeReward(Tiny())])).averages == ("NormalizeReward",)
    assert traits_of(gymnasium.wrappers.vector.NormalizeObservation(SyncVectorEnv([Tiny]))).averages == (
        "NormalizeObservation",
    )
