"""The TensorFlow learner: native state inside, named NumPy arrays at the edge, K updates in one compiled call."""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from polyak.algorithm import Algorithm
from polyak.frameworks.execution import Execution, columns_of, packed
from polyak.frameworks.tensorflow.parts import Batch
from polyak.frameworks.tensorflow.quiet import Tensor, tf
from polyak.frameworks.tensorflow.vectors import Layout, Vectors
from polyak.networks.names import nested
from polyak.settings.shared import Settings
from polyak.types import Arrays, Float, Learned, Metrics, Spec
from polyak.types import Batch as Batches


class TensorFlowLearner:
    """Runs the pure `update` of an algorithm's module (`ddpg`, `td3` or `sac` beside this file).

    Fast means a loop over the K updates that XLA compiles as a whole.
    """

    def __init__(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> None:
        self._spec, self._config = spec, config
        self._metrics, self._draws = algorithm.metrics, tuple(algorithm.draws(spec, config))
        self._how: ModuleType = importlib.import_module(f"polyak.algorithms.{algorithm.name}.with_tensorflow")
        self._device = "/GPU:0" if execution.device == "cuda" else "/CPU:0"
        self._columns = columns_of(algorithm.draws(spec, config), spec.layout)
        with tf.device(self._device):
            state: Any = self._how.State(**tf.nest.map_structure(tf.constant, nested(arrays)))
            self._layout = Layout(state)
            self._vectors = self._layout.packed(state)
        self._updates = self._in_a_loop if execution.fast else self._one_by_one
        compiled: Any = tf.function(self._burst, autograph=False, jit_compile=True)
        self._run = compiled if execution.fast else self._burst

    def launch(self, batches: Batches, noise: Mapping[str, Float]) -> Callable[[], Learned]:
        """K updates in one dispatch."""
        with tf.device(self._device):
            records = tf.constant(packed(batches, noise, self._draws))
            self._vectors, values = self._run(self._vectors, records)
        return partial(self._learned, values, self._vectors)

    def update(self, batches: Batches, noise: Mapping[str, Float]) -> Metrics:
        """K updates, waited for."""
        return self.launch(batches, noise)().metrics

    def actor(self) -> Arrays:
        """The actor's parameters, copied."""
        return self._actor(self._vectors)

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        return self._layout.arrays(self._vectors)

    def _actor(self, vectors: Vectors) -> Arrays:
        arrays = self._layout.arrays(vectors, "actor/")
        return {name.removeprefix("actor/"): value for name, value in arrays.items()}

    def _learned(self, values: Tensor, vectors: Vectors) -> Learned:
        return Learned(Metrics(self._metrics, values.numpy()), self._actor(vectors))

    def _burst(self, vectors: Vectors, records: Tensor) -> tuple[Vectors, Tensor]:
        state, values = self._updates(self._layout.unpacked(vectors), records)
        return self._layout.packed(state), values

    def _in_a_loop(self, state: Any, records: Tensor) -> tuple[Any, Tensor]:
        """`tf.while_loop` of the update over the leading axis K."""
        updates = records.shape[0]
        rows = tf.TensorArray(records.dtype, size=updates, element_shape=[len(self._metrics)])

        def step(index: Tensor, state: Any, rows: Any) -> tuple[Tensor, Any, Any]:
            state, row = self._one(state, records[index])
            return index + 1, state, rows.write(index, row)

        def more(index: Tensor, state: Any, rows: Any) -> Tensor:
            return index < updates

        _, state, rows = tf.while_loop(more, step, (0, state, rows), maximum_iterations=updates)
        return state, rows.stack()

    def _one_by_one(self, state: Any, records: Tensor) -> tuple[Any, Tensor]:
        """One update after another, each operation by itself."""
        rows: list[Tensor] = []
        for record in tf.unstack(records):
            state, row = self._one(state, record)
            rows.append(row)
        return state, tf.stack(rows)

    def _one(self, state: Any, record: Tensor) -> tuple[Any, Tensor]:
        batch = Batch.unpacked(record, self._spec.layout)
        noise = {name: record[:, column] for name, (column, _) in self._columns.items()}
        state, metrics = self._how.update(state, batch, noise, self._config)
        return state, tf.stack([metrics[name] for name in self._metrics])
