"""A run's demonstrations, read where they are: arrays, a Minari dataset, or what another run has in replay."""

from pathlib import Path

from polyak.errors import UsageError
from polyak.experience import datasets, minari
from polyak.experience.replay import Replay
from polyak.run.checkpoints import Checkpoints, segments
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.folder import Run
from polyak.run.plan import Plan, is_run
from polyak.settings.demonstrated import Recorded
from polyak.types import Spec


def demonstrations_of(plan: Plan, spec: Spec) -> Replay | None:
    """Those of a new run, in a replay that is full and stays as it is; None where it has none.

    Raises:
        UsageError: there are none where it was said, or they are not of this environment, or do not fit into memory.
    """
    given = plan.demonstrations
    if given is None:
        return None
    if isinstance(given, Recorded):
        return datasets.of_arrays(given, spec)
    if is_run(str(given)):
        return _of_run(Run(Path(str(given))), spec)
    return minari.demonstrations(str(given), spec)


def _of_run(run: Run, spec: Spec) -> Replay:
    """What the newest whole checkpoint of a run has in replay; nothing else of the run is looked at."""
    run.require_no_links()
    _ = run.settings
    if not run.checkpoints.is_dir():
        raise UsageError(f"demonstrations is {run.folder}, but this run has no checkpoint, which has its replay")
    checkpoints = Checkpoints(run.checkpoints)
    found, theirs = checkpoints.newest(lambda made: (replay_in(checkpoints, made), spec_in(made)), run.settings)
    if not theirs.agrees_with(spec) or theirs.observation_parts != spec.observation_parts:
        raise UsageError(
            f"demonstrations: {run.folder} was trained where observations and actions are {_told(theirs)}, but the "
            f"environment's are {_told(spec)}"
        )
    if found.size == 0:
        raise UsageError(f"demonstrations: the run {run.folder} has nothing in replay yet")
    return found


def spec_in(made: Manifest) -> Spec:
    """What the environment of a checkpoint's run shows and takes.

    Raises:
        UsageError: the manifest does not say so.
    """
    try:
        return Spec.from_json(made.state["spec"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{made.name} does not say what its environment shows and takes") from error


def replay_in(checkpoints: Checkpoints, made: Manifest) -> Replay:
    """What a checkpoint has in replay, and room for no more; the algorithm that learned from it is not imported.

    Raises:
        UsageError: a segment is missing or damaged, or it does not fit into memory.
    """
    spec = spec_in(made)
    first = made.segments[0].first if made.segments else made.added
    try:
        capacity = int(made.run["settings"]["replay_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{checkpoints.folder / made.name} does not say how large its replay was") from error
    held = min(made.added - first, capacity)
    if held < 1:
        return Replay(1, spec.observation_size, spec.action_size)
    datasets.require_memory(str(checkpoints.folder.parent), held, spec)
    replay = Replay(held, spec.observation_size, spec.action_size)
    segments.load(replay, made.added, made.segments, checkpoints.content, checkpoints.folder)
    return replay


def _told(spec: Spec) -> str:
    bounds = " to ".join(str(each.tolist())[:60] for each in (spec.action_low, spec.action_high))
    named = f" by the parts {str(spec.observation_parts)[:120]}" if spec.observation_parts else ""
    return f"{spec.observation_size}{named} and {spec.action_size} numbers, of {bounds}"
