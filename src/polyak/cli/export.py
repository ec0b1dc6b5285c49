"""`polyak export RUN`: a policy as an ONNX model or a C header, compared with itself."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from polyak.cli.named import Name, Which, run_named
from polyak.cli.output import own_output
from polyak.cli.parsing import call
from polyak.deploy.export import Exported, Format
from polyak.deploy.export import export as export_policy
from polyak.deploy.export.check import Check
from polyak.run.runs import is_policy_file


def export(
    run: Name,
    *,
    format: Format = "onnx",  # noqa: A002 - the flag's name
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    policy: Which = "last",
    best: bool = False,
    stochastic: bool = False,
    unchecked: bool = False,
    name: str | None = None,
    environment: str | None = None,
    run_dir: Path = Path("runs"),
) -> None:
    """Write a policy for where there is no Python, after a check on 1,000 observations, and print the file's path.

    Observation in the environment's units in, action in its units out: normalizer, network, head and action map are
    inside.

    Args:
        run: the run's folder, latest, or the URL of its mirror; or the file of a policy.
        format: onnx, checked by ONNX Runtime; or c: one C99 header, checked by the compiler that is there.
        output: the file; by default policy.onnx or policy.h in the run's folder, and for a policy's file here. Its
            folder must be there.
        policy: last, or best: that of the best evaluation.
        best: the same as --policy best.
        stochastic: draw actions: the noise is a further input. DDPG's and TD3's policies have nothing to draw.
        unchecked: leave the check out, and what it needs; the file says so.
        name: what the C function is called before _act, instead of policy.
        environment: another environment than the run's, as an id or module:Id, or the one of a policy's file:
            observations come from it where there is no replay.
        run_dir: where latest, the run begun last, is looked for.
    """
    given = run if is_policy_file(run) else run_named(run, run_dir, acting=True)
    with own_output():
        made = export_policy(
            given,
            output,
            format=format,
            best=best or policy == "best",
            stochastic=stochastic,
            unchecked=unchecked,
            name=name,
            environment=environment,
        )
    print("\n".join(_told(made)), file=sys.stderr)
    print(made.path)


def _told(made: Exported) -> list[str]:
    if made.check is None:
        return ["unchecked: nothing has run this copy yet"]
    return [*_compared(made.check), _timed(made.check)]


def _compared(check: Check) -> list[str]:
    lines = [f"largest difference {check.difference:.1e} of the action's range, by {check.by}"]
    for group in check.groups:
        judged = f"at most {group.limit:.1e}" if group.judged else "not judged"
        lines.append(f"  {group.count:>4} {group.name}: {group.difference:.1e} ({judged})")
    return lines


def _timed(check: Check) -> str:
    return f"one action takes {1e6 * check.seconds:.2f} us, in NumPy {1e6 * check.numpy_seconds:.2f} us (medians)"


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(export, arguments, "export")
