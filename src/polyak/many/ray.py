"""Runs on a cluster of Ray: each the command that a person would have typed, in a process of its own on a node.

Its folder grows on this machine as it grows there (`many.parcels`), so that whatever becomes of the cluster, there is a
run here that goes on. A node that dies takes nothing: the run is begun again elsewhere from its newest checkpoint here.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import polyak
from polyak.errors import UsageError
from polyak.many.cluster import HERE, connect
from polyak.many.local import Log
from polyak.many.parcels import Inbox, Parcel, Piece, made_below, pieces_of, remove
from polyak.many.places import Job
from polyak.many.runner import Runner
from polyak.run.folder import Run
from polyak.run.runs import has_checkpoint

ATTEMPTS = 5
"""Of one run; after so many nodes that died below it, it is no accident."""
MISSES, MISS_SECONDS = 60, 2.0
"""How often in a row a run that never began is tried, and how long after: a node that has just died still counts as
there for a while, and may be chosen."""
NODE_SECONDS, LOOK_SECONDS = 60.0, 0.5
"""How long a node that is heard no more may take to count as dead, and how often that is looked at."""
LAST_SECONDS = 10.0
"""Until nodes have removed what they held, when all is done."""
FAILED, ENDED, KILLED = 1, -15, -9
"""Exit codes: of what has failed here, of what was ended before it began, and killed."""


class Share(NamedTuple):
    """What a run asks of a node."""

    threads: int
    """Processors: a thread of a run takes one."""
    gpus: float = 0.0
    """A share of a GPU, or several."""


@contextmanager
def runs_on(on: str, share: Share, say: Callable[[str], None] = lambda text: None) -> Generator["OnRay"]:
    """Ray as a place, started or joined for the length of the block as `on` says.

    Args:
        on: as `connect` takes it.
        share: what each run asks for.
        say: is told in a line of each run that has to go on elsewhere.

    Raises:
        UsageError: there is no Ray there; or this machine, which it is started on, does not have that share.
    """
    with connect(on) as ray:
        place = OnRay(ray, share, say)
        if (short := place.short_of()) and on == HERE:
            raise UsageError(f"{short}: ask for less")
        if short:
            say(f"{short}: they wait for one to join")
        yield place
        if place.closing:
            ray.wait(place.closing, num_returns=len(place.closing), timeout=LAST_SECONDS)


class OnRay:
    """A cluster as a place, while this process is connected to it."""

    def __init__(self, ray: Any, share: Share, say: Callable[[str], None] = lambda text: None) -> None:
        """For runs that ask for a share each."""
        self.ray, self.share, self.say = ray, share, say
        self.actor = ray.remote(Runner)
        self.closing = list[Any]()
        """What nodes are asked to do last."""

    def short_of(self) -> str:
        """What a run asks for that no node has, in words; empty where one has it."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        for name, asked in (("CPU", float(self.share.threads)), ("GPU", self.share.gpus)):
            most = max((node.get(name, 0.0) for node in nodes), default=0.0)
            if asked > most:
                return f"each run asks for {asked:g} {name}, and no node has more than {most:g}"
        return ""

    def begin(self, job: Job, run_dir: Path) -> "Remote":
        """Begin a run once there is room for it."""
        return Remote(self, job, run_dir)


class Remote:
    """A run on a node: fetched, begun again where its node dies, ended."""

    def __init__(self, place: OnRay, job: Job, run_dir: Path) -> None:
        self.killed = False
        self._place, self._ray = place, place.ray
        self._job, self._run_dir = job, run_dir
        self._log = Log(run_dir)
        self._log.path.touch()
        self._name, self._inbox = "", cast(Inbox | None, None)
        self._attempt, self._waiting, self._stopping = 0, True, False
        self._deaths, self._misses = 0, 0
        self._node = self._suspected = ""
        self._begins_at = self._looks_at = 0.0
        self._runner: Any = None
        self._coming: Any = None
        """What it has been asked for; None until it is begun again."""
        self._code: int | None = None
        if job.resumed:
            self._inbox = Inbox(Path(job.resumed))
            self._log.move(self._inbox.folder)
        self._begin()

    # What is asked of it

    @property
    def log(self) -> Path:
        """What its processes wrote to standard error, one after another."""
        return self._log.path

    def is_waiting(self) -> bool:
        """Whether no node has room for it yet."""
        return self._waiting

    def folder(self) -> Path | None:
        """The run's folder on this machine, once there is a checkpoint in it, or nothing more to come."""
        there = self._inbox is not None and (self._code is not None or has_checkpoint(Run(self._inbox.folder)))
        return self._inbox.folder if self._inbox is not None and there else None

    def exit_code(self) -> int | None:
        """Take what has arrived; the exit code once all has."""
        while self._code is None and self._is_there(timeout=0):
            self._hear()
        return self._code

    def _is_there(self, timeout: float) -> bool:
        """Whether what was asked for is here; one that is due is begun again."""
        if self._coming is None and (time.monotonic() >= self._begins_at or self._is_buried()):
            self._begin()
        if self._coming is None:
            time.sleep(min(timeout, MISS_SECONDS))
            return False
        return bool(self._ray.wait([self._coming], timeout=timeout)[0])

    def _is_buried(self) -> bool:
        """Whether the cluster knows by now that the node is dead whose run had been heard no more."""
        if not self._suspected or time.monotonic() < self._looks_at:
            return False
        self._looks_at = time.monotonic() + LOOK_SECONDS
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        return self._suspected not in alive

    def tail(self) -> list[str]:
        """The last lines of its log."""
        return self._log.tail()

    def stop(self) -> None:
        """Ask it to save and end; one that waits for a node ends at once."""
        self._stopping = True
        if self._code is None and self._waiting:
            self._end(ENDED, at_once=True)
        elif self._code is None:
            self._runner.stop.remote()

    def kill(self) -> None:
        """End it where it is; it goes on from its newest checkpoint here."""
        if self._code is None:
            self.killed = True
            self._end(KILLED, at_once=True)

    def wait(self) -> None:
        """Until it has ended, and everything is here."""
        while self.exit_code() is None:
            self._is_there(timeout=1.0)

    def close(self) -> None:
        """Let go of its folder."""
        if self._inbox is not None:
            self._inbox.close()
        else:
            self.log.unlink(missing_ok=True)

    # One attempt after another

    def _begin(self) -> None:
        """Begin it once there is room, from its newest checkpoint if there is one."""
        self._attempt += 1
        self._suspected = ""
        share, name, luggage = self._place.share, "", list[Any]()
        if self._inbox is not None:
            told = Run(self._inbox.folder).settings_if_whole or {}
            name = str(told.get("place") or self._name or self._inbox.folder.name)
            luggage = [self._ray.put(pieces) for pieces in pieces_of(self._inbox.folder)]
        asked = {"num_cpus": share.threads, "num_gpus": share.gpus, "max_restarts": 0, "max_concurrency": 4}
        self._runner = self._place.actor.options(**asked).remote(self._attempt, polyak.__version__, gpu=share.gpus > 0)
        self._coming = self._runner.start.remote(self._job, name, luggage)

    def _hear(self) -> None:
        """Take the parcel that is here, and ask for the next."""
        errors = self._ray.exceptions
        try:
            parcel = self._ray.get(self._coming)
        except errors.RayTaskError as error:  # something that the node's own machine refuses
            self._fail(f"on its node: {_in_a_line(getattr(error, 'cause', None) or error)}")
        except errors.RayError as error:
            self._lose(error)
        else:
            self._waiting, self._misses, self._node = False, 0, parcel.node or self._node
            self.take(parcel)
            if self._code is None:
                self._coming = self._runner.look.remote()

    def take(self, parcel: Parcel) -> None:
        """Put what has arrived where it belongs; what comes from an attempt that was replaced is dropped."""
        if parcel.attempt != self._attempt or self._code is not None:
            return
        try:
            if parcel.folder and self._inbox is None:
                self._inbox = Inbox(made_below(self._run_dir, parcel.folder))
                self._log.move(self._inbox.folder)
            self._name = parcel.folder or self._name
            self._take(parcel.said, parcel.pieces)
        except (OSError, UsageError) as error:
            self._fail(f"what it wrote cannot be kept here: {_in_a_line(error)}")
        else:
            if parcel.exit_code is not None:
                self._end(parcel.exit_code)

    def _take(self, said: bytes, pieces: tuple[Piece, ...]) -> None:
        if said:
            with self._log.path.open("ab") as log:
                log.write(said)
        for piece in pieces:
            if self._inbox is not None:
                self._inbox.take(piece)

    def _lose(self, error: Exception) -> None:
        """Its node or its worker is gone: begin it again, unless that is no accident."""
        if getattr(error, "actor_init_failed", False) or not isinstance(error, self._lost):
            self._fail(f"it could not be begun on its node: {_in_a_line(error)}")
        elif self._stopping:
            self._end(ENDED)
        elif self._waiting:
            self._misses += 1
            self._let_go()
            self._begins_at = time.monotonic() + MISS_SECONDS
            if self._misses >= MISSES:
                self._fail(f"no node has begun it in {MISSES} attempts, last: {_in_a_line(error)}")
        elif self._deaths + 1 >= ATTEMPTS:
            self._fail(f"its node or worker has died {ATTEMPTS} times, last: {_in_a_line(error)}")
        else:
            self._deaths += 1
            if self._inbox is not None and not has_checkpoint(Run(self._inbox.folder)):
                self._forget()
            self._let_go()
            self._waiting, self._begins_at = True, 0.0
            if isinstance(
                error, self._ray.exceptions.ActorUnavailableError
            ):  # its node may have died, and yet be chosen
                self._suspected, self._begins_at = self._node, time.monotonic() + NODE_SECONDS
            again = "goes on from its newest checkpoint" if self._inbox is not None else "begins anew"
            self._place.say(f"{self._job.name}  its node or worker has died; it {again} (attempt {self._attempt + 1})")

    @property
    def _lost(self) -> tuple[type[Exception], ...]:
        errors = self._ray.exceptions
        return (errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError)

    def _forget(self) -> None:
        """A folder in which there is nothing yet that could go on."""
        if self._inbox is not None:
            self._inbox.close()
            log = Log(self._run_dir)
            self._log.path.rename(log.path)
            self._log = log
            remove(self._inbox.folder)
            self._inbox, self._name = None, ""

    def _fail(self, reason: str) -> None:
        with self._log.path.open("a") as log:
            print(f"polyak: {reason}", file=log)
        self._end(FAILED)

    def _end(self, code: int, *, at_once: bool = False) -> None:
        self._code, self._waiting = code, False
        if at_once:
            self._let_go()
        elif self._runner is not None:
            self._place.closing.append(self._runner.close.remote())
        self._runner = self._coming = None  # with its last handle an actor ends, once it has done what it was asked

    def _let_go(self) -> None:
        """Let nothing more come from this attempt."""
        if self._runner is not None:
            with suppress(self._ray.exceptions.RayError):  # Ray has given it up already
                self._ray.kill(self._runner)
        self._runner = self._coming = None


def _in_a_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
