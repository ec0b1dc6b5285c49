"""What a command line of `train` asks for; and what many runs ask for, checked before the first of them starts."""

import contextlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, cast

import tyro

from polyak import frameworks
from polyak.algorithm import Algorithm
from polyak.algorithms import frameworks_of, require_page, titled
from polyak.algorithms.checks import require_parts
from polyak.cli.flags import flags_of_options
from polyak.cli.output import own_output
from polyak.cli.parsing import HINTED, hinted, read
from polyak.environments.additions import NOTHING, Additions
from polyak.environments.make import Environment, make_environments
from polyak.errors import UsageError
from polyak.experience.replay import memory_needed
from polyak.run.callbacks import making
from polyak.run.plan import Plan, asked_algorithm, plan_with, resolve
from polyak.run.start import bytes_beside, make_replay
from polyak.settings.kinds import require
from polyak.settings.options import BACKENDS, Options, Vectorization, options_of
from polyak.settings.shared import Settings
from polyak.system.memory import memory_free, readable_bytes
from polyak.system.randomness import Streams
from polyak.system.stores import store_at
from polyak.system.stores.store import require_writable
from polyak.system.threads import physical_cores
from polyak.types import Spec

C = TypeVar("C", bound=Settings)
F = TypeVar("F")


@dataclass(frozen=True)
class Asked(Generic[C, F]):
    """What `train` takes besides the algorithm and the environment."""

    options: Annotated[F, tyro.conf.arg(name="")]
    """As `polyak.settings.options` declares them."""
    settings: Annotated[C, tyro.conf.arg(name="")]
    """The algorithm's settings; the defaults shown are those of the preset in force."""
    seeds: Annotated[str | None, HINTED] = None
    """Several seeds, as 0-4 or 0,3,7: a run for each, in processes of their own, and one report about all."""
    together: bool = False
    """With --seeds and jax, all runs in this one process: for a GPU, which one run does not fill."""
    jobs: Annotated[int | None, HINTED] = None
    """With --seeds, runs at a time; by default as many as the physical cores serve with --threads each."""
    gpus: Annotated[float | None, HINTED] = None
    """With --seeds and --on, the share of a GPU that each run asks for, such as 0.25; by default 1 with --device cuda,
    else none."""
    plain: bool = False
    """Print lines instead of the live view."""


@dataclass(frozen=True)
class Request:
    """What one command line asks for."""

    plan: Plan
    options: Options
    """As they were written: the plan's paths are whole."""
    many: "Asked[Settings, Any]"
    """Seeds, jobs and the view."""


def parse(
    name: str, environment: str, arguments: list[str], kind: type["Asked[Any, Any]"] = Asked, command: str = "train"
) -> Request:
    """What the options after ALGORITHM ENVIRONMENT ask for; a `command` that takes more has a `kind` of its own.

    Raises:
        UsageError: an unknown algorithm, preset or earlier run; a setting out of its limits.
        SystemExit: the parser's, after it has said what is wrong, or shown the help that was asked for.
    """
    there = value_in(arguments, "--collectors") not in (None, "None")  # which makes another lag the default
    before = options_of(
        {
            "preset": value_in(arguments, "--preset"),
            "from_run": value_in(arguments, "--from"),
            "collectors": 1 if there else None,
        }
    )
    algorithm = asked_algorithm(name, before.from_run)
    chosen = resolve(algorithm, environment, None, before, {})
    defaults = chosen.config
    if chosen.in_environment_units and {"-h", "--help"} & set(arguments):
        with own_output():
            half_range = spec_of_instance(environment).action_half_range
        defaults = plan_with(algorithm, environment, before, chosen).with_fractions(half_range).config
    flags, settings = flags_of_options(), hinted(algorithm.Config)
    does = "Train" if command == "train" else "Search settings for"
    given: Asked[Any, Any] = read(
        cast(Any, kind)[settings, flags],
        arguments,
        f"{command} {name} {environment}",
        default=kind(options=flags(), settings=settings(**vars(defaults))),
        description=f"{does} {titled(algorithm.name)} on {environment}. Preset in force: {chosen.preset}."
        f"{_where(algorithm)}",
        who=algorithm.name,
        before={"algorithm": "ALGORITHM", "environment": "ENVIRONMENT"},
    )
    options = options_of({**vars(given.options), "preset": before.preset, "from_run": before.from_run})
    left = tuple(setting for setting in chosen.in_environment_units if not _is_given(arguments, setting))
    config = algorithm.Config(**cast(dict[str, Any], vars(given.settings)))
    chosen = chosen._replace(config=config, in_environment_units=left)
    return Request(plan_with(algorithm, environment, options, chosen), options, given)


def _where(algorithm: Algorithm) -> str:
    """The frameworks in which an algorithm has a page, where that is not all of them."""
    there = frameworks_of(algorithm)
    return "" if len(there) == len(BACKENDS) else f" It is in {' and '.join(there)}."


def _is_given(arguments: list[str], setting: str) -> bool:
    return f"--{setting}" in {word[:2] + word[2:].partition("=")[0].replace("-", "_") for word in arguments}


def value_in(arguments: list[str], flag: str) -> str | None:
    """The value of a flag that is needed before the rest can be parsed, because it sets the defaults."""
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
        if argument == flag:
            if position + 1 == len(arguments):
                raise UsageError(f"{flag} needs a value")
            return arguments[position + 1]
    return None


def spec_of_instance(
    environment: Environment,
    vectorization: Vectorization = "sync",
    max_episode_steps: int | None = None,
    additions: Additions = NOTHING,
) -> Spec:
    """What an environment shows and takes, which one says that is made for it alone.

    Raises:
        UsageError: it cannot be made.
    """
    with contextlib.chdir("."):  # a simulator may go elsewhere, from where the runs would start
        made = make_environments(
            environment,
            1,
            Streams(0).environment,
            vectorization="sync" if vectorization == "async" else vectorization,
            max_episode_steps=max_episode_steps,
            additions=additions,
        )
        made.close()
    return made.spec


# Many runs

MOST_RUNS = 10_000


def seeds_of(text: str) -> list[int]:
    """The seeds that `0-4` or `0,3,7` or `0-2,10` names, in this order.

    Raises:
        UsageError: it is none of these, names a seed twice, or names more than `MOST_RUNS`.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,20})\s*(?:-\s*([0-9]{1,20})\s*)?", part)
        require("seeds", text, match is not None, "whole numbers of at least 0 or ranges, as 0-4 or 0,3,7 or 0-2,10")
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if last < first:
            raise UsageError(f"seeds has {part!r}, a range that ends before it begins: write {last}-{first}")
        require("seeds", text, len(seeds) + last - first < MOST_RUNS, f"at most {MOST_RUNS:,} seeds")
        seeds += range(first, last + 1)
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1}) if len(set(seeds)) < len(seeds) else []
    if twice:
        raise UsageError(f"seeds is {text!r}, which names {twice[0]} twice: name each seed once")
    return seeds


def shares(runs: int, jobs: int | None, threads: int | None) -> tuple[int, int]:
    """Runs at a time, and threads of each: together the physical cores, as far as nothing else is asked for.

    Raises:
        UsageError: `jobs` is below 1.
    """
    require("jobs", jobs, jobs is None or jobs >= 1, "at least 1")
    cores = physical_cores()
    at_once = min(runs, jobs or max(1, cores // (threads or 1)))
    return at_once, threads or max(1, cores // at_once)


def replay_needed(plan: Plan) -> int:
    """Check at the door what a run would check, short of importing its framework; the bytes that its replay will use.

    Raises:
        UsageError: a run of this could not begin.
    """
    frameworks.require_backend(plan.backend)
    require_page(plan.algorithm, plan.backend)
    making.require(plan.callbacks)
    if plan.mirror:
        require_writable(store_at(plan.mirror))
    spec = spec_of_instance(plan.environment, plan.vectorization, plan.config.max_episode_steps, plan.additions)
    config = plan.with_fractions(spec.action_half_range).config
    require_parts(plan.algorithm, spec.seen, config)
    make_replay(plan, spec, plan.side_by_side)
    sizes = spec.observation_size, spec.action_size, bytes_beside(config)
    return memory_needed(min(config.replay_size, config.steps), *sizes)


def require_memory(needed: int, runs: str, remedy: str) -> None:
    """Check that the replays of `runs` fit into the memory that is free.

    Raises:
        UsageError: they do not.
    """
    free = memory_free()
    if needed > free:
        raise UsageError(
            f"{runs} will need {readable_bytes(needed)} for replay, but {readable_bytes(free)} are free: {remedy}"
        )
