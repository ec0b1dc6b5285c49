"""What pages are made of in JAX: networks, gradients, Adam's step, Polyak's average, what is due, what is measured."""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array

from polyak.algorithm import SATURATED
from polyak.frameworks.state import State, Trained, Weights
from polyak.networks.layers import Activation, BatchRenorm, Dense, Dropout, Single, TanhBounds, passed
from polyak.settings.shared import Optimizer, Settings, complement
from polyak.types import Layout

jax.tree_util.register_pytree_with_keys(
    Weights,
    lambda weights: (((jax.tree_util.GetAttrKey("arrays"), weights.arrays),), weights.body),
    lambda body, children: Weights(next(iter(children)), body),
)
jax.tree_util.register_pytree_node(
    State,
    lambda state: (tuple(state.entries.values()), tuple(state.entries)),
    lambda names, values: State(dict(zip(names, values, strict=True))),
)


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
    def unpacked(cls, records: Array, layout: Layout, *, weighted: bool = True) -> "Batch":
        """The first columns of packed records [B, 2 O + A + 3 + ...].

        Not `weighted`, all weights are 1 whatever the column says: XLA then computes as without, to the last bit.
        """
        found = cls(**{name: records[:, getattr(layout, name)] for name in cls._fields})
        return found if weighted else found._replace(weight=jnp.ones_like(found.weight))


def network(weights: Weights, inputs: Array, dropped: Array | None = None) -> Array:
    """The layers of a network, in their order: [B, inputs] -> [B, outputs].

    Of an ensemble of N: [B, inputs], which all share, or [N, B, inputs] -> [N, B, outputs].
    One whose layers keep running statistics computes by these, and takes the weights of `in_evaluation`.
    `dropped` are booleans [B, units], or [N, B, units] of an ensemble: which numbers its `Dropout` layers drop, the
    columns of one layer behind those of another. Without, none is.
    """
    left = dropped

    def through(number: str, layer: Single, hidden: Array) -> Array:
        nonlocal left
        if isinstance(layer, Dropout) and left is not None:
            hidden, left = without(hidden, left, layer.probability)
            return hidden
        return _through(layer, weights.arrays.get(number, {}), hidden)

    return passed(weights.body, inputs, through)


def network_in_training(weights: Weights, inputs: Array, statistics: Any) -> tuple[Array, Any]:
    """The same by the statistics of the inputs themselves: [B, outputs], and the running statistics after it.

    Without layers that keep statistics, this is `network`.
    """
    now = dict(statistics)

    def through(number: str, layer: Single, hidden: Array) -> Array:
        if not isinstance(layer, BatchRenorm):
            return _through(layer, weights.arrays.get(number, {}), hidden)
        arrays = weights.arrays[number]
        hidden, now[number] = renormalized(hidden, layer, statistics[number], arrays["scale"], arrays["offset"])
        return hidden

    return passed(weights.body, inputs, through), now or statistics


def _through(layer: Single, arrays: Any, hidden: Array) -> Array:
    if isinstance(layer, Activation):
        return ACTIVATIONS[layer.kind](hidden)
    if isinstance(layer, Dropout):
        return hidden
    if isinstance(layer, TanhBounds):
        free, within = jnp.split(hidden, 2, axis=-1)
        half = 0.5 * (layer.high - layer.low)
        return jnp.concatenate([free, layer.low + half * (1.0 + jnp.tanh(within))], axis=-1)
    if isinstance(layer, Dense):  # a GPU would round to TF32 otherwise
        return jnp.matmul(hidden, arrays["kernel"], precision="highest") + along_rows(arrays["bias"])
    if isinstance(layer, BatchRenorm):
        normal = (hidden - arrays["mean"]) / jnp.sqrt(arrays["variance"] + layer.epsilon)
    else:
        normal = normalized(hidden, layer.epsilon)
    return normal * along_rows(arrays["scale"]) + along_rows(arrays["offset"])


def without(hidden: Array, dropped: Array, probability: float) -> tuple[Array, Array]:
    """Numbers [..., B, n] without those that the first n columns of `dropped` say, and the columns that are left."""
    width = hidden.shape[-1]
    return jnp.where(dropped[..., :width], 0.0, hidden / (1.0 - probability)), dropped[..., width:]


def along_rows(vector: Array) -> Array:
    """A bias, scale or offset [n] as it is; those of an ensemble, [N, n], as [N, 1, n]: beside rows [N, B, n]."""
    return vector if len(vector.shape) == 1 else vector[:, None]


def normalized(rows: Array, epsilon: float) -> Array:
    """Each row to mean 0 and variance 1 (Ba et al. 2016, equation 4): [B, n] -> [B, n]."""
    centred = rows - jnp.mean(rows, axis=-1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + epsilon)


def renormalized(rows: Array, layer: BatchRenorm, statistics: Any, scale: Array, offset: Array) -> tuple[Array, Any]:
    """Batch renormalization in training (Ioffe 2017, algorithm 1), [B, n] -> [B, n]; and the running statistics after.

    z = (x - mean) / deviation * r + d, then scale and offset; no gradient passes r and d. A condition on the count of
    calls would be computed on both sides where runs are stacked, so that it is a choice.
    """
    mean, variance = jax.lax.stop_gradient((jnp.mean(rows, axis=0), jnp.var(rows, axis=0)))
    deviation = jnp.sqrt(variance + layer.epsilon)
    running = jnp.sqrt(statistics["variance"] + layer.epsilon)
    warming_up = statistics["steps"] < layer.warm_up
    r = jnp.clip(deviation / running, 1.0 / layer.most_scaled, layer.most_scaled)
    d = jnp.clip((mean - statistics["mean"]) / running, -layer.most_shifted, layer.most_shifted)
    r, d = jnp.where(warming_up, 1.0, r), jnp.where(warming_up, 0.0, d)
    after = {
        **statistics,
        "mean": _kept(layer.decay, statistics["mean"], mean),
        "variance": _kept(layer.decay, statistics["variance"], variance),
        "steps": statistics["steps"] + 1,
    }
    return cast(Array, _standardized(rows, mean, deviation, scale * r, scale * d + offset)), after


@jax.custom_vjp
def _standardized(rows: Array, mean: Array, deviation: Array, factor: Array, shift: Array) -> Array:
    """(x - mean) / deviation * factor + shift, of the mean and the deviation that the rows themselves have.

    Derived by JAX, whose gradient goes through mean and variance one after the other, each column would be gone through
    as often again.
    """
    return _standardized_forward(rows, mean, deviation, factor, shift)[0]


def _standardized_forward(rows: Array, mean: Array, deviation: Array, factor: Array, shift: Array) -> tuple[Array, Any]:
    return (rows - mean) * (factor / deviation) + shift, (rows, mean, deviation, factor)


def _standardized_backward(kept: Any, upstream: Array) -> tuple[Array, None, None, Array, Array]:
    """With z = (x - mean) / deviation: dx = factor / deviation (dy - mean dy - z mean(z dy)), means over the rows."""
    rows, mean, deviation, factor = kept
    centred = rows - mean
    shift = jnp.sum(upstream, axis=0)
    along = jnp.sum(upstream * centred, axis=0) / deviation
    slope = along / (deviation * len(rows))
    inputs = (upstream - shift / len(rows) - centred * slope) * (factor / deviation)
    return inputs, None, None, along, shift


_standardized.defvjp(_standardized_forward, _standardized_backward)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


def q_value(critic: Weights, observation: Array, action: Array, dropped: Array | None = None) -> Array:
    """Q(s, a) of one critic, [B], or of each in an ensemble, [N, B]."""
    return network(critic, jnp.concatenate([observation, action], axis=-1), dropped)[..., 0]


def regression(error: Array, weight: Array, config: Settings) -> Array:
    """The mean of the weighted squares of errors [B], or [N, B] of an ensemble.

    Where transitions are drawn by LAP, twice Huber's loss in their place: the square of an error up to 1, and straight
    on from there, 2 |error| - 1 (Fujimoto et al. 2020, 2007.06049, equation 9).
    """
    loss = huber(error) if config.prioritized == "lap" else error**2
    return jnp.mean(weight * loss)


def huber(error: Array) -> Array:
    """The square of each error up to 1, and 2 |error| - 1 beyond."""
    size = jnp.abs(error)
    return jnp.where(size > 1.0, 2.0 * size - 1.0, error**2)


def td_error(y: Array, *values: Array) -> Array:
    """How far the furthest of several values [B] is from the target [B], of each transition: [B].

    It is `measured["error"]`, which goes to the priorities of replay, if it has any.
    """
    return reduce(jnp.maximum, [jnp.abs(value - y) for value in values])


def quantile_regression(theta: Array, y: Array, weight: Array) -> Array:
    """The mean quantile Huber loss of each critic's atoms [N, B, M] against targets [B, P], transitions weighted [B].

    With u = y - theta and the quantiles' midpoints tau = (m + 1/2) / M: |tau - 1{u < 0}| H(u), H(u) = u^2 / 2 up to
    |u| = 1 and |u| - 1/2 beyond (Dabney et al. 2018, 1710.10044, equation 10). The mean is over all four axes.
    """
    loss = cast(Array, _quantile_huber(theta, y))
    return jnp.mean(weight * jnp.mean(loss, axis=(0, 2)))


@jax.custom_vjp
def _quantile_huber(theta: Array, y: Array) -> Array:
    """The mean over the targets, [N, B, M]; its gradient comes with it, and XLA sums both as products with ones.

    Derived by JAX, the gradient would be summed over the last axis number by number: four times as slow on a CPU.
    """
    return _quantile_huber_and_slope(theta, y)[0]


def _quantile_huber_and_slope(theta: Array, y: Array) -> tuple[Array, Array]:
    quantiles, targets = theta.shape[-1], y.shape[-1]
    tau = ((jnp.arange(quantiles, dtype=theta.dtype) + 0.5) / quantiles)[:, None]
    u = y[:, None, :] - theta[..., None]
    clipped = jnp.clip(u, -1.0, 1.0)  # the derivative of H
    slope = jnp.where(u < 0.0, 1.0 - tau, tau) * clipped
    means = jnp.full(targets, 1.0 / targets, theta.dtype)
    loss, slope = (jnp.matmul(each, means, precision="highest") for each in (slope * (u - 0.5 * clipped), slope))
    return loss, -slope


def _quantile_huber_backward(slope: Array, upstream: Array) -> tuple[Array, None]:
    return upstream * slope, None


_quantile_huber.defvjp(_quantile_huber_and_slope, _quantile_huber_backward)


def value_and_gradient(loss: Callable[..., Any], weights: Any, *rest: Any) -> tuple[Any, Any]:
    """What `loss` returns, a number or a pair that begins with it, and that number's gradient in the weights."""

    def pair(weights: Any, *rest: Any) -> tuple[Any, Any]:
        found: Any = loss(weights, *rest)
        return found if isinstance(found, tuple) else (found, None)  # pyright: ignore[reportUnknownVariableType]

    (value, more), gradient = jax.value_and_grad(pair, has_aux=True)(weights, *rest)
    return (value if more is None else (value, more)), gradient


def step(net: Trained, gradient: Any, optimizer: Optimizer, statistics: Any = None) -> Trained:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), with decoupled weight decay of a network's arrays.

    `statistics` are the running ones from now on; None: those of before.
    """
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    count = net.adam["count"] + 1
    first = jax.tree.map(partial(_kept, beta_1), net.adam["first"], gradient)
    second = jax.tree.map(partial(_mean_square, beta_2), net.adam["second"], gradient)
    first_correction, second_correction = correction(beta_1, count), correction(beta_2, count)
    rate = rate_after(net.adam["count"], optimizer)

    def moved(path: Any, value: Array, m: Array, v: Array) -> Array:
        kept = value - rate * optimizer.decay * value if is_decayed(path, optimizer) else value
        return kept - rate * (m / first_correction) / (jnp.sqrt(v / second_correction) + 1e-8)

    parameters = jax.tree_util.tree_map_with_path(moved, net.parameters, first, second)
    adam = {"count": count, "first": first, "second": second}
    return Trained(parameters, adam, net.statistics if statistics is None else statistics)


def rate_after(count: Array, optimizer: Optimizer) -> Any:
    """The step size after so many steps of the network's own: constant, or falling to `end` of it at the horizon."""
    if optimizer.schedule == "constant":
        return optimizer.rate
    done = jnp.minimum(count * (1.0 / optimizer.horizon), 1.0)  # as precise as the weights
    left = 1.0 - done if optimizer.schedule == "linear" else 0.5 * (1.0 + jnp.cos(math.pi * done))
    return optimizer.rate * (optimizer.end + (1.0 - optimizer.end) * left)


def is_decayed(path: Any, optimizer: Optimizer) -> bool:
    """Whether weight decay takes from what lies here in a tree; a parameter, such as a temperature, is no network."""
    all_are = optimizer.decayed == "all"
    return bool(optimizer.decay and path) and (all_are or getattr(path[-1], "key", None) == "kernel")


def correction(beta: float, count: Array) -> Array | float:
    """1 - beta**count, without the cancellation."""
    return -jnp.expm1(count * math.log(beta)) if beta else 1.0


def _kept(decay: float, before: Array, now: Array) -> Array:
    return decay * before + complement(decay) * now


def _mean_square(beta: float, before: Array, gradient: Array) -> Array:
    return beta * before + complement(beta) * gradient * gradient


def averaged(copy: Any, weights: Any, polyak: float) -> Any:
    """(8.2): copy <- rho copy + (1 - rho) weights."""

    def average(old: Array, new: Array) -> Array:
        return polyak * old + (1.0 - polyak) * new

    return jax.tree.map(average, copy, weights)


def when(due: Array, part: Callable[..., Any], state: State, *rest: Any) -> tuple[State, dict[str, Array]]:
    """`part(state, *rest)` -> (state, measured) where it is due; else the same state, and NaN."""

    def run(now: State) -> Any:
        return part(now, *rest)

    _, measured = jax.eval_shape(run, state)

    def keep(now: State) -> Any:
        return now, {name: jnp.full(shape.shape, jnp.nan, shape.dtype) for name, shape in measured.items()}

    return cast(tuple[State, dict[str, Array]], jax.lax.cond(due, run, keep, state))


def critic_metrics(loss: Array, q: Array, y: Array, gradients: Any) -> dict[str, Array]:
    """What a critic step measures: `polyak.algorithm.CRITIC_METRICS`."""
    mean, spread, norm = jnp.mean(q), jnp.std(q), global_norm(gradients)
    return {"critic_loss": loss, "q": mean, "q_std": spread, "target": jnp.mean(y), "critic_gradient_norm": norm}


def actor_metrics(loss: Array, action: Array, gradients: Any) -> dict[str, Array]:
    """What an actor step measures: `polyak.algorithm.ACTOR_METRICS`."""
    saturated = jnp.mean(jnp.abs(action) > SATURATED, dtype=action.dtype)
    return {"actor_loss": loss, "actor_gradient_norm": global_norm(gradients), "saturated": saturated}


def global_norm(tree: Any) -> Array:
    """The Euclidean norm of all numbers in a tree of arrays."""
    leaves: list[Array] = jax.tree.leaves(tree)
    return jnp.sqrt(sum((jnp.sum(leaf * leaf) for leaf in leaves[1:]), jnp.sum(leaves[0] * leaves[0])))
