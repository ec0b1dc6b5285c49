"""The JAX learner: native state inside, named NumPy arrays at the edge, K updates in one compiled call."""

import importlib
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from polyak.algorithms import algorithm as algorithm_module
from polyak.algorithms.settings import Settings
from polyak.frameworks.execution import Execution, noise_columns, packed
from polyak.frameworks.jax.device import compiler_options, device_of
from polyak.frameworks.jax.packing import Packed, Packing
from polyak.frameworks.jax.parts import Batch
from polyak.networks import flattened, nested
from polyak.types import Arrays, Float, Learned, Metrics, Spec
from polyak.types import Batch as Batches


class JaxLearner:
    """Runs the pure `update` of an algorithm's module (`ddpg`, `td3` or `sac` beside this file)."""

    def __init__(
        self,
        algorithm: str,
        spec: Spec,
        config: Settings,
        arrays: Mapping[str, Any],
        execution: Execution,
        like: "JaxLearner | None" = None,
    ) -> None:
        """Go on from `arrays`; `like`, of the same sizes and settings, shares what it has compiled."""
        what, how = algorithm_module(algorithm), importlib.import_module(f"polyak.algorithms.{algorithm}.with_jax")
        device = device_of(execution)

        def on_device(value: Any) -> Array:
            return jax.device_put(np.array(value), device)  # a copy of its own, which will be donated

        state: Any = how.State(**jax.tree.map(np.asarray, nested(arrays)))  # sorted by name, as JAX gives it back
        self._packing = Packing(state)
        self._packed = jax.tree.map(on_device, self._packing.packed(state, np))
        self._actor: dict[str, tuple[int, ...]] = {n: leaf.shape for n, leaf in flattened(state.actor).items()}
        self._metrics: tuple[str, ...] = what.METRICS
        self._noise: tuple[str, ...] = what.NOISE
        self._plainly = nullcontext if execution.fast else jax.disable_jit
        self.pure_burst: Any = partial(_burst, how.update, what, spec, config, self._packing)
        """(packed state, records [K, B, R]) -> (packed state, metrics and actor in one vector)."""
        options = compiler_options(execution)
        self._burst: Any = (
            like._burst if like else jax.jit(self.pure_burst, donate_argnums=0, compiler_options=options)  # noqa: SLF001
        )

    def launch(self, batches: Batches, noise: Mapping[str, Float]) -> Callable[[], Learned]:
        """K updates in one dispatch; the previous state's memory is reused (donated)."""
        with self._plainly():
            self._packed, results = self._burst(self._packed, packed(batches, noise, self._noise))
        return partial(self._learned, results, len(batches.records))

    def update(self, batches: Batches, noise: Mapping[str, Float]) -> Metrics:
        """K updates, waited for."""
        return self.launch(batches, noise)().metrics

    def actor(self) -> Arrays:
        """The actor's parameters, copied."""
        return _named(self._state().actor)

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        return _named(self._state()._asdict())

    def _state(self) -> Any:
        # np.array, not np.asarray: a view into JAX's memory would hinder its donation to the next update.
        return self._packing.unpacked(jax.tree.map(np.array, self._current()))

    def _current(self) -> Packed:
        return self._packed

    def _learned(self, results: Array | Float, updates: int) -> Learned:
        numbers, first = np.asarray(results), updates * len(self._metrics)
        actor: Arrays = {}
        values = numbers[:first].reshape(updates, -1).copy()  # they are kept for an epoch, the actor is not
        for name, shape in self._actor.items():
            end = first + math.prod(shape)
            actor[name] = numbers[first:end].reshape(shape)
            first = end
        return Learned(Metrics(self._metrics, values), actor)


def _named(tree: Mapping[str, Any]) -> Arrays:
    return {name: np.array(value) for name, value in flattened(tree).items()}


def _burst(
    update: Any, what: ModuleType, spec: Spec, config: Settings, packing: Packing, state: Packed, records: Array
) -> tuple[Packed, Array]:
    """`lax.scan` of `update` over the leading axis K.

    What comes back besides the state are the metrics of all updates and then the actor, in one array: one transfer.
    """
    columns = noise_columns(what.NOISE, spec.layout)

    def step(state: Any, record: Array) -> tuple[Any, Array]:
        batch = Batch.unpacked(record, spec.layout)
        noise = {name: record[:, column] for name, column in columns.items()}
        state, metrics = update(state, batch, noise, config)
        return state, jnp.stack([metrics[name] for name in what.METRICS])

    after, values = jax.lax.scan(step, packing.unpacked(state), records)
    actor = [jnp.ravel(leaf) for leaf in flattened(after.actor).values()]
    return packing.packed(after), jnp.concatenate([jnp.ravel(values), *actor])
