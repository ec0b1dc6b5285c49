"""A state in fewer arrays, because each one that goes into a compiled call and comes back takes JAX microseconds."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

LARGE = 4_096
"""Numbers from which on an array stays alone: copying it into a vector would take longer than handing it over."""


class Packed(NamedTuple):
    """Every number of a state."""

    large: list[Array]
    """Kernels and their moments, as they are."""
    floats: Array
    """All the other floating-point numbers, one after another."""
    integers: Array
    """[counts]"""


class Packing:
    """Where the arrays of a state lie in its packed form."""

    def __init__(self, state: Any) -> None:
        leaves: list[Array] = jax.tree.leaves(state)
        self._structure: Any = jax.tree.structure(state)
        self._shapes: list[tuple[int, ...]] = [leaf.shape for leaf in leaves]
        self._kinds = [_kind(leaf) for leaf in leaves]

    def packed(self, state: Any, library: Any = jnp) -> Packed:
        """The packed form of a state, of JAX's arrays or NumPy's: its library says which."""
        parts: dict[str, list[Array]] = {"large": [], "floats": [], "integers": []}
        for leaf, kind in zip(jax.tree.leaves(state), self._kinds, strict=True):
            parts[kind].append(leaf if kind == "large" else library.ravel(leaf))
        return Packed(parts["large"], library.concatenate(parts["floats"]), library.concatenate(parts["integers"]))

    def unpacked(self, packed: Packed) -> Any:
        """The state that lies in its packed form, of JAX's or NumPy's arrays; the inverse of `packed`."""
        large, first = iter(packed.large), {"floats": 0, "integers": 0}
        leaves: list[Any] = []
        for kind, shape in zip(self._kinds, self._shapes, strict=True):
            if kind == "large":
                leaves.append(next(large))
            else:
                end = first[kind] + math.prod(shape)
                leaves.append(getattr(packed, kind)[first[kind] : end].reshape(shape))
                first[kind] = end
        return jax.tree.unflatten(self._structure, leaves)


def _kind(leaf: Array) -> str:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return "integers"
    return "large" if leaf.size >= LARGE else "floats"
