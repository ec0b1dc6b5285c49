"""Runs that go on: the same, bit for bit, as if nothing had happened, and honest where that cannot be."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import SessionLog

import polyak
from backends import NAMES
from clocks import Clock
from polyak import Run, UsageError
from polyak.environments.stepping import Environments
from polyak.run.progress import Progress
from test_checkpoints import rewrite
from test_runs import events
from test_training import Watcher
from tiny_cli import TINY, Tiny, untrained_run
from whole_runs import assert_same, contents, saved, snapshots, without_times

CONFIG: dict[str, Any] = {
    "steps": 60,
    "steps_per_epoch": 20,
    "start_steps": 10,
    "update_after": 8,
    "update_every": 4,
    "batch_size": 8,
    "replay_size": 45,  # the ring comes round
    "hidden_sizes": (4,),
    "evaluation_episodes": 2,
    "seed": 3,
    "backend": "torch",  # which compiles nothing; where the framework matters, the test says which
}
HELD: dict[str, Any] = {"exploration_correlation": 0.0, "exploration_hold": 6, "exploration_spread": (0.1, 0.9)}


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    def run(algorithm: str = "sac", environment: Any = TINY, **options: Any) -> Run:
        return polyak.train(algorithm, environment, **{"run_dir": tmp_path / "runs", **CONFIG, **options})

    return run


# Bit for bit


@pytest.mark.parametrize(
    ("algorithm", "backend"),
    [*(("td3", backend) for backend in NAMES), ("ddpg", "torch"), ("sac", "torch"), ("sac", "jax"), ("tqc", "jax")],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    algorithm: str, backend: str, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at step 47, where the last checkpoint is that of step 40.

    That every algorithm's learner goes on in every framework is seen in tests/test_learners.py.
    """
    taken = snapshots(monkeypatch, tmp_path, 47).taken
    whole = train(algorithm, backend=backend)
    assert saved(Run(taken[47])).manifest.step == 40
    assert_same(polyak.resume(taken[47]), whole)
    assert whole.metrics[-1]["learner/updates"] == 56


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, (1, 7, 12, 33, 60)),
        ({"checkpoint_every": 7}, (9, 22, 50)),
        ({"checkpoint_every": 1}, (5, 21, 59)),
        ({"envs": 3}, (3, 8, 19)),  # 20 is no multiple of 3: epochs end within steps of all environments
        ({"envs": 2, "vectorization": "async", "checkpoint_every": 9}, (16, 27)),
        ({"steps": 55, "checkpoint_every": 13}, (2, 54, 55)),
        ({"updates_per_step": 0.3, "update_every": 3, "checkpoint_every": 5}, (31, 44)),
        ({"exploration_correlation": 0.9, "checkpoint_every": 3}, (29, 58)),
        ({**HELD, "checkpoint_every": 3, "envs": 2}, (3, 14, 29)),
        ({"action_repeat": 3, "checkpoint_every": 3}, (5, 29, 58)),  # whose episodes are of two steps
        ({"n_step": 3, "checkpoint_every": 7, "envs": 2}, (12, 27)),
        ({"lag": 1, "backend": "jax"}, (1, 12, 33, 60)),  # whose bursts are really on their way
        ({"lag": 1, "update_every": 3, "checkpoint_every": 7}, (8, 15, 29, 50, 58)),
        ({"lag": 1, "update_every": 1, "checkpoint_every": 1, "envs": 3}, (5, 14)),
    ],
)
def test_wherever_it_is_killed(
    options: dict[str, Any],
    at: tuple[int, ...],
    train: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = snapshots(monkeypatch, tmp_path, *at).taken
    whole = train("ddpg", **options)
    assert sorted(taken) == list(at)
    for folder in list(taken.values()):
        assert_same(polyak.resume(folder), whole)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_episodes_of_different_lengths_side_by_side_are_all_brought_back(
    vectorization: str, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some have just begun, some are long under way, some end while they wait for the others."""
    at = range(3, 20, 4 if vectorization == "async" else 1)
    taken = snapshots(monkeypatch, tmp_path, *at).taken
    whole = train(
        "ddpg", "tiny_cli:Uneven-v0", envs=3, vectorization=vectorization, checkpoint_every=3, update_after=1_000
    )
    lengths = [saved(Run(folder)).manifest.state["collector"]["lengths"] for folder in taken.values()]
    assert any(0 in each and max(each) > 1 for each in lengths)
    assert any(len(set(each)) == 3 for each in lengths)
    for folder in list(taken.values()):
        resumed = polyak.resume(folder)
        assert_same(resumed, whole)
        assert resumed.settings["resumed"][0]["given_up"] == 0


def test_a_run_that_is_killed_again_and_again(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a copy of a copy, each killed six steps after it went on."""
    whole = train("td3", checkpoint_every=5)
    folder = whole.folder
    with monkeypatch.context() as patch:
        folder = snapshots(patch, tmp_path / "0", 4).taken
        train("td3", checkpoint_every=5)
        last = folder[4]
    for kill in range(1, 9):
        with monkeypatch.context() as patch:
            taken = snapshots(patch, tmp_path / str(kill), 7).taken
            polyak.resume(last)
            last = taken[7]
    run = polyak.resume(last)
    assert_same(run, whole)
    assert [entry["step"] for entry in run.settings["resumed"]] == [0, 5, 10, 15, 20, 25, 30, 35, 40]


@pytest.mark.parametrize(("first", "then", "lag"), [(40, 60, 0), (33, 60, 0), (25, 61, 0), (33, 60, 1), (40, 60, 1)])
def test_a_run_that_is_extended_is_the_longer_run(first: int, then: int, lag: int, train: Callable[..., Run]) -> None:
    """Also one whose last epoch was cut short by its end: what was evaluated there is forgotten."""
    whole = train(steps=then, lag=lag)
    short = train(steps=first, lag=lag)
    assert short.metrics[-1]["step"] == first
    extended = polyak.resume(short.folder, steps=then)
    assert_same(extended, whole)
    assert extended.settings["settings"]["steps"] == then


def test_more_checkpoints_change_nothing(train: Callable[..., Run]) -> None:
    one, other = train(), train(checkpoint_every=3)
    assert contents(one)["learner"] == contents(other)["learner"]
    assert one.policy_file.read_bytes() == other.policy_file.read_bytes()
    assert list(map(without_times, one.metrics)) == list(map(without_times, other.metrics))


@pytest.mark.parametrize("environment", ["LunarLanderContinuous-v3", "HalfCheetah-v5"])
def test_real_simulators_are_brought_back(
    environment: str, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"steps": 400, "steps_per_epoch": 200, "update_every": 50, "evaluation_episodes": 1, "replay_size": 1_000}
    options |= {"checkpoint_every": 70, "start_steps": 100, "update_after": 100, "max_episode_steps": 120}
    taken = snapshots(monkeypatch, tmp_path, 333).taken
    whole = train("ddpg", environment, **options)
    resumed = polyak.resume(taken[333])
    assert_same(resumed, whole)
    assert resumed.settings["resumed"] == [{"step": 280, "given_up": 0, "changed": []}]


# What is not exact is said


class Drifting(Tiny):
    """Not deterministic: every episode of a process begins elsewhere."""

    episodes = 0

    def reset(self, **options: Any) -> Any:
        _, info = super().reset(**options)
        Drifting.episodes += 1
        self._place = 0.01 * Drifting.episodes
        return self._observation(), info


class Leaning(Tiny):
    """Deterministic in its observations; its rewards are not."""

    steps = 0

    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        Leaning.steps += 1
        return observation, reward + 0.01 * Leaning.steps, *rest


class Ending(Tiny):
    """Deterministic but for the time at which its episodes end."""

    resets = 0

    def reset(self, **options: Any) -> Any:
        Ending.resets += 1
        self._length = 5 if Ending.resets < 9 else 2
        return super().reset(**options)


class Blinking(Tiny):
    """Deterministic but for what it shows first."""

    resets = 0

    def reset(self, **options: Any) -> Any:
        Blinking.resets += 1
        _, info = super().reset(**options)
        return np.array([0.0, 0.01 * Blinking.resets], np.float32), info


class Told(Watcher):
    def started(self, progress: Progress) -> None:
        super().started(progress)
        self.facts = dict(progress.facts)


@pytest.mark.parametrize(("kind", "episodes"), [(Drifting, 3), (Leaning, 3), (Ending, 8), (Blinking, 3)])
def test_an_episode_that_cannot_be_enacted_again_is_given_up_and_that_is_said(
    kind: type[Tiny], episodes: int, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshots(monkeypatch, tmp_path, 26).taken
    train("ddpg", kind, checkpoint_every=23, envs=1, probe=False)  # which would count on its own
    told = Told()
    run = polyak.resume(taken[26], environment=kind, observer=told)
    assert told.facts["given up"].startswith("1 running episode, new ones started; environment 0: it showed another")
    given_up = {record["step"]: record.get("train/episodes_given_up") for record in run.metrics}
    assert given_up == {20: None, 40: 1, 60: None}
    assert run.settings["resumed"] == [{"step": 23, "given_up": 1, "changed": []}]
    assert run.metrics[1]["train/episodes"] == episodes  # of five steps: at 28, 33, 38
    replay = saved(run).replay
    before, after = replay.episodes(22, 24)
    assert before < after, "nothing of the new episode belongs to the one that was given up"
    assert replay.successors(np.array([22])) == -1


def test_what_was_given_up_is_counted_though_the_run_is_killed_again(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        first = snapshots(patch, tmp_path / "first", 26).taken
        train("ddpg", checkpoint_every=23)
    with monkeypatch.context() as patch:
        second = snapshots(patch, tmp_path / "second", 5).taken
        polyak.resume(first[26], replay_seconds=0)
    run = polyak.resume(second[5])
    assert {record["step"]: record.get("train/episodes_given_up") for record in run.metrics} == {
        20: None,
        40: 1,
        60: None,
    }
    assert [entry["given_up"] for entry in run.settings["resumed"]] == [1, 0]


def test_replaying_has_a_limit(
    train: Callable[..., Run], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshots(monkeypatch, tmp_path, 26).taken
    train("ddpg", checkpoint_every=23)
    told, advance = Told(), Environments.advance

    def slow(self: Environments, action: Any) -> Any:
        clock.passes(2.0)
        return advance(self, action)

    monkeypatch.setattr(Environments, "advance", slow)
    polyak.resume(shutil.copytree(taken[26], tmp_path / "copy"), observer=told, replay_seconds=6)
    assert "given up" not in told.facts  # three steps of two seconds
    polyak.resume(taken[26], observer=told, replay_seconds=3)
    assert "to enact its 2 steps of 3 took all of the 3 s allowed" in told.facts["given up"]


def test_an_episode_longer_than_replay_is_given_up(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshots(monkeypatch, tmp_path, 26).taken
    train("ddpg", lambda: Tiny(length=50), checkpoint_every=23, replay_size=10)
    told = Told()
    polyak.resume(taken[26], environment=lambda: Tiny(length=50), observer=told)
    assert "replay holds fewer than the 23 steps" in told.facts["given up"]


def test_a_vector_that_leaves_resets_to_polyak_is_brought_back(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Any:
        options = {"autoreset_mode": gymnasium.vector.AutoresetMode.DISABLED}
        return gymnasium.make_vec("tiny_cli:Uneven-v0", num_envs=2, vector_kwargs=options)

    taken = snapshots(monkeypatch, tmp_path, 12).taken
    whole = train("ddpg", make, checkpoint_every=9)
    assert_same(polyak.resume(taken[12], environment=make), whole)


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_a_vector_that_resets_itself_starts_new_episodes(
    mode: str, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Any:
        options = {"autoreset_mode": gymnasium.vector.AutoresetMode[mode]}
        return gymnasium.make_vec(TINY, num_envs=2, vector_kwargs=options)

    taken = snapshots(monkeypatch, tmp_path, 12).taken
    train("ddpg", make, checkpoint_every=9)
    told = Told()
    run = polyak.resume(taken[12], environment=make, observer=told)
    assert (
        "2 running episodes, new ones started; environment 0: its vector environment starts" in (told.facts["given up"])
    )
    assert run.metrics[-1]["step"] >= 60


def test_another_framework_goes_on_and_says_that_it_is_not_exact(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshots(monkeypatch, tmp_path, 47).taken
    whole = train("td3", backend="jax")
    told = Told()
    run = polyak.resume(taken[47], backend="torch", observer=told)
    assert told.facts["not exact"].startswith("backend jax is torch now")
    assert run.settings["backend"] == "torch"
    assert run.settings["resumed"][0]["changed"] == ["backend jax is torch now"]
    last, expected = run.metrics[-1], whole.metrics[-1]
    assert last["learner/q"] == pytest.approx(expected["learner/q"], rel=1e-3)
    assert last["eval/return"] == pytest.approx(expected["eval/return"], rel=1e-3)


def test_other_versions_are_said(train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = snapshots(monkeypatch, tmp_path, 47).taken
    train("ddpg")
    here = polyak.run.description.stamped({})["versions"]
    monkeypatch.setattr("polyak.run.description._versions", lambda: {**here, "numpy": "9.9"})
    told = Told()
    polyak.resume(taken[47], observer=told)
    assert told.facts["not exact"].startswith(f"numpy {here['numpy']} is 9.9 now: what follows may differ")


def test_step_sizes_that_fall_toward_another_end_are_said(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, backend="torch", learning_rate_schedule="cosine")
    told = Told()
    run = polyak.resume(run.folder, steps=60, observer=told)
    horizon = "learning_rate_schedule cosine ends at 60 steps now, 40 before"
    assert told.facts["not exact"] == f"{horizon}, which a run of 60 from the start would not have"
    assert run.settings["resumed"][0]["changed"] == [horizon]


def test_a_longer_run_of_constant_step_sizes_is_exact(tmp_path: Path) -> None:
    told = Told()
    run = polyak.resume(untrained_run(tmp_path, backend="torch").folder, steps=60, observer=told)
    assert "not exact" not in told.facts
    assert run.settings["resumed"][0]["changed"] == []


# Ends


def test_nothing_is_left_to_do_and_that_is_no_error(train: Callable[..., Run], tmp_path: Path) -> None:
    for options in ({}, {"steps": 55}):
        run = train("ddpg", **options)
        before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
        told = Told()
        assert polyak.resume(run.folder, observer=told).folder == run.folder
        assert "nothing to do: it has done its" in told.progress.outcome
        assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_a_run_that_reached_its_return_is_over_unless_more_is_asked(train: Callable[..., Run]) -> None:
    run = train("ddpg", stop_at_return=-1e9)
    assert run.metrics[-1]["step"] == 20
    told = Told()
    polyak.resume(run.folder, observer=told)
    assert "it reached the evaluation return of -1e+09 that was asked for, after 20 steps" in told.progress.outcome
    assert polyak.resume(run.folder, steps=70).metrics[-1]["step"] == 40


def test_killed_between_the_last_checkpoint_and_the_last_evaluation(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a cut epoch is evaluated after its checkpoint."""
    copies: list[Path] = []
    real = polyak.run.evaluating.evaluate

    def evaluate(*arguments: Any, **options: Any) -> Any:
        (settings,) = (tmp_path / "runs").rglob("settings.json")
        copies.append(Path(shutil.copytree(settings.parent, tmp_path / f"copy{len(copies)}")))
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(polyak.run.evaluating, "evaluate", evaluate)
        whole = train("ddpg", steps=50)
    assert len(copies) == 3
    for copy in copies:
        assert_same(polyak.resume(copy), whole)


# At the door


def test_what_cannot_go_on_is_refused(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train("ddpg", lambda: Tiny(length=5))
    for options, told in (
        ({}, "was trained on what Python made"),
        ({"environment": TINY, "steps": 60}, "steps is 60, but the run has done 60 already"),
        ({"environment": "Pendulum-v1", "steps": 70}, "observations and actions of the environment are not those of"),
        ({"environment": TINY, "steps": 70, "checkpoint_every": 0}, "checkpoint_every is 0, but must be at least 1"),
        ({"environment": TINY, "steps": 70, "backend": "abacus"}, "backend is 'abacus', but must be jax"),
    ):
        before = contents(run)
        with pytest.raises(UsageError, match=told):
            polyak.resume(run.folder, **options)
        assert contents(run) == before
    with pytest.raises(UsageError, match=r"is not a run: it has no settings\.json"):
        polyak.resume(tmp_path)
    (empty := tmp_path / "empty").mkdir()
    shutil.copy(run.settings_file, empty)
    with pytest.raises(UsageError, match="has no checkpoint, so that nothing was trained in it"):
        polyak.resume(empty)


def test_a_manifest_that_contradicts_itself_is_refused(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its SHA-256 is right: somebody made it so."""
    taken = snapshots(monkeypatch, tmp_path, 47).taken
    train("ddpg")
    path = max((taken[47] / "checkpoints").glob("checkpoint-*.json"))
    for change in (
        lambda state: state["environments"].update(steps=-100),
        lambda state: state.update(updates_owed=1e18),
        lambda state: state["collector"].update(lengths=[1, 2]),
        lambda state: state["collector"].update(warm_up={"bit_generator": "MT19937"}),
        lambda state: state.update(best=[1]),
    ):
        whole = path.read_text()
        rewrite(path, lambda body, change=change: change(body["state"]))
        with pytest.raises(UsageError, match=rf"{path.name} makes no sense"):
            polyak.resume(taken[47])
        path.write_text(whole)


def test_settings_and_metrics_that_were_lost_come_back(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint holds its own copy of them."""
    taken = snapshots(monkeypatch, tmp_path, 47).taken
    whole = train("ddpg")
    for name in ("settings.json", "metrics.jsonl", "policy.safetensors", "best.safetensors"):
        (taken[47] / name).unlink()
    assert_same(polyak.resume(taken[47]), whole)


def test_a_clock_that_goes_backwards_changes_nothing(
    train: Callable[..., Run], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshots(monkeypatch, tmp_path, 47).taken
    whole = train("ddpg")
    path = max((taken[47] / "checkpoints").glob("checkpoint-*.json"))
    rewrite(path, lambda body: body["state"].update(seconds=5_000.0))
    clock.passes(-900.0)  # since the machine was started, which may have been after the kill
    monkeypatch.setattr("time.time", lambda: 0.0)
    run = polyak.resume(taken[47])
    assert_same(run, whole)
    assert run.metrics[-1]["seconds"] == 5_000


def test_tensorboard_hides_what_was_written_after_the_checkpoint(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshots(monkeypatch, tmp_path, 47).taken
    train("ddpg")
    run = polyak.resume(taken[47])
    before, after = (events(file) for file in sorted((run.folder / "tensorboard").iterdir()))
    assert {event.session_log.status for event in before} == {SessionLog.STATUS_UNSPECIFIED}
    version, start, *rest = after
    assert version.file_version.startswith("brain.Event:")
    assert (start.session_log.status, start.step) == (SessionLog.START, 41)
    assert rest
    assert all(event.step >= 41 for event in rest)
