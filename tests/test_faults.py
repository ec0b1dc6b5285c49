"""Environments and machines that fail: the run stops in order, keeps everything up to then, and goes on later."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import polyak
from clocks import Alarm
from polyak import Run, TrainingError
from polyak.system.signals import NoAnswer, time_limit
from test_resume import CONFIG
from tiny_cli import PATIENCE, TINY, Tiny, making, run_cli, start_cli, untrained_run
from whole_runs import assert_same, saved


class Faulty(Tiny):
    """Goes wrong at its step `at`, once in a process, while `fault` says how; a repaired one has none."""

    at = 43  # the 33rd in training: the first evaluation takes 10
    fault: Callable[["Faulty", Any], Any] | None = None
    alarm: Alarm
    taken_by_all = 0

    def step(self, action: Any) -> Any:
        Faulty.taken_by_all += 1
        if Faulty.fault is not None and Faulty.taken_by_all == self.at:
            return Faulty.fault(self, super().step(action))
        return super().step(action)


def raises(environment: Faulty, result: Any) -> Any:
    raise RuntimeError("the simulator broke")


def hangs(environment: Faulty, result: Any) -> Any:
    environment.alarm.ring()


def hangs_and_ignores(environment: Faulty, result: Any) -> Any:
    """Catches everything that it may."""
    while True:
        with contextlib.suppress(Exception):
            environment.alarm.ring()


def hangs_and_swallows(environment: Faulty, result: Any) -> Any:
    """Catches even what it may not, once."""
    with contextlib.suppress(BaseException):
        environment.alarm.ring()
    assert environment.alarm.set_to == (0.2, 0.2)  # it rings again
    environment.alarm.ring()


def nan(environment: Faulty, result: Any) -> Any:
    return np.full(2, np.nan, np.float32), *result[1:]


def nan_reward(environment: Faulty, result: Any) -> Any:
    return result[0], float("nan"), *result[2:]


def wrong_shape(environment: Faulty, result: Any) -> Any:
    return np.zeros(3, np.float32), *result[1:]


def too_large(environment: Faulty, result: Any) -> Any:
    return np.array([1e300, 0.0]), *result[1:]


@pytest.fixture(autouse=True)
def repaired(alarm: Alarm) -> Iterator[None]:
    Faulty.fault, Faulty.taken_by_all, Faulty.alarm = None, 0, alarm
    yield
    Faulty.fault = None


def the_run(folder: Path) -> Run:
    (settings,) = folder.rglob("settings.json")
    return polyak.load(settings.parent)


def training(folder: Path, **options: Any) -> Run:
    Faulty.taken_by_all = 0
    return polyak.train("ddpg", Faulty, run_dir=folder, probe=False, **{**CONFIG, **options})  # which would take steps


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (raises, "the environment raised RuntimeError after 32 environment steps: the simulator broke"),
        (hangs, r"the environment did not answer within the time limit \(step_timeout\) after 32 environment steps"),
        (hangs_and_ignores, "the environment did not answer within the time limit"),
        (hangs_and_swallows, "the environment did not answer within the time limit"),
        (nan, "environment 0 returned a non-finite observation after 32 environment steps"),
        (nan_reward, "environment 0 returned a non-finite reward after 32 environment steps"),
        (wrong_shape, r"environment 0 returned a wrong observation: .*\(3,\).*\(2,\), after 32 environment steps"),
        (too_large, "environment 0 returned a non-finite observation after 32 environment steps"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("start_steps", [10, 50])  # the policy's actions, and uniform ones
def test_a_run_whose_environment_fails_goes_on_once_it_is_repaired(
    fault: Any, told: str, start_steps: int, tmp_path: Path
) -> None:
    whole = training(tmp_path / "whole", start_steps=start_steps)
    Faulty.fault = fault
    with pytest.raises(TrainingError, match=told):
        training(tmp_path / "failed", start_steps=start_steps, step_timeout=0.2)
    run = the_run(tmp_path / "failed")
    assert saved(run).manifest.step == saved(run).replay.added == 32  # nothing of the 33rd, all before it
    Faulty.fault = None
    assert_same(polyak.resume(run.folder, environment=Faulty), whole)


@pytest.mark.parametrize("ignored", [(), (Exception,)])
def test_the_systems_timer_ends_what_does_not_answer(ignored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the others here stand in for."""
    monkeypatch.undo()

    def wait_for_ever() -> None:
        while True:
            with contextlib.suppress(*ignored):
                signal.pause()

    with time_limit(0.1) as limit, pytest.raises(NoAnswer), limit():
        wait_for_ever()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("at", [35, 36])
def test_a_reset_that_fails_takes_its_step_back(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reset after step 35: the step is not counted, the seed is drawn again."""
    whole = training(tmp_path / "whole")

    class Unwilling(Faulty):
        resets = 0

        def reset(self, **options: Any) -> Any:
            Unwilling.resets += 1
            if Unwilling.resets == 12:  # 1 and 8 for training, 3 for the evaluation before, and the one that follows
                raise RuntimeError("no more resets")
            return super().reset(**options)

    with pytest.raises(TrainingError, match="no more resets"):
        polyak.train("ddpg", Unwilling, run_dir=tmp_path / "failed", probe=False, **CONFIG)
    run = the_run(tmp_path / "failed")
    assert_same(polyak.resume(run.folder, environment=Faulty), whole)


def test_a_fault_in_an_evaluation_is_evaluated_again(tmp_path: Path) -> None:
    whole = training(tmp_path / "whole")
    Faulty.fault, Faulty.at = raises, 55  # 40 in training, 10 in the first evaluation, 5 in the second
    try:
        with pytest.raises(TrainingError, match="the simulator broke"):
            training(tmp_path / "failed")
    finally:
        Faulty.fault, Faulty.at = None, 43
    run = the_run(tmp_path / "failed")
    assert [record["step"] for record in run.metrics] == [20, 40]
    assert "eval/return" not in run.metrics[-1]
    assert saved(run).manifest.step == 40
    assert_same(polyak.resume(run.folder, environment=Faulty), whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_where_it_was(number: int, tmp_path: Path) -> None:
    whole = training(tmp_path / "whole")

    def interrupted(environment: Faulty, result: Any) -> Any:
        signal.raise_signal(number)
        return result

    Faulty.fault = interrupted
    with pytest.raises(polyak.Interrupted):
        training(tmp_path / "failed")
    run = the_run(tmp_path / "failed")
    assert [record["step"] for record in run.metrics] == [20, 33]
    assert saved(run).manifest.step == 33
    assert_same(polyak.resume(run.folder, environment=Faulty), whole)


def test_a_cut_step_is_not_gone_on_from(tmp_path: Path) -> None:
    """A second Ctrl-C, in the middle of a step: the checkpoint before is what counts."""
    whole = training(tmp_path / "whole")

    def cut(environment: Faulty, result: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    Faulty.fault = cut
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "failed")
    run = the_run(tmp_path / "failed")
    assert saved(run).manifest.step == 20
    assert_same(polyak.resume(run.folder, environment=Faulty), whole)


class Leaving(Tiny):
    """It leaves by another way than an exception, in its step `at` or, where that is 0, in a reset."""

    how: type[BaseException] = SystemExit
    at = 23

    def reset(self, **options: Any) -> Any:
        if self.taken and not self.at:
            raise self.how
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        if self.taken + 1 == self.at:
            raise self.how
        return super().step(action)


@pytest.mark.parametrize("how", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("at", [23, 0])
def test_an_exit_or_an_interrupt_of_an_environments_own_is_its_fault(
    how: type[BaseException], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Leaving, "how", how)
    monkeypatch.setattr(Leaving, "at", at)
    steps = at - 1 if at else 4
    with pytest.raises(TrainingError, match=f"^the environment raised {how.__name__} after {steps} environment steps$"):
        untrained_run(tmp_path, Leaving)
    run = the_run(tmp_path)
    assert saved(run).manifest.step == saved(run).replay.added == steps
    if at and how is SystemExit:  # as another kind of fault does on resume
        told = f"RuntimeError while its episode was enacted again for step {steps}: the simulator broke"
        with pytest.raises(TrainingError, match=told):
            polyak.resume(run.folder, environment=lambda: Tiny(raises_at=2))


def test_a_ctrl_c_that_an_environment_makes_something_else_of_is_a_ctrl_c(tmp_path: Path) -> None:
    """The first is noted, the second raises; and where none is noted, in an evaluation, the first does."""

    class Quitting(Tiny):
        def step(self, action: Any) -> Any:
            result = super().step(action)
            if self.taken == 4:
                try:
                    signal.raise_signal(signal.SIGINT)
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    sys.exit(0)
            return result

    with pytest.raises(KeyboardInterrupt):
        untrained_run(tmp_path / "cut", Quitting)
    run = untrained_run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run.evaluate(1, environment=Quitting)
    with pytest.raises(TrainingError, match=r"KeyboardInterrupt in the evaluation, in episode 2 of 3, after 2 of"):
        run.evaluate(3, environment=lambda: Pressing(at=8))


def test_what_another_signals_handler_raises_is_no_fault_of_the_environments(tmp_path: Path) -> None:
    """As a cluster's does that gives notice."""

    class Noticed(Tiny):
        def step(self, action: Any) -> Any:
            if self.taken == 4:
                signal.raise_signal(signal.SIGUSR1)
            return super().step(action)

    usual = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(99))
    try:
        with pytest.raises(SystemExit, match="99"):
            untrained_run(tmp_path, Noticed)
    finally:
        signal.signal(signal.SIGUSR1, usual)


class Pressing(Tiny):
    """It raises what a Ctrl-C raises."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def step(self, action: Any) -> Any:
        if self.taken + 1 == self._at:
            raise KeyboardInterrupt
        return super().step(action)


# Closing


class Unclosing(Tiny):
    """Its close raises."""

    how: BaseException = RuntimeError("not connected to the server")

    def close(self) -> None:
        raise self.how


@pytest.mark.parametrize("how", [RuntimeError("no server"), SystemExit(0), KeyboardInterrupt()], ids=repr)
def test_a_close_that_raises_replaces_no_result(
    how: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unclosing, "how", how)
    told = rf"did not close as it should \({type(how).__name__}: .*nothing else depends on it"
    with pytest.warns(RuntimeWarning, match=told):
        run = untrained_run(tmp_path, Unclosing)
    assert run.metrics[-1]["step"] == 40
    with pytest.warns(RuntimeWarning, match=told):  # closed after each episode
        assert untrained_run(tmp_path, Unclosing, fresh_environments=True).metrics[-1]["step"] == 40
    with pytest.warns(RuntimeWarning, match=told):
        assert run.evaluate(2, environment=Unclosing).lengths == (5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.evaluate(2, environment=Unclosing).lengths == (5, 5)  # even where a warning is an error


def test_a_close_that_raises_leaves_no_other_open(tmp_path: Path) -> None:
    made: list[Tiny] = []

    class Numbered(Tiny):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def close(self) -> None:
            super().close()
            if self is made[0]:
                raise RuntimeError("not connected")

    for environment in (Numbered, lambda: SyncVectorEnv([Numbered] * 2, autoreset_mode=AutoresetMode.DISABLED)):
        made.clear()
        with pytest.warns(RuntimeWarning, match="not connected"):
            untrained_run(tmp_path, environment, envs=2)
        assert all(each.closed for each in made)


def test_a_close_that_raises_replaces_no_error(tmp_path: Path) -> None:
    class Both(Unclosing):
        def step(self, action: Any) -> Any:
            if self.taken == 7:
                raise ValueError("sim lost")
            return super().step(action)

    with pytest.warns(RuntimeWarning, match="not connected"), pytest.raises(TrainingError, match="sim lost"):
        untrained_run(tmp_path, Both)
    with pytest.warns(RuntimeWarning, match="not connected"), pytest.raises(polyak.UsageError, match="time limit"):
        untrained_run(tmp_path, lambda: SyncVectorEnv([Both]), envs=2, max_episode_steps=3)


def test_a_close_that_does_not_come_back_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of somebody's vector environment."""
    monkeypatch.setattr("polyak.environments.closing.CLOSING_SECONDS", 0.05)

    class Staying(Tiny):
        def close(self) -> None:
            Faulty.alarm.ring()

    for environment in (Staying, lambda: SyncVectorEnv([Staying] * 2, autoreset_mode=AutoresetMode.DISABLED)):
        with pytest.warns(RuntimeWarning, match=r"it had not come back after 0\.05 s"):
            untrained_run(tmp_path, environment)


# Processes of environments


def test_a_killed_worker_ends_the_run_in_order(alarm: Alarm, tmp_path: Path) -> None:
    """And one that hangs: no process is left behind."""
    options = {**CONFIG, "envs": 2, "vectorization": "async"}
    whole = polyak.train("ddpg", TINY, run_dir=tmp_path / "whole", **options)
    for number, told in (
        (signal.SIGKILL, "environment 1 died .exit code -9"),
        (signal.SIGSTOP, "limit"),
    ):
        folder = tmp_path / number.name
        real, workers = polyak.run.loop.Loop._iterate, list[Any]()

        def iterate(self: Any, real: Any = real, workers: list[Any] = workers, number: int = number) -> Any:
            if self.collector.steps == 34:
                workers[:] = self.collector.environments.vector.processes
                os.kill(workers[1].pid, number)
                if number == signal.SIGSTOP:
                    alarm.ring_in_the_next()
            return real(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(polyak.run.loop.Loop, "_iterate", iterate)
            with pytest.raises(TrainingError, match=told):
                polyak.train("ddpg", TINY, run_dir=folder, **options, step_timeout=1.0)
        assert not any(worker.is_alive() for worker in workers)
        run = the_run(folder)
        assert saved(run).manifest.step == 34
        assert_same(polyak.resume(run.folder), whole)


# Processes of training


LONG: dict[str, Any] = {
    "steps": 600,
    "start_steps": 20,
    "update_after": 20,
    "update_every": 10,
    "batch_size": 8,
    "hidden_sizes": (4,),
    "steps_per_epoch": 100,
    "evaluation_episodes": 1,
    "replay_size": 1_000,
}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What the processes should come to."""
    return polyak.train("ddpg", TINY, run_dir=tmp_path_factory.mktemp("long"), **LONG)


STOPPING = """
import os, signal, stat, sys
from polyak.cli import main

left, fsync = int(sys.argv.pop(1)), os.fsync

def stopping(descriptor):
    global left
    left -= stat.S_ISREG(os.fstat(descriptor).st_mode)
    if left == 0:
        left = -1
        os.kill(os.getpid(), signal.SIGSTOP)
    fsync(descriptor)

os.fsync = stopping
sys.exit(main())
"""
"""The command line, stopping by itself in the middle of the file of a number; it goes on after SIGCONT."""


def stopped(file: int, *arguments: str) -> subprocess.Popen[str]:
    """A process of the command line that has stopped with so many files whole and the next one half-written."""
    process = start_cli(str(file), *arguments, command=[sys.executable, "-c", STOPPING])
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "it ended too early"
    return process


def started(folder: Path, file: int, *options: str) -> tuple[subprocess.Popen[str], Run]:
    """A process that trained and has stopped, and its run."""
    settings = [f"--{name.replace('_', '-')}={np.squeeze(value)}" for name, value in LONG.items()]
    process = stopped(file, "train", "ddpg", TINY, *settings, "--run-dir", str(folder), *options)
    assert process.stdout is not None
    return process, Run(Path(process.stdout.readline().rstrip("\n")))


def test_sigkill_again_and_again(long: Run, tmp_path: Path) -> None:
    """Real processes, killed while they write one of their checkpoints; the campaign does it by the hundred."""
    process, run = started(tmp_path, 40, "--checkpoint-every", "3")
    for file in (21, 32, 0):
        assert list(run.checkpoints.glob(".*.tmp"))
        before = newest_serial(run)
        process.kill()
        process.communicate()
        process = stopped(file, "resume", str(run.folder)) if file else start_cli("resume", str(run.folder))
        assert not file or newest_serial(run) > before
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert_same(run, long)
    assert not list(run.folder.rglob(".*.tmp"))


def newest_serial(run: Run) -> int:
    return max((int(path.stem[-6:]) for path in run.checkpoints.glob("checkpoint-*.json")), default=0)


def test_a_process_that_was_told_to_end_goes_on_elsewhere(long: Run, tmp_path: Path) -> None:
    process, run = started(tmp_path / "ended", 30, "--checkpoint-every", "20")
    assert 4 < newest_serial(run) < 20
    process.terminate()
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, errors
    assert f"polyak: interrupted; everything is saved, and this goes on: polyak resume {run.folder}" in errors
    moved = Path(shutil.move(run.folder, tmp_path / "elsewhere"))
    code, output, errors = run_cli("resume", str(moved))
    assert (code, output) == (0, f"{moved}\n"), errors
    assert "resumed      from step" in errors
    assert_same(Run(moved), long)
    code, output, errors = run_cli("resume", str(moved))
    assert (code, output) == (0, f"{moved}\n"), errors
    assert "nothing to do: it has done its 600 steps; ask for more steps to go on" in errors


def test_a_killed_run_leaves_no_process_behind(tmp_path: Path) -> None:
    process, _ = started(tmp_path, 12, "--envs", "2", "--vectorization", "async")
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    for child in alive:
        child.kill()
    assert alive == []


def mounted(folder: Path, size: str) -> bool:
    """Whether a file system of its own, so small, could be mounted there."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return False
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB, which only the administrator may make."""
    folder = tmp_path / "disk"
    if sys.platform != "linux" or not mounted(folder, "600k"):
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run([str(shutil.which("umount")), "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_run_in_order_and_it_goes_on_with_more_room(small_disk: Path, long: Run) -> None:
    """Really full: a file takes what is left while the run trains."""
    process, run = started(small_disk, 30, "--checkpoint-every", "20")
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1_000))
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, errors
    assert "No space left on device" in errors
    assert "is whole" in errors
    assert "Traceback" not in errors
    ballast.unlink()
    code, _, errors = run_cli("resume", str(run.folder))
    assert code == 0, errors
    assert_same(run, long)


class Roaming(Tiny):
    """A simulator that goes to folders of its own: when it is made, reset and stepped."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.go()

    def go(self) -> None:
        os.chdir(tempfile.mkdtemp())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.go()
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.go()
        return super().step(action)


def test_a_simulator_that_changes_the_folder_moves_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    run = untrained_run(Path("runs"), Roaming)
    assert run.folder.is_relative_to(tmp_path / "runs")
    assert len(run.metrics) == 2
    monkeypatch.chdir(tmp_path)
    given = polyak.load(run.folder.relative_to(tmp_path))
    assert given.evaluate(2, environment=Roaming).lengths == (5, 5)
    monkeypatch.chdir(tmp_path)
    assert polyak.resume(given.folder, steps=60, environment=Roaming).metrics[-1]["step"] == 60
    monkeypatch.chdir(tmp_path)
    assert given.record(output="film.mp4", environment=Roaming) == tmp_path / "film.mp4"
    monkeypatch.chdir(tmp_path)
    after = untrained_run(Path("runs"), Roaming, from_run=given.folder, hidden_sizes=(4,))
    assert after.settings["from_run"] == str(run.folder)
    assert sorted(folder.name for folder in tmp_path.iterdir() if not folder.name.startswith("tmp")) == [
        "film.mp4",
        "runs",
    ]


class Complaining:
    """An observer that raises when it is told something."""

    def __init__(self, of: str) -> None:
        self._of = of

    def _hear(self, what: str) -> None:
        if what == self._of:
            raise LookupError(f"no disk for {what}")

    def started(self, progress: Any) -> None:
        self._hear("started")

    def epoch_ended(self, progress: Any) -> None:
        self._hear("epoch_ended")

    def ended(self, progress: Any) -> None:
        self._hear("ended")


def test_an_observer_that_raises_at_the_end_changes_nothing(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"the observer's ended\(\) raised LookupError: no disk for ended"):
        run = untrained_run(tmp_path, observer=Complaining("ended"))
    assert len(run.metrics) == 2
    with pytest.raises(TrainingError, match="the simulator broke"), pytest.warns(UserWarning, match="no disk"):
        untrained_run(tmp_path, making([], raises_at=25), observer=Complaining("ended"))


def test_an_observer_that_raises_before_ends_a_run_that_goes_on(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no disk for epoch_ended"):
        untrained_run(tmp_path, observer=Complaining("epoch_ended"))
    (folder,) = (tmp_path / TINY.replace(":", "_") / "ddpg").iterdir()
    assert (folder / "policy.safetensors").exists()
    assert [record["step"] for record in polyak.resume(folder).metrics] == [20, 40]


def test_a_handler_that_was_installed_from_c_is_left_in_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`signal.getsignal` gives None for it, which `signal.signal` does not take back."""
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    assert len(untrained_run(tmp_path).metrics) == 2
