"""A network's arrays: their shapes, and first values drawn by NumPy, so that every framework starts from the same."""

from typing import Any

import numpy as np

from polyak.networks.layers import BatchRenorm, Body, Dense, Norm, body_of, numbered
from polyak.types import Arrays

Shapes = dict[str, tuple[int, ...]]


def shapes(body: Body, inputs: int, copies: int | None = None) -> Shapes:
    """The shape of each array of a network, by its name, or of an ensemble of so many copies; it takes no memory."""
    found: Shapes = {}
    width = inputs
    for number, layer in numbered(body):
        if isinstance(layer, Dense):
            found |= {f"{number}/kernel": (width, layer.outputs), f"{number}/bias": (layer.outputs,)}
            width = layer.outputs
        elif isinstance(layer, Norm | BatchRenorm):
            found |= {f"{number}/scale": (width,), f"{number}/offset": (width,)}
    return found if copies is None else {name: (copies, *shape) for name, shape in found.items()}


def statistics_shapes(body: Body, inputs: int) -> Shapes:
    """The shape of each running statistic of a network, by its name: means, variances, and calls in training."""
    widths = {name.rpartition("/")[0]: shape for name, shape in shapes(body, inputs).items()}
    found: Shapes = {}
    for number, layer in numbered(body):
        if isinstance(layer, BatchRenorm):
            width = widths[number]
            found |= {f"{number}/mean": width, f"{number}/variance": width, f"{number}/steps": ()}
    return found


def first_statistics(body: Body, inputs: int) -> Arrays:
    """Running statistics before the first call in training: means of 0, variances of 1, counts of 0."""
    return {
        name: np.full(shape, name.endswith("/variance"), statistic_kind(name))
        for name, shape in statistics_shapes(body, inputs).items()
    }


def statistic_kind(name: str) -> "np.dtype[Any]":
    """int32 of a count, float32 of the others."""
    return np.dtype(np.int32 if name.endswith("/steps") else np.float32)


def first_weights(generator: np.random.Generator, body: Body, inputs: int, copies: int | None = None) -> Arrays:
    """Kernels and biases uniform in +-1/sqrt(inputs): PyTorch's default, with which the TD3 authors trained.

    A norm begins as one that only normalizes: scales of 1, offsets of 0. The members of an ensemble are drawn one after
    another, each as a network of its own.
    """
    if copies is not None:
        members = [first_weights(generator, body, inputs) for _ in range(copies)]
        return {name: np.stack([member[name] for member in members]) for name in members[0]}
    arrays: Arrays = {}
    bound = 1.0
    for name, shape in shapes(body, inputs).items():
        kind = name.rpartition("/")[2]
        if kind == "kernel":
            bound = 1.0 / np.sqrt(shape[0])
        if kind in ("kernel", "bias"):
            arrays[name] = generator.uniform(-bound, bound, shape).astype(np.float32)
        else:
            arrays[name] = np.full(shape, kind == "scale", np.float32)
    return arrays


def plain_body(arrays: Arrays) -> Body:
    """The body of a network of dense layers with ReLU between them, by its arrays alone.

    Raises:
        ValueError: they are not those of such a network.
    """
    kernels = [arrays.get(f"{layer}/kernel", np.zeros(0)).shape for layer in range(len(arrays) // 2)]
    if not kernels or any(len(shape) != 2 for shape in kernels):
        raise ValueError(f"{', '.join(arrays)[:60]!r} are not the arrays of dense layers")
    *hidden, last = [outputs for _, outputs in kernels]
    return body_of(hidden, last)
