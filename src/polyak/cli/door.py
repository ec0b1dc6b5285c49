"""What many runs ask for, checked before the first of them starts."""

import contextlib
import re

from polyak import frameworks, tracking
from polyak.cli.train import Request
from polyak.environments.make import make_environments
from polyak.errors import UsageError
from polyak.experience.replay import memory_needed
from polyak.run.assembly import make_replay
from polyak.run.plan import Plan
from polyak.run.start import require_names
from polyak.settings.kinds import require
from polyak.system.memory import memory_free, readable_bytes
from polyak.system.randomness import Streams
from polyak.system.threads import physical_cores

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


def replay_needed(request: Request) -> int:
    """Check at the door what a run would check, short of importing its framework; the bytes that its replay will use.

    Raises:
        UsageError: a run of this could not begin.
    """
    options, config = request.options, request.settings
    frameworks.require_backend(options.backend)
    tracking.require(options.track)
    algorithm = require_names(request.algorithm, request.environment)
    plan = Plan(algorithm=algorithm, environment=request.environment, config=config, **vars(options))
    with contextlib.chdir("."):  # a simulator may go elsewhere, from where the runs would start
        probe = make_environments(
            request.environment,
            1,
            Streams(0).environment,
            vectorization="sync" if options.vectorization == "async" else options.vectorization,
            max_episode_steps=config.max_episode_steps,
        )
        probe.close()
    make_replay(plan, probe.spec, options.envs)
    held = min(config.replay_size, config.steps)
    return memory_needed(held, probe.spec.observation_size, probe.spec.action_size)


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
