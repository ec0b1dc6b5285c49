"""`polyak train ALGORITHM ENVIRONMENT --seeds ... --together`: a run for each seed, all in this process."""

import signal
import time
from collections.abc import Sequence

from polyak import frameworks
from polyak.algorithms import titled
from polyak.cli.apart import Prints, environments_apart
from polyak.cli.many import PrintsFolders, Variant, command, concluded, said_of, summary
from polyak.cli.request import Request, replay_needed, require_memory, seeds_of, value_in
from polyak.errors import UsageError
from polyak.frameworks.execution import count_of_threads
from polyak.many import sweep, together
from polyak.many.seat import Seat
from polyak.many.words import passed_on
from polyak.run.start import settled
from polyak.system.memory import readable_bytes
from polyak.views.choice import ViewOfMany, make_view_of_many

SETTLED = ("--seed", "--seeds", "--together", "--no-together", "--run-dir", "--plain", "--no-plain")
"""What of the command line is not passed on to a run that is to be started by itself."""


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
        jobs = [sweep.Job(plan.algorithm.name, plan.name, seed, passed, plan.config.length) for seed in seeds]
        execution = settled(plan).execution
        exact = frameworks.make_group(plan.backend, execution).exact
        facts = {
            "runs": f"{len(seeds)}, together in this process",
            "replay": f"will use {readable_bytes(memory)}",
            **said_of([Variant(request, passed)]),
            "device": "cuda" if execution.device == "cuda" else f"cpu, {count_of_threads(execution)}",
            "each is": f"as by `{command(jobs[0], ['--seed', 'N'])}`, {'bit for bit' if exact else 'up to rounding'}",
        }
        title = f"{titled(plan.algorithm.name)} on {plan.label}, seeds {request.many.seeds}"
        view = KeepsPrints(prints, make_view_of_many(title, facts, prints.errors, plain=request.many.plain))
        trials, begun = [Seat(job, options.run_dir, view) for job in jobs], time.monotonic()
        number = _train(request, trials, view, prints)
        said = summary(trials, ["--jobs", str(len(seeds)), "--run-dir", str(options.run_dir)], time.monotonic() - begun)
        return concluded(trials, said, options.run_dir, number, prints.output)


def _train(request: Request, trials: Sequence[Seat], view: PrintsFolders, prints: Prints) -> int:
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
    if request.options.on is not None:
        raise UsageError(
            f"--together and --on {request.options.on} are both given: what trains together is in this one process"
        )
    frameworks.require_together(request.options.backend)
    return seeds_of(asked.seeds)


class KeepsPrints(PrintsFolders):
    """Also keeps what the environments print, in the first run's folder."""

    def __init__(self, prints: Prints, view: ViewOfMany) -> None:
        super().__init__(prints.output, view)
        self._prints = prints

    def news(self, trial: sweep.Trial, news: sweep.News) -> None:
        """As there; and where a folder is new, the log belongs into it."""
        if news == "started" and trial.run is not None:
            self._prints.keep(trial.run.folder)
        super().news(trial, news)
