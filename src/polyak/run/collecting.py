"""Who collects for a run: a collector in this process, or many in processes of their own."""

import json
from contextlib import ExitStack

from polyak.algorithm import policy_body
from polyak.environments.elsewhere import Elsewhere
from polyak.environments.stepping import Environments
from polyak.experience.collector import Collector
from polyak.experience.crew import Crew
from polyak.experience.exploration import Manner
from polyak.experience.offline import Offline
from polyak.experience.processes import Processes
from polyak.experience.remote import Collectors, Free, InStep, Rhythm
from polyak.experience.replay import Replay
from polyak.experience.rounds import Beginning, Head, Place
from polyak.run.plan import Plan
from polyak.settings.shared import Settings
from polyak.system.randomness import Streams
from polyak.system.threads import processor

Collecting = Collector | Collectors | Offline


def collector_of(
    stack: ExitStack, plan: Plan, streams: Streams, environments: Environments | Elsewhere, replay: Replay
) -> Collecting:
    """The run's, which has not begun; `stack` ends what it starts."""
    if isinstance(environments, Environments) and plan.config.offline:
        return Offline(environments, plan.config.update_every)
    if isinstance(environments, Environments):
        return Collector(environments, streams.warm_up, streams.exploration, manner_of(plan.config))
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


def started(collector: Collecting) -> None:
    """Let collectors start that are to begin a new run, so that what cannot be is said before there is a folder.

    Raises:
        UsageError, TrainingError: as `Crew.start` says.
    """
    if isinstance(collector, Collectors):
        collector.start()


def on_other_processors(collector: Collecting) -> str:
    """What is worth knowing of collectors that compute on another kind of processor than this process; else empty."""
    others = collector.other_processors if isinstance(collector, Collectors) else []
    if not others:
        return ""
    return (
        f"collectors compute on {', '.join(others)}, this process on {processor()}: another kind may round otherwise, "
        "so that the run need not be the one that all on one kind would be"
    )


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
