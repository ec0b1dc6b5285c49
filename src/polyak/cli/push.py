"""`polyak push RUN... REPO`: runs on the Hugging Face Hub, with a card."""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from polyak.cli.named import Which
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.errors import UsageError


def push(
    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN... REPO")],
    *,
    policy: Which = "last",
    episodes: int = 10,
    seed: int = 0,
    video: bool = True,
    license: str | None = None,  # noqa: A002 - as the Hub calls it
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    environment: str | None = None,
    run_dir: Path = Path("runs"),
) -> None:
    """Put runs that differ in their seed alone on the Hub: policy, settings, metrics, report, video, ONNX, a card.

    Each is evaluated afresh; the card says mean and spread, over how many seeds and episodes, and the command that
    trains them again. The policy is the first run's. The address is printed, or with --dry-run the folder.

    Args:
        names: folders of runs, or latest; and last the repository, as USER/NAME.
        policy: last, or best: that of the best evaluation.
        episodes: of each run's evaluation.
        seed: from which these episodes' seeds are drawn.
        video: record one, where the environment can be rendered.
        license: as the card names it, such as mit; by default it names none.
        private: make the repository private, where it is made.
        revision: a branch that is there; by default main.
        dry_run: write everything into a folder here, and send nothing; needs no account and no network.
        output: that folder; by default the repository's NAME, here.
        environment: another environment than the run's, as an id or module:Id.
        run_dir: where latest, the run begun last, is looked for.
    """
    from polyak.deploy.hub import push as pushed

    if len(names) < 2:
        raise UsageError("push needs runs and, last, a repository on the Hub: polyak push RUN... USER/NAME")
    chosen: dict[str, Any] = {"video": video, "license": license, "private": private, "revision": revision}
    with own_output():
        done = pushed(
            names[:-1],
            names[-1],
            best=policy == "best",
            episodes=episodes,
            seed=seed,
            dry_run=dry_run,
            output=output,
            environment=environment,
            run_dir=run_dir,
            told=_said,
            **chosen,
        )
    for line in done.left_out:
        _said(line)
    print(done.folder or done.address)


def _said(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(push, arguments, "push")
