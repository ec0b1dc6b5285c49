"""Environments in worker processes: what keeps them from starting, what they raise, how they end."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import polyak
from polyak.environments import workers
from polyak.environments.make import Environments, make_environments
from polyak.errors import TrainingError, UsageError
from tiny import Numbers
from tiny_cli import PATIENCE, Tiny, process_environment, untrained_run


def make(environment: Any, count: int = 1, **options: Any) -> Environments:
    return make_environments(environment, count, Numbers, vectorization="async", **options)


def in_worker() -> bool:
    return multiprocessing.parent_process() is not None


def step(environments: Environments) -> Any:
    return environments.step(np.zeros((environments.count, 1), np.float32))


@pytest.fixture
def started() -> Iterator[Callable[..., Environments]]:
    """As `make`, and closed afterwards; no process is left then."""
    made: list[Environments] = []

    def starting(environment: Any, count: int = 1, **options: Any) -> Environments:
        made.append(make(environment, count, **options))
        return made[-1]

    yield starting
    for environments in made:
        environments.close()
        assert not any(process.is_alive() for process in environments.vector.processes)


# Starting


class OnlyHere(Tiny):
    """It cannot be made in a worker process."""

    how: BaseException = RuntimeError("no display in a worker")

    def __init__(self) -> None:
        super().__init__()
        if in_worker():
            raise self.how


class Exiting(OnlyHere):
    how = SystemExit(0)


class Interrupting(OnlyHere):
    how = KeyboardInterrupt()


class Dying(Tiny):
    def __init__(self) -> None:
        super().__init__()
        if in_worker():
            os._exit(3)


class Other(Tiny):
    """It shows something else in a worker process."""

    def __init__(self) -> None:
        super().__init__()
        if in_worker():
            self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


class Unpackable:
    """What can be sent, but not received."""

    def __call__(self) -> Tiny:
        return Tiny()

    def __reduce__(self) -> Any:
        return int, ("no number",)


def locked() -> Callable[[], Tiny]:
    lock = threading.Lock()

    def make_locked() -> Tiny:
        with lock:
            return Tiny()

    return make_locked


NOT_THERE = "can be made in this process, but not in a worker process"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            OnlyHere,
            rf"^OnlyHere {NOT_THERE} \(.*RuntimeError while it was made: no display in a worker .*\): .*sync",
        ),
        (Exiting, rf"^Exiting {NOT_THERE} \(.* raised SystemExit while it was made: 0 .*\): "),
        (
            Interrupting,
            rf"^Interrupting {NOT_THERE} \(.* raised KeyboardInterrupt while it was made .*\): ",
        ),
        (Dying, r"^Dying does not start .*: the process of environment \d died \(exit code 3\) before it had made"),
        (Other, rf"^Other {NOT_THERE} .*it has the spaces \(Box\(-1.0, 1.0, \(2,\)"),
        (Unpackable(), r"not in a worker process \(ValueError: invalid literal"),
        (
            locked(),
            r"make_locked cannot be sent to a worker process \(cannot pickle '_thread.lock' object\): .*sync",
        ),
    ],
    ids=["raises", "exits", "interrupts", "dies", "other spaces", "not received", "not sent"],
)
def test_what_keeps_workers_from_starting_is_one_line(environment: Any, told: str, capfd: Any) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(UsageError, match=told):
        make(environment)
    assert set(multiprocessing.active_children()) <= before
    assert capfd.readouterr().err == ""


def test_a_process_that_may_start_no_other_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(
        UsageError, match=r"this process is a daemon .* in a concurrent\.futures\.ProcessPoolExecutor, whose"
    ):
        make(Tiny)


def test_a_script_that_is_no_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of `python < script.py`."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    with pytest.raises(UsageError, match="run the script that starts them, and '<stdin>' is no file: write it to one"):
        make(Tiny)


def test_a_system_that_refuses_processes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("forkserver")

    def refused(process: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(context.Process, "_Popen", staticmethod(refused))
    with pytest.raises(UsageError, match=r"refuses them \(.*Too many open files\): ask for fewer environments"):
        make(Tiny)


def test_an_id_that_only_this_process_knows_is_known_to_its_workers(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where they know another by the same name, this process's is meant."""
    monkeypatch.setattr(gymnasium, "registry", dict(gymnasium.registry))
    monkeypatch.setattr("gymnasium.envs.registration.registry", gymnasium.registry)

    class Long(Tiny):
        def __init__(self, render_mode: str | None = None) -> None:
            super().__init__(length=2)

    gymnasium.registry.pop("Tiny-v0", None)
    for name in ("OnlyHere-v0", "Tiny-v0"):
        gymnasium.register(name, entry_point=Long)
    for name in ("OnlyHere-v0", "tiny_cli:Tiny-v0"):
        environments = started(name, 1)
        environments.reset()
        assert [bool(step(environments).truncated[0]) for _ in range(3)] == [False, True, False]


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from polyak.environments.make import make_environments\n"
        "from tiny import Numbers\n"
        "from tiny_cli import Tiny\n"
        "try:\n"
        "    make_environments(Tiny, 2, Numbers, vectorization='async')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("Tiny does not start in worker processes: each of them first runs this script again")
    assert 'below `if __name__ == "__main__":`' in line
    assert done.stderr == ""


# Being asked


class TwoError(Exception):
    """It cannot be received as it is sent."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what} (code {code})")


class HoldingError(Exception):
    """It cannot be sent."""

    def __init__(self) -> None:
        super().__init__("held")
        self.lock = threading.Lock()


class SpeechlessError(HoldingError):
    """It cannot say what it is either, as some C++ bindings' cannot."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Raising(Tiny):
    """Each environment raises at its second step; which, its maker says."""

    def __init__(self, what: BaseException | Callable[[], BaseException]) -> None:
        super().__init__()
        self._what = what

    def step(self, action: Any) -> Any:
        if self.taken == 1:
            raise self._what() if callable(self._what) else self._what
        return super().step(action)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (lambda: ValueError("sim lost"), "raised ValueError after 1 environment steps: sim lost$"),
        (lambda: TwoError(7, "overheated"), r"raised TwoError after 1 environment steps: overheated \(code 7\)$"),
        (HoldingError, "raised HoldingError after 1 environment steps: held$"),
        (SpeechlessError, "raised SpeechlessError after 1 environment steps$"),
        (lambda: SystemExit(0), "raised SystemExit after 1 environment steps: 0$"),
        (KeyboardInterrupt, "raised KeyboardInterrupt after 1 environment steps$"),
        (GeneratorExit, "raised GeneratorExit after 1 environment steps$"),
        (lambda: ConnectionResetError("server gone"), "raised ConnectionResetError after 1 .*: server gone$"),
    ],
    ids=["plain", "not received", "not sent", "speechless", "exits", "interrupts", "generator", "connection"],
)
def test_whatever_an_environment_raises_in_a_worker_is_its_fault(
    what: Any, told: str, started: Any, capfd: Any
) -> None:
    environments = started(lambda: Raising(what))
    environments.reset()
    step(environments)
    with pytest.raises(TrainingError, match=told) as caught:
        step(environments)
    (note,) = getattr(caught.value.__cause__, "__notes__", [])
    assert note.startswith("In the process of environment 0:\nTraceback")
    assert "self._what" in note  # where it was raised
    assert capfd.readouterr().err == ""


class Ragged(Tiny):
    """Its info cannot be batched."""

    def reset(self, **options: Any) -> Any:
        return super().reset(**options)[0], {"path": np.zeros(1 + int(self.np_random.integers(5)))}

    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], {"path": np.zeros(self.np_random.integers(1, 6)), "_path": 2**64, "x": print}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_of_an_info_nothing_is_sent(mode: AutoresetMode, started: Any) -> None:
    environments = started(Ragged, 3, autoreset=mode)
    environments.reset()
    for _ in range(12):
        step(environments)


def test_an_error_in_the_midst_of_an_answer_does_not_keep_workers_from_closing() -> None:
    """Of somebody's own AsyncVectorEnv, which batches infos; its own close waits for answers that nobody gives."""
    environments = make(lambda: AsyncVectorEnv([Ragged] * 3, context="forkserver", autoreset_mode="Disabled"))

    def go_on() -> None:
        for _ in range(30):
            environments.reset()
            step(environments)

    with pytest.raises(TrainingError, match="the environment raised"):
        go_on()
    environments.close()
    assert [process.exitcode for process in environments.vector.processes] == [0, 0, 0]


def test_the_dead_one_among_many_is_found_without_waiting_for_the_living() -> None:
    pipes = [os.pipe() for _ in range(64)]
    joined: list[int] = []
    os.close(pipes[41][1])  # as the system does with that of a process which ends

    def process(index: int) -> Any:
        return SimpleNamespace(pid=1, sentinel=pipes[index][0], exitcode=-9, join=lambda: joined.append(index))

    vector: Any = SimpleNamespace(processes=[process(index) for index in range(64)])
    try:
        assert workers.dead_worker(vector) == "the process of environment 41 died (exit code -9)"
        assert joined == [41]
    finally:
        for index, (reads, writes) in enumerate(pipes):
            os.close(reads)
            if index != 41:
                os.close(writes)


# Ending


class Closing(Tiny):
    """Its close does something of its own in a worker."""

    def __init__(self, how: Callable[[], Any]) -> None:
        super().__init__()
        self._how = how

    def close(self) -> None:
        if in_worker():
            self._how()


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def angry() -> None:
    raise RuntimeError("not connected to the server")


def leaving() -> None:
    raise SystemExit


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (deaf, "TimeoutError: 1 of 1 processes had not ended after 0.1 s"),
        (angry, "RuntimeError: not connected to the server"),
        (leaving, "SystemExit"),
    ],
)
def test_workers_end_however_their_environments_close(
    how: Any, told: str, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    if how is deaf:
        monkeypatch.setattr("polyak.environments.closing.CLOSING_SECONDS", 0.1)
    environments = make(lambda: Closing(how))
    environments.reset()
    with pytest.warns(RuntimeWarning, match="an environment did not close as it should") as warned:
        environments.close()
    assert all(told in str(each.message) for each in warned)
    assert not any(process.is_alive() for process in environments.vector.processes)
    assert capfd.readouterr().err == ""


def test_somebodys_own_workers_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyak.environments.closing.CLOSING_SECONDS", 0.1)
    deaf_ones = [lambda: Closing(deaf)] * 2
    environments = make(lambda: AsyncVectorEnv(deaf_ones, context="forkserver", autoreset_mode="Disabled"))
    environments.reset()
    with pytest.warns(RuntimeWarning, match="2 of 2 processes had not ended after 0.1 s"):
        environments.close()
    assert not any(process.is_alive() for process in environments.vector.processes)


@pytest.mark.usefixtures("alarm")
def test_workers_that_hang_are_killed_once_they_have_not_answered(tmp_path: Path) -> None:
    """The limit passes once both hang: the later one says so."""
    main, hanging = os.getpid(), tmp_path / "hanging"
    hanging.mkdir()

    class Hanging(Tiny):
        def step(self, action: Any) -> Any:
            if self.taken == 3:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                (hanging / str(os.getpid())).touch()
                if len(list(hanging.iterdir())) == 2:
                    with contextlib.suppress(FileExistsError):
                        (tmp_path / "rung").mkdir()
                        os.kill(main, signal.SIGALRM)
                deaf()
            return super().step(action)

    with (
        pytest.raises(TrainingError, match=r"did not answer within the time limit \(step_timeout\) after 6 env"),
        pytest.warns(RuntimeWarning, match="2 of 2 processes had not ended after 1 s"),
    ):
        untrained_run(tmp_path, Hanging, envs=2, vectorization="async", step_timeout=0.5, probe=False)
    (run,) = (polyak.load(path.parent) for path in tmp_path.rglob("settings.json"))
    assert run.metrics[-1]["step"] == 6
    assert not multiprocessing.active_children()
