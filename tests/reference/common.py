"""Networks with back-propagation by hand, the critic's loss, Adam and Polyak averaging.

A state is a flat dictionary of named arrays, as `Learner.arrays()` gives it: `critic_1/0/kernel`, `adam_actor/count`.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from types import MappingProxyType, SimpleNamespace
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


class Network(dict[str, Array]):
    """The arrays of a network: `{"0/kernel": ...}`. Behind each of its hidden layers is one function."""

    activation = "relu"
    kept: Mapping[str, Array] = MappingProxyType({})
    """By a dense layer's number, what each number behind it is multiplied by, [B, n]: 0 where it is dropped."""
    log_sigma = "clip"
    """How an actor's second half of outputs is bounded."""


def part(state: Arrays, name: str, config: Any = None) -> Network:
    """The network `name` of a state, of the activation that the settings say, if given."""
    network = Network({path.removeprefix(f"{name}/"): x for path, x in state.items() if path.startswith(f"{name}/")})
    network.activation = getattr(config, "activation", "relu")
    network.log_sigma = getattr(config, "log_sigma", "clip")
    return network


Trace = list[tuple[str, Array]]
"""The layers of a network in their order, an activation by its kind and others by number, and the input of each."""


def forward(network: Any, inputs: Array) -> tuple[Array, Trace]:
    """The network's output, and what `backward` needs."""
    trace: Trace = []
    around: list[Array] = []
    for layer in layers(network):
        trace.append((layer, inputs))
        if layer == AROUND:
            around.append(inputs)
        elif layer == ADDED:
            inputs = around.pop() + inputs
        elif layer in DERIVATIVES:
            inputs = ACTIVATIONS[layer](inputs)
        elif layer.startswith(DROPOUT):
            inputs = inputs * network.kept[layer.removeprefix(DROPOUT)]
        elif f"{layer}/kernel" in network:
            inputs = inputs @ network[f"{layer}/kernel"] + network[f"{layer}/bias"]
        else:
            inputs = standardized(inputs, epsilon(network))[0] * network[f"{layer}/scale"] + network[f"{layer}/offset"]
    return inputs, trace


DROPOUT = "dropout behind "
AROUND, ADDED = "what goes around a block", "added behind the block"


def layers(network: Arrays) -> list[str]:
    """Before each dense layer but the first is an activation; between these may be dropout, then a norm.

    SimBa's are dense, then blocks of norm, dense, activation, dense, then norm, dense.
    """
    if is_simba(network):
        blocks = range(1, len(network) // 2 - 2, 3)
        within = [(AROUND, f"{i}", f"{i + 1}", network.activation, f"{i + 2}", ADDED) for i in blocks]
        return ["0", *chain.from_iterable(within), f"{blocks.stop}", f"{blocks.stop + 1}"]
    found: list[str] = []
    for number in range(len(network) // 2):  # each has two arrays
        if number > 0 and f"{number}/kernel" in network:
            found.append(getattr(network, "activation", "relu"))
        found.append(str(number))
        if str(number) in getattr(network, "kept", {}):
            found.append(f"{DROPOUT}{number}")
    return found


def is_simba(network: Arrays) -> bool:
    """Layer normalization has a norm behind every other dense layer but the last; SimBa two dense layers in a row."""
    return "1/scale" in network and "3/kernel" in network


def epsilon(network: Arrays) -> float:
    return 1e-6 if is_simba(network) else 1e-5


def standardized(inputs: Array, epsilon: float) -> tuple[Array, Array]:
    """Layer normalization (Ba et al. 2016): rows minus their mean, over the root of variance + epsilon; and it."""
    root = np.sqrt(inputs.var(axis=1, keepdims=True) + epsilon)
    return (inputs - inputs.mean(axis=1, keepdims=True)) / root, root


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0.0, x, np.exp(np.minimum(x, 0.0)) - 1.0),
    "silu": lambda x: x * sigmoid(x),
    "tanh": np.tanh,
}
DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: 1.0 * (x > 0.0),
    "elu": lambda x: np.exp(np.minimum(x, 0.0)),
    "silu": lambda x: sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
    "tanh": lambda x: 1.0 - np.tanh(x) ** 2,
}


def backward(network: Any, trace: Trace, upstream: Array) -> tuple[Arrays, Array]:
    """From a loss's gradient in the output [B, outputs]: those in the parameters and in the input [B, inputs].

    Of z = (x - mean) / root: dx = (dz - mean(dz) - z mean(z dz)) / root, means over the row.
    """
    gradients: Arrays = {}
    around: list[Array] = []
    for layer, inputs in reversed(trace):
        if layer == ADDED:
            around.append(upstream)
        elif layer == AROUND:
            upstream = upstream + around.pop()
        elif layer in DERIVATIVES:
            upstream = upstream * DERIVATIVES[layer](inputs)
        elif layer.startswith(DROPOUT):
            upstream = upstream * network.kept[layer.removeprefix(DROPOUT)]
        elif f"{layer}/kernel" in network:
            gradients |= {f"{layer}/kernel": inputs.T @ upstream, f"{layer}/bias": upstream.sum(axis=0)}
            upstream = upstream @ network[f"{layer}/kernel"].T
        else:
            z, root = standardized(inputs, epsilon(network))
            gradients |= {f"{layer}/scale": (upstream * z).sum(axis=0), f"{layer}/offset": upstream.sum(axis=0)}
            dz = upstream * network[f"{layer}/scale"]
            upstream = (dz - dz.mean(axis=1, keepdims=True) - z * (z * dz).mean(axis=1, keepdims=True)) / root
    return gradients, upstream


def q_value(critic: Arrays, observation: Array, action: Array) -> tuple[Array, Trace]:
    """Q(s, a) [B], and what `backward` needs."""
    output, trace = forward(critic, np.concatenate([observation, action], axis=1))
    return output[:, 0], trace


def action_gradient(critic: Arrays, trace: Trace, action_size: int) -> Array:
    """dQ/da of every sample: [B, A]."""
    _, gradient = backward(critic, trace, np.ones((len(trace[0][1]), 1)))
    return gradient[:, -action_size:]


def critic_loss(critic: Arrays, batch: Batch, y: Array, config: Any = None) -> tuple[float, Arrays, Array]:
    """(8.5), weighted: mean w (Q(s, a) - y)^2, its gradients, and Q [B]; by LAP, of twice Huber's loss."""
    q, trace = q_value(critic, batch.observation, batch.action)
    loss, slope = penalty(q - y, config)
    gradients, _ = backward(critic, trace, (batch.weight * slope / len(y))[:, None])
    return np.mean(batch.weight * loss), gradients, q


def penalty(error: Array, config: Any) -> tuple[Array, Array]:
    """Squares and their derivatives; by LAP, from an error of 1 on, 2 |error| - 1 and its derivative."""
    loss, slope = error**2, 2.0 * error
    if getattr(config, "prioritized", "none") == "lap":
        straight = np.abs(error) > 1.0
        loss[straight], slope[straight] = 2.0 * np.abs(error[straight]) - 1.0, 2.0 * np.sign(error[straight])
    return loss, slope


def td_error(y: Array, *values: Array) -> Array:
    """max_i |Q_i(s, a) - y| of each transition, [B]."""
    return np.max([np.abs(each - y) for each in values], axis=0)


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


DEFAULTS = SimpleNamespace(
    adam_beta_1=0.9,
    adam_beta_2=0.999,
    weight_decay=0.0,
    weight_decay_of="kernels",
    learning_rate_schedule="constant",
    activation="relu",
)


def adam_step(
    state: Arrays, name: str, gradients: Arrays, learning_rate: float, config: Any = DEFAULTS, every: int = 1
) -> Arrays:
    """Adam (Kingma and Ba 2015, algorithm 1): the entries of the state that its step on `name` changes.

    Kernels, or all arrays of a network, decay apart from the gradient (Loshchilov and Hutter 2019, algorithm 2), in
    proportion to the step size, which may fall with the network's own steps; it takes one on each `every`-th update.
    """
    count = state[f"adam_{name}/count"] + 1
    changed = {f"adam_{name}/count": count}
    beta_1, beta_2 = config.adam_beta_1, config.adam_beta_2
    rate = learning_rate * fraction(config, count - 1, every)
    for path, gradient in gradients.items():  # the path is empty where `name` is a single number
        weight, first, second = ("/".join(filter(None, [*prefix, path])) for prefix in _places(name))
        m = beta_1 * state[first] + (1.0 - beta_1) * gradient
        v = beta_2 * state[second] + (1.0 - beta_2) * gradient**2
        direction = (m / (1.0 - beta_1**count)) / (np.sqrt(v / (1.0 - beta_2**count)) + 1e-8)
        decays = path.endswith("kernel") or (config.weight_decay_of == "all" and path)
        decay = config.weight_decay * state[weight] if decays else 0.0
        changed |= {weight: state[weight] - rate * (direction + decay), first: m, second: v}
    return changed


def fraction(config: Any, taken: int, every: int) -> float:
    """Of the first step size, after so many steps of all that the run takes."""
    if config.learning_rate_schedule == "constant":
        return 1.0
    bursts = [step for step in range(1, config.steps + 1) if step % config.update_every == 0]
    updates = sum(config.update_every * config.updates_per_step for step in bursts if step >= config.update_after)
    done = min(taken / (int(updates) // every), 1.0)
    left = {"linear": 1.0 - done, "cosine": (1.0 + np.cos(np.pi * done)) / 2.0}[config.learning_rate_schedule]
    return config.learning_rate_end + (1.0 - config.learning_rate_end) * left


def _places(name: str) -> tuple[list[str], list[str], list[str]]:
    return [name], [f"adam_{name}", "first"], [f"adam_{name}", "second"]


def polyak_step(state: Arrays, name: str, rho: float) -> Arrays:
    """(8.2) for the network `name`: the new entries of `target_<name>`."""
    paths = [path for path in state if path.startswith(f"{name}/")]
    return {f"target_{path}": rho * state[f"target_{path}"] + (1.0 - rho) * state[path] for path in paths}
