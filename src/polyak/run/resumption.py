"""From a checkpoint to what a run goes on from, everything compared before it is believed."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from polyak.algorithms import algorithm as algorithm_module
from polyak.environments.make import Environment
from polyak.environments.stepping import Environments
from polyak.errors import UsageError
from polyak.experience.collector import Collector
from polyak.experience.reenactment import SHOWED, reenact
from polyak.experience.replay import Replay
from polyak.networks import actor_sizes, parameter_count
from polyak.run.assembly import make_replay
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import Manifest
from polyak.run.description import require_description
from polyak.run.folder import Run, described, environment_of
from polyak.run.ledger import names_measured
from polyak.run.metrics import SIZE_LIMIT
from polyak.run.plan import Plan, plan_of
from polyak.settings.options import CHANGEABLE
from polyak.system import arrayfiles
from polyak.system.randomness import Streams
from polyak.types import Arrays, Spec

PACKAGES = {"jax": ("jax", "jaxlib"), "torch": ("torch",), "tensorflow": ("tensorflow",)}
"""What each framework's numbers depend on."""


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    manifest: Manifest
    spec: Spec
    learner: Arrays
    loop: Arrays
    replay: Replay
    metrics: bytes
    best: bytes | None


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
    with sensible(checkpoints, of):
        plan, spec = plan_of(of.run, str(of.run["environment"])), Spec.from_json(of.state["spec"])
        require_description(of.run, str(checkpoints.folder / of.name))
        loop = checkpoints.loop(of, _loop_arrays(plan, spec, of.state))
        learner = checkpoints.learner(
            of, plan.algorithm, _learner_arrays(plan, spec, checkpoints.size(of.files["learner"]))
        )
        ahead = max((steps or plan.config.steps) - of.step, 0) + plan.envs  # all of them step at once
        replay = checkpoints.replay(of, make_replay(plan, spec, plan.envs, expected=of.added + ahead))
        metrics = checkpoints.content(of.files["metrics"], SIZE_LIMIT)
        best = checkpoints.content(of.files["best"], arrayfiles.SIZE_LIMIT) if "best" in of.files else None
    return Saved(of, spec, learner, loop, replay, metrics, best)


@contextmanager
def sensible(checkpoints: Checkpoints, of: Manifest) -> Generator[None]:
    """Name the manifest where its content makes no sense, although it is whole by its SHA-256.

    Raises:
        UsageError: instead of what makes no sense.
    """
    try:
        yield
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError) as error:
        raise UsageError(
            f"{checkpoints.folder / of.name} makes no sense: {type(error).__name__} {str(error)[:200]}"
        ) from error


def _loop_arrays(plan: Plan, spec: Spec, state: Mapping[str, Any]) -> Arrays:
    """The loop's arrays as they must be, without memory of their own."""
    metrics = len(names_measured(state, algorithm_module(plan.algorithm).METRICS))
    shapes: dict[str, tuple[int, ...]] = {
        "exploration_noise": (plan.envs, spec.action_size),
        "observation": (plan.envs, spec.observation_size),
        "measured": (int(state["measured"]), metrics),
    }
    if "launched" in state:
        shapes["launched"] = (int(state["launched"]), metrics)
        shapes |= {f"policy/{name}": shape for name, shape in _policy_shapes(plan, spec).items()}
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def _policy_shapes(plan: Plan, spec: Spec) -> dict[str, tuple[int, ...]]:
    heads = 2 if algorithm_module(plan.algorithm).POLICY_KIND == "squashed_gaussian" else 1
    layers = pairwise(actor_sizes(spec, plan.config.hidden_sizes, heads * spec.action_size))
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in enumerate(layers):
        shapes |= {f"{layer}/kernel": (inputs, outputs), f"{layer}/bias": (outputs,)}
    return shapes


def _learner_arrays(plan: Plan, spec: Spec, file_bytes: int) -> Arrays:
    """The learner's arrays as they must be; they are made only if the file is long enough to hold them."""
    hidden = plan.config.hidden_sizes
    least = 3 * 4 * parameter_count(actor_sizes(spec, hidden, spec.action_size))  # with the moments
    if least > file_bytes:
        raise UsageError(f"hidden_sizes {hidden} need {least:,} bytes, but the learner's file has {file_bytes:,}")
    return algorithm_module(plan.algorithm).initial_state(Streams(plan.seed).weights, spec, plan.config)


def plan_to_go_on(
    run: Run, saved: Saved, changes: Mapping[str, Any], steps: int | None, environment: Environment | None
) -> tuple[Plan, str]:
    """The plan in force from now on; and how the run ended, where nothing is left to do.

    Raises:
        UsageError: fewer steps than the run has done, no environment where it was a callable, or another one where it
            was not.
    """
    then, done = saved.manifest.run, saved.manifest.step
    if steps is not None and steps <= done:
        raise UsageError(f"steps is {steps:,}, but the run has done {done:,} already: ask for more")
    settings = {**then["settings"], **({} if steps is None else {"steps": steps})}
    plan = plan_of({**then, **changes, "settings": settings}, environment_of(then, environment, run.folder))
    if environment not in (None, then["environment"]) and not then["environment_is_callable"]:
        raise UsageError(
            f"{run.folder} was trained on {then['environment']} and goes on with it, not with {plan.name}: leave "
            f"`environment` out; for another one, `polyak train ... --from {run.folder}` begins a new run"
        )
    return plan, "" if steps is not None else _how_it_ended(run, saved, plan)


def notes_and_description(
    checkpoints: Checkpoints, saved: Saved, plan: Plan, changes: Mapping[str, Any], given_up: Mapping[int, str]
) -> tuple[dict[str, str], dict[str, Any]]:
    """What those who watch should know of how the run goes on, and its description from now on."""
    then, here = saved.manifest.run, described({})
    others = _differences(then, changes)
    moved = [] if plan.name == then["environment"] else [f"environment {then['environment']} is {plan.name} now"]
    notes = {
        "resumed": f"from step {saved.manifest.step:,} of checkpoint {saved.manifest.serial}",
        "probe": "left out: what it found when the run began is in settings.json",
    }
    if checkpoints.faults:
        notes["damaged"] = "; ".join(map(str, checkpoints.faults))
    if others:
        notes["not exact"] = f"{', '.join(others)}: what follows may differ in the last digits"
    if moved:
        notes["trains on"] = f"{plan.name} from now on; {then['environment']} before"
    if given_up:
        index, reason = next(iter(given_up.items()))
        count = f"{len(given_up)} running episode{'s' * (len(given_up) > 1)}"
        notes["given up"] = f"{count}, new ones started; environment {index}: {reason}{_remedy(plan, reason)}"
    entry = {"step": saved.manifest.step, "given_up": len(given_up), "changed": [*moved, *others]}
    asked = plan.description(plan.envs) | {"environment_is_callable": then["environment_is_callable"]}
    resumed = [*then.get("resumed", []), entry]
    then = {name: value for name, value in then.items() if name != "together"}
    return notes, {**then, **asked, **here, "resumed": resumed}


def _remedy(plan: Plan, reason: str) -> str:
    """What helps environments that do not show the same again, if anything does."""
    if plan.isolation.afresh or not reason.startswith(SHOWED):
        return ""
    return "; where an episode depends on those before it, --fresh-environments makes each in an instance of its own"


def _how_it_ended(run: Run, saved: Saved, plan: Plan) -> str:
    """How a run ended that has nothing left to do, or an empty string."""
    state, steps = saved.manifest.state, saved.manifest.step
    if state["reached"]:
        return f"it reached the evaluation return of {plan.stop_at_return:g} that was asked for, after {steps:,} steps"
    if steps < plan.config.steps:
        return ""
    try:
        last = run.metrics[-1] if run.metrics else {}
    except UsageError:
        last: Mapping[str, float] = {}
    evaluated = max(int(state["evaluated"]), int(last["step"]) if "speed/steps_per_second" in last else 0)
    return f"it has done its {steps:,} steps" if evaluated >= steps else ""


def _differences(description: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """In what a run goes on otherwise than it began, so that it will not be the same bit for bit."""
    then, now = description["versions"], described({})["versions"]
    others = {name for backend, names in PACKAGES.items() if backend != description["backend"] for name in names}
    found = [
        f"{name} {then.get(name, 'none')} is {now.get(name, 'none')} now"
        for name in sorted((then.keys() | now.keys()) - others)
        if now.get(name) != then.get(name)
    ]
    if "together" in description:
        found.append(f"together with {int(description['together']) - 1} other runs is alone now")
    return found + [
        f"{name} {description.get(name)} is {changes[name]} now"
        for name, note in CHANGEABLE.items()
        if not note.exact and name in changes and changes[name] != description.get(name)
    ]


def restore_evaluation(environments: Environments, saved: Saved) -> None:
    """Bring newly made environments to where those were in which the policy was evaluated.

    An instance's first episode may be another than later ones; where there have been any, one is begun here too.

    Raises:
        TrainingError: an environment raised or did not answer.
    """
    environments.restore(saved.manifest.state["test_environments"])
    if environments.steps > 0 and environments.every_episode_has_a_seed:
        environments.start(environments.seeds)


def restore_episodes(collector: Collector, saved: Saved, seconds: float) -> Mapping[int, str]:
    """Bring a collector in newly made environments to where the checkpoint was.

    Returns:
        For each environment that does not show the same again: why; a new episode has been started there.

    Raises:
        UsageError: the environments' observations or actions are not those of the run.
        TrainingError: an environment raised or did not answer.
    """
    environments, state = collector.environments, saved.manifest.state
    was, vector = saved.spec, (environments.spec.observation_size,)  # earlier versions kept the vector's shape
    shown = was.observation_shape if was.observation_shape != vector else environments.spec.observation_shape
    for now, then, name in (
        (environments.spec.to_json(), {**was.to_json(), "observation_shape": shown}, "observations and actions"),
        (environments.count, len(state["environments"]["seeds"]), "number of environments"),
    ):
        if json.dumps(now) != json.dumps(then):
            raise UsageError(f"the {name} of the environment are not those of the run: {now} instead of {then}")
    if state["environments"]["steps"] != saved.manifest.step:
        raise ValueError(f"{state['environments']['steps']} steps in the environments, {saved.manifest.step} in all")
    environments.restore(state["environments"])
    collector.restore(state["collector"], saved.loop)
    with environments.told_as(lambda: f"while its episode was enacted again for step {environments.steps:,}"):
        reasons = reenact(environments, saved.replay, collector.lengths, saved.loop["observation"], seconds)
    if reasons:
        collector.start_anew(np.isin(np.arange(environments.count), list(reasons)))
    return reasons
