"""What pages are made of in PyTorch: networks, gradients, Adam's step, Polyak's average, what is due, what is measured.

Within `fused.donated()` a step and an average write into the memory that they are given.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import get_total_norm

from polyak.algorithm import SATURATED
from polyak.frameworks.state import State, Trained, Weights, leaves, mapped, rebuilt
from polyak.frameworks.torch import fused
from polyak.networks.layers import Activation, BatchRenorm, Dense, Dropout, Single, TanhBounds, passed
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
    def unpacked(cls, records: Tensor, layout: Layout) -> "Batch":
        """The first columns of packed records [B, 2 O + A + 3 + ...]."""
        return cls(**{name: records[:, getattr(layout, name)] for name in cls._fields})


def network(weights: Weights, inputs: Tensor, dropped: Tensor | None = None) -> Tensor:
    """The layers of a network, in their order: [B, inputs] -> [B, outputs].

    Of an ensemble of N: [B, inputs], which all share, or [N, B, inputs] -> [N, B, outputs].
    One whose layers keep running statistics computes by these, and takes the weights of `in_evaluation`.
    `dropped` are booleans [B, units], or [N, B, units] of an ensemble: which numbers its `Dropout` layers drop, the
    columns of one layer behind those of another. Without, none is.
    """
    if fused.active() and fused.is_plain(weights.body):
        layers = [weights.arrays[str(number)] for number in range(len(weights.arrays))]
        return fused.network(inputs, [(layer["kernel"], layer["bias"]) for layer in layers])
    left = dropped

    def through(number: str, layer: Single, hidden: Tensor) -> Tensor:
        nonlocal left
        if isinstance(layer, Dropout) and left is not None:
            hidden, left = without(hidden, left, layer.probability)
            return hidden
        return _through(layer, weights.arrays.get(number, {}), hidden)

    return passed(weights.body, inputs, through)


def network_in_training(weights: Weights, inputs: Tensor, statistics: Any) -> tuple[Tensor, Any]:
    """The same by the statistics of the inputs themselves: [B, outputs], and the running statistics after it.

    Without layers that keep statistics, this is `network`.
    """
    if not statistics:
        return network(weights, inputs), statistics
    now = dict(statistics)

    def through(number: str, layer: Single, hidden: Tensor) -> Tensor:
        arrays = weights.arrays.get(number, {})
        if not isinstance(layer, BatchRenorm):
            return _through(layer, arrays, hidden)
        hidden, now[number] = renormalized(hidden, layer, statistics[number], arrays["scale"], arrays["offset"])
        return hidden

    return passed(weights.body, inputs, through), now


def _through(layer: Single, arrays: Any, hidden: Tensor) -> Tensor:
    fast = fused.active()
    if isinstance(layer, Activation):
        return ACTIVATIONS[layer.kind](hidden)
    if isinstance(layer, Dropout):
        return hidden
    if isinstance(layer, TanhBounds):
        free, within = torch.chunk(hidden, 2, dim=-1)
        half = 0.5 * (layer.high - layer.low)
        return torch.cat([free, layer.low + half * (1.0 + torch.tanh(within))], dim=-1)
    if isinstance(layer, Dense):
        kernel, bias = arrays["kernel"], arrays["bias"]
        return fused.network(hidden, [(kernel, bias)]) if fast else hidden @ kernel + along_rows(bias)
    scale, offset = arrays["scale"], arrays["offset"]
    if isinstance(layer, BatchRenorm):
        mean, variance = arrays["mean"], arrays["variance"]
        if fast:
            return functional.batch_norm(hidden, mean, variance, scale, offset, eps=layer.epsilon)
        return (hidden - mean) / torch.sqrt(variance + layer.epsilon) * scale + offset
    if fast:
        return fused.normalized(hidden, layer.epsilon, scale, offset)
    return normalized(hidden, layer.epsilon) * along_rows(scale) + along_rows(offset)


def without(hidden: Tensor, dropped: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Numbers [..., B, n] without those that the first n columns of `dropped` say, and the columns that are left."""
    width = hidden.shape[-1]
    now, left = dropped[..., :width], dropped[..., width:]
    if fused.active():
        return hidden * fused.kept(now, probability, hidden), left
    return (hidden / (1.0 - probability)).masked_fill(now, 0.0), left


def along_rows(vector: Tensor) -> Tensor:
    """A bias, scale or offset [n] as it is; those of an ensemble, [N, n], as [N, 1, n]: beside rows [N, B, n]."""
    return vector if len(vector.shape) == 1 else vector[:, None]


def normalized(rows: Tensor, epsilon: float) -> Tensor:
    """Each row to mean 0 and variance 1 (Ba et al. 2016, equation 4): [B, n] -> [B, n]."""
    centred = rows - torch.mean(rows, dim=-1, keepdim=True)
    return centred / torch.sqrt(torch.mean(centred**2, dim=-1, keepdim=True) + epsilon)


def renormalized(
    rows: Tensor, layer: BatchRenorm, statistics: Any, scale: Tensor, offset: Tensor
) -> tuple[Tensor, Any]:
    """Batch renormalization in training (Ioffe 2017, algorithm 1), [B, n] -> [B, n]; and the running statistics after.

    z = (x - mean) / deviation * r + d, then scale and offset; no gradient passes r and d.
    """
    with torch.no_grad():
        variance, mean = torch.var_mean(rows, dim=0, correction=0)
        running = torch.sqrt(statistics["variance"] + layer.epsilon)
        warming_up = statistics["steps"] < layer.warm_up
        r = torch.clamp(torch.sqrt(variance + layer.epsilon) / running, 1.0 / layer.most_scaled, layer.most_scaled)
        d = torch.clamp((mean - statistics["mean"]) / running, -layer.most_shifted, layer.most_shifted)
        r, d = torch.where(warming_up, 1.0, r), torch.where(warming_up, 0.0, d)
        after = {
            **statistics,
            "mean": _kept(layer.decay, statistics["mean"], mean),
            "variance": _kept(layer.decay, statistics["variance"], variance),
            "steps": statistics["steps"] + 1,
        }
    if fused.active():  # scale (z r + d) + offset, of which r and d are constants
        factor, shift = scale * r, scale * d + offset
        return functional.batch_norm(rows, None, None, factor, shift, training=True, eps=layer.epsilon), after
    centred = rows - torch.mean(rows, dim=0)
    deviation = torch.sqrt(torch.mean(centred**2, dim=0) + layer.epsilon)
    return (centred / deviation * r + d) * scale + offset, after


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "elu": functional.elu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


def q_value(critic: Weights, observation: Tensor, action: Tensor, dropped: Tensor | None = None) -> Tensor:
    """Q(s, a) of one critic, [B], or of each in an ensemble, [N, B]."""
    return network(critic, torch.cat([observation, action], dim=-1), dropped)[..., 0]


def regression(error: Tensor, weight: Tensor, config: Settings) -> Tensor:
    """The mean of the weighted squares of errors [B], or [N, B] of an ensemble.

    Where transitions are drawn by LAP, twice Huber's loss in their place: the square of an error up to 1, and straight
    on from there, 2 |error| - 1 (Fujimoto et al. 2020, 2007.06049, equation 9).
    """
    loss = huber(error) if config.prioritized == "lap" else error**2
    all_are_one = weight.stride() == (0,)  # one number, expanded, as the learner has it where nothing is weighted
    return torch.mean(loss if all_are_one else weight * loss)


def huber(error: Tensor) -> Tensor:
    """The square of each error up to 1, and 2 |error| - 1 beyond."""
    size = torch.abs(error)
    return torch.where(size > 1.0, 2.0 * size - 1.0, error**2)


def td_error(y: Tensor, *values: Tensor) -> Tensor:
    """How far the furthest of several values [B] is from the target [B], of each transition: [B].

    It is `measured["error"]`, which goes to the priorities of replay, if it has any.
    """
    return reduce(torch.maximum, [torch.abs(value - y) for value in values])


def quantile_regression(theta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The mean quantile Huber loss of each critic's atoms [N, B, M] against targets [B, P], transitions weighted [B].

    With u = y - theta and the quantiles' midpoints tau = (m + 1/2) / M: |tau - 1{u < 0}| H(u), H(u) = u^2 / 2 up to
    |u| = 1 and |u| - 1/2 beyond (Dabney et al. 2018, 1710.10044, equation 10). The mean is over all four axes.
    """
    huber = fused.quantile_huber if fused.active() else quantile_huber
    return torch.mean(weight * torch.mean(huber(theta, y), dim=(0, 2)))


def quantile_huber(theta: Tensor, y: Tensor) -> Tensor:
    """The mean over the targets, [N, B, M]."""
    quantiles = theta.shape[-1]
    tau = ((torch.arange(quantiles, dtype=theta.dtype, device=theta.device) + 0.5) / quantiles)[:, None]
    u = y[:, None, :] - theta[..., None]
    clipped = torch.clamp(u, -1.0, 1.0)  # the derivative of H
    return torch.mean(torch.where(u < 0.0, 1.0 - tau, tau) * clipped * (u - 0.5 * clipped), dim=-1)


def value_and_gradient(loss: Callable[..., Any], weights: Any, *rest: Any) -> tuple[Any, Any]:
    """What `loss` returns, a number or a pair that begins with it, and that number's gradient in the weights.

    Nothing else is differentiated: a network among `rest` costs no gradients of its weights.
    """
    with torch.enable_grad():
        tracked = [leaf.detach().requires_grad_() for leaf in leaves(weights)]
        value = loss(rebuilt(weights, iter(tracked)), *rest)
        number = cast(Tensor, value[0] if isinstance(value, tuple) else value)
        gradients = torch.autograd.grad(number, tracked)
    return mapped(Tensor.detach, value), rebuilt(weights, iter(gradients))


def step(net: Trained, gradient: Any, optimizer: Optimizer, statistics: Any = None) -> Trained:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), with decoupled weight decay of a network's arrays.

    `statistics` are the running ones from now on; None: those of before.
    """
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    rate = rate_after(net.adam["count"], optimizer)
    if fused.active():
        fused.adam_step(net, gradient, rate, optimizer)
        if statistics is not None:
            fused.take_over(net.statistics, statistics)
        return net
    count = net.adam["count"] + 1
    first = mapped(partial(_kept, beta_1), net.adam["first"], gradient)
    second = mapped(partial(_mean_square, beta_2), net.adam["second"], gradient)
    precise = count.to(leaves(gradient)[0].dtype)
    first_correction, second_correction = correction(beta_1, precise), correction(beta_2, precise)
    decayed = {id(array) for array in fused.decayed(net.parameters, optimizer)}

    def moved(value: Tensor, m: Tensor, v: Tensor) -> Tensor:
        kept = value - rate * optimizer.decay * value if id(value) in decayed else value
        return kept - rate * (m / first_correction) / (torch.sqrt(v / second_correction) + 1e-8)

    parameters = mapped(moved, net.parameters, first, second)
    adam = {"count": count, "first": first, "second": second}
    return Trained(parameters, adam, net.statistics if statistics is None else statistics)


def rate_after(count: Tensor, optimizer: Optimizer) -> Any:
    """The step size after so many steps of the network's own: constant, or falling to `end` of it at the horizon.

    One that falls is a tensor on the device: a CUDA graph would keep what the host computes.
    """
    if optimizer.schedule == "constant":
        return optimizer.rate
    done = torch.clamp(count.to(torch.float64) / optimizer.horizon, max=1.0)
    left = 1.0 - done if optimizer.schedule == "linear" else 0.5 * (1.0 + torch.cos(math.pi * done))
    return optimizer.rate * (optimizer.end + (1.0 - optimizer.end) * left)


def correction(beta: float, count: Tensor) -> Tensor | float:
    """1 - beta**count, without the cancellation."""
    return -torch.expm1(count * math.log(beta)) if beta else 1.0


def _kept(decay: float, before: Tensor, now: Tensor) -> Tensor:
    return decay * before + complement(decay) * now


def _mean_square(beta: float, before: Tensor, gradient: Tensor) -> Tensor:
    return beta * before + complement(beta) * gradient * gradient


def averaged(copy: Any, weights: Any, polyak: float) -> Any:
    """(8.2): copy <- rho copy + (1 - rho) weights."""
    if fused.active():
        fused.average(leaves(copy), leaves(weights), polyak)
        return copy

    def average(old: Tensor, new: Tensor) -> Tensor:
        return polyak * old + (1.0 - polyak) * new

    return mapped(average, copy, weights)


def when(due: bool, part: Callable[..., Any], state: State, *rest: Any) -> tuple[State, dict[str, Tensor]]:
    """`part(state, *rest)` -> (state, measured) where it is due; else the same state, and nothing measured."""
    return part(state, *rest) if due else (state, {})


def critic_metrics(loss: Tensor, q: Tensor, y: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What a critic step measures: `polyak.algorithm.CRITIC_METRICS`."""
    spread, mean = torch.std_mean(q, correction=0)
    norm = get_total_norm(leaves(gradients))
    return {"critic_loss": loss, "q": mean, "q_std": spread, "target": torch.mean(y), "critic_gradient_norm": norm}


def actor_metrics(loss: Tensor, action: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What an actor step measures: `polyak.algorithm.ACTOR_METRICS`."""
    saturated = torch.mean((torch.abs(action) > SATURATED).to(action.dtype))
    return {"actor_loss": loss, "actor_gradient_norm": get_total_norm(leaves(gradients)), "saturated": saturated}
