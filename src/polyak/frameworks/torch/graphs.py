"""CUDA graphs: the kernels of a whole burst recorded once, then launched as one."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

Burst = Callable[[Any, Tensor], tuple[Any, Tensor]]
KEPT = 12
"""Graphs that are kept: one for each burst length and phase that came last."""
WARM_UP = 3
"""Bursts before a recording, in which PyTorch and its libraries take their memory."""


class Graphs:
    """Replays bursts whose state stays in place; what a burst does may depend on `state.step` modulo `period`."""

    def __init__(self, burst: Burst, period: int) -> None:
        self._burst, self._period = burst, period
        self._recorded: dict[tuple[int, int], _Graph] = {}

    def burst(self, state: Any, records: Tensor) -> tuple[Any, Tensor]:
        """The state after the updates of `records` [K, B, ...] on the host, and their metrics [K, M] on the device."""
        key = len(records), state.step % self._period
        if key not in self._recorded:
            while len(self._recorded) >= KEPT:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[key] = _Graph(self._burst, state, records)
        values = self._recorded[key].replay(records)
        return state._replace(step=state.step + len(records)), values


class _Graph:
    """One recording, and the memory that it reads and writes."""

    def __init__(self, burst: Burst, state: Any, records: Tensor) -> None:
        self._sent = torch.empty_like(records, pin_memory=True)
        self._records = torch.empty_like(records, device="cuda")
        self._graph = torch.cuda.CUDAGraph()
        held = _tensors_of(state)
        before = [tensor.clone() for tensor in held]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._records.zero_()
            for _ in range(WARM_UP):
                burst(state, self._records)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self._graph):
            _, self._values = burst(state, self._records)
        for tensor, value in zip(held, before, strict=True):  # as if the warm-up had not been
            tensor.copy_(value)

    def replay(self, records: Tensor) -> Tensor:
        """Send the records and run the recorded burst on them."""
        torch.cuda.current_stream().synchronize()  # the burst before may still read what was sent for it
        self._sent.copy_(records)
        self._records.copy_(self._sent, non_blocking=True)
        self._graph.replay()
        return self._values


def _tensors_of(state: Any) -> list[Tensor]:
    """Every tensor of a state."""
    if isinstance(state, Tensor):
        return [state]
    if not isinstance(state, dict | tuple):
        return []  # the number of updates
    branches = cast(Any, state.values() if isinstance(state, dict) else state)
    return [tensor for branch in branches for tensor in _tensors_of(branch)]
