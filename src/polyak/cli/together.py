"""`polyak train ALGORITHM ENVIRONMENT --seeds ... --together`: a run for each seed, all in this process."""

import signal
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from polyak import frameworks
from polyak.algorithms import titled
from polyak.cli.apart import Prints, environments_apart
from polyak.cli.many import PrintsFolders, Variant, command, concluded, passed_on, said_of, summary
from polyak.cli.request import Request, replay_needed, require_memory, seeds_of, value_in
from polyak.errors import TrainingError, UsageError
from polyak.frameworks.execution import count_of_threads
from polyak.many import sweep, together
from polyak.run.folder import Run
from polyak.run.progress import Progress
from polyak.run.start import settled
from polyak.system.memory import readable_bytes
from polyak.views.sweep import make_view

SETTLED = ("--seed", "--seeds", "--together", "--no-together", "--run-dir", "--plain", "--no-plain")
"""What of the command line is not passed on to a run that is to be started by itself."""
TAIL_LINES = 8
"""Of the traceback of an environment's own fault."""


def train_seeds(request: Request, arguments: Sequence[str]) -> int:
    """Check everything, train, and return the exit code: 0 only where all runs are done.

    Raises:
        UsageError: something asked for cannot be; nothing has been started.
    """
    plan, options = request.plan, request.options
    seeds, passed = _seeds(request, arguments), tuple(passed_on(arguments, SETTLED))
    with environments_apart(options.run_dir.absolute()) as prints:
        memory = len(seeds) * replay_needed(plan)
        require_memory(memory, f"{len(seeds)} runs together", "name fewer seeds, or lower --replay-size")
        jobs = [sweep.Job(plan.algorithm.name, plan.name, seed, passed, plan.config.steps) for seed in seeds]
        execution = settled(plan).execution
        exact = frameworks.make_group(plan.backend, execution).exact
        facts = {
            "runs": f"{len(seeds)}, together in this process",
            "replay": f"will use {readable_bytes(memory)}",
            **said_of([Variant(request, passed)]),
            "device": "cuda" if execution.device == "cuda" else f"cpu, {count_of_threads(execution)}",
            "each is": f"as by `{command(jobs[0], ['--seed', 'N'])}`, {'bit for bit' if exact else 'up to rounding'}",
        }
        title = f"{titled(plan.algorithm.name)} on {plan.name}, seeds {request.many.seeds}"
        view = PrintsFolders(prints.output, make_view(title, facts, prints.errors, plain=request.many.plain))
        trials, begun = [Seat(job, options.run_dir, view, prints) for job in jobs], time.monotonic()
        number = _train(request, trials, view, prints)
        said = summary(trials, len(seeds), options.run_dir, time.monotonic() - begun)
        return concluded(trials, said, options.run_dir, number, prints.output)


def _train(request: Request, trials: "Sequence[Seat]", view: PrintsFolders, prints: Prints) -> int:
    """Train them; the number of the signal that ended them, or 0."""
    seeds = [trial.job.seed for trial in trials]
    view.begun(trials)
    prints.part()
    try:
        together.train(request.plan, seeds, trials)
    except together.SomeFailedError:
        pass  # the summary says which, and why
    except KeyboardInterrupt as error:
        return int(getattr(error, "signal_number", signal.SIGINT))
    finally:
        view.closed()
    return 0


def _seeds(request: Request, arguments: Sequence[str]) -> list[int]:
    asked = request.many
    if asked.seeds is None:
        raise UsageError("--together is for several runs: say which seeds, as in --seeds 0-3 --together")
    if value_in(list(arguments), "--seed") is not None:
        raise UsageError("--seed and --seeds are both given: --seeds alone says which seeds there are")
    if asked.jobs is not None:
        raise UsageError(
            f"--together and --jobs {asked.jobs} are both given: either one process trains all runs, or each is a "
            "process of its own"
        )
    frameworks.require_together(request.options.backend)
    return seeds_of(asked.seeds)


class Seat(sweep.Trial):
    """A run of this process as the sweep's views see one; it is its own observer."""

    def __init__(self, job: sweep.Job, run_dir: Path, view: PrintsFolders, prints: Prints) -> None:
        super().__init__(job, run_dir)
        self._view, self._prints = view, prints

    def started(self, progress: Progress) -> None:
        """Its folder is there."""
        self.state, self.run, self.total_steps = "running", Run(progress.folder), progress.total_steps
        self._prints.keep(progress.folder)
        self._view.news(self, "started")

    def epoch_ended(self, progress: Progress) -> None:
        """It has a new record."""
        self._take(progress.record)
        self._view.news(self, "recorded")

    def ended(self, progress: Progress) -> None:
        """It has ended, however that was."""
        if progress.record.get("step", 0) > self.steps:
            self._take(progress.record)
        error = progress.error
        if isinstance(error, KeyboardInterrupt):
            self.state = "interrupted"
        elif error is not None:
            self.state, self.reason = "failed", str(error) or type(error).__name__
            self.tail = _tail(error)
        else:
            self.state = "done"
        self._view.news(self, "ended")


def _tail(error: BaseException) -> list[str]:
    """The end of the traceback of what an environment raised, which its author wants to see."""
    if not isinstance(error, TrainingError) or error.__cause__ is None:
        return []
    lines = "".join(traceback.format_exception(error.__cause__)).splitlines()
    return lines[-TAIL_LINES:]
