"""Where many runs run, from `--on`, `--jobs`, `--threads`, `--gpus`: processes of this machine, or Ray."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from polyak.cli.request import shares
from polyak.errors import UsageError
from polyak.many import cluster
from polyak.many.local import Here
from polyak.many.places import Place
from polyak.settings.kinds import require
from polyak.settings.options import Options

MOST_GPUS = 64


@dataclass(frozen=True)
class Where:
    """Where runs run, and how many at a time."""

    on: str | None
    """As `--on` says it; None is this machine."""
    at_once: int
    threads: int
    """Of each run."""
    gpus: float = 0.0
    """The share of a GPU of each run on a cluster."""
    jobs: int | None = None
    """Runs at a time, as far as that was asked for."""
    collectors: int = 0
    """Processes of each run beside the one that learns."""

    @property
    def is_here(self) -> bool:
        """Whether the runs are processes of this machine, without Ray."""
        return self.on is None

    def __str__(self) -> str:
        """For instance `2 at a time, 1 thread each`."""
        gpus = f", {self.gpus:g} GPU" if self.gpus else ""
        each = f"{self.threads} thread{'s' * (self.threads != 1)}{gpus} each"
        if self.on is None:
            return f"{self.at_once} at a time, {each}"
        name = "Ray on this machine" if self.on == cluster.HERE else f"Ray at {self.on.removeprefix(cluster.JOINED)}"
        return f"on {name}, {f'{self.at_once} at a time' if self.jobs else 'as many as it has room for'}, {each}"

    @property
    def words(self) -> list[str]:
        """How a command line says it."""
        if self.on is None:
            return ["--jobs", str(self.at_once)]
        gpus = ["--gpus", f"{self.gpus:g}"] if self.gpus else []
        return ["--on", self.on, *gpus, *(["--jobs", str(self.jobs)] if self.jobs else [])]

    @contextmanager
    def open(self, say: Callable[[str], None]) -> Generator[Place]:
        """The place, for the length of the block; `say` is told in a line of runs that have to go on elsewhere.

        Raises:
            UsageError: there is no such place.
        """
        if self.on is None:
            yield Here()
            return
        from polyak.many.ray import Share, runs_on

        with runs_on(self.on, Share(self.threads + self.collectors, self.gpus), say) as place:
            yield place


def placed(options: Options, gpus: float | None, runs: int, jobs: int | None) -> Where:
    """Where so many runs run, as was asked for.

    Raises:
        UsageError: it cannot be.
    """
    on = options.on
    if on is None:
        if gpus is not None:
            raise UsageError(f"gpus is {gpus:g}, but the runs are processes of this machine: it goes with --on ray")
        at_once, threads = shares(runs, jobs, options.threads)
        return Where(None, at_once, threads)
    cluster.asked_of(on)
    cluster.installed()
    require("jobs", jobs, jobs is None or jobs >= 1, "at least 1")
    limit = f"above 0 and at most {MOST_GPUS}; above 1, a whole number"
    given = gpus is None or (0 < gpus <= MOST_GPUS and (gpus <= 1 or gpus == int(gpus)))
    require("gpus", gpus, given, limit)
    if gpus is not None and options.device == "cpu":
        raise UsageError(f"gpus is {gpus:g}, but the device is cpu: leave one of them out")
    share = gpus if gpus is not None else float(options.device == "cuda")
    return Where(on, min(runs, jobs or runs), options.threads or 1, share, jobs, options.collectors or 0)
