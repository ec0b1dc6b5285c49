"""The PyTorch learner: native state inside, named NumPy arrays at the edge, K updates in a call."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyak.algorithm import ERROR, STEP, Algorithm, actor_in, body_in, due
from polyak.draws import Bits, Subset
from polyak.frameworks.execution import Carriage, Execution, Sent
from polyak.frameworks.state import State, acting, arrays_of, state_of
from polyak.frameworks.torch import fused
from polyak.frameworks.torch.graphs import Graphs
from polyak.frameworks.torch.parts import Batch
from polyak.networks.folding import folded
from polyak.settings.shared import Settings
from polyak.types import Arrays, Bool, Learned, Metrics, Spec
from polyak.types import Batch as Batches


class TorchLearner:
    """Runs an algorithm's page, an `update`, K times in a call.

    Fast means fused kernels in the state's own memory, and on a GPU one CUDA graph for the K updates of a call.
    """

    def __init__(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> None:
        self._update, self._config, self._layout = algorithm.pages["torch"], config, spec.layout
        self._metrics, self._every = algorithm.metrics, algorithm.every(config)
        self._carriage = Carriage(algorithm.draws(spec, config), spec.layout)
        self._device, self._fast = torch.device(execution.device), execution.fast
        alike = {
            name: np.asarray(value, order="C") for name, value in sorted(arrays.items())
        }  # as fused kernels take them
        tensors = {name: torch.tensor(value, device=self._device) for name, value in alike.items()}
        self._entries = algorithm.state(spec, config)
        self._body = body_in(self._entries, "actor") or ()
        state = state_of(self._entries, tensors)
        self._state = fused.Donated(state.entries) if self._fast else state
        self._count, self._weighted, self._wants_errors = int(arrays[STEP]), True, False
        self._shapes = {name: leaf.shape for name, leaf in acting(state).items()}
        self._bits_of_bytes = _bits_of_bytes().to(self._device)
        self._graphs = Graphs(self._burst) if self._fast and self._device.type == "cuda" else None

    def launch(self, batches: Batches, draws: Mapping[str, NDArray[Any]]) -> Callable[[], Learned]:
        """K updates; on a GPU one transfer, one launch."""
        sent, updates = self._carriage.packed(batches, draws).each(_tensor), len(batches.records)
        parts = due(self._every, self._count, updates)
        self._weighted = batches.weighted or self._graphs is not None  # a recording serves both
        self._wants_errors = batches.wants_errors
        if self._graphs is None:
            self._state, values = self._burst(self._state, sent.each(self._on_device), parts)
        else:
            self._state, values = self._graphs.burst(self._state, sent, parts, kind=batches.wants_errors)
        self._count += updates
        # Copied on the device, in order: the next launch writes into the same memory.
        actor = torch.cat([torch.ravel(leaf) for leaf in acting(self._state).values()])
        return partial(self._learned, values.clone(), actor, batches.wants_errors)

    def update(self, batches: Batches, draws: Mapping[str, NDArray[Any]]) -> Metrics:
        """K updates, waited for."""
        return self.launch(batches, draws)().metrics

    def actor(self) -> Arrays:
        """The arrays of the policy's network, copied."""
        return actor_in(self._entries, self.arrays())

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        named = {name: np.array(tensor.cpu().numpy()) for name, tensor in arrays_of(self._state).items()}
        return named | {STEP: np.array(self._count, np.int32)}

    def _learned(self, values: Tensor, actor: Tensor, wants_errors: bool) -> Learned:
        parts = torch.split(actor.cpu(), [shape.numel() for shape in self._shapes.values()])
        named = zip(self._shapes.items(), parts, strict=True)
        arrays = {name: flat.reshape(shape).numpy() for (name, shape), flat in named}
        rows, measured = values.cpu().numpy(), len(self._metrics)
        errors = np.ascontiguousarray(rows[:, measured:]) if wants_errors else None
        return Learned(
            Metrics(self._metrics, np.ascontiguousarray(rows[:, :measured])), folded(self._body, arrays), errors
        )

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device)

    @torch.no_grad()
    def _burst(self, state: State, sent: Sent, due: Mapping[str, Bool]) -> tuple[State, Tensor]:
        """One update after another over the leading axis K; metrics, and behind those of each its errors if wanted."""
        if not self._fast:
            return self._one_by_one(state, sent, due)
        with fused.donated():
            return self._one_by_one(state, sent, due)

    def _one_by_one(self, state: State, sent: Sent, due: Mapping[str, Bool]) -> tuple[State, Tensor]:
        rows, records = list[Tensor](), sent.records
        unmeasured, ones = records.new_full((), torch.nan), records.new_ones(()).expand(records.shape[1])
        for number, record in enumerate(records.unbind()):
            batch = Batch.unpacked(record, self._layout)
            batch = batch if self._weighted else batch._replace(weight=ones)
            draws = self._draws(record, None if sent.more is None else sent.more[number])
            flags = {name: bool(updates[number]) for name, updates in due.items()}
            after, measured = self._update(state, batch, draws, flags, self._config)
            state = state.settled(after) if isinstance(state, fused.Donated) else after
            row = torch.stack([measured.get(name, unmeasured) for name in self._metrics])
            rows.append(torch.cat([row, measured[ERROR]]) if self._wants_errors else row)
        return state, torch.stack(rows)

    def _draws(self, record: Tensor, more: Tensor | None) -> dict[str, Tensor]:
        """The draws of one update, as a page takes them."""
        draws = {
            name: record[:, column] if len(shape) == 1 else record[:, column].reshape(-1, *shape)
            for name, (column, shape) in self._carriage.columns.items()
        }
        if more is not None:
            draws |= {name: self._unpacked(more[place], draw) for name, (place, draw) in self._carriage.places.items()}
        return draws

    def _unpacked(self, sent: Tensor, draw: Subset | Bits) -> Tensor:
        """int32 [size], or booleans of the draw's shape."""
        if isinstance(draw, Subset):
            return sent.view(torch.int32)
        bits = torch.index_select(self._bits_of_bytes, 0, sent.to(torch.int32)).view(torch.bool)
        return bits[: math.prod(draw.shape)].reshape(draw.shape)


def _bits_of_bytes() -> Tensor:
    """The eight booleans of each byte as one int64, [256], the lowest bit first in memory: to look up is fastest."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return _tensor(bits.view(np.int64)[:, 0])


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]
