"""Runs on a cluster: what they equal, and that neither a node's death nor the command's takes anything."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster import Simulated, node_of
from polyak import load
from polyak.many import sweep
from polyak.many.cluster import connect
from polyak.many.ray import OnRay, Share
from polyak.run.folder import Run
from polyak.run.runs import has_checkpoint
from polyak.system.locking import in_use
from tiny_cli import OPTIONS, PATIENCE, call_cli, start_cli, wait_for

ENVIRONMENT = "gated:Gated-v0"
LEARNS = (*OPTIONS, "--backend", "torch", "--threads", "1", "--no-probe")


ALONE = Share(threads=1)


class Watching(sweep.Silent):
    """Keeps what it is told, and does something about it."""

    def __init__(self, act: Callable[[sweep.Trial, str], None] = lambda trial, news: None) -> None:
        self.said, self.act = list[str](), act

    def begun(self, trials: Sequence[sweep.Trial]) -> None:
        self.trials = trials

    def news(self, trial: sweep.Trial, news: sweep.News) -> None:
        self.act(trial, news)

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder where one stands."""
    shutil.copy(Path(__file__).with_name("gated.py"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.02)


@pytest.fixture(scope="module")
def ray(cluster: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A connection to a cluster with a node of two processors and a GPU, to which the environment has travelled."""
    folder = tmp_path_factory.mktemp("travelling")
    shutil.copy(Path(__file__).with_name("gated.py"), folder)
    with cluster.node(cpus=2, gpus=1):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            connection = connect(f"ray:{cluster.address}")
            connected = connection.__enter__()
        yield connected
        connection.__exit__(None, None, None)


def job(seed: int, *options: str, gate: str = "open") -> sweep.Job:
    settings = ("--env-setting", f"gate={Path(gate).absolute()}")
    return sweep.Job("ddpg", ENVIRONMENT, seed, (*LEARNS, *settings, *options), 40)


def swept(ray: Any, jobs: Sequence[sweep.Job], watching: Watching, share: Share = ALONE) -> list[sweep.Trial]:
    place = OnRay(ray, share, watching.say)
    return sweep.run(jobs, at_once=len(jobs), run_dir=Path("runs"), watcher=watching, place=place)


def alone(job: sweep.Job, run_dir: str = "alone") -> Run:
    """The run of a job as a person trains it."""
    code, output, errors = call_cli(*job.words(Path(run_dir)))
    assert code == 0, errors
    return load(output.rstrip())


def newest(run: Run, role: str) -> bytes:
    """A file of the newest checkpoint."""
    return max(run.checkpoints.glob(f"{role}-*.safetensors")).read_bytes()


def require_same(run: Run | None, other: Run) -> None:
    """Check that two runs are the same bit for bit."""
    assert run is not None
    assert run.policy_file.read_bytes() == other.policy_file.read_bytes()
    assert run.best_policy_file.read_bytes() == other.best_policy_file.read_bytes()
    for role in ("learner", "loop", "best"):
        assert newest(run, role) == newest(other, role)
    for mine, theirs in zip(run.metrics, other.metrics, strict=True):
        told = {key for key in mine if key != "seconds" and not key.startswith(("speed/", "time/"))}
        assert {key: mine[key] for key in told} == {key: theirs[key] for key in told}


def is_gone(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def at_the_gate(name: str) -> int:
    """The process that waits there, once it does."""
    return int(wait_for(lambda: Path(name).exists() and Path(name).read_text()))


def test_each_run_equals_the_single_one_and_its_folder_is_here(ray: Any) -> None:
    Path("open").touch()
    heard = list[tuple[int, str]]()
    watching = Watching(lambda trial, news: heard.append((trial.job.seed, news)))
    trials = swept(ray, [job(0), job(1)], watching)
    assert [trial.state for trial in trials] == ["done", "done"]
    assert sorted(heard) == [(seed, news) for seed in (0, 1) for news in ("ended", "recorded", "recorded", "started")]
    for trial in trials:
        assert trial.run is not None
        assert trial.run.folder.parents[2] == Path("runs")
        assert trial.log == trial.run.folder / "train.log"
        assert not in_use(trial.run.folder)
        assert not [each for each in trial.run.folder.rglob(".*") if each.name != ".lock"]
        single = alone(trial.job)
        require_same(trial.run, single)
        names = [{each.name for each in run.folder.iterdir()} - {"train.log", ".lock"} for run in (trial.run, single)]
        assert names[0] == names[1]
    assert watching.said == []


@pytest.mark.parametrize("mirror", [False, True])
def test_a_node_that_dies_takes_nothing(cluster: Simulated, ray: Any, mirror: bool) -> None:
    """Its run goes on elsewhere from its newest checkpoint, bit for bit, without a person."""
    place = Path("mirror").absolute()
    wanted = job(0, *(("--mirror", str(place)) if mirror else ()), gate="gate")

    def kill(trial: sweep.Trial, news: str) -> None:
        if news == "recorded" and trial.steps == 20 and not Path("gate").exists():
            process = at_the_gate("gate-0")
            left.extend([process, psutil.Process(process).ppid()])
            cluster.kill(node_of(process, nodes))

    left = list[int]()

    class Opening(Watching):
        def say(self, text: str) -> None:
            super().say(text)
            Path("gate").touch()

    watching = Opening(kill)
    with cluster.node(cpus=3) as one, cluster.node(cpus=3) as other:
        nodes = [one, other]
        (trial,) = swept(ray, [wanted], watching, Share(threads=3))
    wait_for(lambda: all(map(is_gone, left)))  # of the node that died
    assert trial.state == "done", trial.reason
    assert watching.said == ["seed 0  its node or worker has died; it goes on from its newest checkpoint (attempt 2)"]
    assert trial.run is not None
    assert [each["step"] for each in trial.run.metrics] == [20, 40]
    require_same(trial.run, alone(job(0, gate="gate")))
    if mirror:
        require_same(load(next(place.rglob("settings.json")).parent), trial.run)
    assert list(Path("runs").rglob("settings.json")) == [trial.run.settings_file]


@pytest.mark.parametrize(
    ("dies", "reason"),
    [
        ("raises", "the environment raised RuntimeError"),
        ("9", "killed by SIGKILL, as the system does"),
    ],
)
def test_what_fails_by_itself_is_not_begun_again(ray: Any, dies: str, reason: str) -> None:
    watching = Watching()
    (trial,) = swept(ray, [job(0, "--env-setting", f"dies={dies}")], watching)
    assert trial.state == "failed"
    assert reason in trial.reason
    assert watching.said == []
    assert trial.run is not None
    assert has_checkpoint(trial.run)
    assert trial.run.metrics[0]["step"] == 20


def test_ctrl_c_saves_what_runs_and_leaves_what_waits(ray: Any) -> None:
    """Then it goes on here, without a cluster."""

    def interrupt(trial: sweep.Trial, news: str) -> None:
        if news == "recorded" and not Path("gate").exists():
            at_the_gate(f"gate-{trial.job.seed}")
            os.kill(os.getpid(), signal.SIGINT)
            Path("gate").touch()

    jobs = [job(seed, gate="gate") for seed in (0, 1)]
    with pytest.raises(sweep.SweepInterrupted) as caught:
        swept(ray, jobs, Watching(interrupt), Share(threads=2))
    one, other = sorted(caught.value.trials, key=lambda trial: trial.run is None)
    assert (one.state, other.state, other.run) == ("interrupted", "interrupted", None)
    assert one.run is not None
    code, _, errors = call_cli("resume", str(one.run.folder))
    assert code == 0, errors
    require_same(Run(one.run.folder), alone(one.job))


def test_a_second_ctrl_c_kills(ray: Any) -> None:
    class Impatient(Watching):
        def stopping(self, running: int) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt(trial: sweep.Trial, news: str) -> None:
        if news == "recorded":
            at_the_gate("gate-0")
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(sweep.SweepInterrupted) as caught:
        swept(ray, [job(0, gate="gate")], Impatient(interrupt))
    process = int(Path("gate-0").read_text())
    Path("gate").touch()
    (trial,) = caught.value.trials
    assert trial.state == "interrupted"
    assert trial.resumable
    wait_for(lambda: is_gone(process))
    assert trial.run is not None
    assert not in_use(trial.run.folder)


def test_the_command_that_is_killed_leaves_runs_that_go_on(cluster: Simulated, ray: Any) -> None:
    wanted = job(0, gate="gate")
    words = (*wanted.words(Path("runs"))[:-5], "--seeds", "0", "--on", f"ray:{cluster.address}", "--plain")
    with start_cli(*words) as command:
        assert command.stdout is not None
        run = Run(Path(command.stdout.readline().rstrip()))
        child = at_the_gate("gate-0")
        wait_for(lambda: [each["step"] for each in run.metrics] == [20])
        wait_for((run.checkpoints / "checkpoint-000002.json").exists)
        assert in_use(run.folder)
        (worker,) = psutil.Process(command.pid).children()
        worker.kill()  # as Ray does where the cluster's head is gone
        _, errors = command.communicate(timeout=PATIENCE)
        assert command.returncode == 1
        assert f"the newest checkpoint of {run.folder} is whole, and `polyak resume {run.folder}` goes on" in errors
        Path("gate").touch()
        wait_for(lambda: is_gone(child))
        wait_for(lambda: not in_use(run.folder))  # by the process that worked with Ray, which ends with who watched it
    code, _, errors = call_cli("resume", str(run.folder))
    assert code == 0, errors
    require_same(Run(run.folder), alone(wanted))


def test_gpus_are_shared_as_asked_and_hidden_from_who_asked_for_none(ray: Any) -> None:
    jobs = [sweep.Job("ddpg", "gated:Shows-v0", seed, (*LEARNS, "--update-after", "1000"), 40) for seed in (0, 1)]
    shared = swept(ray, jobs, Watching(), Share(1, 0.5))
    without = swept(ray, jobs[:1], Watching())
    assert [trial.state for trial in (*shared, *without)] == ["done"] * 3
    seen = [(trial.run.folder / "environment.log").read_text() for trial in (*shared, *without) if trial.run]
    assert ["sees <0>" in each for each in seen] == [True, True, False]
    assert "sees <>" in seen[2]


def test_the_command_line(cluster: Simulated, ray: Any) -> None:
    Path("open").touch()
    words = ("compare", "ddpg", "td3", "--environments", ENVIRONMENT, *job(0).options, "--seeds", "0")
    with start_cli(*words, "--on", f"ray:{cluster.address}") as command:
        output, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, errors
    *folders, report = output.splitlines()
    assert {load(each).settings["algorithm"] for each in folders} == {"ddpg", "td3"}
    assert Path(report).read_text().lower().startswith("<!doctype html>")
    assert f" 2, on Ray at {cluster.address}, as many as it has room for, 1 thread each" in errors
    assert "2 of 2 runs done" in errors
    assert call_cli("runs")[1].count("done") == 2
