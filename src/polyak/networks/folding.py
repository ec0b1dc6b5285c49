"""Running statistics folded into the dense layers beside them, so that acting costs what it costs without."""

from typing import NamedTuple

import numpy as np

from polyak.networks.layers import (
    Activation,
    BatchRenorm,
    Body,
    Dense,
    Layer,
    Residual,
    keeps_statistics,
    numbered,
    unnested,
)
from polyak.networks.names import part
from polyak.types import Arrays


class Place(NamedTuple):
    """Where a layer goes."""

    norm: str
    """Its number."""
    epsilon: float
    dense: str
    """The number of the dense layer that takes it up."""
    before: bool
    """Whether it stands before that one, and not behind it."""


def folded_body(body: Body) -> Body:
    """The same without layers that keep running statistics.

    Raises:
        ValueError: one of these has no dense layer beside it, which could take it up.
    """
    _places(body)
    return tuple(
        Residual(folded_body(layer.body)) if isinstance(layer, Residual) else layer
        for layer in body
        if not isinstance(layer, BatchRenorm)
    )


def folded(body: Body, arrays: Arrays) -> Arrays:
    """The arrays of `folded_body`, which computes the same as `body` by its running statistics, to rounding.

    Such a layer is x * factor + shift. Before a dense layer, (x * factor + shift) @ kernel + bias is
    x @ (factor * kernel) + (shift @ kernel + bias), the factor by rows; behind one, both are scaled by columns.
    """
    if not keeps_statistics(body):
        return arrays
    precise = {name: value.astype(np.float64) for name, value in arrays.items()}
    for norm, epsilon, dense, before in _places(body):
        scale, offset, mean, variance = (precise[f"{norm}/{name}"] for name in ("scale", "offset", "mean", "variance"))
        kernel, bias = precise[f"{dense}/kernel"], precise[f"{dense}/bias"]
        factor = scale / np.sqrt(variance + epsilon)
        shift = offset - mean * factor
        if before:
            kernel, bias = factor[:, np.newaxis] * kernel, shift @ kernel + bias
        else:
            kernel, bias = kernel * factor, bias * factor + shift
        precise |= {f"{dense}/kernel": kernel, f"{dense}/bias": bias}
    layers = numbered(unnested(body))
    left = [number for number, layer in layers if number and not isinstance(layer, BatchRenorm)]
    found: Arrays = {}
    for count, number in enumerate(left):
        for leaf in part(arrays, number):
            found[f"{count}/{leaf}"] = precise[f"{number}/{leaf}"].astype(arrays[f"{number}/{leaf}"].dtype)
    return found


def _places(body: Body, first: int = 0) -> list[Place]:
    """Each layer that keeps statistics, and the dense layer right behind it, or else right before it.

    What stands before a residual layer goes around it too, so that nothing within could take it up.
    """
    nothing: tuple[str, Layer] = "", Activation()
    found: list[Place] = []
    layers = [nothing, *numbered(body, first), nothing]
    for before, (number, layer), behind in zip(layers, layers[1:], layers[2:], strict=False):
        if isinstance(layer, Residual):
            found += _places(layer.body, int(number))
        if isinstance(layer, BatchRenorm):
            dense = next((each for each in (behind, before) if isinstance(each[1], Dense)), None)
            if dense is None:
                raise ValueError(f"layer {number}, which keeps running statistics, has no dense layer beside it")
            found.append(Place(number, layer.epsilon, dense[0], dense is behind))
    return found
