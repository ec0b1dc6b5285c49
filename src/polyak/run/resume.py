"""From a checkpoint to a loop that goes on as if nothing had happened."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from polyak import tracking
from polyak.environments.handed import Given, Handed
from polyak.environments.history import generators_kept
from polyak.environments.stepping import Environments
from polyak.errors import UsageError
from polyak.experience.collector import Collector
from polyak.experience.offline import Offline
from polyak.experience.reenactment import SHOWED, InReplay, brought_back
from polyak.experience.remote import Remote
from polyak.run import mending
from polyak.run.callbacks import Callbacks, making
from polyak.run.changes import Changes, Told, told
from polyak.run.checkpoints import Checkpoints
from polyak.run.collecting import Collecting, collector_of, described, inexact
from polyak.run.description import is_text, stamped, write_settings
from polyak.run.facts import told_of_goals
from polyak.run.folder import Run
from polyak.run.learned import sensible
from polyak.run.loop import Loop
from polyak.run.mirror import going_on
from polyak.run.mirror.fetching import Fetched
from polyak.run.origin import additions_for, environment_of
from polyak.run.plan import Plan, plan_of, require_fitting
from polyak.run.progress import Observer, Progress, tell_ended
from polyak.run.saved import Saved, newest
from polyak.run.start import Parts, make_batches, put_together, settled
from polyak.run.states import standing_of
from polyak.run.worlds import Worlds, make_worlds
from polyak.system.files import remove_leftovers
from polyak.system.locking import locked
from polyak.system.randomness import Streams
from polyak.system.signals import signals_marked, time_limit
from polyak.system.threads import one_numpy_thread


@dataclass(frozen=True)
class Asked:
    """What `resume` was asked for."""

    run: Run
    changes: Changes
    environment: Given | None
    replay_seconds: float
    fetched: Fetched | None = None
    """Where the run was brought from, if it was: there it goes on too, unless it is to have another mirror."""
    fed: Remote | None = None
    """What collects for it elsewhere, so that no environment is made."""


def resume(asked: Asked, observer: Observer) -> Run:
    """Go on with a run to its end.

    Raises:
        UsageError, TrainingError, Interrupted: as `polyak.resume` says.
    """
    run, changes = asked.run, asked.changes
    run.require_no_links()
    if not run.checkpoints.is_dir():
        _ = run.settings  # says so where this is no run at all
        standing = standing_of(run)
        gone = f"{run.folder} was stopped ({standing.reason}), and its checkpoints were removed: start it anew"
        none = f"{run.folder} has no checkpoint, so that nothing was trained in it: start it anew"
        raise UsageError(gone if standing.state == "stopped" else none)
    tracking.require(changes.options.get("track", ()))
    with signals_marked(), one_numpy_thread(), locked(run.folder), ExitStack() as stack:
        checkpoints = Checkpoints(run.checkpoints)
        with generators_kept():  # a user's module may import JAX, which draws from np.random
            saved = newest(checkpoints, run, changes.steps)
        with sensible(checkpoints.folder / saved.manifest.name):
            asked = replace(asked, changes=going_on.with_mirror(asked.changes, asked.fetched, saved.manifest.run))
            before, plan = plan_to_go_on(asked, saved)
            ended = "" if changes.steps is not None else _how_it_ended(run, saved, before, plan)
            wrong = mending.faults(run, saved, plan, over=bool(ended))
        if plan.mirror and not going_on.is_there(asked.fetched, plan.mirror):
            going_on.require_own_place(run, plan.mirror, before.mirror, saved.manifest)
        if ended and (not wrong or mending.holds_the_end(saved)):
            mending.put_right(run, saved, plan, wrong)
            mended = f"; put right from the checkpoint: {mending.told(wrong)}" if wrong else ""
            _say(run, plan, f"nothing to do: {ended}; ask for more steps to go on{mended}", observer)
            if asked.fetched is None:
                going_on.bring_the_end(run, plan.mirror, checkpoints)
            return Run(run.folder)
        tracking.require(plan.track)
        callbacks = restored_callbacks(asked, plan, saved)
        loop = _restored(stack, asked, (before, settled(plan)), checkpoints, saved, wrong, observer, callbacks)
        moved = plan.name != saved.manifest.run["environment"]
        if changes or moved or loop.ledger.given_up:
            loop.checkpoint()  # so that it is not forgotten if the run is killed at once
        loop.run_to_the_end()
    return Run(run.folder)


def _restored(
    stack: ExitStack,
    asked: Asked,
    plans: tuple[Plan, Plan],
    checkpoints: Checkpoints,
    saved: Saved,
    wrong: Mapping[str, str],
    observer: Observer,
    callbacks: Callbacks,
) -> Loop:
    """The loop, with all its parts where the checkpoint was; nothing in the folder is touched before they are.

    `plans` are that of the checkpoint and that of now.
    """
    before, plan = plans
    run, manifest, streams = asked.run, saved.manifest, Streams(plan.seed)
    if asked.fed is None:
        worlds = make_worlds(stack, plan, streams, stack.enter_context(time_limit(plan.step_timeout)))
    else:
        worlds = Worlds(asked.fed.environments, None)
    environments, evaluation, goals = worlds
    collector = asked.fed or collector_of(stack, plan, streams, environments, saved.replay)
    with sensible(checkpoints.folder / manifest.name):
        given_up = restore_episodes(collector, saved, asked.replay_seconds)
        batches = make_batches(plan, saved.spec, environments.count, saved.replay, saved.demonstrations, goals)
        batches.restore(manifest.state.get("batches", {}), saved.batches)
        if evaluation is not None and plan.evaluate_in != "training":
            restore_evaluation(evaluation, saved)
        others = told(asked.changes, before, plan, manifest.run)
        notes, description = notes_and_description(checkpoints, saved, plan, others, given_up)
        description |= going_on.told(run, plan.mirror, asked.fetched, manifest.run)
    notes |= {"fetched": f"from {asked.fetched.mirror}/{asked.fetched.place}"} if asked.fetched else {}
    if why := inexact(collector):
        notes["not exact"] = "; ".join(filter(None, [notes.get("not exact"), why]))
        description["machine"] |= {"not_exact": why}
    description |= described(collector)
    notes |= told_of_goals(plan, goals)
    notes |= {"put right": mending.told(wrong)} if wrong else {}
    remove_leftovers(run.folder)
    remove_leftovers(checkpoints.folder)
    write_settings(run.settings_file, description)
    parts = Parts(plan, Run(run.folder), streams, collector, evaluation, batches, saved.learner, checkpoints)
    parts.metrics, parts.step, parts.notes = saved.metrics, manifest.step, notes
    parts.callbacks = callbacks
    loop = put_together(stack, parts, observer)
    with sensible(checkpoints.folder / manifest.name):
        loop.restore(manifest.state, saved.loop, saved.best)
        stopped = stopped_in(manifest.state)
        loop.training.go_on_stopped(stopped if asked.changes.steps is None else "")
    loop.ledger.given_up += len(given_up)
    return loop


def restored_callbacks(asked: Asked, plan: Plan, saved: Saved) -> Callbacks:
    """The callbacks, made anew and where they were; nothing in the folder has been touched.

    Raises:
        UsageError: one cannot be made, came with the run, was an object and is not given again, or refuses its state.
    """
    folder = None if "callbacks" in asked.changes.options else asked.run.folder
    callbacks = making.made(plan.callbacks, folder)
    with sensible(asked.run.checkpoints / saved.manifest.name):
        callbacks.restore(saved.manifest.state.get("callbacks", []), saved.callbacks)
    return callbacks


def stopped_in(state: Mapping[str, Any]) -> str:
    """Why a callback had stopped a run, as a checkpoint says it; empty where none had.

    Raises:
        ValueError: this is no reason.
    """
    reason = state.get("stopped", "")
    if not is_text(reason):
        raise ValueError("stopped is no text")
    return reason


def _say(run: Run, plan: Plan, outcome: str, observer: Observer) -> None:
    """Tell an observer of a run in which nothing is left to do."""
    progress = Progress(plan.title, {}, run.folder, plan.config.length, unit=plan.config.unit)
    progress.outcome = outcome
    observer.started(progress)
    tell_ended(observer, progress)


def plan_to_go_on(asked: Asked, saved: Saved) -> tuple[Plan, Plan]:
    """The plan of a checkpoint, and the one in force from now on.

    Raises:
        UsageError: fewer steps than the run has done, a change that cannot be, no environment where it was a callable,
            or another one where it was not.
    """
    run, steps, environment = asked.run, asked.changes.steps, asked.environment
    then, done = saved.manifest.run, saved.manifest.step
    if steps is not None and steps <= done:
        raise UsageError(f"steps is {steps:,}, but the run has done {done:,} already: ask for more")
    environment_now = environment_of(then, environment, run.folder)
    additions_for(then, environment_now, run.folder)
    before = plan_of(then, environment_now, saved.algorithm)
    plan = asked.changes.made_in(before, run.folder)
    require_fitting(environment_now, plan)
    if environment not in (None, then["environment"]) and not then["environment_is_callable"]:
        raise UsageError(
            f"{run.folder} was trained on {then['environment']} and goes on with it, not with {_named(plan)}: leave "
            f"`environment` out; for another one, `polyak train ... --from {run.folder}` begins a new run"
        )
    return before, plan


def _named(plan: Plan) -> str:
    return f"an object ({plan.name})" if isinstance(plan.environment, Handed) else plan.name


def notes_and_description(
    checkpoints: Checkpoints, saved: Saved, plan: Plan, others: Told, given_up: Mapping[int, str]
) -> tuple[dict[str, str], dict[str, Any]]:
    """What those who watch should know of how the run goes on, and its description from now on."""
    then, here = saved.manifest.run, stamped({})
    moved = [] if plan.name == then["environment"] else [f"environment {then['environment']} is {plan.name} now"]
    notes = {
        "resumed": f"from step {saved.manifest.step:,} of checkpoint {saved.manifest.serial}",
        "probe": "left out: what it found when the run began is in settings.json",
    }
    if checkpoints.faults:
        notes["damaged"] = "; ".join(map(str, checkpoints.faults))
    notes |= others.notes(plan.config.length)
    if moved:
        notes["trains on"] = f"{plan.name} from now on; {then['environment']} before"
    if given_up:
        index, reason = next(iter(given_up.items()))
        count = f"{len(given_up)} running episode{'s' * (len(given_up) > 1)}"
        notes["given up"] = f"{count}, new ones started; environment {index}: {reason}{_remedy(plan, reason)}"
    entry = {"step": saved.manifest.step, "given_up": len(given_up), "changed": [*moved, *others.all]}
    entry |= {"settings": others.settings} if others.settings else {}
    asked = plan.description(plan.envs) | {"environment_is_callable": then["environment_is_callable"]}
    resumed = [*then.get("resumed", []), entry]
    then = {name: value for name, value in then.items() if name != "together"}
    return notes, {**then, **asked, **here, "resumed": resumed}


def _remedy(plan: Plan, reason: str) -> str:
    """What helps environments that do not show the same again, if anything does."""
    if plan.isolation.afresh or not reason.startswith(SHOWED):
        return ""
    return "; where an episode depends on those before it, --fresh-environments makes each in an instance of its own"


def _how_it_ended(run: Run, saved: Saved, before: Plan, plan: Plan) -> str:
    """How a run ended that has nothing left to do, or an empty string."""
    state, steps = saved.manifest.state, saved.manifest.step
    wanted, reached = plan.stop_at_return, before.stop_at_return
    if state["reached"] and not (wanted is not None and reached is not None and wanted > reached):
        return f"it reached the evaluation return of {reached:g} that was asked for, after {steps:,} steps"
    stopped = stopped_in(state)
    if steps < plan.config.length and not stopped:
        return ""
    try:
        last = run.metrics[-1] if run.metrics else {}
    except UsageError:
        last: Mapping[str, float] = {}
    evaluated = max(int(state["evaluated"]), int(last["step"]) if "speed/steps_per_second" in last else 0)
    how = f"a callback stopped it after {steps:,} steps: {stopped}" if stopped else f"it has done its {steps:,} steps"
    return how if evaluated >= steps else ""


def restore_evaluation(environments: Environments, saved: Saved) -> None:
    """Bring newly made environments to where those were in which the policy was evaluated.

    An instance's first episode may be another than later ones; where there have been any, one is begun here too.

    Raises:
        TrainingError: an environment raised or did not answer.
    """
    environments.restore(saved.manifest.state["test_environments"])
    if environments.steps > 0 and environments.every_episode_has_a_seed:
        environments.start(environments.seeds)


def restore_episodes(collector: Collecting, saved: Saved, seconds: float) -> Mapping[int, str]:
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
    here = environments.spec if was.observation_parts else replace(environments.spec, observation_parts=None)
    for now, then, name in (
        (here.to_json(), {**was.to_json(), "observation_shape": shown}, "observations and actions"),
        (environments.count, len(state["environments"]["seeds"]), "number of environments"),
    ):
        if json.dumps(now) != json.dumps(then):
            raise UsageError(f"the {name} of the environment are not those of the run: {now} instead of {then}")
    if isinstance(collector, Offline):
        collector.restore(state["collector"])
        collector.environments.restore(state["environments"])
        if collector.steps != saved.manifest.step:
            raise ValueError(f"{collector.steps} updates, but {saved.manifest.step} in all")
        return {}
    if state["environments"]["steps"] != saved.manifest.step:
        raise ValueError(f"{state['environments']['steps']} steps in the environments, {saved.manifest.step} in all")
    if not isinstance(collector, Collector):
        return collector.go_on(state, saved.loop, seconds)
    past = InReplay(saved.replay, environments.count)
    return brought_back(collector, state, saved.loop, past, seconds)
