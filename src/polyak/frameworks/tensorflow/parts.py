"""What the three algorithms share: a network's forward pass, gradients, Adam's step, Polyak's average, measures."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from polyak.algorithm import SATURATED
from polyak.frameworks.tensorflow.quiet import Tensor, tf
from polyak.types import Layout

Parameters = dict[str, dict[str, Tensor]]
Adam = dict[str, Any]


class Batch(NamedTuple):
    """The transitions of one update."""

    observation: Tensor
    """[B, O]"""
    action: Tensor
    """[B, A]"""
    reward: Tensor
    """[B]"""
    next_observation: Tensor
    """[B, O]"""
    discount: Tensor
    """[B]: gamma, 0 where the environment terminated."""
    weight: Tensor
    """[B]: how much each counts in the critics' losses."""

    @classmethod
    def unpacked(cls, records: Tensor, layout: Layout) -> "Batch":
        """The first columns of packed records [B, 2 O + A + 3 + ...]."""
        return cls(**{name: records[:, getattr(layout, name)] for name in cls._fields})


def value_and_gradient(function: Callable[..., Any], parameters: Any, *rest: Any) -> tuple[Any, Any]:
    """What `function` returns, a loss or a tuple led by one, and the loss's gradient in its first argument."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(parameters)
        value: Any = function(parameters, *rest)
        loss: Any = cast(Any, value)[0] if isinstance(value, tuple) else value
    return cast(Any, value), tape.gradient(loss, parameters)


def network(parameters: Parameters, inputs: Tensor) -> Tensor:
    """Linear layers with ReLU between them: [B, inputs] -> [B, outputs]."""
    hidden = inputs
    last = len(parameters) - 1
    for layer in range(len(parameters)):
        hidden = tf.matmul(hidden, parameters[str(layer)]["kernel"]) + parameters[str(layer)]["bias"]
        if layer < last:
            hidden = tf.nn.relu(hidden)
    return hidden


def q_value(critic: Parameters, observation: Tensor, action: Tensor) -> Tensor:
    """Q(s, a) of one critic: [B]."""
    return network(critic, tf.concat([observation, action], axis=-1))[:, 0]


def adam_step(parameters: Any, gradients: Any, adam: Adam, learning_rate: float) -> tuple[Any, Adam]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1): the new parameters and the new moments."""
    count = adam["count"] + 1
    first = tf.nest.map_structure(_first_moment, adam["first"], gradients)
    second = tf.nest.map_structure(_second_moment, adam["second"], gradients)

    def moved(value: Tensor, m: Tensor, v: Tensor) -> Tensor:
        precise = tf.cast(count, value.dtype)
        first_correction = -tf.math.expm1(precise * math.log(0.9))  # 1 - 0.9**count without the cancellation
        second_correction = -tf.math.expm1(precise * math.log(0.999))
        return value - learning_rate * (m / first_correction) / (tf.sqrt(v / second_correction) + 1e-8)

    parameters = tf.nest.map_structure(moved, parameters, first, second)
    return parameters, {"count": count, "first": first, "second": second}


def _first_moment(before: Tensor, gradient: Tensor) -> Tensor:
    return 0.9 * before + 0.1 * gradient


def _second_moment(before: Tensor, gradient: Tensor) -> Tensor:
    return 0.999 * before + 0.001 * gradient * gradient


def polyak_average(target: Parameters, parameters: Parameters, polyak: float) -> Parameters:
    """(8.2): target <- rho target + (1 - rho) parameters."""

    def average(old: Tensor, new: Tensor) -> Tensor:
        return polyak * old + (1.0 - polyak) * new

    return tf.nest.map_structure(average, target, parameters)


def critic_metrics(loss: Tensor, q: Tensor, y: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What a critic step measures: `polyak.algorithm.CRITIC_METRICS`."""
    mean, spread = tf.reduce_mean(q), tf.math.reduce_std(q)
    norm = tf.linalg.global_norm(tf.nest.flatten(gradients))
    return {"critic_loss": loss, "q": mean, "q_std": spread, "target": tf.reduce_mean(y), "critic_gradient_norm": norm}


def actor_metrics(loss: Tensor, action: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What an actor step measures: `polyak.algorithm.ACTOR_METRICS`."""
    saturated = tf.reduce_mean(tf.cast(tf.abs(action) > SATURATED, action.dtype))
    norm = tf.linalg.global_norm(tf.nest.flatten(gradients))
    return {"actor_loss": loss, "actor_gradient_norm": norm, "saturated": saturated}
