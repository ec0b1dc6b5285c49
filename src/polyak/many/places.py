"""Where runs run: what is handed to a place, and what comes out. `many.local` is one, `many.ray` another.

A place is handed a `Job` and the folder in which the run's own is to be. It begins the run there, as the command that a
person would have typed, and gives a `Child`, which is asked again and again how it goes. Whatever the place, the run's
folder grows on this machine: what it says is read from its files (`many.sweep.Trial`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """One run to be made."""

    algorithm: str
    environment: str
    """An id or `module:Id`, which a fresh process in this folder can import."""
    seed: int
    options: tuple[str, ...] = ()
    """Further options as on the command line of `polyak train`; not --seed, --run-dir, --plain."""
    steps: int = 0
    """Environment steps that it will take, so that the time left can be told before it has started; 0 is unknown."""
    variant: str = ""
    """What it is called beside the seed."""
    resumed: str = ""
    """The folder of an earlier run of this job, which is gone on with instead of beginning anew."""

    @property
    def name(self) -> str:
        """The run in a few words."""
        return f"{self.variant} seed {self.seed}".strip()

    def words(self, run_dir: Path) -> tuple[str, ...]:
        """The command line that makes it, after `polyak`."""
        if self.resumed:
            return ("resume", self.resumed, "--plain")
        fixed = ("--seed", str(self.seed), "--run-dir", str(run_dir), "--plain")
        return ("train", self.algorithm, self.environment, *self.options, *fixed)


class Child(Protocol):
    """The process of a run, wherever it is."""

    @property
    def log(self) -> Path:
        """The file on this machine with what it wrote to standard error: `train.log`, once its run has a folder."""
        ...

    @property
    def killed(self) -> bool:
        """Whether `kill` has ended it."""
        ...

    def is_waiting(self) -> bool:
        """Whether there is no room for it yet."""
        ...

    def exit_code(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs or waits.

        Once there is one, everything that it has written is on this machine.
        """
        ...

    def folder(self) -> Path | None:
        """The run's folder on this machine, once it is there."""
        ...

    def tail(self) -> list[str]:
        """The last lines of its log."""
        ...

    def stop(self) -> None:
        """Ask it to save and end; where there is nothing to save yet, it ends at once."""
        ...

    def kill(self) -> None:
        """End it where it is; its run goes on from its newest checkpoint."""
        ...

    def wait(self) -> None:
        """Until it has ended."""
        ...

    def close(self) -> None:
        """Let go of what it held, once it has ended."""
        ...


class Place(Protocol):
    """Where runs run."""

    def begin(self, job: Job, run_dir: Path) -> Child:
        """Begin a run, whose folder will be in `run_dir`.

        Raises:
            OSError: there is no room for another process or file.
        """
        ...
