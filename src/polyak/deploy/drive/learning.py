"""A control loop that learns: the loop in this process, a run that is fed by it in another."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from polyak.deploy.drive.asked import Asked
from polyak.deploy.drive.clock import Clock, Monotonic, switching_soon
from polyak.deploy.drive.control import Control, Moving, drawn, made
from polyak.deploy.drive.link import Link
from polyak.deploy.drive.messages import Beginning, Ready
from polyak.deploy.drive.observer import Observer
from polyak.deploy.drive.outbox import state_of
from polyak.deploy.drive.report import Drive
from polyak.deploy.drive.thinking import Thinking, Thread
from polyak.deploy.drive.words import facts, failed
from polyak.environments.handed import Given
from polyak.environments.make import Environment
from polyak.errors import UsageError
from polyak.experience.collector import Collector
from polyak.policies.player import Player
from polyak.run.collecting import here
from polyak.run.folder import Run
from polyak.run.origin import algorithm_of
from polyak.run.plan import name_of
from polyak.settings.shared import Settings
from polyak.system.randomness import Streams
from polyak.system.signals import signals_marked, signals_noted
from polyak.system.threads import one_numpy_thread, physical_cores


def learned(
    asked: Asked,
    run: Run,
    given: Given | None,
    run_dir: Path,
    observer: Observer,
    clock: Clock | None = None,
    thinking: Thinking | None = None,
) -> Drive:
    """Drive, and learn at the same time.

    Raises:
        UsageError, TrainingError: as for `drive`.
    """
    require_policy(run)
    clock, player = clock or Monotonic(), run.player(environment=given)
    with signals_marked(), one_numpy_thread(), signals_noted() as signals, ExitStack() as stack:
        thread = thinking or Thread(clock)
        stack.callback(thread.close)
        with ExitStack() as environment:
            streams = Streams(asked.seed)
            moving = made(environment, replace(asked, steps=None), player, clock, signals, streams.environment)
            beginning = beginning_of(asked, run, player, moving, run_dir)
            link = Link(beginning, asked.queue_size, observer.told)
            stack.callback(link.close)
            ready = link.ready(signals)
            if ready is None:
                raise KeyboardInterrupt
            config = config_of(Run(ready.folder))
            moving.ending.after(config.steps - ready.steps)
            collector = here(config, streams, moving.environments)
            link.begin(collector, config.update_every)
            control = Control(asked, moving, collector, link, drawn, thread, clock, observer)
            observer.started({**facts(asked), **told_of(ready, beginning, config, asked.queue_size)})
            with switching_soon():
                control.run(partial(begin, collector, ready))
        link.finish()
    report = control.report(link.learning(ready), signals)
    observer.ended(report)
    if control.error is not None:
        raise failed(control.error, report)
    return report


def require_policy(run: Run) -> None:
    """Check that a run that a control loop began has come to its first policy.

    Raises:
        UsageError: it was killed before, and nothing is in it that could be gone on with.
    """
    if "driven" in run.settings and not run.policy_file.exists():
        raise UsageError(
            f"{run.folder} has no policy, because it was killed before the end of its first epoch: "
            f"begin again from {run.settings['from_run']}"
        )


def beginning_of(asked: Asked, run: Run, player: Player, moving: Moving, run_dir: Path) -> Beginning:
    """What a learner begins from: it goes on with a run that a control loop has begun in the same environment."""
    if config_of(run).hindsight:
        raise UsageError(
            f"{run.folder} learns with hindsight, for which it asks an environment of its own what other goals would "
            "have been rewarded with: a control loop has none; leave --learn out"
        )
    name = name_of(cast(Environment, player.environment))
    environments, described = moving.environments, run.settings
    options = {
        "run_dir": run_dir.absolute(),
        "seed": asked.seed,
        "backend": described["backend"],
        "threads": max(1, physical_cores() - 1),
        "evaluate_in": "never",
        "probe": False,
        "environment_settings": player.environment_settings,
        "wrappers": player.wrappers,
        "info_metrics": player.info_metrics,
    }
    return Beginning(
        run=run.folder,
        goes_on="driven" in described and described["environment"] == name,
        environment=name,
        is_callable=not isinstance(player.environment, str),
        spec=environments.spec,
        traits=environments.traits,
        options=options,
        steps=asked.steps,
        rate=asked.rate,
        state=state_of(here(config_of(run), Streams(asked.seed), environments)),
    )


def config_of(run: Run) -> Settings:
    """The settings of a run's algorithm."""
    described = run.settings
    return algorithm_of(described["algorithm"], run.folder).Config(**described["settings"])


def begin(collector: Collector, ready: Ready) -> None:
    """Begin the first episode: where the run's collector stood, or a new run's."""
    if ready.state is None:
        collector.begin()
        return
    environments = collector.environments
    environments.restore(ready.state.environments)
    collector.restore(ready.state.collector, ready.state.arrays)
    collector.start_anew(np.ones(1, np.bool_))


def told_of(ready: Ready, beginning: Beginning, config: Settings, bound: int) -> dict[str, str]:
    """What is worth knowing of the run that is trained meanwhile."""
    how = f"goes on from step {ready.steps:,}" if beginning.goes_on else f"begun from {beginning.run}"
    queue = f"at most {bound:,} transitions wait for the learner; where there is no room, they are dropped"
    return {"learns": f"{ready.folder}, {how}, to step {config.steps:,}", "queue": queue}
