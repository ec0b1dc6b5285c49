"""`polyak resume RUN`: go on with a run; its folder is the only line on standard output."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyak import training
from polyak.cli.output import PrintsFolder, own_output
from polyak.display import make_view
from polyak.learners.edge import Device


def resume(
    run: Annotated[Path, tyro.conf.Positional],
    *,
    steps: int | None = None,
    environment: str | None = None,
    backend: Literal["jax", "torch", "tensorflow"] | None = None,
    device: Device | None = None,
    threads: int | None = None,
    checkpoint_every: int | None = None,
    step_timeout: float | None = None,
    track: tuple[Literal["wandb", "mlflow"], ...] | None = None,
    replay_seconds: float = training.REPLAY_SECONDS,
    plain: bool = False,
) -> None:
    """Go on with a run that was interrupted, killed or failed, from its last whole checkpoint, as if nothing had been.

    A run that has ended is extended with --steps.

    Args:
        run: the run's folder.
        steps: environment steps of the whole run, if they are to be other than before.
        environment: what it trains on (an id or module:Id), where that was a callable.
        backend: another framework than before; not bit for bit then.
        device: another device than before; not bit for bit then.
        threads: another number of threads than before; not bit for bit then.
        checkpoint_every: environment steps between checkpoints from now on.
        step_timeout: seconds that the environments may take for one answer from now on.
        track: other trackers than before from now on; --track alone is none.
        replay_seconds: how long the running episodes may take to be enacted again; new ones are started otherwise.
        plain: print lines instead of the live view.
    """
    with own_output() as output:
        training.resume(
            run,
            steps=steps,
            environment=environment,
            backend=backend,
            device=device,
            threads=threads,
            checkpoint_every=checkpoint_every,
            step_timeout=step_timeout,
            track=track,
            replay_seconds=replay_seconds,
            observer=PrintsFolder(output, make_view(plain=plain)),
        )


def main(arguments: list[str]) -> None:
    """Parse and run."""
    tyro.cli(resume, args=arguments, prog="polyak resume")
