"""What a run's collectors did since the last record: how fast they were, who waited, how old their policies were."""

from typing import Any, Protocol

import numpy as np

from polyak.experience.rounds import Order, Round

PREFIX = "collectors/"


class Counts(Protocol):
    """A run's gradient steps."""

    @property
    def count(self) -> int:
        """Those of the newest policy."""
        ...

    @property
    def begun(self) -> int:
        """Those that have been launched, those of the newest policy among them."""
        ...


class Tally:
    """Sums over the rounds since the last record, one a collector."""

    def __init__(self, collectors: int) -> None:
        self._collectors = collectors
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._steps, self._seconds = np.zeros(self._collectors), np.zeros((self._collectors, 3))
        self._lagged, self._lag, self._most = 0, 0, 0
        self._received = self._sent = self._restarts = 0

    def ordered(self, order: Order) -> None:
        """An order was sent."""
        self._sent += sum(each.nbytes for each in (order.policy or {}).values())

    def lost(self) -> None:
        """A collector had to be made again."""
        self._restarts += 1

    def arrived(self, index: int, made: Round, lag: int | None) -> None:
        """A round was taken over, whose policy `lag` updates were begun after; None: its actions were random."""
        rows = len(made.records)
        self._steps[index] += rows
        self._seconds[index] += made.seconds
        self._received += sum(each.nbytes for each in (made.records, made.episodes, *made.arrays.values()))
        self._received += len(made.state)
        if lag is not None:
            self._lagged, self._lag, self._most = self._lagged + rows, self._lag + rows * lag, max(self._most, lag)

    def measured(self) -> dict[str, float]:
        """As a record has it; and begin anew. Before the first round there is nothing."""
        delivered = self._steps > 0
        if not delivered.any():
            return {}
        whole = self._seconds.sum(axis=1)
        speeds = self._steps[delivered] / whole[delivered]
        numbers = {
            "steps_per_second": float(speeds.mean()),
            "slowest": float(speeds.min()),
            "waiting": float(self._seconds[:, 0].sum() / whole.sum()),
            "bytes_received": self._received,
            "bytes_sent": self._sent,
        }
        if self._lagged:
            numbers |= {"policy_lag": self._lag / self._lagged, "policy_lag_max": self._most}
        if self._restarts:
            numbers["restarts"] = self._restarts
        self._begin_anew()
        return {f"{PREFIX}{name}": number for name, number in numbers.items()}

    def state(self) -> list[int]:
        """What `restore` needs: the lag alone, which is no matter of time."""
        return [self._lagged, self._lag, self._most]

    def restore(self, state: Any) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError: this is none.
        """
        self._lagged, self._lag, self._most = map(int, state)
