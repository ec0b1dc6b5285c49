"""A Minari dataset of a run: of what it has in replay, or of fresh episodes of its policy."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from polyak.environments.handed import Given
from polyak.errors import UsageError
from polyak.experience import minari
from polyak.experience.datasets import episodes_in
from polyak.policies.evaluation import Evaluation, Watched
from polyak.run.checkpoints import Checkpoints
from polyak.run.demonstrations import replay_in, spec_in
from polyak.run.folder import Run
from polyak.run.runs import load
from polyak.settings.door import door
from polyak.settings.kinds import Count, Seed, checked, require
from polyak.system.files import require_folder
from polyak.types import Spec, Transitions


class Written(NamedTuple):
    """A dataset that has been written."""

    path: Path
    episodes: int
    transitions: int
    evaluation: Evaluation | None = None
    """What fresh episodes gave."""


@door
def write_dataset(
    run: str | Path | Run,
    output: str | Path,
    episodes: int | None = None,
    *,
    seed: int | None = None,
    best: bool = False,
    deterministic: bool = True,
    environment: Given | None = None,
    watched: Watched | None = None,
) -> Written:
    """Write a Minari dataset of what a run has in replay, or of so many fresh `episodes` of its policy.

    Of replay it is what the newest whole checkpoint holds, episode by episode; neither algorithm nor environment is
    imported. Fresh episodes are those of `Run.evaluate` with the same arguments. `output` is the dataset's folder,
    which must not be there: its name ends in a version, as lander-v0.

    Raises:
        UsageError: `seed`, `best`, `deterministic` or `environment` without `episodes`; nothing is in replay; or the
            dataset cannot be written, for instance without h5py.
        TrainingError: the environment raised, or returned a number that is not finite.
    """
    found, path = run if isinstance(run, Run) else load(run), cast(Path, checked("output", output, Path))
    require("watched", watched, watched is None or callable(watched), "a function, or None")
    asked = {
        "seed": checked("seed", seed, Seed | None) is not None,
        "best": checked("best", best, bool),
        "deterministic": not checked("deterministic", deterministic, bool),
        "environment": environment is not None,
    }
    if checked("episodes", episodes, Count | None) is None:
        for name in (name for name, given in asked.items() if given):
            raise UsageError(f"{name} is for fresh episodes, but what is in replay is written: ask for episodes")
    require_folder(path)
    minari.require_place(path)
    if episodes is None:
        return _of_replay(found, path)
    player = found.player(best=best, environment=environment)
    result, played, spec = player.play(episodes, seed=seed or 0, deterministic=deterministic, watched=watched)
    how = "" if deterministic else ", actions drawn"
    told = f"{episodes} episodes of the {player.called} of a run of polyak, seed {seed or 0}{how}."
    return _written(path, played, spec, found.settings, told)._replace(evaluation=result)


def _of_replay(run: Run, output: Path) -> Written:
    run.require_no_links()
    if not run.checkpoints.is_dir():
        raise UsageError(f"{run.folder} has no checkpoint, which would have its replay")
    checkpoints = Checkpoints(run.checkpoints)
    replay, spec = checkpoints.newest(lambda made: (replay_in(checkpoints, made), spec_in(made)), run.settings)
    if replay.size == 0:
        raise UsageError(f"{run.folder} has nothing in replay: ask for episodes, which its policy plays")
    held = replay.oldest, replay.added
    episodes = episodes_in(replay.layout.unpacked(replay.records(*held), replay.episodes(*held)))
    return _written(output, episodes, spec, run.settings, f"Replay of a run of polyak, seed {run.settings['seed']}.")


def _written(
    output: Path, episodes: Sequence[Transitions], spec: Spec, settings: Mapping[str, Any], told: str
) -> Written:
    facts = {"algorithm_name": settings["algorithm"], "description": told, **_environment(settings)}
    minari.write(output, episodes, spec, facts)
    return Written(output, len(episodes), int(np.sum([len(episode.reward) for episode in episodes])))


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """The environment as Gymnasium makes it again, where it is one of its own ids, without wrappers of polyak's run."""
    name = settings["environment"]
    if settings["environment_is_callable"] or ":" in name or settings.get("wrappers"):
        return {}
    import gymnasium

    found = gymnasium.registry.get(name)
    if found is None:
        return {}
    spec = copy.deepcopy(found)
    spec.kwargs.update(settings.get("environment_settings", {}))
    limit = settings["settings"]["max_episode_steps"]
    spec.max_episode_steps = limit or spec.max_episode_steps
    try:
        return {"env_spec": spec.to_json()}
    except (TypeError, ValueError):  # made of what has no text
        return {"env_spec": json.dumps({"id": name})}
