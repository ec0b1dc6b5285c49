"""CUDA graphs: the kernels of a whole burst recorded once, then launched as one."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from polyak.frameworks.state import State, leaves
from polyak.types import Bool

Burst = Callable[[State, Tensor, Mapping[str, Bool]], tuple[State, Tensor]]
KEPT = 12
"""Graphs that are kept: one for each burst length, and what is due in the burst, that came last."""
WARM_UP = 3
"""Bursts before a recording, in which PyTorch and its libraries take their memory."""


class Graphs:
    """Replays bursts whose state stays in place; what a burst does depends on its length and on what is due in it."""

    def __init__(self, burst: Burst) -> None:
        self._burst = burst
        self._recorded: dict[tuple[int | bytes, ...], _Graph] = {}

    def burst(self, state: State, records: Tensor, due: Mapping[str, Bool]) -> tuple[State, Tensor]:
        """The state after the updates of `records` [K, B, ...] on the host, and their metrics [K, M] on the device."""
        key = (len(records), *(updates.tobytes() for updates in due.values()))
        if key not in self._recorded:
            while len(self._recorded) >= KEPT:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[key] = _Graph(self._burst, state, records, due)
        return state, self._recorded[key].replay(records)


class _Graph:
    """One recording, and the memory that it reads and writes."""

    def __init__(self, burst: Burst, state: State, records: Tensor, due: Mapping[str, Bool]) -> None:
        self._sent = torch.empty_like(records, pin_memory=True)
        self._records = torch.empty_like(records, device="cuda")
        self._graph = torch.cuda.CUDAGraph()
        held: list[Tensor] = leaves(state)
        before = [tensor.clone() for tensor in held]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._records.zero_()
            for _ in range(WARM_UP):
                burst(state, self._records, due)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self._graph):
            _, self._values = burst(state, self._records, due)
        for tensor, value in zip(held, before, strict=True):  # as if the warm-up had not been
            tensor.copy_(value)

    def replay(self, records: Tensor) -> Tensor:
        """Send the records and run the recorded burst on them."""
        torch.cuda.current_stream().synchronize()  # the burst before may still read what was sent for it
        self._sent.copy_(records)
        self._records.copy_(self._sent, non_blocking=True)
        self._graph.replay()
        return self._values
