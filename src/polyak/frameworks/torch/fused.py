"""The fast path: the same mathematics in fewer and faster kernels, in the state's own memory.

Within `donated()`, `parts` computes by these. An update then writes its new state over the old one, which also is what
a CUDA graph needs: every replay finds the state where it was.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from polyak.errors import TrainingError
from polyak.frameworks.state import State, Trained, Weights, leaves, mapped
from polyak.frameworks.torch import device
from polyak.networks.layers import plain
from polyak.settings.shared import Optimizer

_torch: Any = torch  # kernels that PyTorch's own optimizers and compiler call are not in its public interface

_active: ContextVar[bool] = ContextVar("polyak_torch_fused", default=False)
active = _active.get
"""Whether updates are computed by the functions here."""


@contextmanager
def donated() -> Generator[None]:
    """Within this block, updates take their state over: its memory becomes that of the new state."""
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


class Donated(State):
    """A state whose memory stays its own: an update writes into it, and what a page puts into it is copied there.

    A step and an average write where their entry lies, and need nothing more. Anything else that takes an entry's place
    may be the memory of another one (a network of which it is to be a copy), and would move with it: it is cloned at
    once, and lies in the entry's own memory when the update has ended.
    """

    __slots__ = ("_own",)

    def __init__(self, entries: dict[str, Any], own: dict[str, Any] | None = None) -> None:
        self.entries, self._own = entries, entries if own is None else own

    def replace(self, **entries: Any) -> "Donated":
        """`State.replace`, with clones of what is not in the entries' own memory."""
        found, own = {**self.entries, **entries}, self._own
        for name, entry in entries.items():
            if entry is not own.get(name):
                getattr(self, name)
                found[name] = _apart(name, entry, own[name])
        return Donated(found, own)

    def settled(self, after: State) -> "Donated":
        """What an update has made of this state, in this state's memory."""
        changed = [name for name, own in self._own.items() if after.entries[name] is not own]
        if changed:
            apart = after if isinstance(after, Donated) else self.replace(**after.entries)
            for name in changed:
                for mine, new in zip(leaves(self._own[name]), leaves(apart.entries[name]), strict=True):
                    if new is not mine:
                        mine.copy_(new)
        return self


def _apart(name: str, entry: Any, own: Any) -> Any:
    shapes, needed = ([tuple(leaf.shape) for leaf in leaves(tree)] for tree in (entry, own))
    if shapes != needed:
        raise TrainingError(f"update makes {name} an entry of the shapes {shapes}, but the state's has {needed}")

    def apart(new: Tensor, mine: Tensor) -> Tensor:
        return new if new is mine else new.clone()

    return mapped(apart, entry, own)


is_plain = cache(plain)


def network(inputs: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Kernels and biases with ReLU between them as one node of the gradient's graph: [B, inputs] -> [B, outputs].

    An ensemble's have a first axis of N, as `parts.network` has it.
    """
    flat = [parameter for layer in layers for parameter in layer]
    if torch.is_grad_enabled():
        return cast(Tensor, _Network.apply(inputs, *flat))
    return _forward(inputs, flat)[1]


def normalized(rows: Tensor, epsilon: float, scale: Tensor, offset: Tensor) -> Tensor:
    """`parts.normalized`, scaled and offset, in one kernel; of an ensemble, one a member."""
    if scale.dim() == 2:
        members = zip(rows.unbind(), scale.unbind(), offset.unbind(), strict=True)
        return torch.stack([normalized(each, epsilon, *own) for each, *own in members])
    return functional.layer_norm(rows, rows.shape[-1:], scale, offset, epsilon)


def kept(dropped: Tensor, probability: float, like: Tensor) -> Tensor:
    """What dropout multiplies numbers by: 0 where they are dropped, 1 / (1 - probability) elsewhere."""
    return torch.where(dropped, like.new_zeros(()), like.new_full((), 1.0 / (1.0 - probability)))


def quantile_huber(theta: Tensor, y: Tensor) -> Tensor:
    """`parts.quantile_huber` as one node of the gradient's graph."""
    return cast(Tensor, _QuantileHuber.apply(theta, y))


def decayed(parameters: Any, optimizer: Optimizer) -> list[Tensor]:
    """What weight decay takes from: nothing of a parameter, such as a temperature, which is no network."""
    if not optimizer.decay or not isinstance(parameters, Weights):
        return []
    layers = parameters.arrays.values()
    return [
        array for layer in layers for name, array in layer.items() if optimizer.decayed == "all" or name == "kernel"
    ]


def adam_step(net: Trained, gradient: Any, rate: float | Tensor, optimizer: Optimizer) -> None:
    """`parts.step` in place, Adam in one kernel for all tensors."""
    parameters, count = leaves(net.parameters), net.adam["count"]
    if isinstance(rate, Tensor):
        rate = rate.to(parameters[0].dtype)
    if optimizer.decay and (lessened := decayed(net.parameters, optimizer)):
        _torch._foreach_mul_(lessened, 1.0 - rate * optimizer.decay)
    count.add_(1)
    steps = [count.to(torch.float32)] * len(parameters)
    _torch._fused_adam_(
        parameters,
        leaves(gradient),
        leaves(net.adam["first"]),
        leaves(net.adam["second"]),
        [],
        steps,
        lr=rate,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
    )


def take_over(own: Any, statistics: Any) -> None:
    """Write running statistics where a network has its own."""
    for mine, new in zip(leaves(own), leaves(statistics), strict=True):
        mine.copy_(new)


def average(copy: list[Tensor], weights: list[Tensor], polyak: float) -> None:
    """`parts.averaged` in place, in one call for all tensors."""
    _torch._foreach_lerp_(copy, weights, 1.0 - polyak)


class _Network(torch.autograd.Function):
    """Linear layers with ReLU between them, with the gradients that are asked for and no others."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *parameters: Tensor) -> Tensor:
        layer_inputs, outputs = _forward(inputs, parameters)
        ctx.save_for_backward(*layer_inputs, *parameters[::2])
        return outputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = grad_outputs
        layers = len(ctx.saved_tensors) // 2
        layer_inputs, kernels = ctx.saved_tensors[:layers], ctx.saved_tensors[layers:]
        of_inputs, of_parameters = ctx.needs_input_grad[:2]
        gradients: list[Tensor | None] = [None] * (2 * layers)
        for layer in reversed(range(layers)):
            if layer < layers - 1:
                upstream = torch.ops.aten.threshold_backward(upstream, layer_inputs[layer + 1], 0.0)
            if of_parameters:
                gradients[2 * layer : 2 * layer + 2] = _outer(layer_inputs[layer], upstream), upstream.sum(-2)
            if layer or of_inputs:
                upstream = _transposed(upstream, kernels[layer])
        shared = upstream.dim() > layer_inputs[0].dim()  # by all of an ensemble
        return ((upstream.sum(0) if shared else upstream) if of_inputs else None, *gradients)


class _QuantileHuber(torch.autograd.Function):
    """The loss, with the gradient that comes with it, critic by critic in memory that is small enough for a cache."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, y: Tensor) -> Tensor:
        (rows, quantiles), targets = theta.shape[1:], y.shape[-1]
        tau = ((torch.arange(quantiles, dtype=theta.dtype, device=theta.device) + 0.5) / quantiles)[:, None]
        u, clipped, slope = (theta.new_empty(rows, quantiles, targets) for _ in range(3))
        mean, loss, slopes = theta.new_full((targets,), 1.0 / targets), torch.empty_like(theta), torch.empty_like(theta)
        for index, each in enumerate(theta.unbind()):
            torch.sub(y[:, None, :], each[..., None], out=u)
            torch.clamp(u, -1.0, 1.0, out=clipped)
            # |tau - 1{u < 0}| clipped = tau clipped + (1 - 2 tau) min(clipped, 0)
            torch.clamp(clipped, max=0.0, out=slope).mul_(1.0 - 2.0 * tau).addcmul_(clipped, tau)
            torch.matmul(slope, mean, out=slopes[index])
            torch.matmul(u.sub_(clipped, alpha=0.5).mul_(slope), mean, out=loss[index])
        ctx.save_for_backward(slopes)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return -grad_outputs[0] * slopes, None


def _forward(inputs: Tensor, parameters: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The input of each layer, and the output of the last."""
    layer_inputs, hidden = [inputs], inputs
    last = len(parameters) // 2 - 1
    for layer in range(last):
        hidden = _linear(hidden, parameters[2 * layer], parameters[2 * layer + 1], relu=True)
        layer_inputs.append(hidden)
    return layer_inputs, _linear(hidden, parameters[2 * last], parameters[2 * last + 1], relu=False)


# A call of oneDNN costs 20 microseconds more than one of MKL, which PyTorch calls otherwise: only large products gain.
_WORTH_ONEDNN = 1 << 22
"""Multiplications in a product above which oneDNN is called."""


def _onednn(like: Tensor, multiplications: int) -> bool:
    return (
        device.ONEDNN_IS_FASTER
        and multiplications >= _WORTH_ONEDNN
        and like.dtype == torch.float32
        and like.device.type == "cpu"
        and _ONEDNN_LINEAR is not None
    )


def _find_onednn() -> Any:
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        return _torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001
    except (AttributeError, RuntimeError):
        return None


_ONEDNN_LINEAR = _find_onednn()


def _linear(inputs: Tensor, kernel: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """The product inputs @ kernel + bias, and ReLU; of an ensemble, each member's."""
    if kernel.dim() == 3:
        inputs = inputs.expand(len(kernel), *inputs.shape[-2:])
        if _onednn(inputs, inputs.shape[1] * kernel[0].numel()):
            members = zip(inputs, kernel, bias, strict=True)
            return torch.stack([_linear(*member, relu=relu) for member in members])
        hidden = torch.baddbmm(bias[:, None], inputs, kernel)
        return torch.relu_(hidden) if relu else hidden
    if _onednn(inputs, len(inputs) * kernel.numel()):
        return _ONEDNN_LINEAR(inputs, kernel.t(), bias, "relu" if relu else "none", [], "")
    hidden = torch.addmm(bias, inputs, kernel)
    return torch.relu_(hidden) if relu else hidden


def _transposed(upstream: Tensor, kernel: Tensor) -> Tensor:
    """The product upstream @ kernel^T; of an ensemble, each member's."""
    if kernel.dim() == 3:
        if _onednn(upstream, upstream.shape[1] * kernel[0].numel()):
            return torch.stack([_transposed(*member) for member in zip(upstream, kernel, strict=True)])
        return torch.bmm(upstream, kernel.mT)
    if _onednn(upstream, len(upstream) * kernel.numel()):
        return _ONEDNN_LINEAR(upstream, kernel, None, "none", [], "")
    return torch.mm(upstream, kernel.t())


def _outer(inputs: Tensor, upstream: Tensor) -> Tensor:
    """The product inputs^T @ upstream; of an ensemble, each member's."""
    if upstream.dim() == 3:
        inputs = inputs.expand(len(upstream), *inputs.shape[-2:])
        if _onednn(inputs, inputs[0].numel() * upstream.shape[2]):
            return torch.stack([_outer(*member) for member in zip(inputs, upstream, strict=True)])
        return torch.bmm(inputs.mT, upstream)
    if _onednn(inputs, inputs.numel() * upstream.shape[1]):
        return _ONEDNN_LINEAR(inputs.t().contiguous(), upstream.t(), None, "none", [], "")
    return torch.mm(inputs.t(), upstream)
