"""A policy written for where there is no Python: as an ONNX model, or as a header of C, compared with itself first."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polyak.deploy.export.c_header import c_header
from polyak.deploy.export.check import Check, checked
from polyak.deploy.export.copied import Copy
from polyak.deploy.export.observations import observations_for
from polyak.deploy.export.onnx_model import onnx_model
from polyak.deploy.export.running import compiled_c, onnx_runtime
from polyak.errors import UsageError
from polyak.policies.player import Player
from polyak.policies.policy import Policy
from polyak.run.folder import Run
from polyak.run.runs import is_policy_file, named
from polyak.settings import kinds
from polyak.settings.door import door
from polyak.system.files import prepare_to_write, require_folder, write_atomically

if TYPE_CHECKING:
    from polyak.environments.handed import Given

Format = Literal["onnx", "c"]
SUFFIXES = {"onnx": ".onnx", "c": ".h"}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", re.ASCII)
LONGEST = 40
"""Letters of a name."""


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    path: Path
    check: Check | None
    """What the comparison with the policy found; None of one that was left out."""


@door
def export(
    run: str | os.PathLike[str] | Run | Policy,
    output: str | os.PathLike[str] | None = None,
    *,
    format: Format = "onnx",  # noqa: A002 - as the command line calls it
    best: bool = False,
    stochastic: bool = False,
    unchecked: bool = False,
    name: str | None = None,
    environment: "Given | None" = None,
    run_dir: str | os.PathLike[str] = "runs",
) -> Exported:
    """Write a policy in another format: observation in the environment's units in, action in its units out.

    Normalizer, network, head and action map are inside, in float32. Before the file is written, the copy is run on
    1,000 observations beside the policy (`Check` says on which, and how near it is): by ONNX Runtime, or compiled by
    the C compiler that is there.

    Args:
        run: a run, its folder, "latest" or the URL of its mirror; or a policy, or its file.
        output: the file; by default `policy.onnx` or `policy.h` in the run's folder, where an earlier one is replaced,
            and for a policy alone here, where nothing is overwritten. Its folder must be there.
        format: "onnx": a model with inputs `observation` [batch, *S] and, if `stochastic`, `noise` [batch, A], and the
            output `action`; "c": one header with `int policy_act(const float *observation, float *action)`.
        best: the policy of the best evaluation.
        stochastic: draw actions: noise, standard normal [A], is a further input.
        unchecked: leave the comparison out, which the file then says.
        name: what the function of a C header begins with, instead of `policy`.
        environment: as for `Run.evaluate`; where a run has no replay, and for a policy alone, observations are seen in
            its episodes.
        run_dir: where "latest" is looked for, and where a run at a URL is brought to.

    Raises:
        UsageError: there is no such policy, it has nothing to draw, the file cannot be written there, or what the
            format or the check needs is not installed.
        TrainingError: the copy differs by more than 1e-5 of the action's range, or cannot be run; no file is left.
    """
    chosen: Format = kinds.checked("format", format, Format)
    flags = {"best": best, "stochastic": stochastic, "unchecked": unchecked}
    given = {flag: kinds.checked(flag, value, bool) for flag, value in flags.items()}
    place: Path | None = kinds.checked("output", output, Path | None)
    if environment is not None:
        kinds.require_environment(environment)
    called = _name(name, chosen)
    policy, found, home = _policy(run, given["best"], kinds.checked("run_dir", run_dir, Path))
    file = place or home.with_suffix(SUFFIXES[chosen])
    _require_place(file, kept=place is None and found is None)
    copy = Copy(policy, given["stochastic"], checked=not given["unchecked"])

    def player() -> Player:
        if found is not None:
            return found.player(best=given["best"], environment=environment)
        if environment is None:
            raise UsageError("no environment is named")
        return Player(policy, environment)

    runner = _runner(copy, chosen, called) if copy.checked else None
    content = onnx_model(copy) if chosen == "onnx" else c_header(copy, called)
    check = runner and checked(copy, content, runner, observations_for(policy, found, player))
    try:
        write_atomically(file, content)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from error
    return Exported(file, check)


def _runner(copy: Copy, chosen: Format, name: str) -> Any:
    return onnx_runtime(copy) if chosen == "onnx" else compiled_c(copy, name)


def _policy(run: Any, best: bool, run_dir: Path) -> tuple[Policy, Run | None, Path]:
    """The policy, its run if there is one, and the default path of its copies but for the suffix."""
    if isinstance(run, Policy) or is_policy_file(run):
        if best:
            raise UsageError(
                "best is True (--policy best), but a policy alone has no better one beside it: leave it out"
            )
        policy = run if isinstance(run, Policy) else Policy.load(run)
        return policy, None, Path("policy" if isinstance(run, Policy) else Path(run).name)
    found = run if isinstance(run, Run) else named(run, run_dir, acting=True)
    _ = found.settings  # which says of what is none that it is no run
    return found.best_policy if best else found.policy, found, found.folder / ("best" if best else "policy")


def _require_place(file: Path, *, kept: bool) -> None:
    """Check that the file can be written, before anything is computed."""
    require_folder(file)
    prepare_to_write(file)
    if kept and os.path.lexists(file):
        raise UsageError(f"{file} is there already: say with -o (output) where the copy is to go")


def _name(name: Any, chosen: Format) -> str:
    """What a C function begins with."""
    given: str | None = kinds.checked("name", name, str | None)
    if given is not None and chosen != "c":
        raise UsageError(f"name is {given!r}, but an ONNX model has no function to be named: leave it out")
    fits = given is None or (NAME.fullmatch(given) is not None and len(given) <= LONGEST)
    kinds.require("name", given, fits, f"a name of C's, of at most {LONGEST} letters, as arm_policy")
    return given or "policy"
