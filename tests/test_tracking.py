"""W&B and MLflow, for real and offline: what is logged is read back from their own files."""

import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak import TrainingError, UsageError, cli, tracking, training
from polyak.algorithms import NAMES, algorithm
from polyak.cli import doctor
from polyak.errors import Interrupted
from polyak.run import start
from polyak.run.folder import Run
from polyak.run.progress import Progress, Silent
from test_imports import imported_by
from tiny_cli import PATIENCE, TINY, untrained_run

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read once, when it is imported

# SQLAlchemy 2.1 deprecates what MLflow 3.17 does when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both tools write below the test's folder and reach for nothing else; W&B's own processes end with the test."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        if name != "MLFLOW_DISABLE_TELEMETRY":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb-own"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_X_SERVICE_WAIT", str(PATIENCE))  # for its own process to start
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", str(PATIENCE))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # made at once, where SQLite takes seconds
    yield
    end_wandb()


def end_wandb() -> None:
    """End W&B's process, which then has written everything; the next reads the variables anew."""
    if "wandb" in sys.modules:
        import wandb

        wandb.teardown()


class At(Silent):
    """Calls something at each epoch."""

    def __init__(self, call: Callable[[Progress], Any] | None = None) -> None:
        self.call, self.facts = call, dict[str, str]()

    def started(self, progress: Progress) -> None:
        self.facts = progress.facts

    def epoch_ended(self, progress: Progress) -> None:
        if self.call is not None:
            self.call(progress)


# Reading back


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of W&B's offline file: a log as LevelDB's, in blocks of 32 kB, of Protocol Buffers."""
    from wandb.proto import wandb_internal_pb2

    content, place, begun = file.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        left = 32_768 - place % 32_768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        begun += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(begun)
            yield record
            begun = b""


class Offline:
    """One of W&B's offline files."""

    def __init__(self, file: Path) -> None:
        records = list(wandb_records(file))
        (self.run, *later) = [each.run for each in records if each.HasField("run")]
        updates = [each.config for each in records if each.HasField("config")] + [each.config for each in later]
        self.config = {
            item.key or item.nested_key[0]: json.loads(item.value_json)
            for config in [self.run.config, *updates]
            for item in config.update
        }
        self.rows = [
            {
                (item.key or item.nested_key[0]): json.loads(item.value_json)
                for item in each.history.item
                if not (item.key or item.nested_key[0]).startswith("_")
            }
            for each in records
            if each.HasField("history")
        ]
        self.counts = [each.history.step.num for each in records if each.HasField("history")]
        self.axes = {each.metric.glob_name or each.metric.name: each.metric.step_metric for each in records}
        self.artifacts = [
            sorted(entry.path for entry in each.artifact.manifest.contents)
            for each in records
            if each.HasField("artifact")
        ]
        (self.exit_code,) = [each.exit.exit_code for each in records if each.HasField("exit")]


def wandb_runs(folder: Path) -> list[Offline]:
    """Oldest first."""
    end_wandb()
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    return [Offline(file) for file in files]


def mlflow_run(run: Run) -> tuple[Any, Callable[[str], list[tuple[int, float]]], list[str]]:
    """The run, the history of a metric, and its artifacts."""
    from mlflow.tracking import MlflowClient

    client, identity = MlflowClient(), identities(run)["mlflow"]

    def history(name: str) -> list[tuple[int, float]]:
        return [(metric.step, metric.value) for metric in client.get_metric_history(identity, name)]

    return client.get_run(identity), history, [file.path for file in client.list_artifacts(identity, "policy")]


def identities(run: Run) -> dict[str, str]:
    return json.loads((run.folder / tracking.FILE).read_text())


def column(run: Run, name: str) -> list[tuple[int, float]]:
    return [(int(record["step"]), record[name]) for record in run.metrics]


# What is logged


def test_wandb_gets_every_record_and_setting(tmp_path: Path) -> None:
    watcher = At(lambda progress: print("an environment prints"))
    run = untrained_run(tmp_path / "runs", track="wandb", observer=watcher)
    (found,) = wandb_runs(tmp_path)
    assert not list(tmp_path.rglob("output.log"))  # what is printed is none of its business
    assert found.rows == run.metrics
    assert len(found.rows) == 2
    assert found.run.run_id == identities(run)["wandb"]
    assert found.run.display_name == run.folder.name
    assert found.run.run_group == f"{TINY}/ddpg"
    settings = run.settings
    assert {name: found.config[name] for name in settings["settings"]} == settings["settings"]
    assert found.config["seed"] == 0
    assert found.config["versions/jax"] == settings["versions"]["jax"]
    assert found.config["machine/cores"] == settings["machine"]["cores"]
    assert found.axes["*"] == "step"
    assert found.counts == [0, 1]  # W&B's own, below which it drops what a resumed run logs again
    assert found.artifacts == [["best.safetensors", "policy.safetensors"]]
    assert found.exit_code == 0
    assert watcher.facts["wandb"].startswith(f"offline, in {tmp_path}")


def test_mlflow_gets_every_record_and_setting(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    run = untrained_run(tmp_path / "runs", track=["mlflow"])
    found, history, artifacts = mlflow_run(run)
    assert found.data.metrics.keys() == {name for record in run.metrics for name in record} - {"step"}
    for name in found.data.metrics:
        assert history(name) == column(run, name)
    parameters = tracking.parameters(run.settings)
    assert found.data.params == {name: str(value) for name, value in parameters.items()}
    assert {"batch_size", "seed", "versions/jax", "machine/cores"} <= parameters.keys()
    assert found.info.run_name == run.folder.name
    assert MlflowClient().get_experiment(found.info.experiment_id).name == f"{TINY}/ddpg"
    assert found.info.status == "FINISHED"
    assert artifacts == ["policy/best.safetensors", "policy/policy.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_no_two_parameters_share_a_name(name: str, tmp_path: Path) -> None:
    settings = untrained_run(tmp_path).settings
    own = algorithm(name).Config.__dataclass_fields__.keys()
    assert not own & (settings.keys() - {"settings"})


def test_what_the_tools_own_variables_say_is_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    for name, value in (("NAME", "mine"), ("RUN_GROUP", "ours"), ("PROJECT", "arms"), ("DIR", str(tmp_path))):
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "arms")
    run = untrained_run(tmp_path / "runs", track=("wandb", "mlflow"))
    (found,) = wandb_runs(tmp_path)
    assert (found.run.display_name, found.run.run_group, found.run.project) == ("mine", "ours", "arms")
    experiment = mlflow_run(run)[0].info.experiment_id
    assert MlflowClient().get_experiment(experiment).name == "arms"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", MlflowClient().create_experiment("legs"))
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    run = untrained_run(tmp_path / "runs", track="mlflow")
    assert MlflowClient().get_experiment(mlflow_run(run)[0].info.experiment_id).name == "legs"


def test_mlflows_default_store_is_a_database_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    run = untrained_run(tmp_path / "runs", track="mlflow")
    assert (tmp_path / "mlflow.db").stat().st_size > 0
    assert mlflow_run(run)[1]("eval/return") == column(run, "eval/return")


def test_a_run_of_the_callers_own_is_left_alone(tmp_path: Path) -> None:
    import wandb

    with wandb.init(id="theirs", settings=wandb.Settings(console="off")) as theirs:
        run = untrained_run(tmp_path / "runs", track="wandb")
        theirs.log({"their/number": 1})
    assert {each.run.run_id: len(each.rows) for each in wandb_runs(tmp_path)} == {
        "theirs": 1,
        identities(run)["wandb"]: 2,
    }


# How it ends


def ended(run: Run, folder: Path) -> tuple[int, str]:
    (found,) = wandb_runs(folder)
    return found.exit_code, mlflow_run(run)[0].info.status


def test_an_error_is_marked(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the simulator broke"):
        untrained_run(tmp_path / "runs", "tiny_cli:Raises-v0", track=("wandb", "mlflow"))
    (run,) = polyak.run.runs.find_runs(tmp_path / "runs")
    assert ended(run, tmp_path) == (1, "FAILED")


def test_an_interruption_is_marked_and_what_was_measured_is_logged(tmp_path: Path) -> None:
    watcher = At(lambda progress: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        untrained_run(tmp_path / "runs", track=("wandb", "mlflow"), observer=watcher)
    (run,) = polyak.run.runs.find_runs(tmp_path / "runs")
    assert ended(run, tmp_path) == (255, "KILLED")
    assert [record["step"] for record in run.metrics] == [20]
    assert mlflow_run(run)[1]("eval/return") == column(run, "eval/return")


def test_a_run_that_cannot_begin_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, and not in a folder: none is left."""
    copy = tmp_path / "copy"

    def fail(*arguments: Any) -> None:
        (run,) = polyak.run.runs.find_runs(tmp_path / "runs")
        shutil.copytree(run.folder, copy)
        raise UsageError("no learner")

    monkeypatch.setattr(polyak.frameworks, "make_learner", fail)
    with pytest.raises(UsageError, match="no learner"):
        untrained_run(tmp_path / "runs", track="mlflow")
    assert mlflow_run(Run(copy))[0].info.status == "FAILED"
    assert not (tmp_path / "runs").exists()


# Going on


def test_a_resumed_run_goes_on_in_the_same(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "runs", track=("wandb", "mlflow"))
    before = identities(run)
    states: list[str] = []
    resumed = polyak.resume(run.folder, steps=60, observer=At(lambda _: states.append(mlflow_run(run)[0].info.status)))
    assert states == ["RUNNING"]
    assert identities(resumed) == before
    assert resumed.settings["track"] == ["wandb", "mlflow"]
    first, second = wandb_runs(tmp_path)
    assert first.run.run_id == second.run.run_id == before["wandb"]
    assert first.rows + second.rows == resumed.metrics
    assert second.config["steps"] == 60
    found, history, _ = mlflow_run(resumed)
    assert history("eval/return") == column(resumed, "eval/return")
    assert [step for step, _ in history("eval/return")] == [20, 40, 60]
    assert found.info.status == "FINISHED"
    assert found.data.params["steps"] == "40"


def test_what_is_written_again_stands_twice(tmp_path: Path) -> None:
    """A run that was killed after its first epoch, and its copy, which resumes while W&B and MLflow know all of it."""
    copies: list[Path] = []

    def copy(progress: Progress) -> None:
        if progress.steps == 20:
            copies.append(shutil.copytree(progress.folder, tmp_path / "copy"))

    run = untrained_run(tmp_path / "runs", track=("wandb", "mlflow"), observer=At(copy))
    resumed = polyak.resume(copies[0])
    assert identities(resumed) == identities(run)
    again = [step for step, _ in column(resumed, "eval/return")]
    assert again == [20, 40]
    assert sorted(mlflow_run(resumed)[1]("eval/return")) == sorted(2 * column(run, "eval/return"))
    assert [[row["step"] for row in each.rows] for each in wandb_runs(tmp_path)] == [[20, 40], [20, 40]]


def test_a_run_that_mlflow_does_not_have_is_begun_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path / "runs", track="mlflow")
    before, watcher = identities(run)["mlflow"], At()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "another").as_uri())
    polyak.resume(run.folder, steps=60, observer=watcher)
    assert identities(run)["mlflow"] != before
    assert watcher.facts["mlflow"].endswith(f"a new one: {before} is not there")
    assert [step for step, _ in mlflow_run(run)[1]("eval/return")] == [60]


@pytest.mark.parametrize("content", ["{", "[1]", '{"mlflow": 7}', '{"mlflow": "../x"}'])
def test_identities_that_make_no_sense_are_none(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = untrained_run(tmp_path / "runs")
    (run.folder / tracking.FILE).write_text(content)
    polyak.resume(run.folder, steps=60, track="mlflow")
    assert ("tracking.json cannot be read" in capsys.readouterr().err) == (content == "{")
    assert [step for step, _ in mlflow_run(run)[1]("eval/return")] == [60]


def test_trackers_can_be_changed_when_a_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path / "runs", track="mlflow")
    resumed = polyak.resume(run.folder, steps=60, track=())
    assert resumed.settings["track"] == []
    again = polyak.resume(run.folder, steps=80)
    assert [step for step, _ in mlflow_run(again)[1]("eval/return")] == [20, 40]
    hide(monkeypatch, "mlflow")
    with pytest.raises(UsageError, match="not installed"):
        polyak.resume(run.folder, steps=100, track="mlflow")
    polyak.resume(run.folder, steps=100)


def test_a_tracker_that_has_gone_is_said_before_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path / "runs", track="mlflow")
    hide(monkeypatch, "mlflow")
    with pytest.raises(UsageError, match="not installed"):
        polyak.resume(run.folder, steps=60)
    assert polyak.resume(run.folder, steps=60, track=()).metrics[-1]["step"] == 60


# What fails


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = tracking.find_spec
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name in names else real(name))


def test_an_unknown_tracker_is_refused_at_the_door(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="track is 'comet', but must be among: wandb, mlflow"):
        untrained_run(tmp_path / "runs", track=("wandb", "comet"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", tracking.NAMES)
def test_a_missing_package_is_refused_at_the_door(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(monkeypatch, name)
    code = cli.main(["train", "ddpg", TINY, "--run-dir", str(tmp_path / "runs"), "--track", name])
    assert code == 2
    assert f'pip install "polyak[{name}]"' in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("polyak:")]


def test_a_server_that_is_not_there_does_not_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without = untrained_run(tmp_path / "without")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = untrained_run(tmp_path / "runs", track="mlflow")
    (line,) = lines(capsys.readouterr().err)
    assert line.startswith("polyak: mlflow does not track this run, which goes on without: API request to http://127.0")
    assert run.policy_file.read_bytes() == without.policy_file.read_bytes()
    assert not (run.folder / tracking.FILE).exists()


def test_a_tracker_that_fails_later_is_told_once_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = untrained_run(tmp_path / "without")

    def lose(progress: Progress) -> None:
        shutil.rmtree(tmp_path / "store", ignore_errors=True)

    run = untrained_run(tmp_path / "runs", track=("mlflow", "wandb"), observer=At(lose), steps=80)
    (line,) = lines(capsys.readouterr().err)
    assert line.startswith("polyak: mlflow does not track this run any more; it goes on without: ")
    (found,) = wandb_runs(tmp_path)  # the other tracker is not concerned
    assert [row["step"] for row in found.rows] == [20, 40, 60, 80]
    whole = untrained_run(tmp_path / "whole", steps=80)
    for mine, theirs in ((run.policy_file, whole.policy_file), (run.best_policy_file, whole.best_policy_file)):
        assert mine.read_bytes() == theirs.read_bytes()
    assert without.metrics[0]["eval/return"] == run.metrics[0]["eval/return"]


def test_a_tracker_that_has_failed_gets_no_more_records_but_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing:
        identity, place = "it", "there"

        def __init__(self) -> None:
            self.called: list[Any] = []

        def write(self, record: dict[str, float]) -> None:
            self.called.append(record["step"])
            raise RuntimeError("the server is gone\nand much besides")

        def close(self, ending: str) -> None:
            self.called.append(ending)
            raise RuntimeError("it is still gone")

    failing = Failing()
    guarded = tracking.Guarded("mlflow", failing)
    for step in (20, 40):
        guarded.write({"step": step})
    guarded.close("finished")
    assert failing.called == [20, "finished"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("it goes on without: the server is gone")


def test_a_tracker_that_fails_at_the_end_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lose(progress: Progress) -> None:
        if progress.steps == 40:
            shutil.rmtree(tmp_path / "store")

    run = untrained_run(tmp_path / "runs", track="mlflow", observer=At(lose))
    (line,) = lines(capsys.readouterr().err)
    assert "mlflow does not track this run any more" in line
    assert len(run.metrics) == 2


def test_policies_that_cannot_be_logged_do_not_keep_a_run_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    def fail(*arguments: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(MlflowClient, "log_artifact", fail)
    run = untrained_run(tmp_path / "runs", track="mlflow")
    assert lines(capsys.readouterr().err) == [
        "polyak: mlflow does not track this run any more; it goes on without: no space left"
    ]
    assert mlflow_run(run)[0].info.status == "FINISHED"


def test_an_experiment_that_another_run_makes_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    first = untrained_run(tmp_path / "runs", track="mlflow")
    found = [None, MlflowClient().get_experiment_by_name(f"{TINY}/ddpg")]
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda *arguments: found.pop(0))
    second = untrained_run(tmp_path / "runs", track="mlflow")
    assert mlflow_run(first)[0].info.experiment_id == mlflow_run(second)[0].info.experiment_id


def test_an_identity_that_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(tracking, "write_atomically", fail)
    run = untrained_run(tmp_path / "runs", track="mlflow")
    (line,) = lines(capsys.readouterr().err)
    assert line.startswith("polyak: tracking.json cannot be written")
    assert len(run.metrics) == 2


# The command line


def test_the_command_line_passes_trackers_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(start, "train", lambda plan, observer: given.append(plan.track))
    monkeypatch.setattr(training, "resume", lambda *arguments, **options: given.append(options["track"]))
    for arguments in ([], ["--track", "wandb"], ["--track", "wandb", "mlflow"]):
        assert cli.main(["train", "ddpg", TINY, *arguments]) == 0
    for arguments in ([], ["--track"], ["--track", "mlflow"]):
        assert cli.main(["resume", str(tmp_path), *arguments]) == 0
    assert given == [(), ("wandb",), ("wandb", "mlflow"), None, (), ("mlflow",)]


def test_doctor_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "wandb" else real(name))
    monkeypatch.setattr(doctor, "FRAMEWORKS", {})  # which take seconds to import
    monkeypatch.setattr(doctor, "_mujoco_rendering", lambda: doctor.Finding("rendering", True, ""))
    found = {finding.name: finding for finding in doctor.findings()}
    assert (found["W&B"].works, found["W&B"].remedy) == (False, 'pip install "polyak[wandb]"')
    assert found["MLflow"].works


def test_nothing_is_imported_unless_it_is_asked_for() -> None:
    (added,) = imported_by("import polyak.training, polyak.tracking, polyak.cli.train, polyak.cli.resume")
    assert "polyak.tracking" in added
    assert not {"wandb", "mlflow"} & added
