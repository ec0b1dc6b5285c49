"""`polyak drive RUN ENVIRONMENT --rate 50`: a policy in a control loop with a deadline."""

import json
import signal
from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.named import Name, Which, player_named, run_to_go_on
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.deploy.drive.pilot import WhenLate
from polyak.deploy.driving import drive as driven
from polyak.errors import UsageError
from polyak.policies.player import Player
from polyak.run.folder import Run
from polyak.views.driving import JsonDrive, make_drive_view

Environment = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="ENVIRONMENT")]


def drive(
    run: Name,
    environment: Environment = None,
    *,
    rate: float | None = None,
    steps: int | None = None,
    episodes: int | None = None,
    when_late: WhenLate = "repeat",
    action_rate_limit: float | None = None,
    stop_on: str | None = None,
    policy: Which = "last",
    seed: int = 0,
    stochastic: bool = False,
    step_timeout: float | None = 600.0,
    learn: bool = False,
    queue_size: int = 1_000,
    run_dir: Path = Path("runs"),
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Let a run's policy act at a rate of its own, each step when it is due, until Ctrl-C; say how well it kept time.

    Args:
        run: the run's folder, or latest; or the file of a policy, which needs an environment.
        environment: an id, or module:Id of one of your own, such as a robot; by default the run's.
        rate: steps a second.
        steps: after how many it ends; with --learn, those of the run in all, by default as its settings have it.
        episodes: after how many it ends.
        when_late: what a policy that is late is answered with: the last action once more, the middle of the action box,
            or the end.
        action_rate_limit: by how much an action may change in a second, in its own units; what is beyond is held back.
        stop_on: module:function of your own, asked after each step of (observation, action, reward, info): the loop
            ends where it says True.
        policy: last, or best: that of the best evaluation.
        seed: from which the episodes' seeds are drawn: those of evaluate.
        stochastic: draw each action: SAC's is sampled, to DDPG's and TD3's exploration noise is added.
        step_timeout: seconds after which an environment that does not answer ends the loop; None waits for ever.
        learn: train meanwhile, in another process, which the loop never waits for. A run that drive --learn began
            in this environment goes on in its folder; of any other, a new run is begun --from it.
        queue_size: transitions that wait for the learner at most; where there is no room, they are dropped.
        run_dir: where latest, the run begun last, is looked for.
        as_json: print one JSON object with how it ended, steps, returns, lateness (p50, p99, worst in milliseconds),
            overruns, late, limited; and with --learn, learning.
    """
    if rate is None:
        raise UsageError("drive needs --rate, the steps a second: --rate 50")
    with own_output() as output:
        given = run_or_player(run, run_dir, best=policy == "best", environment=environment, learn=learn)
        view = JsonDrive() if as_json else make_drive_view(output)
        try:
            report = driven(
                given,
                environment if learn else None,
                rate=rate,
                steps=steps,
                episodes=episodes,
                when_late=when_late,
                action_rate_limit=action_rate_limit,
                stop_on=stop_on,
                seed=seed,
                deterministic=not stochastic,
                step_timeout=step_timeout,
                learn=learn,
                queue_size=queue_size,
                run_dir=run_dir,
                observer=view,
            )
        finally:
            view.close()
            if isinstance(view, JsonDrive) and view.drive is not None:
                print(json.dumps(view.drive.to_json()), file=output)
    if report.learning is not None and report.learning["lost"]:
        return 1
    without_end = steps is None and episodes is None  # then Ctrl-C is how it ends
    return 0 if report.signal_number in (None, signal.SIGINT if without_end else None) else 128 + report.signal_number


def run_or_player(name: str, run_dir: Path, *, best: bool, environment: str | None, learn: bool) -> Run | Player:
    """What is driven: a policy in its environment, or to learn, a run.

    Raises:
        UsageError: there is none, or it is a policy alone.
    """
    if not learn:
        return player_named(name, run_dir, best=best, environment=environment)
    if best:
        raise UsageError("--learn goes on with a run's learner, whose policy is the last one: leave --policy best out")
    return run_to_go_on(name, run_dir)


def main(arguments: list[str]) -> int:
    """Parse and run."""
    return call(drive, arguments, "drive")
