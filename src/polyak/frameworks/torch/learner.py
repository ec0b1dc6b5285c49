"""The PyTorch learner: native state inside, named NumPy arrays at the edge, K updates in a call."""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyak.algorithm import Algorithm
from polyak.frameworks.execution import Execution, columns_of, packed
from polyak.frameworks.torch import fused
from polyak.frameworks.torch.graphs import Graphs
from polyak.frameworks.torch.parts import Batch
from polyak.networks.names import flattened, nested
from polyak.settings.shared import Settings
from polyak.types import Arrays, Float, Learned, Metrics, Spec
from polyak.types import Batch as Batches


class TorchLearner:
    """Runs the `update` of an algorithm's module (`ddpg`, `td3` or `sac` beside this file).

    Fast means fused kernels in the state's own memory, and on a GPU one CUDA graph for the K updates of a call.
    """

    def __init__(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> None:
        self._spec, self._config, self._fast = spec, config, execution.fast
        self._metrics, self._draws = algorithm.metrics, tuple(algorithm.draws(spec, config))
        self._how: ModuleType = importlib.import_module(f"polyak.algorithms.{algorithm.name}.with_torch")
        self._device = torch.device(execution.device)
        self._state: Any = self._how.State(**_tensors(arrays, self._device))
        self._columns = columns_of(algorithm.draws(spec, config), spec.layout)
        period = getattr(config, "policy_delay", 1)
        captures = execution.fast and self._device.type == "cuda"
        self._graphs = Graphs(self._burst, period) if captures else None

    def launch(self, batches: Batches, noise: Mapping[str, Float]) -> Callable[[], Learned]:
        """K updates; on a GPU one transfer, one launch."""
        records = torch.from_numpy(packed(batches, noise, self._draws))
        if self._graphs is None:
            self._state, values = self._burst(self._state, records.to(self._device))
        else:
            self._state, values = self._graphs.burst(self._state, records)
        # Copied on the device, in order: the next launch writes into the same memory.
        return partial(self._learned, values.clone(), torch.cat([torch.ravel(each) for each in self._actor().values()]))

    def update(self, batches: Batches, noise: Mapping[str, Float]) -> Metrics:
        """K updates, waited for."""
        return self.launch(batches, noise)().metrics

    def actor(self) -> Arrays:
        """The actor's parameters, copied."""
        return _copied(self._actor())

    def arrays(self) -> Arrays:
        """The whole state, copied."""
        return _copied(flattened(self._state._asdict()))

    def _actor(self) -> dict[str, Tensor]:
        return flattened(self._state.actor)

    def _learned(self, values: Tensor, actor: Tensor) -> Learned:
        like = self._actor()
        parts = torch.split(actor.cpu(), [each.numel() for each in like.values()])
        arrays = {name: part.reshape(like[name].shape).numpy() for name, part in zip(like, parts, strict=True)}
        return Learned(Metrics(self._metrics, values.cpu().numpy()), arrays)

    @torch.no_grad()
    def _burst(self, state: Any, records: Tensor) -> tuple[Any, Tensor]:
        """One update after another over the leading axis K."""
        if self._fast:
            with fused.donated():
                return self._one_by_one(state, records)
        return self._one_by_one(state, records)

    def _one_by_one(self, state: Any, records: Tensor) -> tuple[Any, Tensor]:
        rows: list[Tensor] = []
        for record in records.unbind():
            batch = Batch.unpacked(record, self._spec.layout)
            noise = {name: record[:, column] for name, (column, _) in self._columns.items()}
            state, metrics = self._how.update(state, batch, noise, self._config)
            rows.append(torch.stack([metrics[name] for name in self._metrics]))
        return state, torch.stack(rows)


def _tensors(arrays: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Named arrays as nested dictionaries of tensors of their own; the number of updates stays a number here."""
    step = int(arrays["step"])
    rest = {name: torch.tensor(value, device=device) for name, value in sorted(arrays.items()) if name != "step"}
    return {**nested(rest), "step": step}


def _copied(arrays: Mapping[str, Any]) -> Arrays:
    copies = {name: np.array(value.cpu().numpy()) for name, value in arrays.items() if name != "step"}
    return copies | {name: np.array(arrays[name], np.int32) for name in arrays.keys() & {"step"}}
