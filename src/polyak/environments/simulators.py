"""What a simulator says past Python, said by Python instead."""

import sys
from typing import Any

DEPRECATED = "is deprecated"
"""What its models' authors have to change, and nobody who trains."""


def let_mujoco_warn_by_python() -> None:
    """Where MuJoCo is there: print its warnings on standard error, and do not say what its models' authors should do.

    Left alone it prints them from C, and writes MUJOCO_LOG.TXT into whichever folder the process stands in. A handler
    of somebody's own stays.
    """
    mujoco: Any = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_say)


def _say(message: str) -> None:
    if DEPRECATED not in message:
        print(f"MuJoCo warns: {message}", file=sys.stderr)  # noqa: T201 - as MuJoCo itself would
