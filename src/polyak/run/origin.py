"""What a run was made of, as its settings tell: environment, what is added to it, algorithm, policies."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyak import algorithms
from polyak.algorithm import Algorithm
from polyak.environments.names import module_of
from polyak.errors import UsageError
from polyak.policies.policy import Policy
from polyak.run.description import spaces_of
from polyak.settings.kinds import require_environment
from polyak.system.modules import refuse_code_of

if TYPE_CHECKING:
    from polyak.environments.additions import Additions
    from polyak.environments.handed import Given
    from polyak.environments.make import Environment


def added_of(settings: Mapping[str, Any]) -> list[str]:
    """What a run of these settings adds to its environment, each in a word: `g=5`, `RescaleAction`."""
    given = [f"{name}={value}" for name, value in settings.get("environment_settings", {}).items()]
    return given + [each.rpartition(":")[2] for each in settings.get("wrappers", ())]


def label_of(settings: Mapping[str, Any]) -> str:
    """The environment of a run of these settings, with what is added, as in `Pendulum-v1 (g=5, RescaleAction)`."""
    added = ", ".join(added_of(settings))
    return f"{settings['environment']} ({added})" if added else str(settings["environment"])


def made_for(settings: Mapping[str, Any]) -> dict[str, str | int]:
    """What marks a run's policies: what was asked for, so that equal runs' are equal files. A callable has no name.

    Where actions are repeated, that is in it too: it is how the policy is to be used.
    """
    names = ("algorithm", "seed") if settings["environment_is_callable"] else ("algorithm", "environment", "seed")
    repeat = repeat_of(settings)
    return {name: settings[name] for name in names} | ({"action_repeat": repeat} if repeat > 1 else {})


def repeat_of(settings: Mapping[str, Any]) -> int:
    """The environment's own steps that a run of these settings takes each action for; earlier versions said nothing."""
    return int(settings["settings"].get("action_repeat", 1))


def require_own(policy: Policy, settings: Mapping[str, Any], file: Path) -> None:
    """Check that a policy is that of a run of these settings, as far as it or they say so.

    Raises:
        UsageError: it is another's; the message says whose.
    """
    ours, algorithm, space = made_for(settings), settings["algorithm"], spaces_of(settings)
    wrong = [name for name in ours if policy.made_for.get(name, ours[name]) != ours[name]]
    found = [f"{name} {policy.made_for[name]!r}, not {ours[name]!r}" for name in wrong]
    if not found and algorithms.is_built_in(algorithm) and policy.kind != _kind_of(algorithm):
        found = [f"a {policy.kind} policy, which {algorithm} does not learn"]
    if not found and space is not None and not space.seen.agrees_with(policy.spec):
        found = [f"the spaces {policy.spec.to_json()}, not {space.seen.to_json()}"]
    if found:
        raise UsageError(
            f"{file} is the policy of another run than settings.json beside it: it has {'; '.join(found)}; put the "
            "run's own there, or read this one with polyak.Policy.load"
        )


def _kind_of(algorithm: str) -> str:
    """The kind of policy that one of polyak's own algorithms learns."""
    known = algorithms.algorithm(algorithm)
    return known.head(known.Config()).kind


def environment_of(settings: Mapping[str, Any], given: "Given | None", folder: Path) -> "Environment":
    """What a run of these settings was trained on, or what is `given` instead.

    Raises:
        UsageError: it was a callable, which no folder can hold, and none is given; or a module that came with the run.
    """
    if given is None and settings["environment_is_callable"]:
        raise UsageError(
            f"{folder} was trained on what Python made ({settings['environment']}), which a folder cannot hold: "
            "pass it as `environment`, on the command line as `--environment module:Id`"
        )
    if given is not None:
        require_environment(given)
    if given is None:
        name = str(settings["environment"])
        told = f"{folder} was trained on {name!r}"
        refuse_code_of(folder, module_of(name), told, ", or name the environment yourself")
        return name
    from polyak.environments.handed import callable_of

    return callable_of(given)


def additions_for(settings: Mapping[str, Any], environment: "Environment", folder: Path) -> "Additions":
    """What a run of these settings adds to its environment; to another one, only for how long an action lasts.

    Raises:
        UsageError: a wrapper's module came with the run.
    """
    from polyak.environments.additions import Additions, module_of_wrapper

    repeat = repeat_of(settings)
    if environment != settings["environment"]:
        return Additions(action_repeat=repeat)
    added = Additions(settings.get("environment_settings", {}), tuple(settings.get("wrappers", ())), repeat)
    for name in added.wrappers:
        refuse_code_of(folder, module_of_wrapper(name), f"{folder} was trained with the wrapper {name!r}")
    return added


def algorithm_of(name: str, folder: Path) -> Algorithm:
    """What a run in a folder was trained with, for what learns on from it; one that is not polyak's own is imported.

    Raises:
        UsageError: its module came with the run; or as `polyak.algorithms.algorithm` says.
    """
    if not algorithms.is_built_in(name):
        refuse_code_of(folder, name, f"{folder} was trained with {name!r}")
    return algorithms.algorithm(name)
