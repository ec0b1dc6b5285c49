"""Runs on the Hugging Face Hub: `push` puts them there with a card, `pull` brings them here as a stranger's."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, cast

from polyak.deploy.hub.client import Client, require_package
from polyak.deploy.hub.folder import Content, fill
from polyak.errors import UsageError
from polyak.report.groups import grouped
from polyak.run.folder import Run
from polyak.run.mirror.fetching import brought
from polyak.run.runs import named
from polyak.settings.door import door
from polyak.settings.kinds import FILLED, Count, Limit, Seed, checked, require, require_environment

if TYPE_CHECKING:
    from polyak.environments.handed import Given

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
Repo = Annotated[str, Limit("a name on the Hub, as USER/NAME", lambda name: NAME.fullmatch(name) is not None)]
Revision = Annotated[str | None, FILLED]
OTHERS = "seed-"
"""What the folders of a repository's further runs begin with."""
MOST_RUNS = 1_000


@dataclass(frozen=True)
class Pushed:
    """What was put on the Hub, or would be."""

    folder: Path | None
    """Where it lies here, if it was only written."""
    address: str | None
    """Where it is on the Hub."""
    left_out: tuple[str, ...]
    """What could not be made, and why, each in a line."""


@door
def push(
    runs: Run | str | os.PathLike[str] | Sequence[Run | str | os.PathLike[str]],
    repo: str,
    *,
    best: bool = False,
    episodes: int = 10,
    seed: int = 0,
    video: bool = True,
    license: str | None = None,  # noqa: A002 - as the Hub calls it
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    output: str | os.PathLike[str] | None = None,
    environment: "Given | None" = None,
    run_dir: str | os.PathLike[str] = "runs",
    told: Callable[[str], None] | None = None,
) -> Pushed:
    """Put runs on the Hub, in one commit: policy, settings, metrics, report, video, an ONNX copy, and a model card.

    Each run is evaluated afresh, and the card says mean and spread over so many seeds and episodes. The policy is the
    first run's; the others' lie below `seed-N/`. Checkpoints stay here: what is pulled acts, and is not trained on.

    Args:
        runs: one, or several that differ in their seed alone: runs, their folders, or "latest".
        repo: USER/NAME; made where it is not there.
        best: push the policies of the best evaluations, not the last ones.
        episodes: of each run's evaluation.
        seed: from which these episodes' seeds are drawn.
        video: record one, where the environment can be rendered.
        license: as the card names it, such as "mit"; without, it names none.
        private: make the repository private, where it is made.
        revision: a branch that is there; by default main.
        dry_run: write everything into a folder here, and send nothing; no account is needed, and no network.
        output: that folder, by default NAME, which must be new or empty.
        environment: as for `Run.evaluate`, where training got a callable.
        run_dir: where "latest" is looked for.
        told: what is called with a line as each part begins.

    Raises:
        UsageError: the runs are of several experiments, there is no such repository, or the Hub refuses.
        UnavailableError: the Hub does not answer.
        TrainingError: an environment raised while it was evaluated.
    """
    place: Path | None = checked("output", output, Path | None)
    flags = {"best": best, "video": video, "private": private, "dry_run": dry_run}
    wanted = {name: checked(name, value, bool) for name, value in flags.items()}
    require("told", told, told is None or callable(told), "a function that takes a line, or None")
    if environment is not None:
        require_environment(environment)
    content = Content(
        (),
        checked("repo", repo, Repo),
        best=wanted["best"],
        episodes=checked("episodes", episodes, Count),
        seed=checked("seed", seed, Seed),
        video=wanted["video"],
        license=checked("license", license, Annotated[str | None, FILLED]),
        environment=environment,
        told=told or (lambda line: None),
    )
    branch = checked("revision", revision, Revision)
    content = replace(content, runs=_runs(runs, checked("run_dir", run_dir, Path)))
    if place is not None and not wanted["dry_run"]:
        raise UsageError(f"output is {place}, but nothing is written here unless it is a dry run: leave it out")
    require_package()
    if wanted["dry_run"]:
        folder = _empty(place or Path(content.repo.partition("/")[2]))
        return Pushed(folder, None, fill(folder, content))
    client = Client()
    client.require_login()  # before minutes of evaluation
    with TemporaryDirectory(prefix="polyak-push-") as temporary:
        left_out = fill(Path(temporary), content)
        content.told(f"sending to {content.repo}")
        address = client.send(Path(temporary), content.repo, private=wanted["private"], revision=branch)
    return Pushed(None, address, left_out)


@door
def pull(repo: str, *, revision: str | None = None, run_dir: str | os.PathLike[str] = "runs") -> list[Run]:
    """Bring the runs of a repository here, below `run_dir`, and open them: the one at its top first.

    They are a stranger's: of what lies there, only files of a run's names are brought, none longer than it says, and
    none of them is run. They act, and are evaluated and reported on; there is no checkpoint to train on from.

    Args:
        repo: USER/NAME.
        revision: a branch, a tag or a commit; by default main.
        run_dir: each run's folder is USER-NAME, or USER-NAME-seed-N, in it.

    Raises:
        UsageError: there is no such repository, it holds no run, or another run is in that folder.
        UnavailableError: the Hub does not answer.
    """
    branch, directory = checked("revision", revision, Revision), checked("run_dir", run_dir, Path)
    repo = checked("repo", repo, Repo)
    require_package()
    store = Client().store(repo, branch)
    there = store.files()
    others = sorted(
        {name.partition("/")[0] for name in there if name.startswith(OTHERS) and name.endswith("/settings.json")}
    )
    if "settings.json" not in there:
        raise UsageError(f"{store.shown} holds no run of polyak's: it has no settings.json")
    called = repo.replace("/", "-")
    found: list[Run] = [brought(store, there, directory / called)]
    for name in others[:MOST_RUNS]:
        inside = {each.removeprefix(f"{name}/"): size for each, size in there.items() if each.startswith(f"{name}/")}
        found.append(brought(store.below(name), inside, directory / f"{called}-{name}"))
    return found


def _runs(given: Any, run_dir: Path) -> tuple[Run, ...]:
    alone = isinstance(given, str | bytes) or not isinstance(given, Sequence)
    several = [cast(Any, given)] if alone else list(cast("Sequence[Any]", given))
    found = [run if isinstance(run, Run) else named(run, run_dir, acting=True) for run in several]
    if not found:
        raise UsageError("there are no runs to push")
    for run in found:
        run.require_no_links()
    groups = grouped(found)
    if len(groups) > 1:
        labels = "; ".join(f"{group.runs[0].folder}: {group.label or group.environment}" for group in groups[:3])
        raise UsageError(f"the runs are of {len(groups)} experiments, but a repository is of one: {labels}")
    if groups[0].left_out:
        raise UsageError(
            f"{groups[0].left_out[0].folder} does not count: another run has its seed, or it was never evaluated; "
            "leave it out"
        )
    return tuple(found)


def _empty(folder: Path) -> Path:
    """A folder that is new or empty; it is made.

    Raises:
        UsageError: it is neither.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: name another with output (-o)")
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder
