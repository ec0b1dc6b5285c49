"""The fast path: the same mathematics in fewer and faster kernels, in the state's own memory.

Within `donated()`, `common` computes by these. An update then writes its new state over the old one, which also is what
a CUDA graph needs: every replay finds the state where it was.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import Tensor

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


def network(inputs: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """`common.network` of kernels and biases as one node of the gradient's graph: [B, inputs] -> [B, outputs]."""
    flat = [parameter for layer in layers for parameter in layer]
    if torch.is_grad_enabled():
        return cast(Tensor, _Network.apply(inputs, *flat))
    return _forward(inputs, flat)[1]


def adam_step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    count: Tensor,
    learning_rate: float,
) -> None:
    """`common.adam_step` in place, in one kernel for all tensors."""
    count.add_(1)
    steps = [count.to(torch.float32)] * len(parameters)
    _torch._fused_adam_(
        parameters,
        gradients,
        first,
        second,
        [],
        steps,
        lr=learning_rate,
        beta1=0.9,
        beta2=0.999,
        weight_decay=0.0,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
    )


def polyak_average(target: list[Tensor], parameters: list[Tensor], polyak: float) -> None:
    """`common.polyak_average` in place, in one call for all tensors."""
    _torch._foreach_lerp_(target, parameters, 1.0 - polyak)


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
                gradients[2 * layer : 2 * layer + 2] = _outer(layer_inputs[layer], upstream), upstream.sum(0)
            if layer or of_inputs:
                upstream = _transposed(upstream, kernels[layer])
        return (upstream if of_inputs else None, *gradients)


def _forward(inputs: Tensor, parameters: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The input of each layer, and the output of the last."""
    layer_inputs, hidden = [inputs], inputs
    last = len(parameters) // 2 - 1
    for layer in range(last):
        hidden = _linear(hidden, parameters[2 * layer], parameters[2 * layer + 1], relu=True)
        layer_inputs.append(hidden)
    return layer_inputs, _linear(hidden, parameters[2 * last], parameters[2 * last + 1], relu=False)


# On x86 processors oneDNN multiplies float32 matrices twice as fast as the MKL that PyTorch otherwise calls, where the
# processor is not Intel's; its call costs 20 microseconds more, so that only large products gain.
_WORTH_ONEDNN = 1 << 22
"""Multiplications in a product above which oneDNN is called."""


def _onednn(like: Tensor, multiplications: int) -> bool:
    return (
        multiplications >= _WORTH_ONEDNN
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
    """The product inputs @ kernel + bias, and ReLU."""
    if _onednn(inputs, len(inputs) * kernel.numel()):
        return _ONEDNN_LINEAR(inputs, kernel.t(), bias, "relu" if relu else "none", [], "")
    hidden = torch.addmm(bias, inputs, kernel)
    return torch.relu_(hidden) if relu else hidden


def _transposed(upstream: Tensor, kernel: Tensor) -> Tensor:
    """The product upstream @ kernel^T."""
    if _onednn(upstream, len(upstream) * kernel.numel()):
        return _ONEDNN_LINEAR(upstream, kernel, None, "none", [], "")
    return torch.mm(upstream, kernel.t())


def _outer(inputs: Tensor, upstream: Tensor) -> Tensor:
    """The product inputs^T @ upstream."""
    if _onednn(inputs, inputs.numel() * upstream.shape[1]):
        return _ONEDNN_LINEAR(inputs.t().contiguous(), upstream.t(), None, "none", [], "")
    return torch.mm(inputs.t(), upstream)
