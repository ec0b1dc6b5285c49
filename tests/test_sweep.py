"""Many runs in processes of their own: what they equal, what one failure does to the others, what Ctrl-C leaves."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from clocks import Clock
from polyak import UsageError, load
from polyak.cli import compare, many, request
from polyak.many import local, sweep
from polyak.run.folder import Run
from polyak.views import table
from polyak.views.choice import make_view_of_many
from polyak.views.sweep import LiveView, PlainView
from tiny_cli import OPTIONS, PATIENCE, TINY, call_cli, process_environment, start_cli

FAULTY = """
import sys
import gymnasium
from tiny_cli import Tiny

class Faulty(Tiny):
    def step(self, action):
        if "--seed 1 " in " ".join(sys.argv) and self.taken == 24:
            raise RuntimeError("the simulator broke")
        return super().step(action)

gymnasium.register("Faulty-v0", Faulty)
"""

FAKE = """
import json, os, pathlib, signal, sys, time
ways = json.loads(pathlib.Path(__file__).with_name("ways.json").read_text())
value = lambda flag: sys.argv[sys.argv.index(flag) + 1]
parent = os.getppid()
seed, way = value("--seed"), ways.get(value("--seed"), "done")
if way == "refused":
    sys.exit("polyak: no such thing")
folder = pathlib.Path(value("--run-dir")) / f"run-{seed}"
(folder / "checkpoints").mkdir(parents=True)
asked = folder / "asked"
def note(number, frame):
    asked.open("a").write(f"{number} ")
    if way == "saves":
        (folder / "checkpoints" / "checkpoint-1.json").touch()
        sys.exit(143)
signal.signal(signal.SIGTERM, note)
signal.signal(signal.SIGINT, note)
print(folder, flush=True)
print("hello from", seed, file=sys.stderr, flush=True)
def write(step, result):
    with (folder / "metrics.jsonl").open("a") as file:
        print(json.dumps({"step": step, "seconds": step / 10, "eval/return": result}), file=file)
write(10, -2.0)
while way == "waits" and not (folder / "go").exists() or way in ("saves", "stubborn"):
    time.sleep(0.005)
    if os.getppid() != parent:
        sys.exit("left alone")
write(20, -1.0)
write(30, -3.0)
if way == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if way == "crashes":
    (folder / "environment.log").write_text("last words")
    os.kill(os.getpid(), signal.SIGSEGV)
if way == "fails":
    sys.exit("polyak: it broke")
"""


class Watching(sweep.Silent):
    """Keeps what it is told, and does something about it."""

    def __init__(self, act: Callable[[sweep.Trial, str], None] = lambda trial, news: None) -> None:
        self.heard: list[tuple[int, str]] = []
        self.act = act
        self.closings = 0
        self.told_to_stop: list[int] = []

    def begun(self, trials: Sequence[sweep.Trial]) -> None:
        self.trials = trials

    def news(self, trial: sweep.Trial, news: sweep.News) -> None:
        self.heard.append((trial.job.seed, news))
        self.act(trial, news)

    def stopping(self, running: int) -> None:
        self.told_to_stop.append(running)

    def closed(self) -> None:
        self.closings += 1


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[sweep.Job]]:
    """Replace training by a script that starts at once; jobs by what their runs shall do."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(local, "COMMAND", (sys.executable, "-S", str(script)))
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.005)

    def jobs(*ways: str) -> list[sweep.Job]:
        (tmp_path / "ways.json").write_text(json.dumps(dict(enumerate(ways))))
        return [sweep.Job("sac", "E-v0", seed, steps=30) for seed in range(len(ways))]

    return jobs


# The engine


def test_no_more_run_at_once_than_asked_for(fake: Callable[..., list[sweep.Job]], tmp_path: Path) -> None:
    most, alive = 0, list[sweep.Trial]()

    def let_the_first_go_when_two_are_there(trial: sweep.Trial, news: str) -> None:
        nonlocal most
        if news == "started":
            alive.append(trial)
            most = max(most, sum(each.state == "running" for each in watching.trials))
            if len(alive) == 2:
                release(alive[0])
        elif news == "ended":
            alive.remove(trial)
            if sum(each.state == "waiting" for each in watching.trials) == 0 and alive:
                release(alive[0])

    def release(trial: sweep.Trial) -> None:
        assert trial.run is not None
        (trial.run.folder / "go").touch()

    watching = Watching(let_the_first_go_when_two_are_there)
    trials = sweep.run(fake(*["waits"] * 5), at_once=2, run_dir=tmp_path / "runs", watcher=watching)
    assert most == 2
    assert [trial.state for trial in trials] == ["done"] * 5
    assert sorted(watching.heard) == [(i, each) for i in range(5) for each in ("ended", *["recorded"] * 3, "started")]


def test_what_a_trial_tells(fake: Callable[..., list[sweep.Job]], tmp_path: Path) -> None:
    watching = Watching()
    (trial,) = sweep.run(fake("done"), run_dir=tmp_path / "runs", watcher=watching)
    assert watching.heard == [(0, "started"), *[(0, "recorded")] * 3, (0, "ended")]
    assert watching.closings == 1
    assert (trial.steps, trial.total_steps, trial.evaluated, trial.best) == (30, 30, -3.0, (20, -1.0))
    assert trial.run == Run(tmp_path / "runs" / "run-0")
    assert trial.log == tmp_path / "runs" / "run-0" / "train.log"
    assert trial.log.read_text() == "hello from 0\n"
    assert not list((tmp_path / "runs").glob(".*"))


def test_one_that_fails_stops_no_other_and_says_why(fake: Callable[..., list[sweep.Job]], tmp_path: Path) -> None:
    ways = ("fails", "done", "killed", "refused", "done", "crashes")
    trials = sweep.run(fake(*ways), at_once=2, run_dir=tmp_path / "runs")
    assert [trial.state for trial in trials] == ["failed", "done", "failed", "failed", "done", "failed"]
    assert trials[0].reason == "it broke"
    assert trials[0].tail == ["hello from 0", "polyak: it broke"]
    assert trials[2].reason.startswith("killed by SIGKILL")
    assert trials[2].tail == []
    assert (trials[3].reason, trials[3].run) == ("no such thing", None)
    log = tmp_path / "runs" / "run-5" / "environment.log"
    assert trials[5].reason == f"killed by SIGSEGV; what its environment printed is in {log}"
    assert not list((tmp_path / "runs").glob(".*"))  # not even the log of the one that never had a folder


def test_process_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "COMMAND", (str(tmp_path / "nothing"),))
    watching = Watching()
    (trial,) = sweep.run([sweep.Job("sac", "E-v0", 0)], run_dir=tmp_path, watcher=watching)
    assert (trial.state, trial.resumable) == ("failed", False)
    assert trial.reason == "its process could not be started: No such file or directory"
    assert watching.heard == [(0, "ended")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once_and_waited_for(
    number: signal.Signals, fake: Callable[..., list[sweep.Job]], tmp_path: Path
) -> None:
    def interrupt(trial: sweep.Trial, news: str) -> None:
        if news == "started" and sum(each.run is not None for each in watching.trials) == 2:
            os.kill(os.getpid(), number)

    watching = Watching(interrupt)
    with pytest.raises(sweep.SweepInterrupted) as caught:
        sweep.run(fake("saves", "saves", "done"), at_once=2, run_dir=tmp_path / "runs", watcher=watching)
    trials = caught.value.trials
    assert caught.value.signal_number == number
    assert watching.told_to_stop == [2]
    assert [trial.state for trial in trials] == ["interrupted", "interrupted", "waiting"]
    assert [trial.resumable for trial in trials] == [True, True, False]
    assert [(tmp_path / "runs" / f"run-{i}" / "asked").read_text() for i in (0, 1)] == [f"{int(signal.SIGTERM)} "] * 2


def test_a_second_one_kills(fake: Callable[..., list[sweep.Job]], tmp_path: Path) -> None:
    class Impatient(Watching):
        def stopping(self, running: int) -> None:
            assert running == 2
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt(trial: sweep.Trial, news: str) -> None:
        if news == "recorded" and sum(bool(each.steps) for each in watching.trials) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            watching.act = lambda trial, news: None

    watching = Impatient(interrupt)
    with pytest.raises(sweep.SweepInterrupted) as caught:
        sweep.run(fake("stubborn", "stubborn"), at_once=2, run_dir=tmp_path / "runs", watcher=watching)
    assert [trial.state for trial in caught.value.trials] == ["interrupted"] * 2
    assert watching.closings == 1


def test_a_watcher_that_fails_leaves_no_process_behind(fake: Callable[..., list[sweep.Job]], tmp_path: Path) -> None:
    def fail(trial: sweep.Trial, news: str) -> None:
        raise BrokenPipeError

    before = psutil.Process().children()
    with pytest.raises(BrokenPipeError):
        sweep.run(fake("saves"), run_dir=tmp_path / "runs", watcher=Watching(fail))
    assert (tmp_path / "runs" / "run-0" / "checkpoints" / "checkpoint-1.json").exists()
    assert psutil.Process().children() == before


def test_nothing_starts_where_something_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="at_once is 0, but must be at least 1"):
        sweep.run([], at_once=0, run_dir=tmp_path)
    with pytest.raises(UsageError, match="cannot write"):
        sweep.run([sweep.Job("sac", TINY, 0)], run_dir=tmp_path / "file")


# In earnest


@pytest.fixture(scope="module")
def reported() -> list[list[Path]]:
    """The folders of each report that was asked for."""
    return []


@pytest.fixture(scope="module", autouse=True)
def _reports_noted(reported: list[list[Path]]) -> Iterator[None]:
    from polyak.report import page

    write_report = page.write_report

    def noted(runs: Sequence[Run], output: Path | None = None) -> Path:
        reported.append([run.folder for run in runs])
        return write_report(runs, output)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_report", noted)
        yield


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the module of an environment that raises in the run of seed 1, which every process can import."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "faulty.py").write_text(FAULTY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), process_environment()["PYTHONPATH"]]))
        yield folder


@pytest.fixture(scope="module")
def swept(faulty: Path) -> tuple[int, str, str]:
    seeds = ("--seeds", "0-2", "--jobs", "2", "--threads", "1", "--run-dir", str(faulty / "many"))
    return call_cli("train", "ddpg", "faulty:Faulty-v0", *OPTIONS, *seeds)


def folders(swept: tuple[int, str, str]) -> dict[int, Run]:
    runs = [load(line) for line in swept[1].splitlines()[:-1]]
    return {run.settings["seed"]: run for run in runs}


def test_each_run_equals_the_single_one_bit_for_bit(swept: tuple[int, str, str], faulty: Path) -> None:
    for seed, run in folders(swept).items():
        if seed == 1:
            continue
        alone = ("--seed", str(seed), "--threads", "1", "--run-dir", str(faulty / "alone"))
        code, output, errors = call_cli("train", "ddpg", "faulty:Faulty-v0", *OPTIONS, *alone)
        assert code == 0, errors
        single = load(output.rstrip())
        assert run.policy_file.read_bytes() == single.policy_file.read_bytes()
        assert run.best_policy_file.read_bytes() == single.best_policy_file.read_bytes()
        for mine, other in zip(run.metrics, single.metrics, strict=True):
            assert mine.keys() == other.keys()
            clocks = {key for key in mine if key == "seconds" or key.startswith(("speed/", "time/"))}
            assert {key: mine[key] for key in mine.keys() - clocks} == {key: other[key] for key in mine.keys() - clocks}
        own = {name: run.settings[name] for name in ("identity", "begun")}
        assert run.settings == {**single.settings, **own}


def test_the_command_says_what_failed_and_how_to_go_on(
    swept: tuple[int, str, str], reported: list[list[Path]], faulty: Path
) -> None:
    code, output, errors = swept
    runs = folders(swept)
    assert (code, sorted(runs)) == (1, [0, 1, 2]), errors
    last = Path(output.splitlines()[-1])
    assert last.parent == faulty / "many"
    assert last.read_text().lower().startswith("<!doctype html>")
    assert re.fullmatch(r"compare-\d{8}-\d{6}\.html", last.name)
    assert reported[0] == [runs[seed].folder for seed in range(3)]  # without what failed, luck alone would be compared
    assert "seed 1  failed" in errors
    assert "  | RuntimeError: the simulator broke" in errors
    assert "2 of 3 runs done" in errors
    assert f"polyak resume {runs[1].folder}" in errors
    assert "to start what has not begun" not in errors
    assert "RuntimeError: the simulator broke" in (runs[1].folder / "train.log").read_text()
    assert "1 thread each" in errors


def test_what_failed_can_be_resumed(swept: tuple[int, str, str]) -> None:
    code, _, errors = call_cli("resume", str(folders(swept)[1].folder))  # in this process, it does not raise
    assert code == 0, errors
    assert folders(swept)[1].metrics[-1]["step"] == 40


LONG = ["--steps", "10000000", "--update-after", "10000000", "--steps-per-epoch", "500", "--start-steps", "10000000"]


def started(directory: Path) -> tuple[subprocess.Popen[str], psutil.Process, Run]:
    """A sweep of long runs that has begun: its process, that of its first run, and this run."""
    process = start_cli(
        *("train", "ddpg", TINY, *OPTIONS, *LONG, "--seeds", "0-1", "--jobs", "1"),
        *("--threads", "1", "--run-dir", str(directory)),
        start_new_session=True,
    )
    assert process.stdout is not None
    run = Run(Path(process.stdout.readline().rstrip()))
    assert process.stderr is not None
    while "step " not in process.stderr.readline():  # of an evaluation
        pass
    (child,) = psutil.Process(process.pid).children()
    assert os.getpgid(child.pid) == child.pid != os.getpgid(process.pid)  # the terminal's Ctrl-C does not reach it
    return process, child, run


def test_ctrl_c_leaves_runs_that_go_on(tmp_path: Path) -> None:
    process, child, run = started(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert Path(output.rstrip()).name.startswith("compare-")  # about what there is
    assert not psutil.wait_procs([child], timeout=PATIENCE)[1]
    assert "1 run will save and end" in errors
    assert "0 of 2 runs done" in errors
    assert f"to go on:\n  polyak resume {run.folder}\n" in errors
    assert re.search(r"polyak train ddpg tiny_cli:Tiny-v0 .*--seeds 1 --jobs 1 --run-dir", errors)
    steps = json.loads(run.metrics_file.read_text().splitlines()[-1])["step"]
    code, _, told = call_cli("resume", str(run.folder), "--steps", str(steps + 1))
    assert code == 0, told
    assert run.metrics[-1]["step"] == steps + 1


def test_runs_do_not_outlive_a_sweep_that_is_killed(tmp_path: Path) -> None:
    process, child, run = started(tmp_path)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert not psutil.wait_procs([child], timeout=PATIENCE)[1]
    assert "everything is saved" in (run.folder / "train.log").read_text()


def test_the_module_runs_as_the_command_does() -> None:
    version = [sys.executable, "-m", "polyak", "--version"]
    done = subprocess.run(version, env=process_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("polyak ")


# The door


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", [0, 1, 2, 3, 4]), ("7", [7]), ("0,3,7", [0, 3, 7]), ("0-2,10", [0, 1, 2, 10]), ("5, 1-2", [5, 1, 2])],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert request.seeds_of(text) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4-0", "a range that ends before it begins: write 0-4"),
        ("1,2,1", "names 1 twice"),
        ("0-3,2", "names 2 twice"),
        ("-1", "at least 0"),
        ("1,-2", "at least 0"),
        ("", "as 0-4 or 0,3,7"),
        ("a", "as 0-4 or 0,3,7"),
        ("1.5", "as 0-4 or 0,3,7"),
        ("0-10000", "at most 10,000 seeds"),
        ("0-99999999999999", "at most 10,000 seeds"),
    ],
)
def test_seeds_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        request.seeds_of(text)


@pytest.mark.parametrize(
    ("runs", "jobs", "threads", "expected"),
    [
        (5, None, None, (5, 1)),
        (20, None, None, (8, 1)),
        (2, None, None, (2, 4)),
        (3, None, None, (3, 2)),
        (5, 2, None, (2, 4)),
        (5, 16, None, (5, 1)),
        (20, 16, None, (16, 1)),
        (5, None, 4, (2, 4)),
        (5, None, 16, (1, 16)),
        (5, 3, 3, (3, 3)),
    ],
)
def test_cores_are_shared_out(
    runs: int, jobs: int | None, threads: int | None, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "physical_cores", lambda: 8)
    assert request.shares(runs, jobs, threads) == expected


TRAIN = ("train", "sac", TINY, "--seeds")
COMPARE = ("compare", "td3", "sac", "--environments", TINY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*TRAIN, "4-0"), "write 0-4"),
        ((*TRAIN, "0-4", "--seed", "1"), "--seed and --seeds are both given"),
        ((*TRAIN, "0-4", "--seed=1"), "--seed and --seeds are both given"),
        ((*TRAIN, "0-4", "--jobs", "0"), "jobs is 0, but must be at least 1"),
        ((*TRAIN, "0-4", "--threads", "0"), "threads is 0, but must be at least 1"),
        ((*TRAIN, "0-4", "--envs", "0"), "envs is 0, but must be at least 1"),
        ((*TRAIN, "0-4", "--step-timeout", "-1"), "step_timeout is -1.0"),
        ((*TRAIN, "0-4", "--batch-size", "0"), "batch_size is 0"),
        ((*TRAIN, "0-4", "--replay-size", "10000000000000"), "transitions of this environment fit"),
        (("train", "sac", "Pendulm-v1", "--seeds", "0-4"), "unknown environment 'Pendulm-v1'"),
        (("train", "sac", TINY, "--jobs", "2"), "jobs is 2, but there is one run"),
        (("compare",), "compare needs algorithms first"),
        (("compare", "sac"), "compare needs algorithms first"),
        (("compare", "--environments", TINY), "compare needs algorithms first"),
        (("compare", "sacc", "--environments", TINY), "Did you mean 'sac'?"),
        (("compare", "sac", "--environments", TINY, "Pendulm-v1"), "unknown environment 'Pendulm-v1'"),
        (("compare", "sac", "SAC", "--environments", TINY), "algorithms has 'sac' twice"),
        ((*COMPARE, TINY), "environments has 'tiny_cli:Tiny-v0' twice"),
        ((*COMPARE, "--backends", "abacus"), "invalid choice 'abacus'"),
        ((*COMPARE, "--backends", "jax", "--backend", "torch"), "--backend and --backends are both given"),
        ((*COMPARE, "--seed", "1"), "compare takes --seeds"),
        ((*COMPARE, "--seeds", "0,0"), "names 0 twice"),
        ((*COMPARE, "--seeds", "0-9998"), "number of runs is 19998, but must be at most 10,000"),
        ((*COMPARE, "--alpha", "1"), "--alpha"),
        ((*COMPARE, "--batch-sise", "8"), "--batch-size"),
    ],
)
def test_wrong_use_is_told_before_anything_starts(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "run", lambda *_, **__: pytest.fail("something was started"))
    code, output, errors = call_cli(*arguments)
    assert code == 2
    assert message in output + errors
    assert not list(tmp_path.iterdir())


def test_frameworks_that_are_not_installed_are_told_at_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyak.frameworks.find_spec", lambda name: None)
    code, _, errors = call_cli(*TRAIN, "0-1", "--backend", "torch")
    assert (code, 'pip install "polyak[torch]"' in errors) == (2, True)


def test_replays_that_do_not_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "memory_free", lambda: 100_000)
    jobs = ("--jobs", "4", "--steps", "1000", "--replay-size", "100000", "--run-dir", "/dev/null/nowhere")
    code, _, errors = call_cli(*TRAIN, "0-9", *jobs)
    assert code == 2
    assert "4 runs at a time will need 144 kB for replay, but 100 kB are free" in errors  # 4 x 1,000 x 9 x 4 bytes


# compare


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[sweep.Job], str, int]]:
    """Run `compare` without its processes: the jobs, what was said, how many at once."""

    def run(*arguments: str) -> tuple[list[sweep.Job], str, int]:
        asked: list[sweep.Job] = []
        numbers: list[int] = []

        def note(
            jobs: Sequence[sweep.Job], *, at_once: int, run_dir: Path, watcher: sweep.Watcher, place: object
        ) -> list[sweep.Trial]:
            asked.extend(jobs)
            numbers.append(at_once)
            trials = [sweep.Trial(job, run_dir) for job in jobs]
            watcher.begun(trials)
            return trials

        monkeypatch.setattr(sweep, "run", note)
        code, _, errors = call_cli("compare", *arguments)
        assert code == 1  # they never ran
        return asked, errors, numbers[0]

    return run


def test_compare_makes_a_grid_seed_by_seed(grid: Callable[..., tuple[list[sweep.Job], str, int]]) -> None:
    jobs, errors, at_once = grid(
        *("ddpg", "sac", "--environments", TINY, "Pendulum-v1", "--backends", "jax", "torch", "--steps", "5000"),
        *("--seeds", "3,1", "--jobs", "3", "--threads", "2", "--plain", "--hidden-sizes", "8", "8"),
    )
    assert (len(jobs), at_once) == (16, 3)
    assert [job.seed for job in jobs] == [3] * 8 + [1] * 8
    assert [job.variant for job in jobs[:4]] == [
        f"{name} {TINY}" for name in ("ddpg jax", "ddpg torch", "sac jax", "sac torch")
    ]
    assert jobs[5].variant == "ddpg torch Pendulum-v1"
    expected = ("--steps", "5000", "--hidden-sizes", "8", "8", "--backend", "torch", "--threads", "2")
    assert jobs[5].options == expected
    assert {job.steps for job in jobs} == {5_000}
    assert "comparison of 8 variants with 2 seeds each" in errors
    assert "16, 3 at a time, 2 threads each" in errors
    assert re.search(r"sac jax Pendulum-v1 +preset Pendulum-v1, jax, 5,000 steps", errors)
    assert re.search(rf"sac jax {TINY} +preset general, jax, 5,000 steps", errors)


def test_compare_has_five_seeds_and_one_framework_by_default(
    grid: Callable[..., tuple[list[sweep.Job], str, int]],
) -> None:
    jobs, _, _ = grid("td3", f"--environments={TINY}")
    assert [(job.seed, job.variant) for job in jobs] == [(seed, f"td3 {TINY}") for seed in range(5)]
    jobs, _, _ = grid("td3", "--environments", TINY, "--backend", "torch", "--preset", "book", "--seeds", "0")
    assert jobs[0].options[:4] == ("--backend", "torch", "--preset", "book")


# What a person sees


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def trial(
    seed: int, state: sweep.State = "waiting", *, steps: int = 0, variant: str = "", **more: object
) -> sweep.Trial:
    made = sweep.Trial(sweep.Job("sac", "E-v0", seed, steps=3_000, variant=variant), Path("runs"))
    made.state = state
    if state != "waiting":
        made.run = Run(Path(f"runs/E-v0/sac/seed{seed}"))
    if steps:
        made._take({"step": steps, "seconds": steps / 100, "eval/return": -3.25, "speed/steps_per_second": 125.0})
    for name, value in more.items():
        setattr(made, name, value)
    return made


def drawn(trials: Sequence[sweep.Trial], columns: int = 80, lines: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=lines, record=True)
    console.print(table.draw(trials, (columns, lines)))
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.usefixtures("clock")
def test_the_table_has_a_row_a_run_and_a_line_for_all() -> None:
    lines = drawn([trial(0, "done", steps=3_000), trial(1, "running", steps=1_500), trial(2)])
    assert lines[0].split() == ["seed", "state", "steps", "last", "eval", "best", "eval", "steps/s", "left"]
    assert lines[1].split() == ["0", "done", "3,000", "100%", "-3.2", "-3.2", "125"]
    assert re.fullmatch(r" +1  running +1,500   50%       -3\.2 +-3\.2 +125 +15 s", lines[2])
    assert lines[3].split() == ["2", "waiting"]
    assert re.fullmatch(r"━.*50%  1 done, 1 running, 1 waiting  45 s left", lines[4])  # 15 s, then 30 s


@pytest.mark.usefixtures("clock")
def test_names_alone_give_way_on_a_narrow_terminal() -> None:
    name = "sac torch LunarLanderContinuous-v3[/x]"
    trials = [trial(0, "running", steps=1_500, variant=name), trial(1, variant=name)]
    lines = drawn(trials)
    assert lines[0].split() == ["run", "seed", "state", "last", "eval", "steps/s", "left"]
    assert re.fullmatch(r"sac torch LunarLander.*…? +0  running +50% +-3\.2 +125 +15 s", lines[1])
    assert max(map(len, lines)) <= 80
    assert re.match(r"sac torch LunarLanderContinuous-v3\[/x\] +0  running +1,500", drawn(trials, 120)[1])


def test_a_low_terminal_shows_what_matters() -> None:
    trials = [trial(i, "done", steps=3_000) for i in range(30)]
    trials += [trial(30, "failed"), trial(31, "running"), *[trial(i) for i in range(32, 60)]]
    lines = drawn(trials, lines=10)
    assert len(lines) <= 9
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["0", "done"],
        ["1", "done"],
        ["2", "done"],
        ["30", "failed"],
        ["31", "running"],
    ]
    assert lines[6] == "... and 27 done, 28 waiting"


def test_plain_lines(clock: Clock) -> None:
    stream = io.StringIO()
    view = make_view_of_many("SAC on E-v0, seeds 0-1", {"runs": "2"}, stream)
    assert isinstance(view, PlainView)
    one = trial(0, "running", steps=1_000)
    clock.passes(1.5)
    view.begun([one])
    for news in ("started", "recorded"):
        view.news(one, news)
    one.state = "done"
    view.news(one, "ended")
    view.news(trial(1, "failed", steps=5, reason="it broke", tail=["x", "polyak: it broke"]), "ended")
    view.stopping(1)
    view.closed()
    assert stream.getvalue().splitlines() == [
        "SAC on E-v0, seeds 0-1",
        "  runs         2",
        "seed 0  started  runs/E-v0/sac/seed0",
        "seed 0  step     1,000/3,000  eval return -3.2  best -3.2  125 steps/s  18 s left",
        "seed 0  done after 1,000 steps; best evaluation -3.2 at step 1,000",
        "seed 1  failed after 5 steps: it broke",
        "  | x",
        "  | polyak: it broke",
        "interrupted: 1 run will save and end; a second Ctrl-C kills",
    ]


def test_live_view_draws_and_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    terminal = Terminal()
    view = make_view_of_many("the title", {"runs": "2"}, terminal)
    assert isinstance(view, LiveView)
    trials = [trial(0, "running"), trial(1)]
    view.begun(trials)
    failed = trial(0, "failed", reason="it [/broke]", tail=["the tail"])
    trials[0] = failed
    view.news(failed, "ended")
    view.say("runs/some/folder")
    view.closed()
    shown = terminal.getvalue()
    for part in ("the title", "seed 0  failed: it [/broke]", "| the tail", "runs/some/folder"):
        assert part in shown
    last = shown.rpartition("seed")[2]
    assert "failed" in last
    assert "1 failed, 1 waiting" in last
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    assert isinstance(make_view_of_many("t", {}, terminal, plain=True), PlainView)


def test_folders_go_to_standard_output_unless_a_table_is_drawn_there(capsys: pytest.CaptureFixture[str]) -> None:
    one = trial(0, "running")
    for output, printed in ((io.StringIO(), True), (Terminal(), False)):
        errors = Terminal()
        watcher = many.PrintsFolders(output, make_view_of_many("t", {}, errors))
        watcher.news(one, "started")
        watcher.news(one, "recorded")
        assert (output.getvalue() == "runs/E-v0/sac/seed0\n") is printed
        assert ("runs/E-v0/sac/seed0\n" in errors.getvalue()) is not printed


def test_summary_tells_how_to_go_on(tmp_path: Path) -> None:
    resumable = trial(1, "interrupted", run=Run(tmp_path / "a b"))
    (tmp_path / "a b" / "checkpoints").mkdir(parents=True)
    (tmp_path / "a b" / "checkpoints" / "checkpoint-3.json").touch()
    trials = [trial(0, "done"), resumable, trial(2, "failed", run=None, reason="it broke"), trial(3), trial(4)]
    assert many.summary(trials, ["--jobs", "2", "--run-dir", "runs"], 65) == [
        "1 of 5 runs done in 1 min 05 s",
        "  seed 2 failed: it broke",
        "to go on:",
        f"  polyak resume '{tmp_path / 'a b'}'",
        "to start what has not begun:",
        "  polyak train sac E-v0 --seeds 2,3,4 --jobs 2 --run-dir runs",
    ]


def test_help_of_compare_names_what_it_takes() -> None:
    code, output, _ = call_cli("compare", "--help")
    assert code == 0
    assert output == f"{compare.USAGE}\n"
