"""What has been measured since the last record, and how long it took."""

import time
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from polyak.environments.infos import averaged, kept, numbers_in, recorded, success_in, success_rate
from polyak.experience.collector import Episode
from polyak.run.metrics import LARGEST, Record, require_name
from polyak.settings.kinds import require, single
from polyak.system.stopwatch import CALLBACKS, PARTS, Stopwatch
from polyak.types import Float, Metrics

FIRST_NAMES = ("critic_loss", "actor_loss", "q", "alpha", "entropy")
"""What updates measured where a state does not say so."""


MOST = 1_000
"""Names under which callbacks may log between two records."""


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
        self._logged: dict[str, tuple[float, int]] = {}
        """By callbacks since the last record: sum and count."""
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

    def log(self, name: str, value: Any) -> None:
        """Take a number for the next record; it is left out if it is not finite.

        Raises:
            UsageError: this is no name for it, no number, or one name too many.
        """
        require_name(name)
        number = single(value)
        require(name, value, isinstance(number, bool | int | float), "a number, to be logged")
        if abs(number) <= LARGEST:  # which NaN is not
            total, count = self._logged.get(name, (0.0, 0))
            require(
                "the number of metrics logged", MOST + 1, count > 0 or len(self._logged) < MOST, f"at most {MOST:,}"
            )
            self._logged[name] = total + float(number), count + 1

    @property
    def means(self) -> dict[str, float]:
        """Of what has been logged since the last record."""
        return {name: total / count for name, (total, count) in self._logged.items()}

    def logged(self) -> dict[str, float]:
        """The same; and begin anew."""
        means, self._logged = self.means, {}
        return means

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
        times = self.stopwatch.take()
        record |= {f"time/{part}": round(times[part], 4) for part in PARTS if part != CALLBACKS or times[part]}
        self.episodes, self.measured, self.given_up = [], [], 0
        self.first_step, self._epoch_started = steps, time.monotonic()
        return record

    def state(self) -> tuple[dict[str, Any], Float]:
        """What `restore` needs: as JSON can hold it, and what the updates measured, [K, M]."""
        now, values = time.monotonic(), self._values()
        state = {
            "episodes": [(*_counts(episode), kept(episode.info, self._asked)) for episode in self.episodes],
            "episodes_given_up": self.given_up,
            "logged": dict(self._logged),
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
        logged = cast(Mapping[str, Any], state.get("logged", {}))  # since format 6
        self._logged = {require_name(name): (float(total), int(count)) for name, (total, count) in logged.items()}
        if not all(count >= 1 and abs(total) <= count * LARGEST for total, count in self._logged.values()):
            raise ValueError("what was logged has no mean")
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
