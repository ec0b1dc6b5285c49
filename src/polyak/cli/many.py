"""What `train --seeds` and `compare` share: many runs, each a process of its own, watched, summed up and reported.

Each is `polyak train ... --seed N --threads T`, and equals that bit for bit. Standard output has a line for each run's
folder as it starts, and last the path of the report.
"""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

from polyak.algorithms import titled
from polyak.cli.driver import tell_begun
from polyak.cli.output import own_output
from polyak.cli.request import MOST_RUNS, Request, replay_needed, require_memory, seeds_of, value_in
from polyak.cli.where import Where, placed
from polyak.errors import UsageError
from polyak.many import sweep
from polyak.many.words import passed_on
from polyak.run.folder import Run
from polyak.settings.kinds import require
from polyak.system.memory import readable_bytes
from polyak.views.choice import ViewOfMany, make_view_of_many
from polyak.views.picture import readable_time
from polyak.views.sweep import LiveView

SETTLED = ("--seed", "--seeds", "--jobs", "--on", "--gpus", "--threads", "--run-dir", "--plain", "--no-plain")
"""What of the command line is settled here for each run; the rest is passed on as it is."""


@dataclass(frozen=True)
class Variant:
    """What is trained with each of the seeds."""

    request: Request
    arguments: tuple[str, ...]
    """The options of `train` as they were written."""
    name: str = ""
    """By which it is told from the others, if there are any."""


def train_seeds(request: Request, arguments: Sequence[str]) -> int:
    """`polyak train ALGORITHM ENVIRONMENT --seeds ...`."""
    if value_in(list(arguments), "--seed") is not None:
        raise UsageError("--seed and --seeds are both given: --seeds alone says which seeds there are")
    seeds = str(request.many.seeds)
    title = f"{titled(request.plan.algorithm.name)} on {request.plan.label}, seeds {seeds}"
    return run_all([Variant(request, tuple(arguments))], seeds_of(seeds), title)


def run_all(variants: Sequence[Variant], seeds: Sequence[int], title: str) -> int:
    """Check everything, train each variant with each seed, and return the exit code: 0 only where all are done.

    Seed by seed through all variants, so that what is there after an interruption can be compared.

    Raises:
        UsageError: something asked for cannot be; nothing has been started.
    """
    options, asked = variants[0].request.options, variants[0].request.many
    count = len(variants) * len(seeds)
    require("number of runs", count, count <= MOST_RUNS, f"at most {MOST_RUNS:,}: give fewer seeds")
    where = placed(options, asked.gpus, count, asked.jobs)
    with own_output() as output:
        memory = max(replay_needed(variant.request.plan) for variant in variants)
        if where.is_here:
            require_memory(where.at_once * memory, f"{where.at_once} runs at a time", "lower --jobs or --replay-size")
        jobs = [_job(variant, seed, where.threads) for seed in seeds for variant in variants]
        facts = {
            "runs": f"{count}, {where}",
            "replay": f"will use {readable_bytes(memory * (where.at_once if where.is_here else 1))}"
            + " in each" * (not where.is_here),
            **said_of(variants),
            "each is": f"as by `{command(jobs[0], ['--seed', 'N'])}`, bit for bit" if len(variants) == 1 else "",
        }
        view = make_view_of_many(title, {name: fact for name, fact in facts.items() if fact}, plain=asked.plain)
        return _run(jobs, where, options.run_dir, view, output)


def _run(jobs: Sequence[sweep.Job], where: Where, run_dir: Path, view: ViewOfMany, output: TextIO) -> int:
    with where.open(view.say) as place:
        begun, signal_number = time.monotonic(), 0
        try:
            watcher = PrintsFolders(output, view)
            trials = sweep.run(jobs, at_once=where.at_once, run_dir=run_dir, watcher=watcher, place=place)
        except sweep.SweepInterrupted as interrupted:
            trials, signal_number = interrupted.trials, interrupted.signal_number
    again = [*where.words, "--run-dir", str(run_dir)]
    return concluded(trials, summary(trials, again, time.monotonic() - begun), run_dir, signal_number, output)


def concluded(
    trials: Sequence[sweep.Trial], said: Sequence[str], run_dir: Path, signal_number: int, output: TextIO
) -> int:
    """Say how it went, write the report, and return the exit code; `signal_number` is 0 where no signal ended it."""
    for line in said:
        print(line, file=sys.stderr, flush=True)
    if any(trial.evaluated is not None for trial in trials):
        # Also those that failed: without them, only the lucky ones would be compared.
        made = [trial.run for trial in trials if trial.run is not None]
        print(_report(made, run_dir), file=output, flush=True)
    return 128 + signal_number if signal_number else int(any(trial.state != "done" for trial in trials))


def _report(runs: Sequence[Run], run_dir: Path) -> Path:
    from polyak.report.page import write_report

    return write_report(runs, run_dir / f"compare-{datetime.now().astimezone():%Y%m%d-%H%M%S}.html")


def _job(variant: Variant, seed: int, threads: int) -> sweep.Job:
    plan = variant.request.plan
    options = (*passed_on(variant.arguments, SETTLED), "--threads", str(threads))
    return sweep.Job(plan.algorithm.name, plan.name, seed, options, plan.config.length, variant.name)


def said_of(variants: Sequence[Variant]) -> dict[str, str]:
    """Preset, framework and steps of each variant."""
    return {
        variant.name or "settings": f"preset {variant.request.plan.preset}, {variant.request.plan.backend}, "
        f"{variant.request.plan.config.length:,} {variant.request.plan.config.unit}{_untrained(variant)}"
        for variant in variants
    }


def _untrained(variant: Variant) -> str:
    said = variant.request.plan.config.learns_nothing
    return f"; {said}" if said else ""


# What became of it


class PrintsFolders:
    """Puts each run's folder on standard output as soon as it exists, and leaves the rest to a view."""

    def __init__(self, output: TextIO, view: ViewOfMany) -> None:
        self._output, self._view = output, view
        self.begun, self.say, self.stopping, self.closed = view.begun, view.say, view.stopping, view.closed

    def news(self, trial: sweep.Trial, news: sweep.News) -> None:
        """Print it; on a terminal that a live table is drawn on, through the table's own console, above it."""
        if news == "started" and trial.run is not None:
            tell_begun(trial.run.folder)
            if isinstance(self._view, LiveView) and self._output.isatty():
                self._view.say(str(trial.run.folder))
            else:
                print(trial.run.folder, file=self._output, flush=True)
        self._view.news(trial, news)


def summary(trials: Sequence[sweep.Trial], again: Sequence[str], seconds: float) -> list[str]:
    """How it went, in lines: how many are done, which are not and why, and the commands that go on.

    `again` says where, as further words of a command line.
    """
    done = sum(trial.state == "done" for trial in trials)
    lines = [f"{done} of {len(trials)} runs done in {readable_time(seconds)}"]
    lines += [f"  {trial.job.name} failed: {trial.reason}" for trial in trials if trial.state == "failed"]
    behind = [trial for trial in trials if trial.state != "done"]
    folders = [str(trial.run.folder) for trial in behind if trial.run is not None and trial.resumable]
    resumed = [f"  {shlex.join(['polyak', 'resume', folder])}" for folder in folders]
    lines += ["to go on:", *resumed] if resumed else []
    anew: dict[tuple[str, ...], list[sweep.Trial]] = {}
    for trial in behind:
        if not trial.resumable:
            anew.setdefault((trial.job.algorithm, trial.job.environment, *trial.job.options), []).append(trial)
    lines += ["to start what has not begun:"] if anew else []
    for alike in anew.values():
        seeds = ",".join(str(trial.job.seed) for trial in alike)
        lines.append(f"  {command(alike[0].job, ['--seeds', seeds, *again])}")
    return lines


def command(job: sweep.Job, more: Sequence[str]) -> str:
    """The command line that trains it."""
    return shlex.join(["polyak", "train", job.algorithm, job.environment, *job.options, *more])
