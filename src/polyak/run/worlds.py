"""A run's environments: the ones to train in, where it is evaluated, and what has to be known of both beforehand."""

import dataclasses
from contextlib import ExitStack
from typing import Any, NamedTuple

from polyak.environments.closing import close
from polyak.environments.elsewhere import Elsewhere
from polyak.environments.goals import Goals
from polyak.environments.handed import Handed
from polyak.environments.history import generators_kept
from polyak.environments.make import make_apart, make_elsewhere, make_environment, make_environments
from polyak.environments.probe import Found, probe, unknown
from polyak.environments.sidebyside import SideBySide
from polyak.environments.stepping import Environments
from polyak.errors import UsageError
from polyak.run.plan import Plan
from polyak.system.randomness import Streams
from polyak.system.signals import Limit


class Worlds(NamedTuple):
    """Where a run is trained and evaluated."""

    training: Environments | Elsewhere
    """The latter with collectors, whose processes have them."""
    evaluation: Environments | None
    """The same simulator as `training` where it is evaluated there; None where it is not evaluated."""
    goals: Goals | None = None
    """What says of goals that are set in hindsight how they would have been rewarded, where any are."""


def make_worlds(stack: ExitStack, plan: Plan, streams: Streams, limit: Limit) -> Worlds:
    """The environments to train in, and the one to evaluate in, whose answers `limit` limits; `stack` closes them.

    Raises:
        UsageError: they cannot be made.
    """
    how: dict[str, Any] = {
        "max_episode_steps": plan.config.max_episode_steps,
        "isolation": plan.isolation,
        "additions": plan.additions,
    }
    if plan.collectors is not None:
        training = make_elsewhere(plan.environment, plan.side_by_side, **how)
    else:
        of = streams.environment
        how |= {"vectorization": plan.vectorization, "limit": limit}
        training = make_environments(plan.environment, plan.envs, of, **how)
    stack.callback(training.close)
    evaluation = None if plan.evaluate_in == "never" else _evaluation(plan, training, streams, limit)
    if evaluation is not None:
        stack.callback(evaluation.close)
    return Worlds(training, evaluation, _goals(stack, plan, training) if plan.config.hindsight else None)


def _goals(stack: ExitStack, plan: Plan, training: Environments | Elsewhere) -> Goals:
    """Of an environment kept for that; where there can be one alone in this process, it is the one that trains."""
    if plan.evaluate_in != "own" and isinstance(training.vector, SideBySide):
        guard: Any = training.vector.envs[0]
        return Goals(guard.env, plan.name, plan.config.goal_ends, kept=False)
    with generators_kept():
        made = make_environment(
            plan.environment, max_episode_steps=plan.config.max_episode_steps, additions=plan.additions
        )
        stack.callback(close, made)
        return Goals(made, plan.name, plan.config.goal_ends)


def probed_worlds(stack: ExitStack, plan: Plan, streams: Streams, limit: Limit) -> tuple[Plan, Worlds]:
    """The same for a new run, its environment tried before, unless that was not wanted or the plan says what was found.

    Returns:
        The plan, which says so; and the environments.

    Raises:
        UsageError: they cannot be made.
    """
    if plan.found is None and not plan.probe:
        plan = dataclasses.replace(plan, found=Found())
    elif plan.found is None and plan.evaluate_in != "own":
        why = f"left out, because evaluate_in is {plan.evaluate_in}, as where there can be no second instance"
        plan = dataclasses.replace(plan, found=unknown(why))
    if plan.found is not None:
        return plan, make_worlds(stack, plan, streams, limit)
    with ExitStack() as first:
        with generators_kept():  # where they are drawn from, what was made so is made anew below
            worlds = make_worlds(first, plan, streams, limit)
            plan = dataclasses.replace(plan, found=_tried(plan, worlds, limit))
        if not plan.own_draws:
            stack.push(first.pop_all())
            return plan, worlds
    return plan, make_worlds(stack, plan, streams, limit)


def _tried(plan: Plan, worlds: Worlds, limit: Limit) -> Found:
    if worlds.training.is_one_vector:
        return Found(said="left out: a VectorEnv makes and seeds its environments itself")
    return probe(
        lambda isolation: make_environment(
            plan.environment,
            max_episode_steps=plan.config.max_episode_steps,
            isolation=isolation,
            additions=plan.additions,
        ),
        afresh=plan.isolation.afresh,
        limit=limit,
    )


def _evaluation(plan: Plan, training: Environments | Elsewhere, streams: Streams, limit: Limit) -> Environments:
    if plan.evaluate_in == "training" and isinstance(training, Environments):
        if training.count > 1 or not training.every_episode_has_a_seed:
            raise UsageError(
                "evaluate_in is training, which is for one environment whose episodes polyak starts, but there are "
                f"{training.count} ({plan.vectorization}): choose own, process or never"
            )
        return training.beside(streams.evaluation)
    try:
        if plan.evaluate_in == "process":
            return make_apart(
                plan.environment,
                training,
                streams.evaluation,
                max_episode_steps=plan.config.max_episode_steps,
                isolation=plan.isolation,
                additions=plan.additions,
                limit=limit,
            )
        return make_environments(
            plan.environment,
            1,
            streams.evaluation,
            max_episode_steps=plan.config.max_episode_steps,
            isolation=plan.isolation,
            additions=plan.additions,
            limit=limit,
        )
    except UsageError as error:
        no_process = plan.evaluate_in == "process" or isinstance(plan.environment, Handed)
        apart = "" if no_process else "process (in a process of its own), "
        raise UsageError(
            f"a second environment cannot be made beside the one that trains: {error}. polyak makes one for training "
            f"and one for evaluation; where there can be only one, choose evaluate_in (--evaluate-in) {apart}training "
            "(in the one that trains, between two episodes) or never"
        ) from error
