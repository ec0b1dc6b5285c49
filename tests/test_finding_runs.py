"""Runs found by name, sorted and chosen, in which state they are, and what holds nothing removed."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import Player, Policy, Run, TrainingError, UsageError, load
from polyak.cli.named import with_from_named
from polyak.run import states
from polyak.run.progress import Progress
from polyak.run.runs import begun, find_runs, named
from polyak.run.states import Standing, standing_of
from test_training import Watcher
from tiny_cli import TINY, Tiny, call_cli, untrained_run


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Three runs in one folder: DDPG, then TD3 in another environment, then one of DDPG that failed."""
    folder = tmp_path_factory.mktemp("several") / "runs"
    made = [untrained_run(folder, backend="torch"), untrained_run(folder, "tiny_cli:Uneven-v0", "td3", backend="torch")]
    with pytest.raises(TrainingError):
        untrained_run(folder, "tiny_cli:Raises-v0", backend="torch")
    (failed,) = folder.glob("tiny_cli_Raises-v0/*/*")
    return [*made, load(failed)]


@pytest.fixture
def runs(several: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The same in a folder of the test's own, `runs` from where it is."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(several[0].folder.parents[2], "runs")
    return [Run(Path("runs", *run.folder.parts[-3:])) for run in several]


def changed(run: Run, **facts: Any) -> None:
    """Write other facts into its settings; None takes one away."""
    told = {name: value for name, value in {**run.settings, **facts}.items() if value is not None}
    run.settings_file.write_text(json.dumps(told))


# By name


def test_latest_is_the_run_that_was_begun_last_whatever_its_state_and_its_name(runs: list[Run]) -> None:
    first, second, failed = runs
    assert load("latest").folder == failed.folder
    assert [begun(run) for run in runs] == sorted(begun(run) for run in runs)
    assert first.settings["begun"].endswith("+00:00")
    assert load("latest", run_dir="runs/tiny_cli_Tiny-v0").folder == first.folder
    changed(second, begun="2999-01-01T00:00:00+02:00")
    assert load("latest").folder == second.folder
    second.settings_file.write_text("{")  # a run by the name of its folder, so that it is the latest of its second
    changed(Run(first.folder), begun="1999-01-01T00:00:00+00:00")
    changed(Run(failed.folder), begun="1999-01-01T00:00:00+00:00")
    with pytest.raises(UsageError, match=f"{second.settings_file} cannot be read"):
        load("latest")
    second.folder.rename("runs/other")  # some other program's
    assert load("latest").folder in (first.folder, failed.folder)


def test_runs_from_before_this_was_written_down_are_told_by_the_names_of_their_folders(runs: list[Run]) -> None:
    for run, name in zip(runs, ("20300101-000000-seed0", "20310101-000000-seed0-2", "mine"), strict=True):
        changed(run, begun=None)
        run.folder.rename(run.folder.with_name(name))
    assert load("latest").folder.name == "20310101-000000-seed0-2"
    os.utime(next(Path("runs").rglob("mine/settings.json")), (2e9, 2e9))  # in 2033
    assert load("latest").folder.name == "mine"


def test_a_folder_of_that_name_is_named_otherwise(runs: list[Run], tmp_path: Path) -> None:
    Path("latest").symlink_to(runs[0].folder)
    assert load("./latest").settings == runs[0].settings
    assert load(Path("latest")).settings == runs[0].settings
    assert load("latest").settings == runs[2].settings
    code, output, errors = call_cli("evaluate", "./latest", "--episodes", "1")
    assert (code, errors) == (0, "")
    assert call_cli("evaluate", str(runs[0].folder), "--episodes", "1")[1] == output
    with pytest.raises(UsageError, match=r"no run in nowhere, where latest is .*--run-dir.*is \./latest"):
        load("latest", run_dir="nowhere")


def test_where_the_latest_has_no_policy_the_message_names_the_last_that_has(runs: list[Run]) -> None:
    runs[2].policy_file.unlink()
    assert named("latest").folder == runs[2].folder
    for command in ("evaluate", "record"):
        code, _, errors = call_cli(command, "latest")
        assert code == 2
        assert (
            f"{runs[2].folder}, has no policy yet: its first evaluation writes one; the last that has one is " in errors
        )
        assert errors.endswith(f" {runs[1].folder}\n")
    for run in runs[:2]:
        run.policy_file.unlink()
    with pytest.raises(UsageError, match="no run in runs has one"):
        named("latest", acting=True)


def test_every_command_takes_it_and_says_which_it_is(runs: list[Run]) -> None:
    shutil.rmtree(runs[2].folder)
    latest = runs[1].folder
    for command, wanted in (
        (("evaluate", "latest", "--episodes", "1"), "episode   1"),
        (("record", "latest"), f"{latest}/videos/policy-seed0.mp4\n"),
        (("report", "latest"), f"{latest}/report.html\n"),
        (("resume", "latest", "--steps", "45"), f"{latest}\n"),
    ):
        code, output, errors = call_cli(*command)
        assert (code, wanted in output) == (0, True), errors
        assert errors.startswith(f"latest is {latest}\n")
    assert load(latest).metrics[-1]["step"] == 45
    assert polyak.resume("latest", steps=50).settings["resumed"][-1]["step"] == 45


def test_from_latest_is_a_folder_before_anything_begins(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    """A run of a sweep would otherwise mean the one that was begun before it."""
    latest = str(runs[2].folder)
    assert with_from_named(["--from", "latest", "--seeds", "0-1"]) == ["--from", latest, "--seeds", "0-1"]
    assert with_from_named(["--run-dir", "runs", "--from=latest"]) == ["--run-dir", "runs", f"--from={latest}"]
    assert capsys.readouterr().err == 2 * f"latest is {latest}\n"
    assert with_from_named(["--from", "./latest"]) == ["--from", "./latest"]
    both = with_from_named(["--demonstrations=latest", "--from", "latest"])
    assert both == [f"--demonstrations={latest}", "--from", latest]
    code, _, errors = call_cli("train", "ddpg", TINY, "--from", "latest", "--run-dir", "nowhere")
    assert (code, "there is no run in nowhere" in errors) == (2, True)


def test_a_run_stands_wherever_its_path_does(runs: list[Run], tmp_path: Path) -> None:
    run = runs[0]
    assert os.fspath(run) == str(run.folder)
    assert load(run).settings == run.settings
    assert polyak.resume(run, steps=45).metrics[-1]["step"] == 45
    later = untrained_run(tmp_path / "later", from_run=load(run), backend="torch")
    assert later.settings["from_run"] == str(run.folder.resolve())


def test_what_is_no_run_is_told_by_what_it_is(runs: list[Run]) -> None:
    file = runs[0].policy_file
    for given, told in (
        (None, "folder is None, but must be a path"),
        ("x" * 5_000, "xxx... is not a run: File name too long"),
        ("no/where", "no/where is not a run: there is no such folder"),
        (file, f"is not a run: it is a file of one, which is .*{file.parent}"),
        (shutil.copy(file, "alone.safetensors"), r"a policy's alone is played by polyak\.Player\(FILE, ENVIRONMENT\)"),
        ("runs", "runs is not a run: it has no settings.json; it holds runs, such as .*runs/tiny_cli_"),
    ):
        for use in (load, polyak.resume):
            with pytest.raises(UsageError, match=told):
                use(wrong(given))


# A policy alone


def test_a_policy_plays_without_its_run(runs: list[Run], tmp_path: Path) -> None:
    run, file = runs[0], Path(shutil.copy(runs[0].policy_file, tmp_path / "mine.safetensors"))
    expected = run.evaluate(2, seed=3)
    for policy in (file, str(file), Policy.load(file)):
        assert Player(policy, TINY).evaluate(2, seed=3) == expected
    assert Player(file, lambda: Tiny(length=9), max_episode_steps=4).evaluate(1).lengths == (4,)
    assert Player(file, Tiny).record(output=tmp_path / "film.mp4") == tmp_path / "film.mp4"
    code, output, errors = call_cli("evaluate", "mine.safetensors", "--environment", TINY, "--episodes", "2", "--json")
    assert (code, errors) == (0, "")
    assert json.loads(output)["mean"] == Player(file, TINY).evaluate(2).mean
    assert call_cli("record", "mine.safetensors", "--environment", TINY)[1] == "policy-seed0.mp4\n"


def wrong(value: Any) -> Any:
    """A value of another kind than a type checker would let through."""
    return value


def test_a_policy_alone_is_refused_by_what_it_lacks(runs: list[Run], tmp_path: Path) -> None:
    file = shutil.copy(runs[0].policy_file, tmp_path / "mine.safetensors")
    for arguments, told in (
        (("mine.safetensors",), f"name one with --environment (it says that it was trained on {TINY!r})\n"),
        ((str(runs[0].policy_file),), f"or name its run, {runs[0].folder}\n"),
        (("mine.safetensors", "--environment", TINY, "--best"), "leave --policy best out"),
        (("mine.safetensors", "--environment", "Pendulum-v1"), "the policy takes observations (2,)"),
        (("no.safetensors",), "there is no policy file no.safetensors"),
        ((str(runs[0].settings_file), "--environment", TINY), "cannot be read as safetensors"),
    ):
        code, output, errors = call_cli("evaluate", *arguments)
        assert (code, output) == (2, "")
        assert told in errors
    for ask, told in (
        (lambda: Player(file, wrong(5)), "environment is 5, but must be an id, or a callable"),
        (lambda: Player(wrong(None), TINY).evaluate(), "policy is None, but must be a path"),
        (lambda: Player(file, TINY).evaluate(wrong("10")), "episodes is '10', but must be a whole number"),
        (lambda: Player(file, TINY).record(output=wrong(3)), "output is 3, but must be a path"),
    ):
        with pytest.raises(UsageError, match=told):
            ask()


# States


class Looking(Watcher):
    """Looks at its run while that trains, and may end it."""

    def __init__(self, raised: BaseException | None = None) -> None:
        super().__init__()
        self.seen: list[Standing] = []
        self._raised = raised

    def epoch_ended(self, progress: Progress) -> None:
        self.seen.append(standing_of(load(progress.folder)))
        if self._raised is not None:
            raise self._raised


def test_a_run_is_running_until_its_folder_says_how_it_ended(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, backend="torch", observer=(watcher := Looking()))
    assert watcher.seen == [Standing("running"), Standing("running")]
    assert standing_of(run) == Standing("done")
    polyak.resume(run, steps=60, observer=(watcher := Looking()))
    assert watcher.seen == [Standing("running")]
    assert not (run.folder / "ending.json").read_text().startswith('{"state": "running"')


@pytest.mark.parametrize(
    ("raised", "standing"),
    [
        (RuntimeError("no\nmore \x1b[2J"), Standing("failed", "no more ?[2J")),
        (KeyboardInterrupt(), Standing("interrupted")),
    ],
)
def test_what_ended_a_run_is_told(raised: BaseException, standing: Standing, tmp_path: Path) -> None:
    with pytest.raises(type(raised)):
        untrained_run(tmp_path, backend="torch", observer=Looking(raised))
    (run,) = find_runs(tmp_path)
    assert standing_of(run) == standing


def test_who_was_killed_is_interrupted_and_who_had_done_all_is_done(runs: list[Run]) -> None:
    run = runs[0]
    for told in ("", "{", "[]", '{"state": "running"}', '{"state": "failed", "reason": "\\u001b[2J"}'):
        (run.folder / states.NAME).write_text(told)
        assert standing_of(run) == Standing("done")  # as its records say
    (run.folder / states.NAME).unlink()
    changed(run, settings={**run.settings["settings"], "steps": 50})
    assert standing_of(Run(run.folder)) == Standing("interrupted")
    changed(Run(run.folder), stop_at_return=-1e9)
    assert standing_of(Run(run.folder)) == Standing("done")


def test_a_run_that_fails_among_others_is_not_called_done(tmp_path: Path) -> None:
    """All are in one process, and what one has open is closed while the others go on."""
    made: list[Tiny] = []

    def make() -> Tiny:
        made.append(Tiny(raises_at=25 if len(made) == 1 else None))
        return made[-1]

    with pytest.raises(TrainingError, match="1 of 2 runs failed"):
        polyak.train_together(
            "ddpg", make, seeds=[0, 1], run_dir=tmp_path, probe=False, evaluate_in="never", **TOGETHER
        )
    assert sorted(standing_of(run).state for run in find_runs(tmp_path)) == ["done", "failed"]


TOGETHER: dict[str, Any] = {
    "steps": 40,
    "steps_per_epoch": 20,
    "start_steps": 10,
    "update_after": 1_000,
    "batch_size": 8,
    "replay_size": 100,
    "hidden_sizes": (4,),
}


# Refused


def test_calls_that_are_refused_leave_no_folder(tmp_path: Path) -> None:
    class Refusing(Watcher):
        def started(self, progress: Progress) -> None:
            raise ValueError("not today")

    def ask(folder: Path) -> None:
        untrained_run(folder, backend="torch", observer=Refusing())

    with pytest.raises(ValueError, match="not today"):
        ask(tmp_path / "new" / "runs")
    assert not (tmp_path / "new" / "runs").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="not today"):
        ask(tmp_path / "mine")
    assert not any((tmp_path / "mine").iterdir())
    other = untrained_run(tmp_path / "others", backend="torch")
    with pytest.raises(ValueError, match="not today"):
        ask(tmp_path / "others")
    assert [run.folder for run in find_runs(tmp_path)] == [other.folder]


# The command


def test_runs_are_sorted_and_chosen(runs: list[Run]) -> None:
    folders = [str(run.folder) for run in runs]

    def listed(*arguments: str) -> list[str]:
        code, output, errors = call_cli("runs", *arguments)
        assert (code, errors) == (0, "")
        return [line.split()[-1] for line in output.splitlines()[1:]]

    assert listed() == sorted(folders)
    assert listed("--sort", "begun") == folders[::-1]
    assert listed("--sort", "steps")[-1] == folders[2]
    best = [max(record["eval/return"] for record in run.metrics if "eval/return" in record) for run in runs]
    assert listed("--sort", "best") == [folder for _, folder in sorted(zip(best, folders, strict=True), reverse=True)]
    assert listed("--algorithm", "TD3") == listed("--environment", "tiny_cli:Uneven-v0") == folders[1:2]
    assert listed("--state", "failed") == folders[2:]
    assert listed("--algorithm", "td3", "ddpg", "--state", "done") == sorted(folders[:2])
    assert call_cli("runs", "--algorithm", "sac")[1] == "no such runs in runs\n"


def test_runs_as_json(runs: list[Run]) -> None:
    (Path("runs/z")).mkdir()
    Path("runs/z/settings.json").write_text("{")
    code, output, _ = call_cli("runs", "--json", "--sort", "begun")
    failed, _, first, broken = json.loads(output)
    assert code == 0
    assert (failed["state"], failed["steps"], failed["of_steps"], failed["policy"]) == ("failed", 24, 40, True)
    assert "the simulator broke" in failed["reason"]
    last = runs[0].metrics[-1]["eval/return"]
    assert (first["algorithm"], first["environment"], first["seed"], first["last"]) == ("ddpg", TINY, 0, last)
    assert (broken["folder"], broken["state"]) == ("runs/z", "unreadable")
    empty = call_cli("runs", "--json", "--state", "running")
    assert empty[:2] == (0, "[]\n")


def bare(run: Run, name: str) -> Path:
    """A folder of a run that was killed before it had trained anything."""
    folder = run.folder.parents[1] / "sac" / name
    folder.mkdir(parents=True)
    shutil.copy(run.settings_file, folder)
    (folder / "metrics.jsonl").write_text("")
    (folder / "tensorboard").mkdir()
    return folder


def test_prune_removes_what_holds_nothing_after_asking(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    empty, noted = bare(runs[0], "a"), bare(runs[0], "b")
    (noted / "note.txt").write_text("mine")
    linked = bare(runs[1], "c")
    (linked / "train.log").symlink_to(noted / "note.txt")
    code, output, errors = call_cli("runs", "--prune")
    assert (code, output, "add --yes" in errors) == (2, "", True)
    for answer in ("", "no\n", "n\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        code, output, errors = call_cli("runs", "--prune")
        assert (code, output) == (0, "")
        assert errors == f"{empty}\nremove this 1 of 6? [y/N] nothing was removed\n"
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert call_cli("runs", "--prune")[1] == f"{empty}\n"
    assert not empty.exists()
    assert noted.exists()
    assert linked.exists()
    shutil.rmtree(noted)
    empty = bare(runs[0], "a")
    assert call_cli("runs", "--prune", "--state", "failed", "--yes")[2] == (
        "nothing to prune: every run in runs holds something\n"
    )
    assert call_cli("runs", "--prune", "--yes")[:2] == (0, f"{empty}\n")
    assert not empty.parent.exists(), "the folder of the algorithm is empty then"
    assert all(run.folder.exists() for run in runs)


class Terminal:
    """A standard input at which somebody answers."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer


def test_prune_leaves_what_is_running_or_can_go_on(tmp_path: Path) -> None:
    """Before its first step a run has a checkpoint, in which nothing has been trained."""
    left: list[Path] = []

    class Pruning(Tiny):
        def reset(self, **options: Any) -> Any:
            if not left:
                left.extend(run.folder for run in find_runs(tmp_path))
                assert call_cli("runs", str(tmp_path), "--prune", "--yes")[1] == ""
            return super().reset(**options)

    run = untrained_run(tmp_path, Pruning, backend="torch", probe=False)
    assert left in ([], [run.folder])
    trained = Path(shutil.copytree(run.folder, tmp_path / "copy"))
    for file in ("policy.safetensors", "best.safetensors", "metrics.jsonl"):
        (trained / file).unlink()
    assert call_cli("runs", str(tmp_path), "--prune", "--yes")[1] == ""
    assert polyak.resume(trained, environment=Tiny).metrics[-1]["step"] == 40
