"""A user's algorithm, tried at the door: what it raises is one line, and not the end of a run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from polyak.algorithm import ERROR, Algorithm, first_state, networks_of
from polyak.algorithms.checks import LOSS, called, raised
from polyak.errors import UsageError
from polyak.frameworks import follow
from polyak.frameworks.execution import Execution
from polyak.settings.shared import Settings
from polyak.system.foreign import foreign
from polyak.types import Spec


def require_working(algorithm: Algorithm, framework: str, spec: Spec, config: Settings, execution: Execution) -> None:
    """Check that Q(s, a) is one number for each, and that the page for a framework computes an update as declared.

    Raises:
        UsageError: one raises, which is told with the line; the update measures something else, or never asks what is
            due.
    """
    entries = algorithm.state(spec, config)
    rows = [np.zeros((2, size), np.float32) for size in (spec.observation_size, spec.action_size)]
    networks = networks_of(entries, first_state(entries, np.random.default_rng(0)))
    shape = np.shape(called(algorithm, "value", networks, *rows, config))
    if shape != (2,):
        fault = f"value has shape {shape} for 2 observations and actions, but must have (2,)"
        raise UsageError(f"algorithm {algorithm.name!r}: {fault}")
    _require_update(algorithm, framework, spec, config, execution)


def _require_update(algorithm: Algorithm, framework: str, spec: Spec, config: Settings, execution: Execution) -> None:
    page, measured, due = algorithm.pages[framework], dict[str, Any](), _Asked(algorithm.every(config))

    def noted(state: Any, batch: Any, draws: Any, flags: Mapping[str, Any], config: Settings) -> Any:
        due.flags = flags
        state, found = page(state, batch, draws, due, config)
        measured.update(found)
        return state, found

    with foreign(lambda error: raised(algorithm, f"its page for {framework}", error)):
        follow(framework, replace(algorithm, pages={framework: noted}), spec, config, execution)
    for fault in _in_update(algorithm, measured, due, config):
        raise UsageError(f"algorithm {algorithm.name!r}: its page for {framework} {fault}")


class _Asked(Mapping[str, Any]):
    """What is due, and which of it has been asked for."""

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self.flags, self.asked = flags, set[str]()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self.flags[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.flags)

    def __len__(self) -> int:
        return len(self.flags)


def _in_update(algorithm: Algorithm, measured: Mapping[str, Any], due: _Asked, config: Settings) -> Iterator[str]:
    if LOSS not in measured:
        yield f"measures no {LOSS!r}, by which a run is known to have diverged"
    for name in measured:
        if name not in (*algorithm.metrics, ERROR):
            yield f"measures {name!r}, which is not among metrics: {', '.join(algorithm.metrics)}"
    if config.prioritized != "none":
        yield from _in_error(measured.get(ERROR), config)
    for name in due:
        if name not in due.asked:
            yield f"never asks whether {name!r} is due, which every has"


def _in_error(error: Any, config: Settings) -> Iterator[str]:
    wanted = f"how far each transition's value is from its target, which prioritized {config.prioritized} goes by"
    if error is None:
        yield f"measures no {ERROR!r}, {wanted}: without it transitions are drawn uniformly (prioritized none)"
    elif tuple(error.shape) != (config.batch_size,):
        yield f"measures {ERROR!r} of shape {tuple(error.shape)}, but must have ({config.batch_size},): {wanted}"
