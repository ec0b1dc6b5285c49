"""CUDA graphs: the kernels of a whole burst recorded once, then launched as one."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from polyak.frameworks.execution import Sent
from polyak.frameworks.state import State, leaves
from polyak.types import Bool

Burst = Callable[[State, Sent, Mapping[str, Bool]], tuple[State, Tensor]]
KEPT = 12
"""Graphs that are kept: one for each burst length, and what is due in the burst, that came last."""
WARM_UP = 3
"""Bursts before a recording, in which PyTorch and its libraries take their memory."""


class Graphs:
    """Replays bursts whose state stays in place; what a burst does depends on its length and on what is due in it.

    And on its `kind`, where there are several.
    """

    def __init__(self, burst: Burst) -> None:
        self._burst = burst
        self._recorded: dict[tuple[int | bytes, ...], _Graph] = {}

    def burst(self, state: State, sent: Sent, due: Mapping[str, Bool], kind: bool = False) -> tuple[State, Tensor]:
        """The state after the updates of what is sent from the host, and what they measured, [K, M], on the device."""
        key = (len(sent.records), kind, *(updates.tobytes() for updates in due.values()))
        if key not in self._recorded:
            while len(self._recorded) >= KEPT:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[key] = _Graph(self._burst, state, sent, due)
        return state, self._recorded[key].replay(sent)


class _Graph:
    """One recording, and the memory that it reads and writes."""

    def __init__(self, burst: Burst, state: State, sent: Sent, due: Mapping[str, Bool]) -> None:
        self._pinned = sent.each(partial(torch.empty_like, pin_memory=True))
        self._given = sent.each(partial(torch.zeros_like, device="cuda"))
        self._graph = torch.cuda.CUDAGraph()
        held: list[Tensor] = leaves(state)
        before = [tensor.clone() for tensor in held]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                burst(state, self._given, due)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self._graph):
            _, self._values = burst(state, self._given, due)
        for tensor, value in zip(held, before, strict=True):  # as if the warm-up had not been
            tensor.copy_(value)

    def replay(self, sent: Sent) -> Tensor:
        """Send what is new and run the recorded burst on it."""
        torch.cuda.current_stream().synchronize()  # the burst before may still read what was sent for it
        for pinned, given, new in zip(leaves(self._pinned), leaves(self._given), leaves(sent), strict=True):
            if new is not None:
                pinned.copy_(new)
                given.copy_(pinned, non_blocking=True)
        self._graph.replay()
        return self._values
