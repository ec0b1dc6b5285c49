"""Who collects for a run: a collector in this process, or many in processes of their own."""

import json
from contextlib import ExitStack
from typing import Any

from polyak.algorithm import policy_body
from polyak.environments.elsewhere import Elsewhere
from polyak.environments.stepping import Environments
from polyak.experience.collector import Collector
from polyak.experience.crew import Crew
from polyak.experience.exploration import Manner
from polyak.experience.offline import Offline
from polyak.experience.processes import Processes
from polyak.experience.remote import Free, InStep, Remote, Rhythm
from polyak.experience.replay import Replay
from polyak.experience.rounds import Beginning, Head, Place
from polyak.run.plan import Plan
from polyak.settings.shared import Settings
from polyak.system.randomness import Streams

Collecting = Collector | Remote | Offline


def collector_of(
    stack: ExitStack, plan: Plan, streams: Streams, environments: Environments | Elsewhere, replay: Replay
) -> Collecting:
    """The run's, which has not begun; `stack` ends what it starts."""
    if isinstance(environments, Environments) and plan.config.offline:
        return Offline(environments, plan.config.update_every)
    if isinstance(environments, Environments):
        return here(plan.config, streams, environments)
    place = _place(plan) if plan.on is None else _on_cluster(stack, plan, plan.on)
    crew = Crew(place, _beginnings(plan, environments), environments.states, replay)
    stack.callback(crew.close)
    config = plan.config
    rhythm = Rhythm((config.update_every, config.steps_per_epoch), (config.start_steps, config.steps))
    if plan.collection == "free":
        return Free(environments, crew, rhythm)
    return InStep(environments, crew, rhythm)


def manner_of(config: Settings) -> Manner:
    """How exploration noise is made, as the settings say."""
    return Manner(config.exploration_correlation, config.exploration_hold, config.exploration_spread)


def here(config: Settings, streams: Streams, environments: Environments) -> Collector:
    """One in this process, which has not begun."""
    return Collector(environments, streams.warm_up, streams.exploration, manner_of(config))


def started(collector: Collecting) -> None:
    """Let collectors start that are to begin a new run, so that what cannot be is said before there is a folder.

    Raises:
        UsageError, TrainingError: as `Crew.start` says.
    """
    if isinstance(collector, Remote):
        collector.start()


def inexact(collector: Collecting) -> str:
    """Why its run is not what another of the same seed would be; empty where it is."""
    return collector.inexact if isinstance(collector, Remote) else ""


def described(collector: Collecting) -> dict[str, Any]:
    """What a run's settings say of its collector."""
    return dict(collector.described) if isinstance(collector, Remote) else {}


def _place(plan: Plan) -> Place:
    return Processes()


def _on_cluster(stack: ExitStack, plan: Plan, on: str) -> Place:
    from polyak.experience.actors import Actors
    from polyak.many.cluster import connect

    return Actors(stack.enter_context(connect(on)), on, plan.collectors or 0)


def _beginnings(plan: Plan, environments: Elsewhere) -> list[Beginning]:
    head = plan.algorithm.head(plan.config)
    body = policy_body(plan.algorithm.state(environments.spec.seen, plan.config))
    return [
        Beginning(
            number=number,
            first=number * plan.envs,
            envs=plan.envs,
            among=environments.count,
            seed=plan.seed,
            spec=json.dumps(environments.spec.to_json()),
            make=environments.make,
            head=Head(head.kind, head.noise, body),
            manner=manner_of(plan.config),
            step_timeout=plan.step_timeout,
        )
        for number in range(plan.collectors or 0)
    ]
