"""What a checkpoint holds, everything compared before it is believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyak.algorithm import Algorithm, policy_body
from polyak.algorithms.checks import require_parts
from polyak.errors import UnreadableError, UsageError
from polyak.experience.replay import Replay
from polyak.networks.weights import Shapes, shapes
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.description import require_description
from polyak.run.folder import Run
from polyak.run.learned import expected_learner, sensible
from polyak.run.ledger import names_measured
from polyak.run.metrics import SIZE_LIMIT
from polyak.run.origin import algorithm_of
from polyak.run.plan import Plan, plan_of
from polyak.run.start import make_replay
from polyak.system import arrayfiles
from polyak.types import Arrays, Spec


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    manifest: Manifest
    algorithm: Algorithm
    spec: Spec
    learner: Arrays
    loop: Arrays
    replay: Replay
    metrics: bytes
    best: bytes | None
    batches: Arrays
    callbacks: Arrays
    demonstrations: Replay | None


def newest(checkpoints: Checkpoints, run: Run, steps: int | None = None) -> Saved:
    """The newest whole checkpoint of a run; errors as for `read_checkpoint`, and where there is none."""
    try:
        return checkpoints.newest(lambda made: read_checkpoint(checkpoints, made, steps), run.settings_if_whole)
    except UnreadableError as error:
        try:  # what a new run would begin with
            checkpoints.newest(lambda made: checkpoints.content(made.files["learner"]))
        except UsageError:
            raise error from error.__cause__
        hint = f"its learner is whole, and `polyak train ... --from {run.folder}` begins a new run with it"
        raise UnreadableError(f"{error}; {hint}") from error


def read_checkpoint(checkpoints: Checkpoints, of: Manifest, steps: int | None = None) -> Saved:
    """Read all of a checkpoint, whose run is to have `steps` in the end if they are to be other than before.

    No array takes memory before its file was found to be as long as the manifest says, and its shape to be that of the
    settings.

    Raises:
        UnreadableError: a file is missing or damaged.
        UnavailableError: a file cannot be read just now.
        UsageError: memory is short for what the run will keep, or the checkpoint is not what it should be; the message
            names the manifest.
    """
    with sensible(checkpoints.folder / of.name):
        algorithm = algorithm_of(str(of.run["algorithm"]), checkpoints.folder.parent)
        plan, spec = plan_of(of.run, str(of.run["environment"]), algorithm), Spec.from_json(of.state["spec"])
        seen = spec.seen
        require_parts(algorithm, seen, plan.config)
        require_description(of.run, str(checkpoints.folder / of.name))
        loop = checkpoints.loop(of, _loop_arrays(plan, spec, of.state))
        expected = expected_learner(algorithm, seen, plan.config, checkpoints.size(of.files["learner"]))
        learner = checkpoints.learner(of, algorithm.name, expected)
        at_once = plan.config.update_every if plan.collectors else plan.envs  # of a round, or of a step
        ahead = 0 if plan.config.offline else max((steps or plan.config.steps) - of.step, 0) + at_once
        replay = checkpoints.replay(of, make_replay(plan, spec, plan.side_by_side, expected=of.added + ahead))
        metrics = checkpoints.content(of.files["metrics"], SIZE_LIMIT)
        best = checkpoints.content(of.files["best"], arrayfiles.SIZE_LIMIT) if "best" in of.files else None
        kept = checkpoints.batches(of), checkpoints.callbacks(of), _demonstrations(checkpoints, of, plan, spec)
    return Saved(of, algorithm, spec, learner, loop, replay, metrics, best, *kept)


def _demonstrations(checkpoints: Checkpoints, of: Manifest, plan: Plan, spec: Spec) -> Replay | None:
    if (plan.demonstrations is None) != (not of.demonstrations):
        has = "none" if plan.demonstrations else "some"
        raise UsageError(
            f"the run's demonstrations are {plan.demonstrations or 'none'}, but the checkpoint holds {has}"
        )
    return checkpoints.demonstrations(of, spec)


def _loop_arrays(plan: Plan, spec: Spec, state: Mapping[str, Any]) -> Arrays:
    """The loop's arrays as they must be, without memory of their own."""
    metrics = len(names_measured(state, plan.algorithm.metrics))
    shapes: dict[str, tuple[int, ...]] = {
        "measured": (int(state["measured"]), metrics),
    }
    if not plan.config.offline:
        shapes["exploration_noise"] = (plan.side_by_side, spec.action_size)
        shapes["observation"] = (plan.side_by_side, spec.observation_size)
    if "launched" in state:
        shapes["launched"] = (int(state["launched"]), metrics)
        shapes |= {f"policy/{name}": shape for name, shape in _actor_shapes(plan, spec.seen).items()}
        if plan.config.normalize_observations:
            shapes |= dict.fromkeys(("normalizer/mean", "normalizer/scale"), (spec.seen.observation_size,))
        if plan.config.prioritized != "none":
            shapes["errors"] = (int(state["launched"]), plan.config.batch_size)
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def _actor_shapes(plan: Plan, spec: Spec) -> Shapes:
    return shapes(policy_body(plan.algorithm.state(spec, plan.config)), spec.observation_size)
