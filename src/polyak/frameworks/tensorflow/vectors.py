"""A state as two vectors, because TensorFlow takes long to hand many tensors to a compiled function."""

from typing import Any, NamedTuple

import numpy as np

from polyak.frameworks.tensorflow.quiet import Tensor, tf
from polyak.networks.names import flattened
from polyak.types import Arrays


class Vectors(NamedTuple):
    """Every number of a state."""

    floats: Tensor
    """[weights, moments, temperature], one after another."""
    integers: Tensor
    """[counts]"""


class Layout:
    """Where the tensors of a state lie in its vectors."""

    def __init__(self, state: Any) -> None:
        self._like = state
        leaves: list[Any] = tf.nest.flatten(state)
        self._floating: list[bool] = [leaf.dtype.is_floating for leaf in leaves]
        self._shapes: list[tuple[int, ...]] = [tuple(leaf.shape) for leaf in leaves]
        pairs = list(zip(self._shapes, self._floating, strict=True))
        self._sizes = [int(np.prod(shape)) for shape, floating in pairs if floating]
        starts, counts = iter(np.cumsum([0, *self._sizes]).tolist()), iter(range(len(leaves)))
        places = [next(starts) if floating else next(counts) for floating in self._floating]
        numbered = tf.nest.pack_sequence_as(state, list(range(len(leaves))))
        names: dict[str, int] = flattened(numbered._asdict())
        self._floats = {name: (places[i], self._shapes[i]) for name, i in names.items() if self._floating[i]}
        self._integers = {name: places[i] for name, i in names.items() if not self._floating[i]}

    def arrays(self, vectors: Vectors, part: str = "") -> Arrays:
        """The named arrays whose names begin with `part`, copied; no floats behind them leave the device."""
        chosen = {name: place for name, place in self._floats.items() if name.startswith(part)}
        last = max(start + int(np.prod(shape)) for start, shape in chosen.values())
        numbers: Any = vectors.floats[:last].numpy()  # the actor comes first
        counts: Any = vectors.integers.numpy()
        found: Arrays = {}
        for name, (start, shape) in chosen.items():
            found[name] = np.array(numbers[start : start + int(np.prod(shape))]).reshape(shape)
        for name, place in self._integers.items():
            if name.startswith(part):
                found[name] = np.array(counts[place])
        return found

    def packed(self, state: Any) -> Vectors:
        """The vectors of a state."""
        leaves = list(zip(tf.nest.flatten(state), self._floating, strict=True))
        floats = [tf.reshape(leaf, [-1]) for leaf, floating in leaves if floating]
        return Vectors(tf.concat(floats, 0), tf.stack([leaf for leaf, floating in leaves if not floating]))

    def unpacked(self, vectors: Vectors) -> Any:
        """The state that lies in vectors; the inverse of `packed`."""
        floats, integers = iter(tf.split(vectors.floats, self._sizes)), iter(tf.unstack(vectors.integers))
        pairs = zip(self._shapes, self._floating, strict=True)
        leaves = [tf.reshape(next(floats), shape) if floating else next(integers) for shape, floating in pairs]
        return tf.nest.pack_sequence_as(self._like, leaves)
