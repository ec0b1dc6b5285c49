"""`polyak import sb3 MODEL.zip`: a policy file of a model that another library has saved."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyak.cli.parsing import call
from polyak.errors import UsageError
from polyak.policies.sb3 import import_sb3
from polyak.system.files import require_folder


def import_model(
    library: Annotated[Literal["sb3"], tyro.conf.Positional],
    model: Annotated[Path, tyro.conf.Positional],
    *,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> None:
    """Write the actor of another library's model as a policy file, which gives the same actions, and print its path.

    Args:
        library: sb3: Stable-Baselines3, whose SAC, TD3 and DDPG are read. This takes PyTorch, and unpickles nothing.
        model: the model's zip file.
        output: the policy's file; by default the model's name with .safetensors, here, where nothing is overwritten.
    """
    del library  # there is one
    file = output or Path(f"{model.stem}.safetensors")
    require_folder(file)
    if output is None and file.exists():
        raise UsageError(f"{file} is there already: say with -o where the policy is to go")
    policy = import_sb3(model)
    policy.save(file)
    spec, layers = policy.spec, len(policy.parameters) // 2
    told = f"a {policy.kind.replace('_', ' ')} policy of {layers} dense layers"
    print(f"{told}: observation {spec.observation_shape} -> action {spec.action_shape}", file=sys.stderr)
    print(file)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    call(import_model, arguments, "import")
