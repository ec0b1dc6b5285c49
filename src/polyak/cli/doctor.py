"""`polyak doctor`: what is installed and works here, and the remedy for what is missing."""

import functools
import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

import polyak
from polyak import frameworks
from polyak.algorithms import without_page
from polyak.cli.parsing import call
from polyak.errors import UsageError
from polyak.system.memory import memory_free, readable_bytes
from polyak.system.threads import physical_cores

MINIMUM_PYTHON = (3, 11)
FRAMEWORKS = {"JAX": "jax", "PyTorch": "torch", "TensorFlow": "tensorflow"}


class Finding(NamedTuple):
    """One thing looked at."""

    name: str
    works: bool
    found: str
    remedy: str = ""
    needed: bool = False


def check() -> int:
    """Check Python, frameworks, environments and rendering; each thing missing comes with its remedy."""
    console = Console(soft_wrap=True, highlight=False)
    healthy = True
    for finding in findings():
        mark, style = ("ok", "green") if finding.works else ("no", "red" if finding.needed else "yellow")
        line = Text.assemble((f"{mark:<4}", style), f"{finding.name:<12}{finding.found}")
        console.print(line)
        if not finding.works:
            console.print(Text(f"{'':16}remedy: {finding.remedy}", style="dim"))
            healthy = healthy and not finding.needed
    return 0 if healthy else 1


def findings() -> Iterator[Finding]:
    """Everything looked at, in order."""
    python = sys.version_info[:2] >= MINIMUM_PYTHON
    yield Finding("Python", python, platform.python_version(), "install Python 3.11 or newer", needed=True)
    yield Finding("polyak", True, polyak.__version__)
    for name, backend in FRAMEWORKS.items():
        yield _framework(name, backend)
    yield Finding(
        "threads",
        True,
        f"{physical_cores()} physical cores, which a run uses by default; --threads sets another number",
    )
    yield Finding("memory", True, f"{readable_bytes(memory_free())} free")
    for name, package in (("Gymnasium", "gymnasium"), ("video", "av"), ("pygame", "pygame")):
        yield _package(name, package, "pip install polyak", needed=True)
    yield _package("Box2D", "Box2D", 'pip install "polyak[box2d]"')
    yield _package("MuJoCo", "mujoco", 'pip install "polyak[mujoco]"')
    yield _package("robotics", "gymnasium_robotics", 'pip install "polyak[robotics]"')
    yield _package("Ray", "ray", 'pip install "polyak[ray]"')
    yield _package("W&B", "wandb", 'pip install "polyak[wandb]"')
    yield _package("MLflow", "mlflow", 'pip install "polyak[mlflow]"')
    yield _package("h5py (Minari)", "h5py", 'pip install "polyak[minari]"')
    yield _package("Optuna", "optuna", 'pip install "polyak[tune]"')
    yield _package("ONNX", "onnxruntime", 'pip install "polyak[export]"')
    yield _package("Hub", "huggingface_hub", 'pip install "polyak[hub]"')
    if find_spec("mujoco") is not None:
        yield _mujoco_rendering()


def _framework(name: str, backend: str) -> Finding:
    """A framework imported and asked: what is installed may still not work."""
    needed = backend == "jax"
    if find_spec(backend) is None:
        return Finding(name, False, "not installed", frameworks.BACKENDS[backend], needed=needed)
    try:
        found = frameworks.describe(backend)
    except (UsageError, ImportError, RuntimeError, OSError) as error:
        remedy = f"reinstall it: {frameworks.BACKENDS[backend]}"
        return Finding(name, False, f"does not work: {str(error).splitlines()[0]}", remedy, needed=needed)
    missing = ", ".join(without_page(backend))
    return Finding(name, True, f"{found}; without {missing}" if missing else found)


def _package(name: str, package: str, remedy: str, *, needed: bool = False) -> Finding:
    if find_spec(package) is None:
        return Finding(name, False, "not installed", remedy, needed=needed)
    distributions = _distributions().get(package, [package])
    return Finding(name, True, importlib.metadata.version(distributions[0]))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Package -> the distributions that install it (pygame comes from two); to list them takes a while."""
    return importlib.metadata.packages_distributions()


def _mujoco_rendering() -> Finding:
    from polyak.policies.recording import GL_REMEDY, working_gl

    backend = working_gl()
    if backend is None:
        return Finding("rendering", False, "MuJoCo finds neither EGL nor OSMesa", GL_REMEDY)
    return Finding("rendering", True, f"MuJoCo renders without a screen through {backend.upper()}")


def main(arguments: list[str]) -> int:
    """Parse and run."""
    return call(check, arguments, "doctor")
