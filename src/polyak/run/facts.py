"""What a run tells of itself: at its start, and where what was asked for is not there."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from polyak.environments.goals import Goals
from polyak.environments.traits import Traits
from polyak.experience.collector import Episode
from polyak.experience.replay import Replay
from polyak.frameworks.execution import count_of_threads
from polyak.policies.evaluation import MOST_STEPS
from polyak.run.metrics import Record
from polyak.run.plan import Plan
from polyak.settings.shared import Settings
from polyak.system.memory import readable_bytes


def told_of(plan: Plan, traits: Traits) -> dict[str, str]:
    """What the environments say of themselves that the user should know."""
    found: dict[str, str] = {}
    if not traits.time_limited:
        ends = f", an evaluation's after {MOST_STEPS:,} steps at the latest" if plan.evaluate_in != "never" else ""
        waits = "; evaluation waits for an episode's end" if plan.evaluate_in == "training" else ""
        found["time limit"] = (
            f"none is known: episodes end where the environment ends them{ends}{waits}; --max-episode-steps sets one"
        )
    if traits.averages:
        found["averages"] = (
            f"{', '.join(traits.averages)} normalizes by running averages, which are in no checkpoint: evaluation has "
            "others than training, and resume begins anew with them; ask for --normalize-observations and "
            "--normalize-rewards instead"
        )
    return found


ENDS = {
    "environment": "whether one ends the episode is asked of the environment",
    "never": "none ends an episode",
    "reward": "one ends the episode where the greatest reward is given",
}


def told_of_goals(plan: Plan, goals: Goals | None) -> dict[str, str]:
    """What is worth knowing where goals are set in hindsight."""
    if goals is None:
        return {}
    others = plan.config.hindsight_goals
    told = f"{others} of {others + 1} transitions are of a goal achieved later in their episode; "
    told += ENDS[plan.config.goal_ends]
    if goals.rows_apart:
        told += f"; {' and '.join(goals.rows_apart)} row by row, as they do not take many at once"
    if goals.more:
        told += f"; there is more in rewards than theirs, which has no part in it ({goals.more})"
    return {"hindsight": told}


EVALUATED = {
    "process": "in a process of its own",
    "training": "in the environment that trains, at the first episode's end after the epoch",
    "never": "never",
}
"""Where, in words."""


def facts(plan: Plan, envs: int, replay: Replay, demonstrations: Replay | None = None) -> Mapping[str, str]:
    """What is worth knowing of a run at its start."""
    execution, config = plan.execution, plan.config
    memory = readable_bytes(replay.capacity * replay.row_bytes)
    device = "cuda" if execution.device == "cuda" else f"cpu, {count_of_threads(execution)}"
    rhythm = "every step" if config.update_every == 1 else f"every {config.update_every} steps"
    rhythm += ", computed while the environments go on" if config.lag else ""
    added = {
        "arguments": ", ".join(f"{name}={value}" for name, value in plan.environment_settings.items()),
        "wrappers": ", ".join(plan.wrappers),
    }
    by_error = {"proportional": ", drawn by their errors, with weights", "lap": ", drawn by their errors (LAP)"}
    drawn = by_error.get(config.prioritized, "")
    return {
        "preset": str(plan.preset) + (", tuned without what is added below" if any(added.values()) else ""),
        **({"from": str(plan.from_run)} if plan.from_run else {}),
        **_of_demonstrations(plan, demonstrations),
        **({"mirror": plan.mirror} if plan.mirror else {}),
        "backend": f"{plan.backend} on {device}" + ("" if execution.fast else ", plain"),
        **({} if config.offline else {"replay": f"{replay.capacity:,} transitions{drawn}; replay will use {memory}"}),
        "environments": _environments(plan, envs) + (", each episode's made anew" if plan.isolation.afresh else ""),
        **{name: said for name, said in added.items() if said},
        **_repeated(config),
        **({} if plan.evaluate_in == "own" else {"evaluated": EVALUATED[plan.evaluate_in]}),
        "updates": _offline(config)
        or config.learns_nothing
        or f"{config.updates_per_step:g} per environment step, however many environments; "
        f"batch {config.batch_size}, {rhythm} from step {config.update_after:,}",
    }


def _offline(config: Settings) -> str:
    """What is said of updates that no steps are taken for; empty where some are."""
    if not config.offline:
        return ""
    burst = f", {config.update_every} at a time" if config.update_every > 1 else ""
    return f"{config.offline_updates:,}, without environment steps{burst}; batch {config.batch_size}"


def _of_demonstrations(plan: Plan, demonstrations: Replay | None) -> dict[str, str]:
    """Where they are from, how many there are, and their part of a batch."""
    if demonstrations is None:
        return {}
    rows, size = plan.config.demonstrated(plan.config.batch_size), plan.config.batch_size
    part = "all there is" if plan.config.offline else f"{rows} of the {size} rows of each batch"
    return {"demonstrations": f"{demonstrations.size:,} transitions of {plan.demonstrations}, {part}"}


def _repeated(config: Settings) -> dict[str, str]:
    """What it means that actions are repeated, if they are: what a step is, of which everything else is counted."""
    repeat = config.action_repeat
    if repeat == 1:
        return {}
    limit = "its own time limit" if config.max_episode_steps is None else f"the limit of {config.max_episode_steps:,}"
    whole = "" if config.offline else f": {config.steps:,} steps are up to {config.steps * repeat:,} of its own"
    return {
        "action repeat": f"{repeat}: each action is taken for {repeat} of the environment's own steps, their rewards "
        f"summed, and is one step{whole}; updates, discount ({config.discount:g}) and lengths go by actions, {limit} "
        "by its own steps"
    }


def _environments(plan: Plan, envs: int) -> str:
    """How many there are, and who steps them."""
    if plan.collectors is None:
        return f"{envs} ({plan.vectorization})"
    how = "free, so that the run is not reproducible" if plan.collection == "free" else "in step"
    steps = plan.config.update_every // envs
    one = "step" if steps == 1 else "steps"
    return f"{envs}, {plan.envs} in each of {plan.collectors} collectors, {how}; a round is {steps} {one} of each"


def warn_of_missing(asked: Sequence[str], record: Record, episodes: Collection[Episode]) -> None:
    """Say which of the numbers `asked` of infos no episode of a record had, and what those that are known had."""
    missing = [name for name in asked if f"train/info/{name}" not in record]
    if missing:
        there = ", ".join(dict.fromkeys(name for episode in episodes for name in episode.info)) or "no other either"
        with suppress(Warning):  # where warnings are errors, too
            warnings.warn(
                f"info_metrics: no episode had {', '.join(missing)} as a number in its last step's info, which had "
                f"{there}",
                stacklevel=2,
            )
