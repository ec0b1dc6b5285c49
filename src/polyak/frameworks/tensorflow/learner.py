"""The TensorFlow learner: native state inside, named NumPy arrays at the edge, K updates in one compiled call."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from polyak.algorithm import ERROR, STEP, Algorithm, due
from polyak.errors import UsageError
from polyak.frameworks.execution import Carriage, Execution
from polyak.frameworks.state import State, arrays_of, state_of
from polyak.frameworks.tensorflow.parts import Batch
from polyak.frameworks.tensorflow.quiet import Tensor, tf
from polyak.frameworks.tensorflow.vectors import Packing, Vectors
from polyak.networks.names import part
from polyak.settings.shared import Settings
from polyak.types import Arrays, Bool, Float, Learned, Metrics, Spec
from polyak.types import Batch as Batches

One = Callable[[State, Tensor, Tensor | None], tuple[State, Tensor]]
"""(state, record [B, R], what is due [parts]) -> (state, what was measured [metrics])."""


class TensorFlowLearner:
    """Runs an algorithm's page, a pure `update`, K times in a call.

    Fast means a loop over the K updates that XLA compiles as a whole.
    """

    def __init__(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> None:
        self._page, self._layout, self._config = algorithm.pages["tensorflow"], spec.layout, config
        self._entries, self._metrics = algorithm.state(spec, config), algorithm.metrics
        self._carriage, self._every = Carriage(algorithm.draws(spec, config), spec.layout), algorithm.every(config)
        for name, (_, draw) in self._carriage.places.items():
            raise UsageError(
                f"{algorithm.name} draws {name!r}, a {type(draw).__name__}, which polyak's TensorFlow does not take: "
                "choose --backend jax or torch"
            )
        self._device = "/GPU:0" if execution.device == "cuda" else "/CPU:0"
        self._count = int(arrays[STEP])
        given = {name: np.asarray(value) for name, value in arrays.items() if name != STEP}
        self._packing = Packing(given)
        with tf.device(self._device):
            self._vectors = self._packing.packed(given)
        self._updates = self._in_a_loop if execution.fast else self._one_by_one
        compiled: Any = tf.function(self._burst, autograph=False, jit_compile=True)
        self._run = compiled if execution.fast else self._burst

    def launch(self, batches: Batches, draws: Mapping[str, Float]) -> Callable[[], Learned]:
        """K updates in one dispatch."""
        now = self._due(len(batches.records))
        with tf.device(self._device):
            records = tf.constant(self._carriage.packed(batches, draws).records)
            flags = None if now is None else tf.constant(now)
            how = batches.weighted, batches.wants_errors
            self._vectors, values = self._run(self._vectors, records, flags, *how)
        return partial(self._learned, values, self._vectors, batches.wants_errors)

    def update(self, batches: Batches, draws: Mapping[str, Float]) -> Metrics:
        """K updates, waited for."""
        return self.launch(batches, draws)().metrics

    def actor(self) -> Arrays:
        """The actor's parameters, copied."""
        return self._actor(self._vectors)

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        return self._packing.arrays(self._vectors) | {STEP: np.array(self._count, np.int32)}

    def _actor(self, vectors: Vectors) -> Arrays:
        return part(self._packing.arrays(vectors, "actor/"), "actor")

    def _learned(self, values: Tensor, vectors: Vectors, wants_errors: bool) -> Learned:
        rows, measured = values.numpy(), len(self._metrics)
        errors = np.ascontiguousarray(rows[:, measured:]) if wants_errors else None
        return Learned(Metrics(self._metrics, np.ascontiguousarray(rows[:, :measured])), self._actor(vectors), errors)

    def _due(self, updates: int) -> Bool | None:
        """What is due in the next updates, which are counted: [K, parts], or None where the page has no such part."""
        found = due(self._every, self._count, updates)
        self._count += updates
        return np.stack([*found.values()], axis=1) if found else None

    def _burst(
        self, vectors: Vectors, records: Tensor, now: Tensor | None, weighted: bool, wants_errors: bool
    ) -> tuple[Vectors, Tensor]:
        """Metrics of each update, [K, M], and behind them its errors if they are wanted, [K, M + B]."""
        one, width = partial(self._one, weighted=weighted, wants_errors=wants_errors), len(self._metrics)
        width += records.shape[1] if wants_errors else 0
        arrays, values = self._updates(one, self._packing.unpacked(vectors), records, now, width)
        return self._packing.packed(arrays), values

    def _in_a_loop(self, one: One, arrays: Any, records: Tensor, now: Tensor | None, width: int) -> tuple[Any, Tensor]:
        """`tf.while_loop` of the page over the leading axis K."""
        updates = records.shape[0]
        rows = tf.TensorArray(records.dtype, size=updates, element_shape=[width])

        def step(index: Tensor, arrays: Any, rows: Any) -> tuple[Tensor, Any, Any]:
            flags = None if now is None else now[index]
            state, row = one(state_of(self._entries, arrays), records[index], flags)
            return index + 1, arrays_of(state), rows.write(index, row)

        def more(index: Tensor, arrays: Any, rows: Any) -> Tensor:
            return index < updates

        _, arrays, rows = tf.while_loop(more, step, (0, arrays, rows), maximum_iterations=updates)
        return arrays, rows.stack()

    def _one_by_one(self, one: One, arrays: Any, records: Tensor, now: Tensor | None, width: int) -> tuple[Any, Tensor]:
        """One update after another, each operation by itself."""
        state, rows = state_of(self._entries, arrays), list[Tensor]()
        for index, record in enumerate(tf.unstack(records)):
            state, row = one(state, record, None if now is None else now[index])
            rows.append(row)
        return arrays_of(state), tf.stack(rows)

    def _one(
        self, state: State, record: Tensor, flags: Tensor | None, *, weighted: bool, wants_errors: bool
    ) -> tuple[State, Tensor]:
        draws = {
            name: tf.reshape(record[:, column], [-1, *shape])
            for name, (column, shape) in self._carriage.columns.items()
        }
        now = {} if flags is None else dict(zip(self._every, tf.unstack(flags), strict=True))
        batch = Batch.unpacked(record, self._layout, weighted=weighted)
        state, measured = self._page(state, batch, draws, now, self._config)
        row = tf.stack([tf.cast(measured.get(name, math.nan), record.dtype) for name in self._metrics])
        return state, tf.concat([row, measured[ERROR]], 0) if wants_errors else row
