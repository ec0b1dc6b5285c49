"""The search: what it asks, reports, prunes and tells; how it ends and goes on; what comes out of it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

import polyak
from browser import opened
from polyak import TrainingError, UsageError, load
from polyak.algorithms import algorithm
from polyak.cli import where
from polyak.many.places import Job
from polyak.many.sweep import trial
from polyak.many.tune import driver, outcome, owner, storage, study
from polyak.many.tune.asked import Search, seconds
from polyak.many.tune.candidate import Candidate
from polyak.many.tune.scores import below_all, final, robust
from polyak.run.states import standing_of
from polyak.settings import presets
from polyak.settings.options import Options
from polyak.views import tune as view
from searches import CONFIG, EPOCH, SPACE, STEPS, Acting, Noting, Script, Stage, search
from tiny_cli import PATIENCE, TINY, Tiny, call_cli, start_cli, untrained_run


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the settings.json of a run has."""
    table = json.loads(untrained_run(tmp_path_factory.mktemp("one")).settings_file.read_text())
    return {**table, "settings": {**table["settings"], "steps": 40, "max_episode_steps": None}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses; and what is called *.memory is kept in memory, since files are written through at every step."""
    kept = dict[str, optuna.storages.BaseStorage]()

    def opened(name: str, *, make: bool = True) -> optuna.storages.BaseStorage:
        if name.endswith(".memory"):
            return kept.setdefault(name, optuna.storages.InMemoryStorage())
        return storage.opened(name, make=make)

    monkeypatch.setattr(driver, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(study, "opened", opened)


def trials(found: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return found.get_trials(deepcopy=False)


def number_of(job: Job) -> int:
    return int(job.variant.split()[1])


def steadily(value: Callable[[Job], float]) -> Script:
    return lambda job: [value(job)] * 4


# Scores


def test_no_lucky_seed_makes_a_trial_good() -> None:
    assert robust([3.0]) == 3.0
    assert robust([3.0, 100.0]) == 3.0
    assert robust([100.0, 2.0, 4.0]) == 3.0
    assert robust([1.0, 100.0, 2.0, 50.0]) == 1.5


def test_a_run_is_judged_by_its_last_evaluations_not_its_best() -> None:
    assert final([9.0, 1.0, 2.0, 3.0]) == 3.0
    assert final([100.0] * 8 + [2.0, 4.0]) == 3.0


def test_what_diverged_is_below_all_that_is_known() -> None:
    assert below_all([]) < 0
    assert below_all([-200.0, -100.0]) == -400.0
    assert below_all([5.0]) < 5.0


# What is asked, reported and told


def test_each_trial_is_trained_with_every_seed_and_scored(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, lambda job: [0.0, 1.0, 2.0, 10.0 * number_of(job) + job.seed])
    ended = driver.run(search(tmp_path), Noting(), stage)
    assert [trial.value for trial in trials(ended.study)] == [0.0, 10.0, 20.0]
    assert trials(ended.study)[2].intermediate_values == {10: 0.0, 20: 1.0, 30: 2.0, 40: 20.0}
    assert sorted((number_of(each.job), each.job.seed) for each in stage.begun) == [
        (n, s) for n in range(3) for s in (0, 1)
    ]
    for each in stage.begun:
        words = dict(word.removeprefix("--").split("=") for word in each.job.options)
        assert words["threads"] == "1"
        assert 0.9 <= float(words["discount"]) <= 0.999
        assert (words["batch-size"], words["hidden-sizes"]) in {(b, h) for b in "48" for h in ("4", "8,8")}
    noted = trials(ended.study)[1].user_attrs
    assert set(noted["runs"]) == {"0", "1"}
    assert noted["driver"]["pid"] == os.getpid()
    assert ended.progress.best == (2, 20.0)
    assert ended.study.user_attrs["driver"] is None


def test_at_most_so_many_run_at_a_time_and_a_trials_seeds_come_first(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, steadily(lambda job: 1.0))
    watching = Noting()
    most = 0

    def count(candidate: Any, news: str) -> None:
        nonlocal most
        most = max(most, sum(each.runs for each in stage.begun))

    watching.act = count
    driver.run(search(tmp_path, seeds=(0, 1, 2), at_once=2), watching, stage)
    assert most == 2
    assert [number_of(each.job) for each in stage.begun] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert watching.closings == 1


def test_a_trial_below_the_others_median_is_stopped(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, steadily(lambda job: -100.0 if number_of(job) == 5 else float(number_of(job))))
    ended = driver.run(search(tmp_path, trials=6), Noting(), stage)
    *_, last = trials(ended.study)
    assert last.state == TrialState.PRUNED
    assert list(last.intermediate_values) == [10, 20]  # from a third of 40 steps on
    for folder in last.user_attrs["runs"].values():
        standing = standing_of(load(folder))
        assert standing.state == "stopped"
        assert standing.reason == "pruned at step 20 with a score of -100"
        assert not load(folder).checkpoints.exists()
        with pytest.raises(UsageError, match=r"was stopped \(pruned at step 20 .*checkpoints were removed"):
            polyak.resume(folder)
    assert load(trials(ended.study)[0].user_attrs["runs"]["0"]).checkpoints.exists()


def test_pruned_checkpoints_are_kept_where_asked_for_and_nothing_is_pruned_without(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    stage = Stage(settings, steadily(lambda job: -100.0 if number_of(job) == 5 else float(number_of(job))))
    ended = driver.run(search(tmp_path, trials=6, keep_pruned=True), Noting(), stage)
    assert load(trials(ended.study)[5].user_attrs["runs"]["0"]).checkpoints.exists()
    other = driver.run(search(tmp_path / "b", trials=6, pruner="none"), Noting(), stage)
    assert [trial.state for trial in trials(other.study)] == [TrialState.COMPLETE] * 6


def test_what_diverges_has_a_bad_score_that_is_no_result(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(
        settings, lambda job: [1.0, "diverges"] if number_of(job) == 1 and job.seed == 0 else [1.0, 2.0, 3.0, 4.0]
    )
    ended = driver.run(search(tmp_path), Noting(), stage)
    first, second, third = trials(ended.study)
    assert second.state == TrialState.COMPLETE
    assert second.value is not None
    assert second.value < 1.0
    assert first.value == third.value == 4.0
    found = outcome.findings(ended.study)
    assert [each.state for each in found.results] == ["done", "diverged", "done"]
    assert found.results[1].score is None
    assert "training diverged" in found.results[1].reason
    other = standing_of(load(second.user_attrs["runs"]["1"]))
    assert other.state == "stopped"
    assert "seed 0: training diverged" in other.reason


def test_the_best_is_none_that_diverged(tmp_path: Path, settings: dict[str, Any]) -> None:
    ended = driver.run(search(tmp_path, trials=1), Noting(), Stage(settings, lambda job: ["diverges"]))
    assert ended.progress.best is None
    assert outcome.findings(ended.study).best is None
    assert outcome.preset_text(outcome.findings(ended.study)) is None


def test_a_trial_whose_run_is_killed_fails_and_the_others_go_on(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, lambda job: [1.0, "killed"] if number_of(job) == 1 else [1.0] * 4)
    ended = driver.run(search(tmp_path), Noting(), stage)
    assert [trial.state.name for trial in trials(ended.study)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "memory runs out" in trials(ended.study)[1].user_attrs["reason"]


def test_where_the_first_trials_all_fail_the_search_stops(tmp_path: Path, settings: dict[str, Any]) -> None:
    watching = Noting()
    with pytest.raises(TrainingError, match=r"3 trials have failed and none has worked.*RuntimeError"):
        driver.run(search(tmp_path, trials=20), watching, Stage(settings, lambda job: ["breaks"]))
    assert watching.closings == 1


def test_a_run_that_was_never_evaluated_has_no_score(tmp_path: Path, settings: dict[str, Any]) -> None:
    ended = driver.run(search(tmp_path, trials=1), Noting(), Stage(settings, lambda job: []))
    assert trials(ended.study)[0].state == TrialState.FAIL
    assert "never evaluated" in trials(ended.study)[0].user_attrs["reason"]


# Ending and going on


def test_an_interrupted_trial_goes_on_from_its_runs(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, lambda job: [1.0, 2.0, 3.0, float(number_of(job) + job.seed)])
    asked = search(tmp_path)

    def interrupt(candidate: Any, news: str) -> None:
        if news == "reported" and candidate.number == 1 and len(candidate.reported) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    watching = Noting(interrupt)
    ended = driver.run(asked, watching, stage)
    assert ended.signal_number == signal.SIGINT
    assert "interrupted: 2" in watching.lines
    assert [trial.state.name for trial in trials(ended.study)] == ["COMPLETE", "RUNNING"]
    again, watching = Stage(settings, stage.script), Noting()
    ended = driver.run(asked, watching, again)
    assert watching.lines == ["trial 1 goes on, which an earlier command had left"]
    assert [trial.value for trial in trials(ended.study)] == [0.0, 1.0, 2.0]
    assert [bool(each.job.resumed) for each in again.begun] == [True, True, False, False]
    assert trials(ended.study)[1].intermediate_values == {10: 1.0, 20: 2.0, 30: 3.0, 40: 1.0}
    assert len(list((asked.folder / "trial-0001").iterdir())) == 2  # no run was begun anew


def test_a_run_that_was_done_is_not_trained_again(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, lambda job: [float(job.seed)] * 4)
    asked = search(tmp_path, trials=1, at_once=1)

    def interrupt(candidate: Any, news: str) -> None:
        if news == "started" and len(stage.begun) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    driver.run(asked, Noting(interrupt), stage)
    again = Stage(settings, stage.script)
    ended = driver.run(asked, Noting(), again)
    assert [(each.job.seed, bool(each.job.resumed)) for each in again.begun] == [(1, True)]
    assert trials(ended.study)[0].value == 0.0


def test_the_time_is_over(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, steadily(lambda job: 1.0))
    ended = driver.run(search(tmp_path, timeout=1e-9), Noting(), stage)
    assert (ended.why, ended.signal_number, stage.begun) == ("the time is over", 0, [])
    assert not ended.progress.is_whole


def test_trials_counts_the_whole_study(tmp_path: Path, settings: dict[str, Any]) -> None:
    stage = Stage(settings, steadily(lambda job: 1.0))
    driver.run(search(tmp_path, trials=2), Noting(), stage)
    ended = driver.run(search(tmp_path, trials=3), Noting(), stage)
    assert len(trials(ended.study)) == 3
    drawn = [tuple(sorted(trial.params.items())) for trial in trials(ended.study)]
    assert len(set(drawn)) == 3  # a search that goes on does not draw the same once more


def test_a_trial_killed_as_it_was_drawn_is_asked_again_and_does_not_count(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    asked = search(tmp_path, trials=2)
    made = study.begun(asked.storage, asked.study, asked.described())
    half = made.ask()
    half.suggest_categorical("batch_size", [4, 8])
    watching = Noting()
    ended = driver.run(asked, watching, Stage(settings, steadily(lambda job: 1.0)))
    assert [trial.state.name for trial in trials(ended.study)] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials(ended.study)[1].params["batch_size"] == half.params["batch_size"]
    assert "never whole" in watching.lines[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seeds": (0, 1, 2)}, "was begun with seeds 0 1, but 0 1 2 is asked for"),
        ({"environment": "F-v0"}, 'was begun with environment "E-v0"'),
        ({"toml": SPACE.replace("0.9,", "0.8,")}, "was begun with space: discount"),
        ({"options": Options(envs=2)}, "was begun with envs 1, but 2 is asked for"),
        (
            {"config": algorithm("ddpg").Config(**{**CONFIG, "n_step": 3})},
            "was begun with n_step 1, but 3 is asked for",
        ),
    ],
)
def test_a_study_is_gone_on_with_as_it_was_begun(
    changed: dict[str, Any], said: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    asked = search(tmp_path)
    study.begun(asked.storage, asked.study, asked.described())
    with pytest.raises(UsageError, match=re.escape(said)):
        driver.run(search(tmp_path, **changed), Noting(), Stage(settings, steadily(lambda job: 1.0)))


# One process at a time


def noted(asked: Search, **changed: Any) -> optuna.Study:
    made = study.begun(asked.storage, asked.study, asked.described())
    made.set_user_attr(owner.NOTE, {**owner.myself(), "token": "other", "beats": 1, **changed})
    return made


def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path, settings: dict[str, Any]) -> None:
    asked, stage = search(tmp_path), Stage(settings, steadily(lambda job: 1.0))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as first:
        noted(asked, pid=first.pid, started=owner.psutil.Process(first.pid).create_time())
        with pytest.raises(UsageError, match=f"asked and told by process {first.pid} on .*it is running here"):
            driver.run(asked, Noting(), stage)
        first.communicate(b"\n")
    assert driver.run(asked, Noting(), stage).progress.is_whole


def test_a_number_that_was_given_again_is_not_the_process(tmp_path: Path, settings: dict[str, Any]) -> None:
    asked = search(tmp_path)
    noted(asked, started=1.0)
    assert driver.run(asked, Noting(), Stage(settings, steadily(lambda job: 1.0))).progress.is_whole


@pytest.mark.parametrize("alive", [True, False])
def test_another_machines_process_is_known_by_its_signs_of_life(
    alive: bool, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, stage = search(tmp_path), Stage(settings, steadily(lambda job: 1.0))
    made = noted(asked, host="elsewhere")
    beats = iter(range(2, 1_000_000))

    def wait(seconds: float) -> None:
        if alive:
            made.set_user_attr(owner.NOTE, {"host": "elsewhere", "pid": 1, "token": "other", "beats": next(beats)})

    monkeypatch.setattr(owner.time, "sleep", wait)
    monkeypatch.setattr(owner, "WATCHED_SECONDS", PATIENCE if alive else 0.1)
    if alive:
        with pytest.raises(
            UsageError, match=f"process {os.getpid()} on elsewhere, and it has just given a sign of life"
        ):
            driver.run(asked, Noting(), stage)
    else:
        assert driver.run(asked, Noting(), stage).progress.is_whole


def test_a_process_whose_study_was_taken_ends_and_saves(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "BEAT_SECONDS", 0.0)
    asked, stage = search(tmp_path), Stage(settings, steadily(lambda job: 1.0))

    def taken(candidate: Any, news: str) -> None:
        candidate.trial.study.set_user_attr(owner.NOTE, {"host": "elsewhere", "pid": 7, "token": "other"})

    with pytest.raises(TrainingError, match="process 7 on elsewhere has taken the study"):
        driver.run(asked, Noting(taken), stage)
    assert all(each.stopped and not each.runs for each in stage.begun)
    assert study.existing(asked.storage, None).user_attrs[owner.NOTE]["pid"] == 7


# Storage


@pytest.mark.parametrize("file", ["study.db", "study.journal"])
def test_what_is_stored_is_no_pickle(file: str, tmp_path: Path, settings: dict[str, Any]) -> None:
    asked = search(tmp_path, storage=str(tmp_path / file), trials=3)
    driver.run(asked, Noting(), Stage(settings, steadily(lambda job: float(-number_of(job)))))
    content = (tmp_path / file).read_bytes()
    if file == "study.journal":
        assert all(isinstance(json.loads(line), dict) for line in content.splitlines())
    else:
        assert content.startswith(b"SQLite format 3\0")
    assert b"\x80\x04\x95" not in content  # how a pickle begins, as it is or in hexadecimal, as CMA-ES leaves it
    assert b"800495" not in content
    others = {path.name for path in tmp_path.iterdir()} - {"space.toml", "runs", file}
    assert others == set()


def test_secrets_of_a_url_are_not_told() -> None:
    url = "postgresql://anna:hunter2@db.example:5432/studies?sslpassword=topsecret"
    assert storage.shown(url) == "postgresql://db.example:5432/studies"
    error = RuntimeError(f"no connection to {url} for hunter2 with sslpassword=topsecret")
    said = storage.told(error, url)
    assert "hunter2" not in said
    assert "topsecret" not in said
    with pytest.raises(UsageError) as refused:
        storage.opened("mysql+nothing://anna:hunter2@db.example/studies")
    assert "mysql+nothing://db.example/studies cannot be opened" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.db", "there is no such file"), ("redis://host", "in which Optuna leaves pickles"), (".", "cannot")],
)
def test_storages_that_are_none(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        storage.opened(name, make=name != "none.db")


# What comes out


def test_the_best_settings_are_a_preset(tmp_path: Path, settings: dict[str, Any]) -> None:
    ended = driver.run(search(tmp_path), Noting(), Stage(settings, steadily(lambda job: float(number_of(job)))))
    found = outcome.findings(ended.study)
    path = outcome.write_preset(found, tmp_path)
    assert path == tmp_path / "best.toml"
    loaded = presets.load(str(path), algorithm("ddpg"), "E-v0")
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in settings["settings"].items()}
    known = vars(algorithm("ddpg").Config())
    assert loaded.values == {name: value for name, value in kept.items() if value is not None and name in known}
    assert "the best of 3 trials" in loaded.sources["discount"]
    assert "not searched" in loaded.sources["steps"]
    told = outcome.command(found, tmp_path / "best.toml")
    assert told == f"polyak train ddpg E-v0 --preset {tmp_path / 'best.toml'} --seeds 2-6"


def test_importance_is_told_once_there_are_trials_enough(tmp_path: Path, settings: dict[str, Any]) -> None:
    def good(job: Job) -> float:
        return float(next(word for word in job.options if word.startswith("--discount")).partition("=")[2])

    asked = search(tmp_path, trials=12, pruner="none")
    few = driver.run(search(tmp_path, trials=3), Noting(), Stage(settings, steadily(good)))
    assert outcome.findings(few.study).importance == {}
    ended = driver.run(asked, Noting(), Stage(settings, steadily(good)))
    found = outcome.findings(ended.study).importance
    assert max(found, key=lambda name: found[name]) == "1 - discount"
    assert sum(found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1d", 86400), ("3600", 3600), (None, None)],
)
def test_times(given: str | None, expected: float | None) -> None:
    assert seconds(given) == expected


@pytest.mark.parametrize("given", ["soon", "0", "-1", "2x", "h", ""])
def test_times_that_are_none(given: str) -> None:
    with pytest.raises(UsageError, match=r"timeout is .*2h, 90m"):
        seconds(given)


# The command line

SMALL = (
    *(
        "--backend",
        "torch",
        "--steps",
        "60",
        "--steps-per-epoch",
        "20",
        "--start-steps",
        "10",
        "--update-after",
        "1000",
    ),
    *("--evaluation-episodes", "1", "--no-probe", "--plain"),
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sac",), "tune needs ALGORITHM ENVIRONMENT first"),
        (("sac", "Pendulum-v1", "--seed", "1"), "tune takes --seeds"),
        (("sac", "Pendulum-v1", "--trials", "0"), "trials is 0, but must be at least 1"),
        (("sac", "Pendulum-v1", "--n-trials", "9"), "polyak calls it --trials"),
        (("sac", "Pendulum-v1", "--timeout", "soon"), "timeout is 'soon'"),
        (("sac", "Pendulum-v1", "--study", "a/b"), "study is 'a/b'"),
        (("sac", "Pendulum-v1", "--evaluate-in", "never"), "a search goes by evaluations"),
        (("sac", "Pendulum-v1", "--together"), "--together is for runs of equal settings"),
        (("sac", "Pendulum-v1", "--space", "none.toml"), "space none.toml cannot be read"),
        (("--show-space", "sax"), "unknown algorithm 'sax'"),
        (("--report", "none.db"), "there is no such file"),
    ],
)
def test_what_cannot_be_searched_is_said_at_the_door(
    words: Sequence[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = call_cli("tune", *words)
    assert (code, output) == (2, "")
    assert said in errors
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    code, _, errors = call_cli("tune", "sac", "Pendulum-v1")
    assert (code, errors) == (2, f"polyak: {storage.REMEDY}\n")


def test_a_search_that_is_killed_goes_on_and_ends_with_a_page(tmp_path: Path) -> None:
    """SIGKILL, in processes: the runs save as their parent is gone, and come to what they would have come to."""
    (tmp_path / "space.toml").write_text("discount = { choices = [0.9] }")
    words = ["tune", "ddpg", TINY, "--trials", "1", "--space", "space.toml", "--run-dir", "r", *SMALL]
    words[words.index("60")] = "1200"
    words[words.index("20")] = "200"
    first = start_cli(*words, cwd=tmp_path)
    assert first.stderr is not None
    while "  score " not in (line := first.stderr.readline()):
        assert line, "it ended before its first score"
    first.kill()
    first.communicate(timeout=PATIENCE)
    code, output, errors = _run(words, tmp_path)
    assert code == 0, errors
    assert "trial 0 goes on" in errors
    folder = tmp_path / "r/tune/ddpg-tiny_cli_Tiny-v0"
    assert output == "r/tune/ddpg-tiny_cli_Tiny-v0/report.html\n"
    runs = [run.parent for run in folder.glob("trial-0000/**/settings.json")]
    assert len(runs) == 2
    for run in runs:
        alone = untrained_run(
            tmp_path / "alone",
            seed=load(run).settings["seed"],
            backend="torch",
            threads=1,
            probe=False,
            **_settings(run),
        )
        assert [each["eval/return"] for each in load(run).metrics] == [each["eval/return"] for each in alone.metrics]
    assert "--preset r/tune/ddpg-tiny_cli_Tiny-v0/best.toml --seeds 2-6" in errors
    _look_at(folder / "report.html")


def _run(words: Sequence[str], folder: Path) -> tuple[int, str, str]:
    process = start_cli(*words, cwd=folder)
    output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output, errors


def _settings(run: Path) -> dict[str, Any]:
    return load(run).settings["settings"]


def _look_at(page: Path) -> None:
    with opened(page) as tab:
        assert tab.problems == []
        assert tab.page.locator("h1").inner_text() == f"Search: DDPG on {TINY}"
        assert tab.page.locator(".chart svg.main-svg").count() > 0


@pytest.fixture
def stage(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Where the runs of commands run, in an empty folder with a space for them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.toml").write_text(SPACE)
    made = Stage(settings, steadily(lambda job: float(number_of(job))))
    monkeypatch.setattr(where, "Here", lambda: made)
    monkeypatch.setattr(trial, "Here", lambda: made)
    return made


QUICK = {"steps": STEPS, "steps_per_epoch": EPOCH, "storage": "s.memory", "space": "space.toml"}


def test_from_python_a_search_is_the_command(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    found = polyak.tune("ddpg", TINY, trials=3, seeds=[3, 4], backend="torch", discount=0.95, **QUICK)
    assert capsys.readouterr() == ("", "")
    assert found.best is not None
    assert (found.best.number, found.best.score, sorted(found.best.runs)) == (2, 2.0, [3, 4])
    assert set(found.best.settings) == {"batch_size", "hidden_sizes"}
    assert isinstance(found.best.settings["hidden_sizes"], tuple)
    assert found.preset == Path("runs/tune/ddpg-tiny_cli_Tiny-v0/best.toml")
    assert found.report is not None
    assert found.report.is_file()
    words = stage.begun[0].job.options
    assert {"--backend=torch", "--discount=0.95", f"--steps={STEPS}"} <= set(words)
    code, output, errors = call_cli("tune", "ddpg", TINY, *words_for_the_same(), "--trials", "4", "--plain")
    assert (code, output) == (0, f"{found.report}\n")
    assert "3 of 4 trials" in errors
    assert "trial 3  done: score 3" in errors


def words_for_the_same() -> list[str]:
    return [
        *("--backend=torch", f"--steps={STEPS}", f"--steps-per-epoch={EPOCH}", "--discount=0.95", "--seeds=3,4"),
        *("--storage=s.memory", "--space=space.toml"),
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"environment": Tiny}, "environment is .*, but must be an id or module:Id"),
        ({"seed": 3}, "tune takes seeds"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "names 1 twice"),
        ({"trials": 0}, "trials is 0, but must be at least 1"),
        ({"batchsize": 3}, "no setting 'batchsize': did you mean"),
        ({"discount": 2.0}, "discount is 2.0, but must be in"),
        ({"backend": "keras"}, "backend is 'keras'"),
        ({"pruner": "all"}, "pruner is 'all', but must be median, hyperband, none"),
    ],
)
def test_from_python_what_cannot_be_is_said_at_the_door(given: dict[str, Any], said: str, stage: Stage) -> None:
    with pytest.raises(UsageError, match=said):
        polyak.tune(**{"algorithm": "ddpg", "environment": TINY, **QUICK, **given})
    assert stage.begun == []


def test_ctrl_c_from_python_and_on_the_command_line(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = stage.begin

    def interrupted(job: Job, run_dir: Path) -> Any:
        if number_of(job) == 1 and job.seed == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return begin(job, run_dir)

    monkeypatch.setattr(stage, "begin", interrupted)
    with pytest.raises(polyak.Interrupted, match="the same call goes on") as raised:
        polyak.tune("ddpg", TINY, trials=3, seeds=[3, 4], backend="torch", discount=0.95, **QUICK)
    assert [each.state for each in raised.value.found.results] == ["done", "running"]  # type: ignore[attr-defined]
    code, output, errors = call_cli("tune", "ddpg", TINY, *words_for_the_same(), "--trials", "3", "--plain")
    assert code == 130
    assert output.endswith("report.html\n")
    assert "interrupted: 2 runs will save and end; a second Ctrl-C kills" in errors
    assert "interrupted: all is saved, and the same command goes on" in errors


def test_the_report_is_made_again(stage: Stage, tmp_path: Path) -> None:
    assert call_cli("tune", "ddpg", TINY, *words_for_the_same(), "--trials", "2", "--storage", "t.journal")[0] == 0
    code, output, errors = call_cli("tune", "--report", "t.journal", "-o", "again/page.html")
    assert (code, output) == (0, "again/page.html\n")
    assert "best: trial 1, score 1" in errors
    assert (tmp_path / "again/best.toml").is_file()


def test_the_live_picture_fits_the_terminal(stage: Stage, tmp_path: Path) -> None:
    pictures = list[str]()

    def look(candidate: Candidate, news: str) -> None:
        if news != "ended":
            console = Console(width=60, file=io.StringIO())
            console.print(view.draw(watching.progress, [candidate], 60, 10))
            pictures.append(console.file.getvalue())  # type: ignore[attr-defined]

    watching = Noting(look)
    driver.run(search(tmp_path / "a", trials=2), watching, stage)
    assert all(len(line) <= 60 for picture in pictures for line in picture.splitlines())
    assert "discount 0.9" in pictures[-1]
    assert "1 of 2 trials, best 0 (trial 0)" in pictures[-1]


def test_what_is_below_room_at_the_place_waits(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place without room says so: no trial is drawn before there is some, since it would be drawn knowing less."""
    monkeypatch.setattr(Acting, "is_waiting", lambda self: sum(each.runs for each in stage.begun) > 2)
    most = 0

    def count(candidate: Candidate, news: str) -> None:
        nonlocal most
        most = max(most, sum(each.runs for each in stage.begun))

    ended = driver.run(search(tmp_path / "a", at_once=100), Noting(count), stage)
    assert ended.progress.is_whole
    assert most <= 3
