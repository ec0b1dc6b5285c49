"""Learners of many runs in one process: side by side on the CPU, in one compiled call on a GPU.

On the CPU each run's burst is a call of its own that nobody waits for until all have been made: XLA computes them while
the other runs step their environments, and each equals its single run bit for bit. On a GPU, which one run does not
fill, the states are stacked and `jax.vmap` computes all in one call, whose products are rounded in another order.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from polyak.algorithm import Algorithm
from polyak.frameworks.execution import Execution, Sent
from polyak.frameworks.jax.device import compiler_options
from polyak.frameworks.jax.learner import JaxLearner
from polyak.frameworks.jax.packing import Packed
from polyak.settings.shared import Settings
from polyak.types import Batch, Bool, Float, Learned, Spec


def make_group(execution: Execution) -> "Apart | Stacked":
    """What gives each of many runs its learner: the faster way for a device."""
    return Stacked() if execution.device == "cuda" and execution.fast else Apart()


class Apart:
    """Learners that share what has been compiled, and nothing else."""

    exact = True

    def __init__(self) -> None:
        self._first: JaxLearner | None = None

    def learner(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> JaxLearner:
        """A learner for one run; all have the same algorithm, sizes, settings and device."""
        made = JaxLearner(algorithm, spec, config, arrays, execution, self._first)
        self._first = self._first or made
        return made

    def launch(self) -> None:
        """Nothing is left to do: each burst has been started by its learner."""


class Stacked:
    """Learners whose states lie in one stack [N, ...], so that their bursts are one call: `jax.vmap` over the runs.

    Who takes part in a call is who has launched a burst of that length before it, in which the same is due: a run that
    has ended is missing from then on, and the stack is made anew without it (one more compilation). Where bursts differ
    in length, because a vector environment spends steps on resets, they come in pieces of few lengths: first the first
    pieces, each kind a call, then the second ones, and so on. What is due is not in the stack: `jax.vmap` would compute
    both sides of every condition.
    """

    exact = False

    def __init__(self) -> None:
        self._burst: Any = None
        self._seats: list[Seat] = []
        """Those in the stack, in the order of its rows; any other has its state with itself."""
        self._stack: Any = None
        self._waiting: list[Burst] = []

    def learner(
        self, algorithm: Algorithm, spec: Spec, config: Settings, arrays: Mapping[str, Any], execution: Execution
    ) -> "Seat":
        """A learner for one run; all have the same algorithm, sizes, settings and device."""
        seat = Seat(self, algorithm, spec, config, arrays, execution)
        options = compiler_options(execution)
        self._burst = self._burst or jax.jit(
            partial(_stacked, seat.pure_burst), donate_argnums=0, static_argnums=(3, 4), compiler_options=options
        )
        return seat

    def put(self, burst: "Burst") -> "Burst":
        """Note a run's burst for the next calls; each run's are computed in their order."""
        self._waiting.append(burst)
        return burst

    def launch(self) -> None:
        """Start the bursts that have been put; nothing is waited for."""
        while self._waiting:
            turn = list({burst.seat: burst for burst in reversed(self._waiting)}.values())[::-1]  # the first of each
            self._waiting = [burst for burst in self._waiting if burst not in turn]
            for kind in dict.fromkeys(burst.kind for burst in turn):
                self._start([burst for burst in turn if burst.kind == kind])

    def _start(self, alike: "Sequence[Burst]") -> None:
        """Compute bursts of one kind in one call."""
        self._gather([burst.seat for burst in alike])
        sent = jax.tree.map(_side_by_side, *(burst.sent for burst in alike))
        self._stack, numbers = self._burst(self._stack, sent, alike[0].due, *alike[0].how)
        for row, burst in enumerate(alike):
            burst.started(numbers, row)

    def state(self, seat: "Seat") -> Packed:
        """A run's state after all that it has launched."""
        if any(burst.seat is seat for burst in self._waiting):
            self.launch()
        return self._row(self._seats.index(seat)) if seat in self._seats else seat.alone

    def _row(self, row: int) -> Packed:
        def taken(leaf: Any) -> Any:
            return leaf[row]

        return jax.tree.map(taken, self._stack)

    def _gather(self, seats: Sequence["Seat"]) -> None:
        """Have these in the stack and no others."""
        if seats == self._seats:
            return
        for row, seat in enumerate(self._seats):
            seat.alone = self._row(row)

        def stacked(*leaves: Any) -> Any:
            return jnp.stack(leaves)

        self._stack, self._seats = jax.tree.map(stacked, *(seat.alone for seat in seats)), list(seats)
        for seat in seats:
            seat.alone = None


def _side_by_side(*arrays: Any) -> Any:
    return np.stack(arrays)


def _stacked(burst: Any, stack: Packed, sent: Any, due: Any, weighted: bool, wants_errors: bool) -> Any:
    """The bursts of many runs as one, [N, ...] of each but what is due."""
    one = partial(burst, weighted=weighted, wants_errors=wants_errors)
    return jax.vmap(one, in_axes=(0, 0, None))(stack, sent, due)


NOTHING = Sent(None, None)


class Burst:
    """K updates of one run: what is sent until they are started, then its row of what comes back."""

    def __init__(
        self,
        group: Stacked,
        seat: "Seat",
        sent: Sent,
        due: Bool | None,
        how: tuple[bool, bool],
    ) -> None:
        """`how`: whether it is weighted, and whether errors are wanted."""
        self.seat, self.sent, self.due, self.how = seat, sent, due, how
        self.kind = len(sent.records), b"" if due is None else due.tobytes(), *how
        self._group, self._numbers, self._row = group, None, 0

    def started(self, numbers: Any, row: int) -> None:
        """Take note of where the results will be: [N, ...]."""
        self._numbers, self._row, self.sent = numbers, row, NOTHING

    def numbers(self) -> Float:
        """Metrics and actor, waited for; one transfer serves all runs of a call."""
        if self._numbers is None:
            self._group.launch()
        return np.asarray(self._numbers)[self._row]


class Seat(JaxLearner):
    """One run's learner in a stack."""

    def __init__(
        self,
        group: Stacked,
        algorithm: Algorithm,
        spec: Spec,
        config: Settings,
        arrays: Mapping[str, Any],
        execution: Execution,
    ) -> None:
        super().__init__(algorithm, spec, config, arrays, execution)
        self.alone: Any = self._packed
        """The state, while it is not in the stack."""
        self._packed, self._group = None, group

    def launch(self, batches: Batch, draws: Mapping[str, NDArray[Any]]) -> Callable[[], Learned]:
        """Put K updates; `Stacked.launch` starts them together with those of the other runs."""
        (updates, batch_size), how = batches.records.shape[:2], (batches.weighted, batches.wants_errors)
        sent = self._carriage.packed(batches, draws)
        burst = self._group.put(Burst(self._group, self, sent, self._due(updates), how))
        return lambda: self._learned(burst.numbers(), updates, batch_size, batches.wants_errors)

    def _current(self) -> Packed:
        return self._group.state(self)
