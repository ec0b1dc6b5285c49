"""`drive`: a policy in a control loop of its own rate."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from polyak.deploy.drive.asked import Asked
from polyak.deploy.drive.clock import Clock, Monotonic, switching_soon
from polyak.deploy.drive.control import Control, Unchanging, best, drawn, made
from polyak.deploy.drive.learning import learned
from polyak.deploy.drive.observer import Observer, Silent
from polyak.deploy.drive.pilot import WhenLate
from polyak.deploy.drive.report import Drive
from polyak.deploy.drive.steered import StopOn
from polyak.deploy.drive.thinking import Thinking, Thread
from polyak.deploy.drive.words import facts, failed
from polyak.environments.handed import Given
from polyak.errors import UsageError
from polyak.experience.collector import Collector
from polyak.policies.player import Player
from polyak.run.folder import Run
from polyak.run.runs import named
from polyak.settings.door import door
from polyak.settings.kinds import checked, require
from polyak.system.randomness import Streams
from polyak.system.signals import signals_marked, signals_noted
from polyak.system.threads import one_numpy_thread


@door
def drive(
    run: str | Path | Run | Player,
    environment: Given | None = None,
    *,
    rate: float,
    steps: int | None = None,
    episodes: int | None = None,
    when_late: WhenLate = "repeat",
    action_rate_limit: float | None = None,
    stop_on: str | StopOn | None = None,
    seed: int = 0,
    deterministic: bool = True,
    step_timeout: float | None = 600.0,
    learn: bool = False,
    queue_size: int = 1_000,
    run_dir: str | Path = "runs",
    observer: Observer | None = None,
) -> Drive:
    """Let a run's policy act `rate` times a second, until Ctrl-C or one of `steps` and `episodes` are done.

    Each step is given to the environment when it is due, whether the policy is ready or not. An environment that
    answers only after the next step was due is an overrun: the next step follows as soon as it has its action, and the
    clock goes on from there, so that none is left out and none is made up for. With each episode the clock begins anew,
    a period before its first step, however long the reset took. Nothing is reset once the loop is to end, and the
    environment is closed.

    With `learn`, a run is trained meanwhile, in another process, which the loop never waits for: it is sent each
    transition, and sends each new actor. A run that such a loop began goes on in its folder, with its learner, replay
    and streams; of any other, a new run is begun `--from` it, below `run_dir`. Actions explore.

    Args:
        run: the run, or its folder, or "latest"; or a Player, which has a policy and an environment of its own.
        environment: an id, `module:Id`, a callable that makes one, or one as an object; the run's own by default.
        rate: steps a second.
        steps: after how many it ends; with `learn`, those of the run in all, by default as its settings have it.
        episodes: after how many it ends.
        when_late: what is done where the policy's action is not there in time: "repeat" the last one, give the "middle"
            of the action box, or "stop". Before an episode's first action, the last one is the middle.
        action_rate_limit: by how much each action may change in a second, in its own units; what is beyond is held
            back, and counted. A step's share is this divided by `rate`, also where a step comes late.
        stop_on: a function, or `module:function`, of (observation, action, reward, info), as the environment gave and
            got them: the loop ends where it says True, or raises.
        seed: from which the episodes' seeds are drawn: those of `evaluate`.
        deterministic: whether the policy takes its best action, or draws one.
        step_timeout: seconds after which an environment that does not answer ends the loop.
        learn: train at the same time.
        queue_size: transitions that wait for the learner at most; those for which there is no room are dropped and
            counted, and what follows them is learned from as what follows nothing.
        run_dir: where "latest" is looked for.
        observer: is told of each step, each episode and the end.

    Raises:
        UsageError: something asked for cannot be; nothing has moved.
        TrainingError: the environment raised, did not answer, or returned a number that is not finite, or the policy
            computed one; or `stop_on` raised.
    """
    names = ("started", "stepped", "episode_ended", "told", "ended")
    whole = all(callable(getattr(observer, each, None)) for each in names)
    require("observer", observer, observer is None or whole, f"one with the methods {', '.join(names)}, or None")
    asked = Asked(
        rate=rate,
        steps=steps,
        episodes=episodes,
        when_late=when_late,
        action_rate_limit=action_rate_limit,
        stop_on=cast(Any, stop_on),
        seed=seed,
        deterministic=deterministic,
        step_timeout=step_timeout,
        learn=learn,
        queue_size=queue_size,
    )
    if asked.learn:
        if isinstance(run, Player):
            raise UsageError("learn is True, but a policy alone was given, which has no learner: give its run")
        whole_run = named(run, run_dir, acting=True).placed()
        return learned(asked, whole_run, environment, checked("run_dir", run_dir, Path), observer or Silent())
    player = run if isinstance(run, Player) else named(run, run_dir, acting=True).player(environment=environment)
    return driven(asked, player, observer or Silent(), Monotonic())


def driven(asked: Asked, player: Player, observer: Observer, clock: Clock, thinking: Thinking | None = None) -> Drive:
    """Drive a policy that stays as it is.

    Raises:
        UsageError, TrainingError: as for `drive`.
    """
    streams, acting = Streams(asked.seed), best if asked.deterministic else drawn
    with signals_marked(), one_numpy_thread(), signals_noted() as signals, ExitStack() as stack:
        thread = thinking or Thread(clock)
        stack.callback(thread.close)
        with ExitStack() as environment:
            moving = made(environment, asked, player, clock, signals, streams.evaluation)
            collector = Collector(moving.environments, streams.warm_up, streams.exploration)
            control = Control(asked, moving, collector, Unchanging(player.acting), acting, thread, clock, observer)
            observer.started(facts(asked))
            with switching_soon():
                control.run(collector.begin)
    report = control.report(None, signals)
    observer.ended(report)
    if control.error is not None:
        raise failed(control.error, report)
    return report
