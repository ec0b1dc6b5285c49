"""A network's arrays: their shapes, and first values drawn by NumPy, so that every framework starts from the same."""

from typing import Any

import numpy as np

from polyak.networks.layers import (
    BatchRenorm,
    Body,
    Dense,
    FirstKind,
    Norm,
    Residual,
    TanhBounds,
    body_of,
    numbered,
    unnested,
)
from polyak.types import Arrays, Float

Shapes = dict[str, tuple[int, ...]]


def shapes(body: Body, inputs: int, copies: int | None = None) -> Shapes:
    """The shape of each array of a network, by its name, or of an ensemble of so many copies; it takes no memory.

    Raises:
        ValueError: layers that do not fit together: a residual one that is not as wide behind as before, or halves of
            an odd width.
    """
    found: Shapes = {}
    _collect(found, body, 0, inputs)
    return found if copies is None else {name: (copies, *shape) for name, shape in found.items()}


def _collect(found: Shapes, body: Body, first: int, inputs: int) -> int:
    """Put the shapes of a body's arrays, and give the width behind it."""
    width = inputs
    for number, layer in numbered(body, first):
        if isinstance(layer, Dense):
            found |= {f"{number}/kernel": (width, layer.outputs), f"{number}/bias": (layer.outputs,)}
            width = layer.outputs
        elif isinstance(layer, Norm | BatchRenorm):
            found |= {f"{number}/scale": (width,), f"{number}/offset": (width,)}
        elif isinstance(layer, Residual) and (behind := _collect(found, layer.body, int(number), width)) != width:
            raise ValueError(
                f"a residual layer of {width} inputs has {behind} outputs, but they are added to the inputs"
            )
        elif isinstance(layer, TanhBounds) and width % 2:
            raise ValueError(f"a row of {width} has no second half, which tanh would bound")
    return width


def statistics_shapes(body: Body, inputs: int) -> Shapes:
    """The shape of each running statistic of a network, by its name: means, variances, and calls in training."""
    widths = {name.rpartition("/")[0]: shape for name, shape in shapes(body, inputs).items()}
    found: Shapes = {}
    for number, layer in numbered(unnested(body)):
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
    """Kernels and biases as each dense layer says (`Dense.first`).

    `uniform`: both in +-1/sqrt(inputs), PyTorch's default, with which the TD3 authors trained. `orthogonal`: a kernel
    with orthonormal columns, or rows where these are fewer (Saxe et al. 2014, arXiv 1312.6120). `he_normal`: of the
    variance 2/inputs (He et al. 2015, arXiv 1502.01852, equation 10). Biases of the latter two are 0.

    A norm begins as one that only normalizes: scales of 1, offsets of 0. The members of an ensemble are drawn one after
    another, each as a network of its own.
    """
    if copies is not None:
        members = [first_weights(generator, body, inputs) for _ in range(copies)]
        return {name: np.stack([member[name] for member in members]) for name in members[0]}
    firsts: dict[str, FirstKind] = {
        number: layer.first for number, layer in numbered(unnested(body)) if isinstance(layer, Dense)
    }
    arrays: Arrays = {}
    fan_in = inputs
    for name, shape in shapes(body, inputs).items():
        number, _, kind = name.rpartition("/")
        if kind == "kernel":
            fan_in = shape[0]
            arrays[name] = _first_kernel(generator, firsts[number], shape)
        elif kind == "bias" and firsts[number] == "uniform":
            arrays[name] = _uniform(generator, fan_in, shape)
        else:
            arrays[name] = np.full(shape, kind == "scale", np.float32)
    return arrays


def _first_kernel(generator: np.random.Generator, first: FirstKind, shape: tuple[int, ...]) -> Float:
    """A kernel [inputs, outputs]."""
    inputs, outputs = shape
    if first == "uniform":
        return _uniform(generator, inputs, shape)
    if first == "he_normal":
        return (np.sqrt(2.0 / inputs) * generator.standard_normal(shape)).astype(np.float32)
    columns, triangle = np.linalg.qr(generator.standard_normal((max(shape), min(shape))))
    columns = columns * np.sign(np.diagonal(triangle))  # without it, not all rotations are equally likely
    kernel = columns if inputs >= outputs else columns.T
    return kernel.astype(np.float32, order="C")  # fused kernels take all arrays to lie alike


def _uniform(generator: np.random.Generator, fan_in: int, shape: tuple[int, ...]) -> Float:
    bound = 1.0 / np.sqrt(fan_in)
    return generator.uniform(-bound, bound, shape).astype(np.float32)


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
