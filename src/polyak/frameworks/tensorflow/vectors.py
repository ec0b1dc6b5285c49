"""A state as two vectors, because TensorFlow takes long to hand many tensors to a compiled function."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from polyak.frameworks.tensorflow.quiet import Tensor, tf
from polyak.types import Arrays


class Vectors(NamedTuple):
    """Every number of a state."""

    floats: Tensor
    """[weights, moments, temperature], one after another."""
    integers: Tensor
    """[counts]"""


class Packing:
    """Where the named arrays of a state lie in its vectors."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._starts: dict[str, int] = {}
        self._places: dict[str, int] = {}
        end = 0
        for name in sorted(arrays):
            if np.issubdtype(arrays[name].dtype, np.floating):
                self._shapes[name], self._starts[name] = arrays[name].shape, end
                end += math.prod(arrays[name].shape)
            else:
                self._places[name] = len(self._places)

    def packed(self, arrays: Mapping[str, Any]) -> Vectors:
        """The vectors of a state's arrays, TensorFlow's or NumPy's."""
        floats = [tf.reshape(arrays[name], [-1]) for name in self._shapes]
        return Vectors(tf.concat(floats, 0), tf.stack([arrays[name] for name in self._places]))

    def unpacked(self, vectors: Vectors) -> dict[str, Tensor]:
        """The arrays that lie in vectors; the inverse of `packed`."""
        floats = iter(tf.split(vectors.floats, [math.prod(shape) for shape in self._shapes.values()]))
        integers = iter(tf.unstack(vectors.integers, len(self._places)))
        arrays = {name: tf.reshape(next(floats), shape) for name, shape in self._shapes.items()}
        return arrays | {name: next(integers) for name in self._places}

    def arrays(self, vectors: Vectors, part: str = "") -> Arrays:
        """Those whose names begin with `part`, copied; no floats behind them leave the device."""
        ends = {name: self._starts[name] + math.prod(shape) for name, shape in self._shapes.items()}
        chosen = [name for name in self._shapes if name.startswith(part)]
        numbers: Any = vectors.floats[: ends[chosen[-1]]].numpy()  # the actor comes first
        counts: Any = vectors.integers.numpy()
        found: Arrays = {}
        for name in chosen:
            found[name] = np.array(numbers[self._starts[name] : ends[name]]).reshape(self._shapes[name])
        for name, place in self._places.items():
            if name.startswith(part):
                found[name] = np.array(counts[place])
        return found
