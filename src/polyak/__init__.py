"""polyak: DDPG, TD3 and SAC for continuous control.

Names are resolved when they are first used, so that `import polyak` imports NumPy and nothing heavier.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "train": "polyak.training",
    "train_together": "polyak.training",
    "resume": "polyak.training",
    "tune": "polyak.tuning",
    "drive": "polyak.deploy.driving",
    "load": "polyak.run.runs",
    "export": "polyak.deploy.export",
    "push": "polyak.deploy.hub",
    "pull": "polyak.deploy.hub",
    "import_sb3": "polyak.policies.sb3",
    "record": "polyak.run.filming",
    "write_dataset": "polyak.run.dataset",
    "write_report": "polyak.report.page",
    "Run": "polyak.run.folder",
    "Player": "polyak.policies.player",
    "Policy": "polyak.policies.policy",
    "Spec": "polyak.types",
    "UsageError": "polyak.errors",
    "TrainingError": "polyak.errors",
    "Interrupted": "polyak.errors",
    "NonFiniteError": "polyak.errors",
}

_MODULES = ("callbacks", "parts")
"""Public modules, each imported when it is first named."""

__all__ = [
    "Interrupted",
    "NonFiniteError",
    "Player",
    "Policy",
    "Run",
    "Spec",
    "TrainingError",
    "UsageError",
    "__version__",
    "drive",
    "export",
    "import_sb3",
    "load",
    "pull",
    "push",
    "record",
    "resume",
    "train",
    "train_together",
    "tune",
    "write_dataset",
    "write_report",
]

if TYPE_CHECKING:
    from polyak import callbacks as callbacks
    from polyak import parts as parts
    from polyak.deploy.driving import drive
    from polyak.deploy.export import export
    from polyak.deploy.hub import pull, push
    from polyak.errors import Interrupted, NonFiniteError, TrainingError, UsageError
    from polyak.policies.player import Player
    from polyak.policies.policy import Policy
    from polyak.policies.sb3 import import_sb3
    from polyak.report.page import write_report
    from polyak.run.dataset import write_dataset
    from polyak.run.filming import record
    from polyak.run.folder import Run
    from polyak.run.runs import load
    from polyak.training import resume, train, train_together
    from polyak.tuning import tune
    from polyak.types import Spec


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"polyak.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'polyak' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES))
