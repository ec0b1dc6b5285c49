"""One adapter a framework, so that a test is written once: all learners have the same functions by the same names."""

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import pytest

from polyak import frameworks
from polyak.algorithm import Bits, Draw, due
from polyak.algorithms import with_page
from polyak.frameworks.execution import Execution
from polyak.frameworks.state import State, Weights, arrays_of
from polyak.frameworks.state import state_of as from_arrays
from polyak.networks.layers import Body
from polyak.networks.names import flattened, nested
from polyak.networks.weights import plain_body
from polyak.types import Arrays, Learner
from reference.cases import Case

NAMES = ("jax", "torch", "tensorflow")
ALGORITHMS = ("ddpg", "td3", "sac", "tqc", "crossq")
"""Those that are held against an oracle, in all frameworks that have a page of them."""


def frameworks_of(case: str) -> list[str]:
    """The frameworks that have a page for the algorithm of a case (`sac`, `sac fixed alpha`)."""
    name = case.partition(" ")[0]
    return [each for each in NAMES if find_spec(f"polyak.algorithms.{name}.with_{each}") is not None]


def in_each(cases: Iterable[str]) -> pytest.MarkDecorator:
    """A test of cases by `name`, each in the frameworks that have its page, by the fixture `framework`."""
    pairs = [(case, each) for case in cases for each in frameworks_of(case)]
    return pytest.mark.parametrize(("name", "framework"), pairs, indirect=["framework"])


class Framework(Protocol):
    """What the tests need of a framework."""

    name: str
    namespace: str
    """The attribute under which a learner's module knows the framework's functions."""
    functions: Mapping[str, str]
    """What `minimum`, `clip`, `sqrt`, `log`, `zeros_like`, `where` are called there."""

    def tensor(self, value: Any) -> Any: ...
    def precisely(self) -> AbstractContextManager[None]:
        """Each operation by itself, so that a function replaced in a module is used."""
        ...

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of tensors as it is now; JAX's is computed by NumPy, so that nothing is compiled (traced.py)."""
        ...


def framework(name: str) -> Framework:
    """The adapter of a framework, which is imported now."""
    return importlib.import_module(f"backends.with_{name}").FRAMEWORK


def module_of(case: Case, framework: Framework) -> ModuleType:
    return importlib.import_module(f"polyak.algorithms.{case.algorithm}.with_{framework.name}")


def parts_of(framework: Framework) -> ModuleType:
    return importlib.import_module(f"polyak.frameworks.{framework.name}.parts")


def native(value: Any, framework: Framework) -> Any:
    """NumPy arrays, alone or in tuples, as tensors; a network's, by name, as its weights; others as they are."""
    if isinstance(value, np.ndarray):
        return framework.tensor(value)
    if isinstance(value, dict):
        ensemble = any(leaf.ndim == 3 for leaf in value.values())
        member = {name: leaf[0] for name, leaf in value.items()} if ensemble else value
        return native_network(value, plain_body(member), framework)
    if type(value) is tuple:
        return tuple(native(each, framework) for each in value)
    return value


def native_network(arrays: Mapping[str, Any], body: Body, framework: Framework) -> Weights:
    """A network's arrays, by name, as its weights."""
    return Weights(nested({name: framework.tensor(leaf) for name, leaf in sorted(arrays.items())}), body)


def plain(value: Any) -> Any:
    """The way back: arrays, those of a network or a state by name, or a tuple of such."""
    if isinstance(value, State):
        value = arrays_of(value)
    if isinstance(value, Weights):
        value = value.arrays
    if isinstance(value, dict):
        return {name: np.asarray(leaf) for name, leaf in flattened(value).items()}
    if isinstance(value, tuple | list):
        return tuple(plain(each) for each in value)
    return np.asarray(value)


def gradients_of(framework: Framework, function: Callable[..., Any], parameters: Any, *rest: Any) -> Any:
    """What a loss gives, and its gradient in the parameters, all as NumPy has it."""
    differentiate, others = parts_of(framework).value_and_gradient, native(rest, framework)
    differentiated = framework.prepared(lambda tensors: differentiate(function, tensors, *others))
    return plain(differentiated(native(parameters, framework)))


def state_of(case: Case, framework: Framework) -> State:
    tensors = {name: framework.tensor(value) for name, value in sorted(case.arrays.items())}
    return from_arrays(case.what.state(case.spec, case.config), tensors)


def batch_of(case: Case, framework: Framework, index: int = 0) -> Any:
    return parts_of(framework).Batch(*native(tuple(case.batch(index)), framework))


def learner_of(case: Case, framework: str, *, fast: bool = True, arrays: Arrays | None = None) -> Learner:
    """A learner in the case's first state, or in another of these arrays."""
    execution = Execution("cpu", threads=None, fast=fast)
    what = with_page(case.what, framework)
    return frameworks.make_learner(framework, what, case.spec, case.config, arrays or case.arrays, execution)


def arguments_of(case: Case, framework: Framework, index: int) -> tuple[Any, ...]:
    """What an update of the case takes besides the state."""
    declared = case.what.draws(case.spec, case.config)
    draws = {name: framework.tensor(seen(declared[name], value)[index]) for name, value in case.noise.items()}
    flags = due(case.what.every(case.config), index, 1)
    return batch_of(case, framework, index), draws, {name: bool(each[0]) for name, each in flags.items()}, case.config


def seen(draw: Draw, sent: Any) -> Any:
    """The draws of K updates as pages see them: bits as booleans [K, *shape], others as they are sent."""
    if not isinstance(draw, Bits):
        return sent
    bits = np.unpackbits(sent, axis=1, bitorder="little")[:, : math.prod(draw.shape)]
    return bits.reshape(-1, *draw.shape) > 0


def update_of(case: Case, framework: Framework) -> Callable[[Any, int], tuple[Any, dict[str, Any]]]:
    """(state, index of the update) -> (state, what was measured), by the pure function of the module as it is now."""
    update, ready = module_of(case, framework).update, dict[Any, Callable[..., Any]]()

    def one(state: Any, index: int) -> tuple[Any, dict[str, Any]]:
        batch, draws, flags, config = arguments_of(case, framework, index)
        due = tuple(flags.values())
        if due not in ready:
            ready[due] = framework.prepared(lambda *tensors: update(*tensors, flags, config))
        return ready[due](state, batch, draws)

    return one


def updated(case: Case, framework: Framework) -> dict[str, Any]:
    """The state after the case's updates, by the pure function of the module as it is now."""
    state, update = state_of(case, framework), update_of(case, framework)
    for index in range(len(case.records)):
        state, _ = update(state, index)
    return plain(state)
