"""What the three algorithms share: a network's forward pass, Adam's step, Polyak's average."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

Parameters = dict[str, dict[str, Array]]
Adam = dict[str, Any]

_adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)  # epsilon outside the square root, bias-corrected


class Batch(NamedTuple):
    """The transitions of one update."""

    observation: Array
    """[B, O]"""
    action: Array
    """[B, A]"""
    reward: Array
    """[B]"""
    next_observation: Array
    """[B, O]"""
    terminated: Array
    """[B]"""

    @classmethod
    def unpacked(cls, records: Array, observation_size: int, action_size: int) -> "Batch":
        """The columns of replay records [B, 2 O + A + 2]; see `polyak.types.Batch`."""
        reward = observation_size + action_size
        return cls(
            observation=records[:, :observation_size],
            action=records[:, observation_size:reward],
            reward=records[:, reward],
            next_observation=records[:, reward + 1 : -1],
            terminated=records[:, -1],
        )


def network(parameters: Parameters, inputs: Array) -> Array:
    """Linear layers with ReLU between them: [B, inputs] -> [B, outputs]."""
    hidden = inputs
    last = len(parameters) - 1
    for layer in range(len(parameters)):
        hidden = hidden @ parameters[str(layer)]["kernel"] + parameters[str(layer)]["bias"]
        if layer < last:
            hidden = jax.nn.relu(hidden)
    return hidden


def q_value(critic: Parameters, observation: Array, action: Array) -> Array:
    """Q(s, a) of one critic: [B]."""
    return network(critic, jnp.concatenate([observation, action], axis=-1))[:, 0]


def adam_step(parameters: Any, gradients: Any, adam: Adam, learning_rate: float) -> tuple[Any, Adam]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1): the new parameters and the new moments."""
    before: Any = optax.ScaleByAdamState(count=adam["count"], mu=adam["first"], nu=adam["second"])
    directions, state = cast(tuple[Any, Any], _adam.update(gradients, before))

    def moved(value: Array, direction: Array) -> Array:
        return value - learning_rate * direction

    parameters = jax.tree.map(moved, parameters, directions)
    return parameters, {"count": state.count, "first": state.mu, "second": state.nu}


def polyak_average(target: Parameters, parameters: Parameters, polyak: float) -> Parameters:
    """(8.2): target <- rho target + (1 - rho) parameters."""

    def average(old: Array, new: Array) -> Array:
        return polyak * old + (1.0 - polyak) * new

    return jax.tree.map(average, target, parameters)
