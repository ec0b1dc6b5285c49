"""The JAX learner: native state inside, named NumPy arrays at the edge, K updates in one compiled call."""

from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from polyak.algorithms.settings import Settings
from polyak.learners.jax import common
from polyak.networks import flattened, nested
from polyak.types import Arrays, Batch, Float, Metrics, Spec


class JaxLearner:
    """Runs the pure `update` of an algorithm's module (`ddpg`, `td3` or `sac` beside this file)."""

    def __init__(self, module: ModuleType, spec: Spec, config: Settings, state: Any) -> None:
        self._state: Any = state
        self._metrics: tuple[str, ...] = module.METRICS
        burst = partial(_burst, module.update, module.METRICS, spec, config)
        self._burst: Any = jax.jit(burst, donate_argnums=0)

    @classmethod
    def from_arrays(cls, module: ModuleType, spec: Spec, config: Settings, arrays: Mapping[str, Any]) -> "JaxLearner":
        """A learner whose state is the given named arrays, copied to the device."""
        on_device: Any = jax.tree.map(cast(Any, jnp.array), nested(arrays))
        state = module.State(**on_device)
        return cls(module, spec, config, state)

    def update(self, batches: Batch, noise: Mapping[str, Float]) -> Metrics:
        """K updates in one dispatch; the previous state's memory is reused (donated)."""
        self._state, values = self._burst(self._state, batches.records, dict(noise))
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
    update: Any, names: tuple[str, ...], spec: Spec, config: Settings, state: Any, records: Array, noise: Any
) -> tuple[Any, Array]:
    """`lax.scan` of `update` over the leading axis K."""

    def step(state: Any, inputs: tuple[Array, Any]) -> tuple[Any, Array]:
        record, one_noise = inputs
        batch = common.Batch.unpacked(record, spec.observation_size, spec.action_size)
        state, metrics = update(state, batch, one_noise, config)
        return state, jnp.stack([metrics[name] for name in names])

    return jax.lax.scan(step, state, (records, noise))
