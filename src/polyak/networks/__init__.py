"""Layer sizes and initial weights, drawn by NumPy: every framework starts from the same bits.

Parameters are named `LAYER/kernel` ([inputs, outputs]) and `LAYER/bias` ([outputs]); layers count from 0.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

import numpy as np

from polyak.types import Arrays, Float, Spec

ZERO = np.zeros((), np.float32)
Layers = list[tuple[Float, Float]]
"""[inputs, outputs] and [1, outputs]: to one row, NumPy adds that in a third of the time that [outputs] takes."""


def actor_sizes(spec: Spec, hidden_sizes: tuple[int, ...], outputs: int) -> tuple[int, ...]:
    """Layer widths of an actor with `outputs` outputs (A, or 2 A for a mean and a log sigma)."""
    return (spec.observation_size, *hidden_sizes, outputs)


def critic_sizes(spec: Spec, hidden_sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Layer widths of a critic: observation and action concatenated, one output."""
    return (spec.observation_size + spec.action_size, *hidden_sizes, 1)


def parameter_count(sizes: tuple[int, ...]) -> int:
    """Weights and biases of a network with these layer widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


def forward(parameters: Arrays, inputs: Float) -> Float:
    """Linear layers with ReLU between them: [..., inputs] -> [..., outputs]."""
    hidden = inputs
    last = len(parameters) // 2 - 1
    for layer in range(last + 1):
        hidden = hidden @ parameters[f"{layer}/kernel"] + parameters[f"{layer}/bias"]
        if layer < last:
            hidden = np.maximum(hidden, ZERO)
    return hidden


def layers_of(parameters: Arrays) -> Layers:
    """Kernel and bias of each layer, in order."""
    return [
        (parameters[f"{layer}/kernel"], parameters[f"{layer}/bias"][np.newaxis])
        for layer in range(len(parameters) // 2)
    ]


def forward_rows(layers: Layers, inputs: Float) -> Float:
    """What `forward` gives of inputs [N, inputs], sooner where N is 1: for whoever goes through them at every step."""
    *hidden_layers, (last_kernel, last_bias) = layers
    hidden = inputs
    for kernel, bias in hidden_layers:
        hidden = np.maximum(hidden @ kernel + bias, ZERO)
    return hidden @ last_kernel + last_bias


def initial_network(generator: np.random.Generator, sizes: tuple[int, ...]) -> Arrays:
    """Weights and biases uniform in +-1/sqrt(inputs): PyTorch's default, with which the TD3 authors trained."""
    parameters: Arrays = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        bound = 1.0 / np.sqrt(inputs)
        parameters[f"{layer}/kernel"] = generator.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        parameters[f"{layer}/bias"] = generator.uniform(-bound, bound, outputs).astype(np.float32)
    return parameters


def initial_adam(parameters: Arrays) -> Arrays:
    """Adam's state before the first step: a count, first and second moments of zero."""
    moments: Arrays = {"count": np.zeros((), np.int32)}
    for name, value in parameters.items():
        moments[f"first/{name}"] = np.zeros_like(value)
        moments[f"second/{name}"] = np.zeros_like(value)
    return moments


def copied(parameters: Arrays) -> Arrays:
    """The same values in arrays of their own: where a target network starts."""
    return {name: value.copy() for name, value in parameters.items()}


def flattened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """`{"actor": {"0/kernel": x}, "step": n}` as `{"actor/0/kernel": x, "step": n}`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            inner = flattened(cast(Mapping[str, Any], value))
            flat.update({f"{name}/{rest}": leaf for rest, leaf in inner.items()})
        else:
            flat[name] = value
    return flat


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """`{"actor/0/kernel": x}` as `{"actor": {"0": {"kernel": x}}}`; the inverse of `flattened`."""
    tree: dict[str, Any] = {}
    for name, value in arrays.items():
        *folders, leaf = name.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[leaf] = value
    return tree
