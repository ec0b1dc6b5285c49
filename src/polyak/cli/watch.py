"""`polyak watch RUN`: a run's policy, or that of a file, in a window."""

from pathlib import Path

from polyak.cli.named import Name, Which, player_named
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.views.watching import make_watch_view


def watch(
    run: Name,
    *,
    policy: Which = "last",
    episodes: int | None = None,
    seed: int = 0,
    stochastic: bool = False,
    environment: str | None = None,
    run_dir: Path = Path("runs"),
) -> None:
    """Watch a run's policy in a window, at the environment's own rate, episode after episode until Ctrl-C.

    Args:
        run: the run's folder, or latest; or the file of a policy, which needs --environment.
        policy: last, or best: that of the best evaluation.
        episodes: how many; without it, until Ctrl-C, or until the window is closed.
        seed: from which the episodes' seeds are drawn: those of evaluate and record.
        stochastic: draw each action: SAC's is sampled, to DDPG's and TD3's exploration noise is added.
        environment: another environment than the run's, as an id or module:Id.
        run_dir: where latest, the run begun last, is looked for.
    """
    with own_output() as output:
        player = player_named(run, run_dir, best=policy == "best", environment=environment)
        player.require_screen()
        view = make_watch_view(output)
        try:
            player.watch(episodes, seed=seed, deterministic=not stochastic, viewer=view)
        except KeyboardInterrupt:
            if episodes is not None:  # else that is how it ends
                raise
        finally:
            view.close()


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(watch, arguments, "watch")
