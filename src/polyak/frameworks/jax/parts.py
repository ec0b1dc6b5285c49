"""What the three algorithms share: a network's forward pass, Adam's step, Polyak's average, what is measured."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from polyak.algorithms.settings import SATURATED
from polyak.types import Layout

Parameters = dict[str, dict[str, Array]]
Adam = dict[str, Any]


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
    discount: Array
    """[B]: gamma, 0 where the environment terminated."""
    weight: Array
    """[B]: how much each counts in the critics' losses."""

    @classmethod
    def unpacked(cls, records: Array, layout: Layout) -> "Batch":
        """The first columns of packed records [B, 2 O + A + 3 + ...]."""
        return cls(**{name: records[:, getattr(layout, name)] for name in cls._fields})


def network(parameters: Parameters, inputs: Array) -> Array:
    """Linear layers with ReLU between them: [B, inputs] -> [B, outputs]."""
    hidden = inputs
    last = len(parameters) - 1
    for layer in range(len(parameters)):
        kernel, bias = parameters[str(layer)]["kernel"], parameters[str(layer)]["bias"]
        hidden = jnp.matmul(hidden, kernel, precision="highest") + bias  # a GPU would round to TF32 otherwise
        if layer < last:
            hidden = jax.nn.relu(hidden)
    return hidden


def q_value(critic: Parameters, observation: Array, action: Array) -> Array:
    """Q(s, a) of one critic: [B]."""
    return network(critic, jnp.concatenate([observation, action], axis=-1))[:, 0]


def adam_step(parameters: Any, gradients: Any, adam: Adam, learning_rate: float) -> tuple[Any, Adam]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1): the new parameters and the new moments."""
    count = adam["count"] + 1
    first = jax.tree.map(_first_moment, adam["first"], gradients)
    second = jax.tree.map(_second_moment, adam["second"], gradients)
    first_correction = -jnp.expm1(count * math.log(0.9))  # 1 - 0.9**count without the cancellation
    second_correction = -jnp.expm1(count * math.log(0.999))

    def moved(value: Array, m: Array, v: Array) -> Array:
        return value - learning_rate * (m / first_correction) / (jnp.sqrt(v / second_correction) + 1e-8)

    parameters = jax.tree.map(moved, parameters, first, second)
    return parameters, {"count": count, "first": first, "second": second}


def _first_moment(before: Array, gradient: Array) -> Array:
    return 0.9 * before + 0.1 * gradient


def _second_moment(before: Array, gradient: Array) -> Array:
    return 0.999 * before + 0.001 * gradient * gradient


def polyak_average(target: Parameters, parameters: Parameters, polyak: float) -> Parameters:
    """(8.2): target <- rho target + (1 - rho) parameters."""

    def average(old: Array, new: Array) -> Array:
        return polyak * old + (1.0 - polyak) * new

    return jax.tree.map(average, target, parameters)


def critic_metrics(loss: Array, q: Array, y: Array, gradients: Any) -> dict[str, Array]:
    """What a critic step measures: `polyak.algorithms.settings.CRITIC_METRICS`."""
    mean, spread, norm = jnp.mean(q), jnp.std(q), global_norm(gradients)
    return {"critic_loss": loss, "q": mean, "q_std": spread, "target": jnp.mean(y), "critic_gradient_norm": norm}


def actor_metrics(loss: Array, action: Array, gradients: Any) -> dict[str, Array]:
    """What an actor step measures: `polyak.algorithms.settings.ACTOR_METRICS`."""
    saturated = jnp.mean(jnp.abs(action) > SATURATED, dtype=action.dtype)
    return {"actor_loss": loss, "actor_gradient_norm": global_norm(gradients), "saturated": saturated}


def global_norm(tree: Any) -> Array:
    """The Euclidean norm of all numbers in a tree of arrays."""
    leaves: list[Array] = jax.tree.leaves(tree)
    return jnp.sqrt(sum((jnp.sum(leaf * leaf) for leaf in leaves[1:]), jnp.sum(leaves[0] * leaves[0])))
