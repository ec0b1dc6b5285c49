"""Networks with back-propagation by hand, the critic's loss, Adam and Polyak averaging.

A state is a flat dictionary of named arrays, as `Learner.arrays()` gives it: `critic_1/0/kernel`, `adam_actor/count`.
"""

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


class Batch(NamedTuple):
    """One batch: [B, O], [B, A], [B], [B, O], [B], [B]."""

    observation: Array
    action: Array
    reward: Array
    next_observation: Array
    discount: Array
    """gamma (1 - d)"""
    weight: Array


def part(state: Arrays, name: str) -> Arrays:
    """The network `name` of a state: `{"0/kernel": ...}`."""
    return {path.removeprefix(f"{name}/"): value for path, value in state.items() if path.startswith(f"{name}/")}


def forward(network: Arrays, inputs: Array) -> tuple[Array, list[Array]]:
    """The network's output, and the input of each of its layers."""
    layers = len(network) // 2
    layer_inputs = []
    for layer in range(layers):
        layer_inputs.append(inputs)
        linear = inputs @ network[f"{layer}/kernel"] + network[f"{layer}/bias"]
        inputs = linear if layer == layers - 1 else np.maximum(linear, 0.0)
    return inputs, layer_inputs


def backward(network: Arrays, layer_inputs: list[Array], upstream: Array) -> tuple[Arrays, Array]:
    """From a loss's gradient in the output [B, outputs]: those in the parameters and in the input [B, inputs]."""
    gradients = {}
    for layer in reversed(range(len(layer_inputs))):
        gradients[f"{layer}/kernel"] = layer_inputs[layer].T @ upstream
        gradients[f"{layer}/bias"] = upstream.sum(axis=0)
        upstream = upstream @ network[f"{layer}/kernel"].T
        if layer > 0:
            upstream = upstream * (layer_inputs[layer] > 0.0)
    return gradients, upstream


def q_value(critic: Arrays, observation: Array, action: Array) -> tuple[Array, list[Array]]:
    """Q(s, a) [B], and what `backward` needs."""
    output, layer_inputs = forward(critic, np.concatenate([observation, action], axis=1))
    return output[:, 0], layer_inputs


def action_gradient(critic: Arrays, layer_inputs: list[Array], action_size: int) -> Array:
    """dQ/da of every sample: [B, A]."""
    _, gradient = backward(critic, layer_inputs, np.ones((len(layer_inputs[0]), 1)))
    return gradient[:, -action_size:]


def critic_loss(critic: Arrays, batch: Batch, y: Array) -> tuple[float, Arrays, Array]:
    """(8.5), weighted: mean w (Q(s, a) - y)^2, its gradients, and Q [B]."""
    q, layer_inputs = q_value(critic, batch.observation, batch.action)
    gradients, _ = backward(critic, layer_inputs, (2.0 * batch.weight * (q - y) / len(y))[:, None])
    return np.mean(batch.weight * (q - y) ** 2), gradients, q


def critic_metrics(loss: float, q: Array, y: Array, *gradients: Arrays) -> dict[str, float]:
    """What a critic step measures; `gradients` of each critic."""
    spread = np.sqrt(np.mean(q**2) - np.mean(q) ** 2)
    norm = euclidean_norm(*gradients)
    return {"critic_loss": loss, "q": q.mean(), "q_std": spread, "target": y.mean(), "critic_gradient_norm": norm}


def actor_metrics(loss: float, action: Array, gradients: Arrays) -> dict[str, float]:
    """What an actor step measures; an action is saturated beyond 0.99."""
    saturated = np.count_nonzero((action > 0.99) | (action < -0.99)) / action.size
    return {"actor_loss": loss, "actor_gradient_norm": euclidean_norm(gradients), "saturated": saturated}


def euclidean_norm(*networks: Arrays) -> float:
    """Of all numbers together."""
    return np.linalg.norm(np.concatenate([value.ravel() for arrays in networks for value in arrays.values()]))


def adam_step(state: Arrays, name: str, gradients: Arrays, learning_rate: float) -> Arrays:
    """Adam (Kingma and Ba 2015, algorithm 1): the entries of the state that its step on `name` changes."""
    count = state[f"adam_{name}/count"] + 1
    changed = {f"adam_{name}/count": count}
    for path, gradient in gradients.items():  # the path is empty where `name` is a single number
        weight, first, second = ("/".join(filter(None, [*prefix, path])) for prefix in _places(name))
        m = 0.9 * state[first] + 0.1 * gradient
        v = 0.999 * state[second] + 0.001 * gradient**2
        direction = (m / (1.0 - 0.9**count)) / (np.sqrt(v / (1.0 - 0.999**count)) + 1e-8)
        changed |= {weight: state[weight] - learning_rate * direction, first: m, second: v}
    return changed


def _places(name: str) -> tuple[list[str], list[str], list[str]]:
    return [name], [f"adam_{name}", "first"], [f"adam_{name}", "second"]


def polyak_step(state: Arrays, name: str, rho: float) -> Arrays:
    """(8.2) for the network `name`: the new entries of `target_<name>`."""
    paths = [path for path in state if path.startswith(f"{name}/")]
    return {f"target_{path}": rho * state[f"target_{path}"] + (1.0 - rho) * state[path] for path in paths}
