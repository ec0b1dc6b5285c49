"""`polyak pull REPO`: a repository's runs, brought here from the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.parsing import call


def pull(
    repo: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REPO")],
    *,
    revision: str | None = None,
    run_dir: Path = Path("runs"),
) -> None:
    """Bring the runs of a repository on the Hub here, and print their folders: evaluate, record and report take them.

    They are a stranger's: only files of a run's names are brought, and none of them is run. There is no checkpoint
    among them, so that they are not trained on.

    Args:
        repo: USER/NAME.
        revision: a branch, a tag or a commit; by default main.
        run_dir: where the runs' folders are made, USER-NAME and USER-NAME-seed-N.
    """
    from polyak.deploy.hub import pull as pulled

    for run in pulled(repo, revision=revision, run_dir=run_dir):
        print(run.folder)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(pull, arguments, "pull")
