"""One adapter a framework, so that a test is written once: all learners have the same functions by the same names."""

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from polyak import frameworks
from polyak.frameworks.execution import Execution
from polyak.networks import flattened, nested
from polyak.types import Learner
from reference.cases import Case

NAMES = ("jax", "torch", "tensorflow")


class Framework(Protocol):
    """What the tests need of a framework."""

    name: str
    namespace: str
    """The attribute under which a learner's module knows the framework's functions."""
    functions: Mapping[str, str]
    """What `minimum`, `clip`, `sqrt`, `log`, `zeros_like` are called there."""

    def tensor(self, value: Any) -> Any: ...
    def precisely(self) -> AbstractContextManager[None]:
        """Each operation by itself, so that a function replaced in a module is used."""
        ...

    def mapped(self, function: Callable[..., Any], *trees: Any) -> Any: ...
    def value_and_gradients(self, function: Callable[..., Any], parameters: Any, *rest: Any, aux: bool) -> Any: ...


def framework(name: str) -> Framework:
    """The adapter of a framework, which is imported now."""
    return importlib.import_module(f"backends.with_{name}").FRAMEWORK


def module_of(case: Case, framework: Framework) -> ModuleType:
    return importlib.import_module(f"polyak.algorithms.{case.algorithm}.with_{framework.name}")


def common_of(framework: Framework) -> ModuleType:
    return importlib.import_module(f"polyak.frameworks.{framework.name}.parts")


def native(value: Any, framework: Framework) -> Any:
    """NumPy arrays, alone, named or in tuples, as tensors in nested dictionaries; others as they are."""
    if isinstance(value, np.ndarray):
        return framework.tensor(value)
    if isinstance(value, dict):
        flat = {name: native(leaf, framework) for name, leaf in sorted(value.items())}
        return nested(flat)
    if type(value) is tuple:
        return tuple(native(each, framework) for each in value)
    return value


def plain(value: Any) -> Any:
    """The way back: named arrays, or a tuple of such."""
    if isinstance(value, dict):
        return {name: np.asarray(leaf) for name, leaf in flattened(value).items()}
    if isinstance(value, tuple | list):
        return tuple(plain(each) for each in value)
    return np.asarray(value)


def state_of(case: Case, framework: Framework) -> Any:
    state = module_of(case, framework).State(**native(case.arrays, framework))
    return state._replace(step=int(case.arrays["step"])) if framework.name == "torch" else state


def batch_of(case: Case, framework: Framework, index: int = 0) -> Any:
    return common_of(framework).Batch(*native(tuple(case.batch(index)), framework))


def learner_of(case: Case, framework: str, *, fast: bool = True) -> Learner:
    execution = Execution("cpu", threads=None, fast=fast)
    return frameworks.make_learner(framework, case.algorithm, case.spec, case.config, case.arrays, execution)


def updated(case: Case, framework: Framework) -> dict[str, Any]:
    """The state after the case's updates, by the pure function of the module as it is now."""
    module, state = module_of(case, framework), state_of(case, framework)
    for index in range(len(case.records)):
        noise = {name: framework.tensor(value[index]) for name, value in case.noise.items()}
        state, _ = module.update(state, batch_of(case, framework, index), noise, case.config)
    return plain(state._asdict())
