"""Many runs of one kind in one process, in lockstep, so that one framework and one device serve all of them.

Each round brings every run to the launch of its next burst; then all bursts are started, and while they are computed
the runs step their environments. Everything else, a run's folder above all, is as of a run that is alone.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from polyak import frameworks
from polyak.errors import Interrupted, TrainingError, UsageError
from polyak.frameworks import Group
from polyak.run.callbacks import making
from polyak.run.folder import Run
from polyak.run.loop import Loop
from polyak.run.plan import Plan
from polyak.run.progress import Observer, Silent, tell_stopping, watching
from polyak.run.start import new_loop, settled
from polyak.settings.kinds import Seed, checked, require
from polyak.system.signals import signals_marked, signals_noted, time_limit
from polyak.system.threads import one_numpy_thread


class SomeFailedError(TrainingError):
    """Runs failed; the others went on to their end."""

    def __init__(self, runs: list[Run], failures: Mapping[int, Exception]) -> None:
        reasons = "; ".join(f"seed {seed}: {error}" for seed, error in failures.items())
        super().__init__(f"{len(failures)} of {len(runs)} runs failed, what they learned is saved: {reasons}")
        self.runs = runs
        """All of them, in the order of the seeds."""
        self.failures = failures
        """Seed and what went wrong."""


def train(plan: Plan, seeds: Sequence[int], observers: Sequence[Observer] = ()) -> list[Run]:
    """Train a run of the plan for each seed; the runs in their order.

    Raises:
        UsageError, SomeFailedError, Interrupted: as `polyak.train_together` says.
    """
    seeds, watchers = asked_for(seeds, observers)
    frameworks.require_together(plan.backend)
    if plan.collectors is not None:
        raise UsageError(
            f"collectors is {plan.collectors}, but runs that train together step their environments in this process, "
            "in lockstep: leave collectors out, or train the seeds as runs of their own (--jobs)"
        )
    if len(seeds) > 1:
        making.require_for_many(plan.callbacks)
    with signals_marked(), one_numpy_thread(), ExitStack() as stack:
        plan = settled(plan)
        group = frameworks.make_group(plan.backend, plan.execution)
        seats = _seats(stack, plan, seeds, group, watchers)
        _drive(seats, group)
    return _concluded(seats)


def asked_for(seeds: Sequence[int], observers: Sequence[Observer]) -> tuple[list[int], list[Observer]]:
    """The seeds, and who watches each.

    Raises:
        UsageError: one is none, or there are not as many of the one as of the other.
    """
    chosen = [checked("seeds", seed, Seed) for seed in _listed("seeds", seeds)]
    if not chosen or len(set(chosen)) < len(chosen):
        raise UsageError(f"seeds is {chosen[:20]}, but must name at least one seed, and each once")
    watchers = [watching(each) for each in _listed("observers", observers)] or [Silent() for _ in chosen]
    right = f"that of the seeds, {len(chosen)}, or 0"
    require("number of observers", len(watchers), len(watchers) == len(chosen), right)
    return chosen, watchers


def _listed(name: str, given: Any) -> list[Any]:
    require(name, given, isinstance(given, Iterable) and not isinstance(given, str | bytes), "several, as a list")
    return list(cast(Iterable[Any], given))


@dataclass(eq=False)
class _Seat:
    """One run among the others."""

    loop: Loop
    stack: ExitStack
    """Holds what the run has open."""
    error: TrainingError | Interrupted | None = None

    def end(self, error: TrainingError | Interrupted | None = None) -> None:
        """Close the run's environments and files, and tell its observer."""
        self.error = error
        if error is not None:  # what is open learns how it ended
            self.stack.__exit__(type(error), error, error.__traceback__)
            return
        try:
            self.stack.close()
        except TrainingError as another:  # its mirror is behind
            self.error = another


def _seats(
    stack: ExitStack, plan: Plan, seeds: Sequence[int], group: Group, observers: Sequence[Observer]
) -> list[_Seat]:
    """A seat for each seed, its first episodes begun."""
    limit = stack.enter_context(time_limit(plan.step_timeout))  # one for all: there is one timer in a process
    seats: list[_Seat] = []
    for seed, observer in zip(seeds, observers, strict=True):
        own = stack.enter_context(ExitStack())
        loop = new_loop(own, replace(plan, seed=seed), limit, observer, group, len(seeds))
        plan = loop.plan  # with what the first run's probe found, and told: all are in one environment
        plan = replace(plan, found=plan.found and plan.found._replace(wrong=False))
        seats.append(_Seat(loop, own))
        try:
            loop.collector.begin()
        except TrainingError as error:
            loop.progress.error, loop.progress.outcome = error, str(error)
            seats[-1].end(error)
    return seats


def _drive(seats: Sequence[_Seat], group: Group) -> None:
    """All runs to their ends; a signal ends all of them, each after the step that it is in."""
    running: dict[_Seat, Generator[None]] = {}

    def told() -> None:
        for number, seat in enumerate(running):  # the first speaks for all
            tell_stopping(seat.loop.observer if number == 0 else Silent(), seat.loop.progress, len(running))

    with signals_noted(told) as signals:
        running |= {seat: seat.loop.bursts(signals) for seat in seats if seat.error is None}
        try:
            while running:
                for seat, bursts in list(running.items()):
                    try:
                        next(bursts)
                    except StopIteration:
                        del running[seat]
                        seat.end()
                    except (TrainingError, Interrupted) as error:
                        del running[seat]
                        seat.end(error)
                group.launch()
        except BaseException as error:
            for bursts in running.values():
                with suppress(BaseException):
                    bursts.throw(error)  # each saves what it has
            raise


def _concluded(seats: Sequence[_Seat]) -> list[Run]:
    """The runs, where none was interrupted or failed."""
    made, errors = [seat.loop.run for seat in seats], {seat.loop.plan.seed: seat.error for seat in seats}
    for error in errors.values():
        if isinstance(error, Interrupted):
            raise Interrupted(error.signal_number, "RUN")
    failures = {seed: error for seed, error in errors.items() if isinstance(error, TrainingError)}
    if failures:
        raise SomeFailedError(made, failures) from next(iter(failures.values()))
    return made
