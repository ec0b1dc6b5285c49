"""What has been measured since the last record, and how long it took."""

import time
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from polyak.environments.infos import averaged, kept, numbers_in, recorded, success_in, success_rate
from polyak.experience.collector import Episode
from polyak.run.metrics import Record
from polyak.system.stopwatch import Stopwatch
from polyak.types import Float, Metrics

FIRST_NAMES = ("critic_loss", "actor_loss", "q", "alpha", "entropy")
"""What updates measured where a state does not say so."""


def names_measured(state: Mapping[str, Any], today: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the values in a ledger's state; `today` are what the algorithm measures now.

    Raises:
        ValueError: these are no names.
    """
    names = state.get("metrics", [name for name in FIRST_NAMES if name in today])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in cast(list[Any], names)):
        raise ValueError("metrics are no names")
    return tuple(cast(list[str], names))


def _counts(episode: Episode) -> tuple[int, float, int, bool]:
    return episode.step, episode.total_reward, episode.length, episode.terminated


class Ledger:
    """Episodes and updates of the running epoch, until they become a record."""

    def __init__(self, metric_names: tuple[str, ...], info_metrics: tuple[str, ...] = ()) -> None:
        """Begin with nothing; `metric_names` are what every update measures, `info_metrics` what is asked of infos."""
        self._names, self._asked = metric_names, info_metrics
        self.episodes: list[Episode] = []
        """Finished since the last record."""
        self.measured: list[Metrics] = []
        """By the updates since the last record."""
        self.stopwatch = Stopwatch()
        """Whose parts become `time/...` in a record."""
        self.given_up = 0
        """Episodes given up since the last record, because they could not be enacted again."""
        self.first_step = 0
        """Environment steps at the last record."""
        self._started = self._epoch_started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since training began, interruptions not counted."""
        return time.monotonic() - self._started

    def speed(self, steps: int) -> float:
        """Environment steps per second since the last record."""
        return (steps - self.first_step) / max(time.monotonic() - self._epoch_started, 1e-9)

    def record(self, steps: int, updates: int, evaluation: Mapping[str, float]) -> Record:
        """What was measured since the last record, as one; and begin anew."""
        record: Record = {"step": steps, "seconds": round(self.seconds, 3)}
        if self.episodes:
            record["train/return"] = float(np.mean([episode.total_reward for episode in self.episodes]))
            record["train/length"] = float(np.mean([episode.length for episode in self.episodes]))
            record["train/episodes"] = len(self.episodes)
            infos = [episode.info for episode in self.episodes]
            record |= recorded(success_rate(map(success_in, infos)), averaged(infos, self._asked), "train")
        if self.given_up:
            record["train/episodes_given_up"] = self.given_up
        record |= evaluation
        for name, column in zip(self._names, self._values().T, strict=True):
            if not np.isnan(column).all():
                record[f"learner/{name}"] = float(np.nanmean(column, dtype=np.float64))
        record["learner/updates"] = updates
        record |= {f"time/{part}": round(seconds, 4) for part, seconds in self.stopwatch.take().items()}
        self.episodes, self.measured, self.given_up = [], [], 0
        self.first_step, self._epoch_started = steps, time.monotonic()
        return record

    def state(self) -> tuple[dict[str, Any], Float]:
        """What `restore` needs: as JSON can hold it, and what the updates measured, [K, M]."""
        now, values = time.monotonic(), self._values()
        state = {
            "episodes": [(*_counts(episode), kept(episode.info, self._asked)) for episode in self.episodes],
            "episodes_given_up": self.given_up,
            "measured": len(values),
            "metrics": list(self._names),
            "times": self.stopwatch.state(),
            "seconds": now - self._started,
            "epoch_seconds": now - self._epoch_started,
            "epoch_first_step": self.first_step,
        }
        return state, values

    def restore(self, state: Mapping[str, Any], values: Float) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError, KeyError: this is no state of a ledger.
        """
        self.episodes = [
            Episode(int(step), float(total), int(length), bool(terminated), numbers_in(*info or [{}]))
            for step, total, length, terminated, *info in state["episodes"]  # no info before format 6
        ]
        self.measured = [Metrics(self._names, self.of_today(state, values))]
        self.stopwatch.restore(state.get("times", {}))
        self.given_up = int(state["episodes_given_up"])
        self.first_step = int(state["epoch_first_step"])
        now = time.monotonic()
        self._started, self._epoch_started = now - float(state["seconds"]), now - float(state["epoch_seconds"])

    def of_today(self, state: Mapping[str, Any], values: Float) -> Float:
        """[K, M]: values of a `state()` in today's columns, NaN in those that were not measured then."""
        found = dict(zip(names_measured(state, self._names), values.T, strict=True))
        nothing = np.full(len(values), np.nan, np.float32)
        return np.stack([found.get(name, nothing) for name in self._names], axis=1)

    def _values(self) -> Float:
        """[K, M]: what all updates since the last record have measured."""
        nothing = np.zeros((0, len(self._names)), np.float32)
        return np.concatenate([nothing, *(metrics.values for metrics in self.measured)])
