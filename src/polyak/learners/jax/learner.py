"""The JAX learner: native state inside, named NumPy arrays at the edge, K updates in one compiled call."""

import importlib
from collections.abc import Mapping
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
from polyak.learners.edge import Execution, noise_columns, packed
from polyak.learners.jax.common import Batch
from polyak.learners.jax.device import device_of
from polyak.networks import flattened, nested
from polyak.types import Arrays, Float, Metrics, Spec
from polyak.types import Batch as Batches


class JaxLearner:
    """Runs the pure `update` of an algorithm's module (`ddpg`, `td3` or `sac` beside this file)."""

    def __init__(
        self, algorithm: str, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> None:
        what, how = algorithm_module(algorithm), importlib.import_module(f"polyak.learners.jax.{algorithm}")
        device = device_of(execution)

        def on_device(value: Any) -> Array:
            return jax.device_put(jnp.array(value), device)

        self._state: Any = how.State(**jax.tree.map(on_device, nested(arrays)))
        self._metrics: tuple[str, ...] = what.METRICS
        self._noise: tuple[str, ...] = what.NOISE
        self._plainly = nullcontext if execution.fast else jax.disable_jit
        self._burst: Any = jax.jit(partial(_burst, how.update, what, spec, config), donate_argnums=0)

    def update(self, batches: Batches, noise: Mapping[str, Float]) -> Metrics:
        """K updates in one dispatch; the previous state's memory is reused (donated)."""
        with self._plainly():
            self._state, values = self._burst(self._state, packed(batches, noise, self._noise))
        return Metrics(self._metrics, np.asarray(values))

    def actor(self) -> Arrays:
        """The actor's parameters, copied."""
        return _copied(flattened(self._state.actor))

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        return _copied(flattened(self._state._asdict()))


def _copied(arrays: Mapping[str, Array]) -> Arrays:
    # np.array, not np.asarray: a view into JAX's memory would hinder its donation to the next update.
    return {name: np.array(value) for name, value in arrays.items()}


def _burst(
    update: Any, what: ModuleType, spec: Spec, config: Settings, state: Any, records: Array
) -> tuple[Any, Array]:
    """`lax.scan` of `update` over the leading axis K."""
    columns = noise_columns(what.NOISE, spec.observation_size, spec.action_size)

    def step(state: Any, record: Array) -> tuple[Any, Array]:
        batch = Batch.unpacked(record, spec.observation_size, spec.action_size)
        noise = {name: record[:, column] for name, column in columns.items()}
        state, metrics = update(state, batch, noise, config)
        return state, jnp.stack([metrics[name] for name in what.METRICS])

    return jax.lax.scan(step, state, records)
