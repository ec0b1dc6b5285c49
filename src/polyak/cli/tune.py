"""`polyak tune ALGORITHM ENVIRONMENT --trials N ...`: search for settings; its page is the only line of output.

`--show-space ALGORITHM` prints what would be searched, and `--report STORAGE` makes the page of a study again.
"""

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, cast

import tyro

from polyak.algorithms import algorithm, titled
from polyak.cli import driver
from polyak.cli.named import with_from_named
from polyak.cli.output import own_output
from polyak.cli.parsing import HINTED, read
from polyak.cli.request import Asked, C, F, Request, parse, replay_needed, require_memory, seeds_of, value_in
from polyak.cli.where import Where, placed
from polyak.errors import UsageError
from polyak.many.tune import asked as asking
from polyak.many.tune.asked import Pruner, Sampler, Search, folder_of, named, seconds
from polyak.many.tune.storage import require_optuna, shown
from polyak.many.words import given_in, passed_on
from polyak.settings import spaces
from polyak.settings.kinds import require
from polyak.settings.shared import Settings
from polyak.system.memory import readable_bytes
from polyak.system.threads import physical_cores

if TYPE_CHECKING:
    import optuna

    from polyak.many.tune.driver import Outcome
    from polyak.many.tune.outcome import Findings

USAGE = """usage: polyak tune ALGORITHM ENVIRONMENT [--trials N] [--seeds 0-1] [--storage STUDY] [options of train]
       polyak tune --show-space ALGORITHM [--space FILE.toml]
       polyak tune --report STORAGE [--study NAME] [--output PAGE]

Searches for settings: Optuna draws a trial, which is trained with every seed as an ordinary run, and pruned where
others were better. Ctrl-C saves, and the same command goes on. At the end there are a page about the search, the best
trial's settings as a preset, and the command that trains with it.

  polyak tune sac Pendulum-v1 --trials 40 --seeds 0-1 --steps 10000

`polyak tune sac Pendulum-v1 --help` lists every option; a setting that is given is not searched."""


@dataclass(frozen=True)
class AskedOfTune(Asked[C, F], Generic[C, F]):
    """What `tune` takes besides what `train` does."""

    trials: Annotated[int, HINTED] = 40
    """Trials of the whole study, those of earlier commands included."""
    storage: Annotated[str | None, HINTED] = None
    """Where the study is kept: a SQLite file, a file.journal, or the URL of a database; by default study.db in the
    study's folder, below --run-dir."""
    study: Annotated[str | None, HINTED] = None
    """The study's name, by default ALGORITHM-ENVIRONMENT."""
    timeout: Annotated[str | None, HINTED] = None
    """End in order after so long, as 2h, 90m or 1h30m; the same command goes on."""
    space: Annotated[Path | None, HINTED] = None
    """A TOML file that says what is searched, instead of the algorithm's own space; see --show-space."""
    sampler: Sampler = "tpe"
    """What draws: tpe learns from the trials before, random does not."""
    pruner: Pruner = "median"
    """What stops trials early: median those that are below the median of the others at the same step, from a third of
    their steps on; hyperband most of them, early; none nothing."""
    keep_pruned: bool = False
    """Keep the checkpoints of pruned trials, replay with them, so that their runs could be gone on with."""


OWN = tuple(
    flag
    for field in fields(AskedOfTune)
    if field.name not in ("options", "settings")
    for flag in (f"--{each}{field.name.replace('_', '-')}" for each in ("", "no-"))
)
SETTLED = (*OWN, "--seed", "--threads", "--run-dir", "--on")
"""What of the command line is settled here for each run; the rest is passed on as it is."""
SEEDS = "0-1"


def main(arguments: list[str]) -> int:
    """Parse, check, search, tell."""
    if arguments[:1] in (["-h"], ["--help"]) or arguments[1:] in (["-h"], ["--help"]) or not arguments:
        print(USAGE)
        return 0 if arguments else 2
    for flag, what in (("--show-space", _show_space), ("--report", _report)):
        if arguments[0].partition("=")[0] == flag:
            what(arguments)
            return 0
    if len(arguments) < 2 or arguments[0].startswith("-") or arguments[1].startswith("-"):
        raise UsageError("tune needs ALGORITHM ENVIRONMENT first, as in: polyak tune sac Pendulum-v1 --trials 40")
    name, environment, *rest = with_from_named(arguments)
    if value_in(rest, "--on") is not None and not driver.is_watched():
        return driver.drive(["tune", *arguments], "; what had come from its runs is here, and the same command goes on")
    with own_output() as output:
        asked = asked_for(name, environment, rest)
        outcome, found = searched(asked)
        if found.report is not None:
            print(found.report, file=output, flush=True)
    if outcome.signal_number:
        return 128 + outcome.signal_number
    return int(outcome.progress.is_whole and found.report is None)


class Asking(NamedTuple):
    """What the words of a command line ask for."""

    search: Search
    title: str
    facts: dict[str, str]
    """What is worth knowing at the start."""
    where: Where
    plain: bool


def asked_for(name: str, environment: str, rest: list[str]) -> Asking:
    """What the words after `polyak tune ALGORITHM ENVIRONMENT` ask for; nothing has been started.

    Raises:
        UsageError: it cannot be.
    """
    request = parse(name, environment, rest, AskedOfTune, "tune")
    require_optuna()
    search, where, facts = _settled(request, rest)
    title = f"search: {titled(search.algorithm.name)} on {request.plan.label}"
    return Asking(search, title, facts, where, request.many.plain)


def _settled(request: Request, rest: list[str]) -> tuple[Search, Where, dict[str, str]]:
    """The search that is asked for, where its runs run, and what is worth knowing of it."""
    plan, asked = request.plan, cast(AskedOfTune[Settings, Any], request.many)
    if asked.together:
        raise UsageError("--together is for runs of equal settings: leave it out, each run of a search has a process")
    if value_in(rest, "--seed") is not None:
        raise UsageError("tune takes --seeds, those of each trial, such as --seeds 0-1, instead of --seed")
    require("trials", asked.trials, asked.trials >= 1, "at least 1")
    seeds = seeds_of(SEEDS if asked.seeds is None else asked.seeds)
    runs, jobs = len(seeds) * asked.trials, asked.jobs
    if request.options.on is None and jobs is None:
        jobs = whole_trials(len(seeds), request.options.threads)
    where = placed(request.options, asked.gpus, runs, jobs)
    memory = replay_needed(plan)
    if where.is_here:
        require_memory(where.at_once * memory, f"{where.at_once} runs at a time", "lower --jobs or --replay-size")
    study = named(asked.study, plan.algorithm.name, plan.name)
    search, notes = asking.settled(
        algorithm=plan.algorithm,
        environment=plan.name,
        config=plan.config,
        given=given_in(rest, [field.name for field in fields(plan.config)]),
        space=asked.space,
        options=request.options,
        words=(*passed_on(rest, SETTLED), f"--threads={where.threads}"),
        seeds=tuple(seeds),
        trials=asked.trials,
        study=study,
        storage=asked.storage or str(folder_of(request.options.run_dir, study) / "study.db"),
        run_dir=request.options.run_dir,
        at_once=where.at_once,
        timeout=seconds(asked.timeout),
        sampler=asked.sampler,
        pruner=asked.pruner,
        keep_pruned=asked.keep_pruned,
    )
    facts = {
        "trials": f"{search.trials} of {len(seeds)} seed{'s' * (len(seeds) != 1)}",
        "runs": f"{where}",
        "searched": ", ".join(each.name for each in search.space),
        "settings": f"else preset {plan.preset}, {plan.backend}, {plan.config.length:,} {plan.config.unit}",
        "replay": f"will use {readable_bytes(memory * (where.at_once if where.is_here else 1))}"
        + " in each run" * (not where.is_here),
        "study": f"{search.study} in {shown(search.storage)}",
    }
    return search, where, facts | ({"note": "; ".join(notes)} if notes else {})


def whole_trials(seeds: int, threads: int | None) -> int:
    """Runs at a time on this machine, by default: all seeds of a trial, so that they can be compared step by step."""
    return seeds * max(1, physical_cores() // (seeds * (threads or 1)))


def searched(asked: Asking, *, shows: bool = True) -> "tuple[Outcome, Findings]":
    """Search; say what came of it where it is to be shown, and write page and preset.

    Raises:
        UsageError, TrainingError: as for `polyak.many.tune.driver.run`.
    """
    from polyak.many.tune import driver as driving
    from polyak.views.tune import make_view_of_search

    search = asked.search
    view = make_view_of_search(asked.title, asked.facts, plain=asked.plain) if shows else None
    with asked.where.open(view.said if view is not None else lambda text: None) as place:
        outcome = driving.run(search, view, place)
    lines, found = _concluded(outcome.study, search.folder, search.storage, search.folder / "report.html")
    if not outcome.progress.is_whole:
        lines.insert(1, f"{outcome.why or 'interrupted'}: all is saved, and the same command goes on")
    for line in lines if shows else ():
        print(line, file=sys.stderr, flush=True)
    return outcome, found


def _concluded(study: "optuna.Study", folder: Path, storage: str, page: Path) -> "tuple[list[str], Findings]":
    """What came of a study, in lines, its preset and its page written; neither where no trial is done."""
    from polyak.many.tune.outcome import command, findings, write_preset
    from polyak.report.tuning import write_search

    found = findings(study)
    lines = [f"{len(found.results)} trial{'s' * (len(found.results) != 1)}: {found.counted()}"]
    if found.best is None:
        return lines, found
    lines.append(f"best: trial {found.best.number}, score {found.best.score or 0.0:.4g}")
    preset = None
    try:
        preset = write_preset(found, folder)
        if preset is not None:
            lines += [f"its settings: {preset}", "to train with them, with seeds that the search has not seen:"]
            lines.append(f"  {command(found, preset)}")
    except UsageError as error:  # its runs have been moved: the page is worth having all the same
        lines.append(f"its settings: {error}")
    return lines, replace(found, preset=preset, report=write_search(found, page, shown(storage)))


# Besides


@dataclass(frozen=True)
class ShowSpace:
    """Print the search space of an algorithm as TOML, to begin one's own from."""

    show_space: Annotated[str, HINTED]
    """The algorithm."""
    space: Annotated[Path | None, HINTED] = None
    """A file of your own, to see how it is read."""


def _show_space(arguments: list[str]) -> None:
    asked = read(ShowSpace, arguments, "tune")
    print(spaces.written(algorithm(asked.show_space), asked.space), end="")


@dataclass(frozen=True)
class Report:
    """Make the page of a study, and the preset of its best trial, again."""

    report: Annotated[str, HINTED]
    """Where the study is kept, as for --storage."""
    study: Annotated[str | None, HINTED] = None
    """Its name, where there are several."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """The page's path; the preset is beside it."""


def _report(arguments: list[str]) -> None:
    asked = read(Report, arguments, "tune")
    require_optuna()
    from polyak.many.tune.storage import quiet
    from polyak.many.tune.study import existing

    with quiet():
        study = existing(asked.report, asked.study)
        lines, found = _concluded(study, asked.output.parent, asked.report, asked.output)
    if found.report is None:
        raise UsageError(f"no trial in {shown(asked.report)} is done, so that there is nothing to report on")
    for line in lines:
        print(line, file=sys.stderr, flush=True)
    print(found.report)
