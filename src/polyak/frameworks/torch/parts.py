"""What the three algorithms share: a network's forward pass, gradients, Adam's step, Polyak's average, measures."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from polyak.algorithm import SATURATED
from polyak.frameworks.torch import fused
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


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of nested dictionaries and tuples, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    branches = cast(Any, tree.values() if isinstance(tree, dict) else tree)
    return [leaf for branch in branches for leaf in leaves(branch)]


def rebuilt(tree: Any, new_leaves: Iterator[Any]) -> Any:
    """The same nesting with other leaves."""
    if isinstance(tree, Tensor):
        return next(new_leaves)
    if isinstance(tree, dict):
        return {name: rebuilt(branch, new_leaves) for name, branch in cast(dict[str, Any], tree).items()}
    return tuple(rebuilt(branch, new_leaves) for branch in tree)


def mapped(function: Callable[..., Tensor], *trees: Any) -> Any:
    """`function` of the corresponding leaves of trees of the same nesting."""
    return rebuilt(trees[0], map(function, *map(leaves, trees)))


def value_and_gradient(function: Callable[..., Any], parameters: Any, *rest: Any) -> tuple[Any, Any]:
    """What `function` returns, a loss or a tuple that begins with one, and the loss's gradient in its first argument.

    Nothing else is differentiated: a network among `rest` costs no gradients of its weights.
    """
    with torch.enable_grad():
        tracked = [leaf.detach().requires_grad_() for leaf in leaves(parameters)]
        value = function(rebuilt(parameters, iter(tracked)), *rest)
        loss = cast(Tensor, value[0] if isinstance(value, tuple) else value)
        gradients = torch.autograd.grad(loss, tracked)
    return mapped(Tensor.detach, value), rebuilt(parameters, iter(gradients))


def network(parameters: Parameters, inputs: Tensor) -> Tensor:
    """Linear layers with ReLU between them: [B, inputs] -> [B, outputs]."""
    layers = [parameters[str(layer)] for layer in range(len(parameters))]
    if fused.active():
        return fused.network(inputs, [(layer["kernel"], layer["bias"]) for layer in layers])
    hidden = inputs
    for layer in layers[:-1]:
        hidden = torch.relu(hidden @ layer["kernel"] + layer["bias"])
    return hidden @ layers[-1]["kernel"] + layers[-1]["bias"]


def q_value(critic: Parameters, observation: Tensor, action: Tensor) -> Tensor:
    """Q(s, a) of one critic: [B]."""
    return network(critic, torch.cat([observation, action], dim=-1))[:, 0]


def adam_step(parameters: Any, gradients: Any, adam: Adam, learning_rate: float) -> tuple[Any, Adam]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1): the new parameters and the new moments."""
    if fused.active():
        count, first, second = adam["count"], leaves(adam["first"]), leaves(adam["second"])
        fused.adam_step(leaves(parameters), leaves(gradients), first, second, count, learning_rate)
        return parameters, adam
    count = adam["count"] + 1
    first = mapped(_first_moment, adam["first"], gradients)
    second = mapped(_second_moment, adam["second"], gradients)

    def moved(value: Tensor, m: Tensor, v: Tensor) -> Tensor:
        precise = count.to(value.dtype)
        first_correction = -torch.expm1(precise * math.log(0.9))  # 1 - 0.9**count without the cancellation
        second_correction = -torch.expm1(precise * math.log(0.999))
        return value - learning_rate * (m / first_correction) / (torch.sqrt(v / second_correction) + 1e-8)

    parameters = mapped(moved, parameters, first, second)
    return parameters, {"count": count, "first": first, "second": second}


def _first_moment(before: Tensor, gradient: Tensor) -> Tensor:
    return 0.9 * before + 0.1 * gradient


def _second_moment(before: Tensor, gradient: Tensor) -> Tensor:
    return 0.999 * before + 0.001 * gradient * gradient


def polyak_average(target: Parameters, parameters: Parameters, polyak: float) -> Parameters:
    """(8.2): target <- rho target + (1 - rho) parameters."""
    if fused.active():
        fused.polyak_average(leaves(target), leaves(parameters), polyak)
        return target

    def average(old: Tensor, new: Tensor) -> Tensor:
        return polyak * old + (1.0 - polyak) * new

    return mapped(average, target, parameters)


def critic_metrics(loss: Tensor, q: Tensor, y: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What a critic step measures: `polyak.algorithm.CRITIC_METRICS`."""
    spread, mean = torch.std_mean(q, correction=0)
    norm = get_total_norm(leaves(gradients))
    return {"critic_loss": loss, "q": mean, "q_std": spread, "target": torch.mean(y), "critic_gradient_norm": norm}


def actor_metrics(loss: Tensor, action: Tensor, gradients: Any) -> dict[str, Tensor]:
    """What an actor step measures: `polyak.algorithm.ACTOR_METRICS`."""
    saturated = torch.mean((torch.abs(action) > SATURATED).to(action.dtype))
    return {"actor_loss": loss, "actor_gradient_norm": get_total_norm(leaves(gradients)), "saturated": saturated}
