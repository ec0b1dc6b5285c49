"""What lies in a run's folder beside its checkpoints, compared with the newest of them, and put right from it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polyak.algorithm import actor_in
from polyak.errors import UnavailableError, UnreadableError, UsageError
from polyak.experience.batches import snapshot_in
from polyak.policies.policy import Policy, policy_of
from polyak.run.folder import Run
from polyak.run.metrics import SIZE_LIMIT, best_evaluation
from polyak.run.origin import made_for, require_own
from polyak.run.plan import Plan
from polyak.run.saved import Saved
from polyak.system.files import read_plain_file, write_atomically

LIMIT = 500_000_000
"""Bytes of a policy at most."""


def faults(run: Run, saved: Saved, plan: Plan, *, over: bool) -> dict[str, str]:
    """What is wrong with the policies and the metrics of a run, by the names of their files.

    Where the run is `over`, they must be what it ended with. Else they are written anew when it goes on, whatever they
    are; what was measured up to the checkpoint must be there, and a policy that is there must be whole.

    Raises:
        UsageError: one of them is a folder, in whose place nothing can be written, or cannot be read just now.
    """
    files = (run.metrics_file, run.policy_file, run.best_policy_file)
    for file in files:
        if file.is_dir():
            raise UsageError(f"{file} is a folder, where the run writes a file: move it away")
    found = {file.name: _fault(run, saved, plan, file, over) for file in files}
    return {name: fault for name, fault in found.items() if fault}


def told(found: Mapping[str, str]) -> str:
    """The faults in a line."""
    return "; ".join(f"{name} ({fault})" for name, fault in found.items())


def holds_the_end(saved: Saved) -> bool:
    """Whether a checkpoint of a run that is over was made after its last evaluation, so that it holds all there is."""
    return bool(saved.manifest.state["reached"]) or int(saved.manifest.state["evaluated"]) >= saved.manifest.step


def put_right(run: Run, saved: Saved, plan: Plan, found: Mapping[str, str]) -> None:
    """Write those files anew, from a checkpoint that holds the end.

    Raises:
        UsageError: they cannot be written.
    """
    contents = {run.metrics_file: saved.metrics, run.policy_file: last_policy(saved, plan).content()}
    if saved.best is not None:
        contents[run.best_policy_file] = saved.best
    for file, content in contents.items():
        if file.name in found:
            try:
                write_atomically(file, content)
            except OSError as error:
                raise UsageError(f"cannot write {file}: {error.strerror or error}") from error


def last_policy(saved: Saved, plan: Plan) -> Policy:
    """The policy of a checkpoint's learner."""
    spec = saved.spec.seen
    actor = actor_in(plan.algorithm.state(spec, plan.config), saved.learner)
    normalizer = snapshot_in(saved.batches, plan.config, spec).normalizer
    return policy_of(plan.algorithm, plan.config, spec, actor, made_for(saved.manifest.run), normalizer)


def _fault(run: Run, saved: Saved, plan: Plan, file: Path, over: bool) -> str:
    try:
        if file == run.metrics_file:
            return _in_metrics(run, saved, over)
        if file == run.policy_file:
            return _in_policy(run, saved, plan, over)
        return _in_best(run, saved, over)
    except UnavailableError:
        raise
    except UsageError as error:  # also a newer format: what wrote it would have written a newer checkpoint
        return str(error)


def _in_metrics(run: Run, saved: Saved, over: bool) -> str:
    written = read_plain_file(run.metrics_file, SIZE_LIMIT) if run.metrics_file.exists() or saved.metrics else b""
    if written == saved.metrics or (written.startswith(saved.metrics) and not (over and holds_the_end(saved))):
        _ = run.metrics  # says which line is no record
        return ""
    ours, theirs = written.splitlines(), saved.metrics.splitlines()
    same = next((n for n, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    line = min(len(ours), len(theirs)) if same is None else same
    return f"line {line + 1} is not what the checkpoint has of it"


def _in_policy(run: Run, saved: Saved, plan: Plan, over: bool) -> str:
    if not over and not run.policy_file.exists():
        return ""  # none was written up to then
    policy, wanted = _own(run.policy_file, saved), last_policy(saved, plan)
    same = policy.parameters.keys() == wanted.parameters.keys() and all(
        np.array_equal(policy.parameters[name], value) for name, value in wanted.parameters.items()
    )
    ours, theirs = policy.normalizer, wanted.normalizer
    same = same and (ours is None if theirs is None else theirs.same(ours))
    same = same and policy.spec.agrees_with(wanted.spec) and policy.exploration_noise == wanted.exploration_noise
    return "" if same or not over else "it is not the policy that the learner of the checkpoint has"


def _in_best(run: Run, saved: Saved, over: bool) -> str:
    if not over:
        _ = _own(run.best_policy_file, saved) if run.best_policy_file.exists() else None
        return ""
    wanted = saved.best
    if not holds_the_end(saved):
        best, before = best_evaluation(run.metrics[-1:]), saved.manifest.state["best"]
        if best is not None and (before is None or best[1] > float(before[1])):
            wanted = read_plain_file(run.policy_file, LIMIT)
    if wanted is not None and read_plain_file(run.best_policy_file, LIMIT) != wanted:
        _own(run.best_policy_file, saved)  # says more, where it can
        raise UnreadableError("it is not the best policy that the checkpoint has")
    return ""


def _own(file: Path, saved: Saved) -> Policy:
    policy = Policy.load(file)
    require_own(policy, saved.manifest.run, file)
    return policy
