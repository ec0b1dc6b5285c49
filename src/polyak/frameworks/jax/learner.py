"""The JAX learner: native state inside, named NumPy arrays at the edge, K updates in one compiled call."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from polyak.algorithm import ERROR, STEP, Algorithm, actor_in, body_in, due, expected_state
from polyak.draws import Bits, Subset
from polyak.frameworks.execution import Carriage, Execution, Sent
from polyak.frameworks.jax.device import compiler_options, device_of
from polyak.frameworks.jax.packing import Packed, Packing
from polyak.frameworks.jax.parts import Batch
from polyak.frameworks.state import State, acting, arrays_of, state_of
from polyak.networks.folding import folded
from polyak.settings.shared import Settings
from polyak.types import Arrays, Bool, Float, Learned, Metrics, Spec
from polyak.types import Batch as Batches


class JaxLearner:
    """Runs an algorithm's page, a pure `update`, K times in a call."""

    def __init__(
        self,
        algorithm: Algorithm,
        spec: Spec,
        config: Settings,
        arrays: Mapping[str, Any],
        execution: Execution,
        like: "JaxLearner | None" = None,
    ) -> None:
        """Go on from `arrays`; `like`, of the same sizes and settings, shares what it has compiled."""
        device = device_of(execution)

        def on_device(value: Any) -> Array:
            return jax.device_put(np.array(value), device)  # a copy of its own, which will be donated

        self._entries = algorithm.state(spec, config)
        self._body = body_in(self._entries, "actor") or ()
        state = state_of(self._entries, jax.tree.map(np.asarray, dict(arrays)))
        self._packing = Packing(state)
        self._packed = jax.tree.map(on_device, self._packing.packed(state, np))
        self._count = int(arrays[STEP])
        self._actor: dict[str, tuple[int, ...]] = {name: leaf.shape for name, leaf in acting(state).items()}
        self._metrics, self._every = algorithm.metrics, algorithm.every(config)
        self._carriage = Carriage(algorithm.draws(spec, config), spec.layout)
        self._plainly = nullcontext if execution.fast else jax.disable_jit
        self.pure_burst: Any = partial(_burst, algorithm, spec, config, self._packing)
        """(packed state, what is sent, what is due [K, P], weighted, errors wanted) -> (packed state, what it brought).
        """
        options = compiler_options(execution)
        compiled = like._burst if like else None  # noqa: SLF001
        jitted = partial(jax.jit, donate_argnums=0, static_argnums=(3, 4), compiler_options=options)
        self._burst: Any = compiled or jitted(self.pure_burst)

    def launch(self, batches: Batches, draws: Mapping[str, NDArray[Any]]) -> Callable[[], Learned]:
        """K updates in one dispatch; the previous state's memory is reused (donated)."""
        (updates, batch_size), how = batches.records.shape[:2], (batches.weighted, batches.wants_errors)
        with self._plainly():
            sent = self._carriage.packed(batches, draws)
            self._packed, results = self._burst(self._packed, sent, self._due(updates), *how)
        return partial(self._learned, results, updates, batch_size, batches.wants_errors)

    def update(self, batches: Batches, draws: Mapping[str, NDArray[Any]]) -> Metrics:
        """K updates, waited for."""
        return self.launch(batches, draws)().metrics

    def actor(self) -> Arrays:
        """The arrays of the policy's network, copied."""
        return actor_in(self._entries, self.arrays())

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        # np.array, not np.asarray: a view into JAX's memory would hinder its donation to the next update.
        state = self._packing.unpacked(jax.tree.map(np.array, self._current()))
        named = {name: np.array(value) for name, value in arrays_of(state).items()}
        return named | {STEP: np.array(self._count, np.int32)}

    def _current(self) -> Packed:
        return self._packed

    def _due(self, updates: int) -> Bool | None:
        """What is due in the next updates, which are counted: [K, parts], or None where the page has no such part."""
        found = due(self._every, self._count, updates)
        self._count += updates
        return np.stack([*found.values()], axis=1) if found else None

    def _learned(self, results: Array | Float, updates: int, batch_size: int, wants_errors: bool) -> Learned:
        measured = len(self._metrics)
        numbers, first = np.asarray(results), updates * (measured + (batch_size if wants_errors else 0))
        actor: Arrays = {}
        rows = numbers[:first].reshape(updates, -1)
        values = rows[:, :measured].copy()  # they are kept for an epoch, the actor is not
        for name, shape in self._actor.items():
            end = first + math.prod(shape)
            actor[name] = numbers[first:end].reshape(shape)
            first = end
        errors = rows[:, measured:].copy() if wants_errors else None
        return Learned(Metrics(self._metrics, values), folded(self._body, actor), errors)


def _burst(
    algorithm: Algorithm,
    spec: Spec,
    config: Settings,
    packing: Packing,
    state: Packed,
    sent: Sent,
    due: Array | None,
    weighted: bool,
    wants_errors: bool,
) -> tuple[Packed, Array]:
    """`lax.scan` of the page over the leading axis K.

    What comes back besides the state are the metrics of all updates, behind those of each its errors if they are
    wanted, and then the actor, in one array: one transfer.
    """
    page, parts = algorithm.pages["jax"], tuple(algorithm.every(config))
    carriage = Carriage(algorithm.draws(spec, config), spec.layout)

    def step(state: State, given: tuple[Sent, Any]) -> tuple[State, Array]:
        (record, more), now = given
        draws = _draws(carriage, record, more)
        flags = {name: now[index] for index, name in enumerate(parts)}
        state, measured = page(state, Batch.unpacked(record, spec.layout, weighted=weighted), draws, flags, config)
        row = jnp.stack([measured.get(name, jnp.nan) for name in algorithm.metrics])
        return state, jnp.concatenate([row, measured[ERROR]]) if wants_errors else row

    after, values = jax.lax.scan(step, packing.unpacked(state), (sent, due))
    actor = [jnp.ravel(leaf) for leaf in acting(after).values()]
    return packing.packed(after), jnp.concatenate([jnp.ravel(values), *actor])


def _draws(carriage: Carriage, record: Array, more: Array) -> dict[str, Array]:
    """The draws of one update, as a page takes them."""
    draws = {name: record[:, column].reshape(-1, *shape) for name, (column, shape) in carriage.columns.items()}
    return draws | {name: _unpacked(more[place], draw) for name, (place, draw) in carriage.places.items()}


def _unpacked(sent: Array, draw: Subset | Bits) -> Array:
    """int32 [size], or booleans of the draw's shape."""
    if isinstance(draw, Subset):
        return jax.lax.bitcast_convert_type(sent.reshape(-1, 4), jnp.int32)
    bits = (sent[:, None] >> jnp.arange(8, dtype=jnp.uint8)) & 1
    return bits.ravel()[: math.prod(draw.shape)].reshape(draw.shape).astype(bool)


def trace(algorithm: Algorithm, spec: Spec, config: Settings) -> None:
    """Trace one update of an algorithm's page, for what it raises; nothing is computed."""
    entries, carriage = algorithm.state(spec, config), Carriage(algorithm.draws(spec, config), spec.layout)
    state = state_of(entries, expected_state(entries))
    packing, parts = Packing(state), len(algorithm.every(config))
    records = jax.ShapeDtypeStruct((1, config.batch_size, carriage.width), np.float32)
    more = jax.ShapeDtypeStruct((1, carriage.bytes), np.uint8) if carriage.bytes else None
    due = jax.ShapeDtypeStruct((1, parts), np.bool_) if parts else None
    burst = partial(_burst, algorithm, spec, config, packing, weighted=False, wants_errors=False)
    jax.eval_shape(burst, packing.packed(state, np), Sent(records, more), due)
