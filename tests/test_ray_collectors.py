"""Collectors on a cluster: the run is that of local processes bit for bit, whatever becomes of actors and nodes."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import polyak
from cluster import Simulated, raylet_of
from collecting_here import CONFIG as WITH_COLLECTORS
from collecting_here import put_here
from polyak import Run, TrainingError
from polyak.experience import actors, remote
from polyak.experience.actors import Actors, share_of
from polyak.experience.rounds import Lost
from polyak.many.cluster import connect
from polyak.run.progress import Progress, Silent
from polyak.system.threads import processor
from test_combined import ALL, COLLECTORS, GOALS
from test_combined import CONFIG as COMBINED
from tiny_cli import PATIENCE, process_environment, start_cli, untrained_run, wait_for
from whole_runs import assert_same, saved

MODULE = '''
import os, signal, sys
from pathlib import Path
import gymnasium, numpy as np

class Marred(gymnasium.Env):
    """Does what the file `folder/fault` says, once, in the seventh step of an episode in an actor's process."""

    def __init__(self, folder=""):
        self.observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.fault = Path(folder, "fault")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.place = 0, self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action):
        self.time += 1
        self.place = (0.9 * self.place + 0.1 * action[0] + 0.1 * self.np_random.uniform(-1, 1, 2)).astype(np.float32)
        fault = self.happens() if self.time == 7 and sys.argv[0].endswith("default_worker.py") else ""
        if fault in ("kill", "always"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "hang":
            self.fault.with_name("hanging").write_text(str(os.getpid()))
            self.fault.with_name("hanging").rename(self.fault.with_name("hangs"))  # never seen half-written
            os.kill(os.getpid(), signal.SIGSTOP)
        elif fault == "raise":
            raise RuntimeError("the simulator broke")
        reward = np.nan if fault == "nan" else -abs(float(self.place[0]))
        return self.place.copy(), reward, False, self.time == 10, {}

    def happens(self):
        try:
            fault = self.fault.read_text()
            if fault != "always":
                self.fault.unlink()
            return fault
        except OSError:
            return ""

gymnasium.register("Marred-v0", "marred:Marred")
'''
CONFIG: dict[str, Any] = {**WITH_COLLECTORS, "probe": False}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to stand in, with a module that travels to the nodes."""
    folder = tmp_path_factory.mktemp("stand")
    (folder / "marred.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def joined(cluster: Simulated, stand: Path) -> Iterator[str]:
    """A node for both collectors, and this process a member of the cluster; what `on` says."""
    with cluster.node(cpus=3), connect(f"ray:{cluster.address}"):
        yield f"ray:{cluster.address}"


@pytest.fixture
def train(stand: Path, tmp_path: Path) -> Callable[..., Run]:
    def run(on: str | None = None, **options: Any) -> Run:
        settings = {"environment_settings": {"folder": str(stand)}, "run_dir": tmp_path / "runs", "on": on}
        return polyak.train("sac", "marred:Marred-v0", **{**settings, **CONFIG, **options})

    return run


@pytest.fixture(scope="module")
def whole(stand: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What all of these runs must come to: with local collectors, undisturbed."""
    settings = {"environment_settings": {"folder": str(stand)}, "run_dir": tmp_path_factory.mktemp("whole")}
    with pytest.MonkeyPatch.context() as patch:
        put_here(patch)
        return polyak.train("sac", "marred:Marred-v0", **settings, **CONFIG)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every actor that was asked for."""
    found, start = list[Any](), Actors.start

    def noted(self: Actors, beginning: Any) -> Any:
        found.append(start(self, beginning))
        return found[-1]

    monkeypatch.setattr(Actors, "start", noted)
    return found


def happens(stand: Path, fault: str) -> None:
    (stand / "fault").write_text(fault)


# In step


def test_actors_give_what_local_collectors_give_bit_for_bit(
    joined: str, train: Callable[..., Run], whole: Run, made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "PUT_BYTES", 1)  # policies are stored, as large ones are
    run = train(joined)
    assert_same(run, whole)
    assert run.settings["on"] == joined
    assert len(made) == 2


def test_all_that_makes_experience_better_is_the_same_with_actors(
    joined: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics, priorities and goals where rounds enter replay; held noise and its spread with the environment."""
    asked: dict[str, Any] = {**COMBINED, **COLLECTORS, **ALL, "run_dir": tmp_path / "runs"}
    quick: dict[str, Any] = {"preset": "defaults", "probe": False, "backend": "torch"}  # JAX's threads suffer no fork
    shown = untrained_run(tmp_path / "shown", GOALS, hindsight=True, **quick)
    run = polyak.train("td3", GOALS, on=joined, demonstrations=shown.folder, **asked)
    put_here(monkeypatch)
    assert_same(run, polyak.train("td3", GOALS, demonstrations=shown.folder, **asked))


def test_another_kind_of_processor_is_said(
    joined: str, train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "processor", lambda: "one of another kind")
    notes = dict[str, str]()

    class Looks(Silent):
        def started(self, progress: Progress) -> None:
            notes.update(progress.facts)

    run = train(joined, observer=Looks(), steps=16)
    assert notes["not exact"] == run.settings["machine"]["not_exact"]
    assert notes["not exact"].startswith(f"collectors compute on {processor()}, this process on one of another kind: ")


def test_free_collectors_deliver_all_steps_also_where_one_is_killed(
    joined: str, stand: Path, train: Callable[..., Run], made: list[Any]
) -> None:
    """The other could deliver all that is left before Ray tells of the death: the first epoch ends when it has."""

    class Waits(Silent):
        def epoch_ended(self, progress: Progress) -> None:
            wait_for(lambda: any(map(is_lost, made)))

    happens(stand, "kill")
    run = train(joined, collection="free", observer=Waits())
    assert saved(run).manifest.step == CONFIG["steps"]
    assert saved(run).replay.added == CONFIG["steps"]
    assert len(made) == 3


def test_a_killed_collector_is_made_again_and_nobody_notices(
    joined: str, stand: Path, train: Callable[..., Run], whole: Run, made: list[Any]
) -> None:
    happens(stand, "kill")
    assert_same(train(joined), whole)
    assert len(made) == 3


def test_one_that_is_killed_while_actions_are_random_too(
    joined: str, stand: Path, train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray brings can be read alone, and the noise of an episode that ends is then written into."""
    happens(stand, "kill")
    disturbed = train(joined, start_steps=64)
    put_here(monkeypatch)
    assert_same(disturbed, train(start_steps=64))


def test_one_that_hangs_is_made_again(
    joined: str, stand: Path, train: Callable[..., Run], whole: Run, made: list[Any]
) -> None:
    happens(stand, "hang")
    try:
        assert_same(train(joined, step_timeout=2.5), whole)  # which a slow one has to keep
    finally:
        let_go(stand)
    assert len(made) >= 3


def test_one_that_is_lost_at_the_same_place_again_ends_the_run(
    joined: str, stand: Path, train: Callable[..., Run], made: list[Any]
) -> None:
    happens(stand, "always")
    with pytest.raises(TrainingError, match=r"was lost twice at the same place, .*: its process ended"):
        train(joined)
    (stand / "fault").unlink()
    assert len(made) >= 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", r"the environment raised RuntimeError in collector [01] \(environments .*: the simulator broke"),
        ("nan", r"environment [0-3] returned a non-finite reward in collector [01] \(environments .*: nan; the fault"),
    ],
)
def test_a_fault_of_the_environment_ends_the_run_which_goes_on_from_there(
    fault: str, said: str, joined: str, stand: Path, train: Callable[..., Run], whole: Run, tmp_path: Path
) -> None:
    happens(stand, fault)
    with pytest.raises(TrainingError, match=said):
        train(joined)
    (folder,) = (tmp_path / "runs").glob("*/sac/*")
    assert_same(polyak.resume(folder), whole)


def test_a_dead_node_takes_nothing_also_where_no_other_has_room(
    cluster: Simulated, joined: str, train: Callable[..., Run], made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each collector asks for all of a node, one of which is killed after the first epoch."""

    class Kills(Silent):
        def epoch_ended(self, progress: Progress) -> None:
            if not killed:
                killed.append(True)
                workers = psutil.Process(raylet_of(node)).children(recursive=True)
                cluster.kill(node)
                for process in workers:  # which would outlive it for a moment, and the run may be done by then
                    process.kill()

    killed = list[bool]()
    monkeypatch.setattr(actors, "share_of", lambda collectors, processors: 2.0)
    monkeypatch.setattr(actors, "ROOM_SECONDS", 1.0)
    with cluster.node(cpus=2) as node:
        disturbed = train(joined, observer=Kills())
    assert killed
    assert len(made) > 2  # or more: until Ray knows that the node is dead, one made again may be placed there once more
    put_here(monkeypatch)
    assert_same(disturbed, train())


def test_a_new_run_waits_for_room_and_says_so(
    cluster: Simulated, joined: str, train: Callable[..., Run], whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        monkeypatch.setattr(actors, "ROOM_SECONDS", 0.0)
        monkeypatch.setattr(actors, "share_of", lambda collectors, processors: 4.0)

        def warn(message: str, **_: Any) -> None:
            said.append(message)
            stack.enter_context(cluster.node(cpus=8))  # the others stay as they are

        said = list[str]()
        monkeypatch.setattr(actors, "warnings", SimpleNamespace(warn=warn))  # not everybody's: each call makes a node
        assert_same(train(joined), whole)
    assert said == [f"collectors wait for room on {joined}, where each asks for 4 processors"]


# Where the driver itself is ended


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("watched", "the process that works with Ray was killed by SIGKILL"),
        ("gcs_server", "the cluster's head is gone, so that Ray has ended the process that worked with it"),
    ],
)
def test_what_ends_the_driver_is_told_and_the_run_goes_on(
    ends: str, said: str, joined: str, stand: Path, whole: Run, tmp_path: Path
) -> None:
    """The one process is killed, while a collector hangs and all wait for it: the driver, or the head of its Ray."""
    flags = [word for name, value in CONFIG.items() if name != "probe" for word in flag(name, value)]
    command = ["train", "sac", "marred:Marred-v0", *flags, "--no-probe", "--env-setting", f"folder={stand}"]
    command += ["--checkpoint-every", "8", "--run-dir", str(tmp_path), "--on", joined if ends == "watched" else "ray"]
    happens(stand, "hang")
    environment = process_environment() | {"RAY_gcs_rpc_server_reconnect_timeout_s": "1"}
    process = start_cli(*command, cwd=stand, env=environment)
    try:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        wait_for((stand / "hangs").exists)
        for each in psutil.Process(process.pid).children(recursive=True):
            if ends in " ".join(each.cmdline()):
                each.kill()
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        let_go(stand)
    assert process.returncode == 1
    goes_on = f"the newest checkpoint of {folder} is whole, and `polyak resume {folder}` goes on from it"
    assert errors.splitlines()[-1] == f"polyak: {said}; {goes_on}"
    assert_same(polyak.resume(folder, on=joined), whole)


def flag(name: str, value: Any) -> list[str]:
    return [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]


def is_lost(actor: actors.Actor) -> bool:
    """Whether it is known that what it owes will not come."""
    import ray

    try:
        if ray.wait([actor.owed], timeout=0)[0]:
            actor.receive()
    except Lost:
        return True
    return False


def let_go(stand: Path) -> None:
    """A process that has stopped itself heeds nobody but SIGKILL."""
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((stand / "hangs").read_text()), signal.SIGKILL)
    (stand / "hangs").unlink(missing_ok=True)


# How much each asks for


@pytest.mark.parametrize(
    ("collectors", "processors", "share"),
    [
        (2, [4.0], 1.0),
        (4, [4.0, 0.0], 1.0),
        (8, [4.0], 0.5),
        (7, [2.0, 2.0], 0.5),
        (3, [2.0], 0.6666),
        (5, [1.0, 8.0], 1.0),
        (1000, [2.0], 0.002),
        (2, [], 1.0),
    ],
)
def test_collectors_share_the_processors(collectors: int, processors: list[float], share: float) -> None:
    assert share_of(collectors, processors) == share
    assert share == 1.0 or sum(int(each / share + 1e-9) for each in processors) >= collectors
