"""The PyTorch learner: native state inside, named NumPy arrays at the edge, K updates in a call."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyak.algorithm import STEP, Algorithm, due
from polyak.frameworks.execution import Execution, columns_of, packed
from polyak.frameworks.state import State, arrays_of, leaves, state_of
from polyak.frameworks.torch import fused
from polyak.frameworks.torch.graphs import Graphs
from polyak.frameworks.torch.parts import Batch
from polyak.networks.names import part
from polyak.settings.shared import Settings
from polyak.types import Arrays, Bool, Float, Learned, Metrics, Spec
from polyak.types import Batch as Batches


class TorchLearner:
    """Runs an algorithm's page, an `update`, K times in a call.

    Fast means fused kernels in the state's own memory, and on a GPU one CUDA graph for the K updates of a call.
    """

    def __init__(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> None:
        self._update, self._config, self._layout = algorithm.pages["torch"], config, spec.layout
        self._metrics, self._draws = algorithm.metrics, tuple(algorithm.draws(spec, config))
        self._columns = columns_of(algorithm.draws(spec, config), spec.layout)
        self._every = algorithm.every(config)
        self._device, self._fast = torch.device(execution.device), execution.fast
        tensors = {name: torch.tensor(value, device=self._device) for name, value in sorted(arrays.items())}
        state = state_of(algorithm.state(spec, config), tensors)
        self._state = fused.Donated(state.entries) if self._fast else state
        self._count, self._weighted = int(arrays[STEP]), True
        self._shapes = {name: leaf.shape for name, leaf in part(arrays_of(state), "actor").items()}
        self._graphs = Graphs(self._burst) if self._fast and self._device.type == "cuda" else None

    def launch(self, batches: Batches, draws: Mapping[str, Float]) -> Callable[[], Learned]:
        """K updates; on a GPU one transfer, one launch."""
        records = torch.from_numpy(packed(batches, draws, self._draws))
        parts = due(self._every, self._count, len(records))
        self._weighted = batches.weighted or self._graphs is not None  # a recording serves both
        if self._graphs is None:
            self._state, values = self._burst(self._state, records.to(self._device), parts)
        else:
            self._state, values = self._graphs.burst(self._state, records, parts)
        self._count += len(records)
        # Copied on the device, in order: the next launch writes into the same memory.
        actor = torch.cat([torch.ravel(leaf) for leaf in leaves(self._state.actor.parameters)])
        return partial(self._learned, values.clone(), actor)

    def update(self, batches: Batches, draws: Mapping[str, Float]) -> Metrics:
        """K updates, waited for."""
        return self.launch(batches, draws)().metrics

    def actor(self) -> Arrays:
        """The actor's parameters, copied."""
        return part(self.arrays(), "actor")

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        named = {name: np.array(tensor.cpu().numpy()) for name, tensor in arrays_of(self._state).items()}
        return named | {STEP: np.array(self._count, np.int32)}

    def _learned(self, values: Tensor, actor: Tensor) -> Learned:
        parts = torch.split(actor.cpu(), [shape.numel() for shape in self._shapes.values()])
        named = zip(self._shapes.items(), parts, strict=True)
        arrays = {name: flat.reshape(shape).numpy() for (name, shape), flat in named}
        return Learned(Metrics(self._metrics, values.cpu().numpy()), arrays)

    @torch.no_grad()
    def _burst(self, state: State, records: Tensor, due: Mapping[str, Bool]) -> tuple[State, Tensor]:
        """One update after another over the leading axis K."""
        if not self._fast:
            return self._one_by_one(state, records, due)
        with fused.donated():
            return self._one_by_one(state, records, due)

    def _one_by_one(self, state: State, records: Tensor, due: Mapping[str, Bool]) -> tuple[State, Tensor]:
        rows: list[Tensor] = []
        unmeasured, ones = records.new_full((), torch.nan), records.new_ones(()).expand(records.shape[1])
        for number, record in enumerate(records.unbind()):
            batch = Batch.unpacked(record, self._layout)
            batch = batch if self._weighted else batch._replace(weight=ones)
            draws = {
                name: record[:, column] if len(shape) == 1 else record[:, column].reshape(-1, *shape)
                for name, (column, shape) in self._columns.items()
            }
            flags = {name: bool(updates[number]) for name, updates in due.items()}
            after, measured = self._update(state, batch, draws, flags, self._config)
            state = state.settled(after) if isinstance(state, fused.Donated) else after
            rows.append(torch.stack([measured.get(name, unmeasured) for name in self._metrics]))
        return state, torch.stack(rows)
