"""What pages are made of in TensorFlow: networks, gradients, Adam's step, Polyak's average, what is due, measures."""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple, cast

from polyak.algorithm import SATURATED
from polyak.frameworks.state import State, Trained, Weights, leaves, mapped, rebuilt
from polyak.frameworks.tensorflow.quiet import Tensor, tf
from polyak.networks.layers import Activation, BatchRenorm, Dense, Dropout, Single, TanhBounds, passed
from polyak.networks.names import flattened
from polyak.settings.shared import Optimizer, Settings, complement
from polyak.types import Layout


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
    def unpacked(cls, records: Tensor, layout: Layout, *, weighted: bool = True) -> "Batch":
        """The first columns of packed records [B, 2 O + A + 3 + ...].

        Not `weighted`, all weights are 1 whatever the page does with them, and XLA computes as without, to the last
        bit. It fuses by how many operations there are: the factor of 1 stands for gamma (1 - d), two of them, without
        which it would add up the gradient of the critics' last kernel in another order.
        """
        found = cls(**{name: records[:, getattr(layout, name)] for name in cls._fields})
        if weighted:
            return found
        return found._replace(discount=found.discount * (2.0 - found.weight), weight=tf.ones_like(found.weight))


def network(weights: Weights, inputs: Tensor) -> Tensor:
    """The layers of a network, in their order: [B, inputs] -> [B, outputs].

    Of an ensemble of N: [B, inputs], which all share, or [N, B, inputs] -> [N, B, outputs].
    """

    def through(number: str, layer: Single, hidden: Tensor) -> Tensor:
        return _through(layer, weights.arrays.get(number, {}), hidden)

    return passed(weights.body, inputs, through)


def _through(layer: Single, arrays: Any, hidden: Tensor) -> Tensor:
    if isinstance(layer, Activation):
        return ACTIVATIONS[layer.kind](hidden)
    if isinstance(layer, Dropout):  # which units are dropped is drawn as bits, which are not taken here
        return hidden
    if isinstance(layer, TanhBounds):
        free, within = tf.split(hidden, 2, axis=-1)
        half = 0.5 * (layer.high - layer.low)
        return tf.concat([free, layer.low + half * (1.0 + tf.tanh(within))], axis=-1)
    if isinstance(layer, Dense):
        return tf.matmul(hidden, arrays["kernel"]) + along_rows(arrays["bias"])
    if isinstance(layer, BatchRenorm):
        raise NotImplementedError("polyak's TensorFlow has no layers that keep running statistics")
    return normalized(hidden, layer.epsilon) * along_rows(arrays["scale"]) + along_rows(arrays["offset"])


def along_rows(vector: Tensor) -> Tensor:
    """A bias, scale or offset [n] as it is; those of an ensemble, [N, n], as [N, 1, n]: beside rows [N, B, n]."""
    return vector if len(vector.shape) == 1 else vector[:, None]


def normalized(rows: Tensor, epsilon: float) -> Tensor:
    """Each row to mean 0 and variance 1 (Ba et al. 2016, equation 4): [B, n] -> [B, n]."""
    centred = rows - tf.reduce_mean(rows, axis=-1, keepdims=True)
    return centred / tf.sqrt(tf.reduce_mean(centred**2, axis=-1, keepdims=True) + epsilon)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "silu": tf.nn.silu,
    "tanh": tf.tanh,
}


def q_value(critic: Weights, observation: Tensor, action: Tensor) -> Tensor:
    """Q(s, a) of one critic, [B], or of each in an ensemble, [N, B]."""
    return network(critic, tf.concat([observation, action], axis=-1))[..., 0]


def regression(error: Tensor, weight: Tensor, config: Settings) -> Tensor:
    """The mean of the weighted squares of errors [B], or [N, B] of an ensemble.

    Where transitions are drawn by LAP, twice Huber's loss in their place: the square of an error up to 1, and straight
    on from there, 2 |error| - 1 (Fujimoto et al. 2020, 2007.06049, equation 9).
    """
    loss = huber(error) if config.prioritized == "lap" else error**2
    return tf.reduce_mean(weight * loss)


def huber(error: Tensor) -> Tensor:
    """The square of each error up to 1, and 2 |error| - 1 beyond."""
    size = tf.abs(error)
    return tf.where(size > 1.0, 2.0 * size - 1.0, error**2)


def td_error(y: Tensor, *values: Tensor) -> Tensor:
    """How far the furthest of several values [B] is from the target [B], of each transition: [B].

    It is `measured["error"]`, which goes to the priorities of replay, if it has any.
    """
    return reduce(tf.maximum, [tf.abs(value - y) for value in values])


def value_and_gradient(loss: Callable[..., Any], weights: Any, *rest: Any) -> tuple[Any, Any]:
    """What `loss` returns, a number or a pair that begins with it, and that number's gradient in the weights."""
    inputs = leaves(weights)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        value: Any = loss(weights, *rest)
        number: Any = cast(Any, value)[0] if isinstance(value, tuple) else value
    gradient: list[Tensor] = tape.gradient(number, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return cast(Any, value), rebuilt(weights, iter(gradient))


def step(net: Trained, gradient: Any, optimizer: Optimizer) -> Trained:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), with decoupled weight decay of a network's arrays."""
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    count = net.adam["count"] + 1
    first = mapped(partial(_mean, beta_1), net.adam["first"], gradient)
    second = mapped(partial(_mean_square, beta_2), net.adam["second"], gradient)
    before, after = (tf.cast(each, leaves(gradient)[0].dtype) for each in (net.adam["count"], count))
    first_correction, second_correction = correction(beta_1, after), correction(beta_2, after)
    rate = rate_after(before, optimizer)

    def moved(value: Tensor, lessened: bool, m: Tensor, v: Tensor) -> Tensor:
        kept = value - rate * optimizer.decay * value if lessened else value
        return kept - rate * (m / first_correction) / (tf.sqrt(v / second_correction) + 1e-8)

    parameters = mapped(moved, net.parameters, decayed(net.parameters, optimizer), first, second)
    return Trained(parameters, {"count": count, "first": first, "second": second})


def rate_after(count: Tensor, optimizer: Optimizer) -> Any:
    """The step size after so many steps of the network's own: constant, or falling to `end` of it at the horizon."""
    if optimizer.schedule == "constant":
        return optimizer.rate
    done = tf.minimum(count / optimizer.horizon, 1.0)
    left = 1.0 - done if optimizer.schedule == "linear" else 0.5 * (1.0 + tf.cos(math.pi * done))
    return optimizer.rate * (optimizer.end + (1.0 - optimizer.end) * left)


def decayed(parameters: Any, optimizer: Optimizer) -> Any:
    """The same nesting, True where weight decay takes from: nowhere in a parameter, such as a temperature."""
    network = bool(optimizer.decay) and isinstance(parameters, Weights)
    names = flattened(parameters.arrays) if isinstance(parameters, Weights) else [""]
    return rebuilt(parameters, (network and (optimizer.decayed == "all" or name.endswith("kernel")) for name in names))


def correction(beta: float, count: Tensor) -> Tensor | float:
    """1 - beta**count, without the cancellation."""
    return -tf.math.expm1(count * math.log(beta)) if beta else 1.0


def _mean(beta: float, before: Tensor, gradient: Tensor) -> Tensor:
    return beta * before + complement(beta) * gradient


def _mean_square(beta: float, before: Tensor, gradient: Tensor) -> Tensor:
    return beta * before + complement(beta) * gradient * gradient


def averaged(copy: Any, weights: Any, polyak: float) -> Any:
    """(8.2): copy <- rho copy + (1 - rho) weights."""

    def average(old: Tensor, new: Tensor) -> Tensor:
        return polyak * old + (1.0 - polyak) * new

    return mapped(average, copy, weights)


def when(due: Tensor, part: Callable[..., Any], state: State, *rest: Any) -> tuple[State, dict[str, Tensor]]:
    """`part(state, *rest)` -> (state, measured) where it is due; else the same state, and NaN."""
    measured: dict[str, Tensor] = {}

    def run() -> Any:
        after, found = part(state, *rest)
        measured.update(found)
        return leaves(after), found

    def keep() -> Any:  # a graph is made of `run` first; without one nothing is measured here
        return leaves(state), {name: tf.fill(value.shape, _nan(value)) for name, value in measured.items()}

    numbers, found = tf.cond(due, run, keep)
    return rebuilt(state, iter(numbers)), found


def _nan(like: Tensor) -> Tensor:
    return tf.constant(math.nan, like.dtype)


def critic_metrics(loss: Tensor, q: Tensor, y: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What a critic step measures: `polyak.algorithm.CRITIC_METRICS`."""
    mean, spread, norm = tf.reduce_mean(q), tf.math.reduce_std(q), global_norm(gradients)
    return {"critic_loss": loss, "q": mean, "q_std": spread, "target": tf.reduce_mean(y), "critic_gradient_norm": norm}


def actor_metrics(loss: Tensor, action: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What an actor step measures: `polyak.algorithm.ACTOR_METRICS`."""
    saturated = tf.reduce_mean(tf.cast(tf.abs(action) > SATURATED, action.dtype))
    return {"actor_loss": loss, "actor_gradient_norm": global_norm(gradients), "saturated": saturated}


def global_norm(tree: Any) -> Tensor:
    """The Euclidean norm of all numbers in a tree of tensors."""
    return tf.linalg.global_norm(leaves(tree))
