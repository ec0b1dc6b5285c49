"""What a run knows of the scale of its observations and rewards, and what batches are normalized by."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyak.experience.replay import Replay
from polyak.policies.normalizer import LARGEST, Normalizer, Snapshot
from polyak.types import Arrays, Batch, Transitions

Doubles = NDArray[np.float64]

CLIP = 10.0
"""Standard deviations that an observation may be seen away from the mean: what bounds an input that moves for the first
time, or after long."""
EPSILON = 1e-8
"""Added to a variance: what varies by less than 1e-4, its square root, is taken for the noise of something constant."""
BOUND = 5.0
"""Units of the learner's that the largest discounted return so far comes to at most."""

CHUNK = 10_000
"""Transitions that are counted at once, where there are many."""
MOST = 2**53
"""Vectors that moments are believed to be of, which is more than anybody has."""


class Moments:
    """Count, mean and sum of squared deviations of vectors: one after another, or many at once (Chan et al. 1979)."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean: Doubles = np.zeros(size)
        self.deviations: Doubles = np.zeros(size)
        """Squared, and summed."""

    def add(self, values: NDArray[Any]) -> None:
        """Take in vectors [n, size]."""
        count = len(values)
        if not count:
            return
        mean = np.mean(values, axis=0, dtype=np.float64)
        apart, total = mean - self.mean, self.count + count
        within = np.sum((values - mean) ** 2, axis=0)
        self.deviations = self.deviations + within + apart**2 * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    @property
    def variance(self) -> Doubles:
        """[size]: of the population; 0 before there is any."""
        return self.deviations / max(self.count, 1)

    def state(self) -> Arrays:
        """What `restore` needs."""
        return {"count": np.array(self.count, np.int64), "mean": self.mean, "deviations": self.deviations}

    def restore(self, arrays: Arrays) -> None:
        """Go on from a `state()`; errors as for `Statistics.restore`."""
        size = len(self.mean)
        count = int(taken(arrays, "count", np.int64, ()))
        mean, deviations = (taken(arrays, name, np.float64, (size,)) for name in ("mean", "deviations"))
        if not 0 <= count < MOST or (deviations < 0).any():
            raise ValueError(f"moments of {count} vectors, or squares below 0")
        self.count, self.mean, self.deviations = count, mean, deviations


class Statistics:
    """Running moments of what environments show, and of the discounted returns that they give, over a whole run.

    They advance with each transition that enters replay, in their order: every next observation counts once, and an
    episode's first one once. The return is each environment's own, G <- r + gamma G, begun anew with each episode.
    Rewards are divided by their standard deviation, or by the largest so far by `BOUND`, if that is more (Lee et al.
    2025, SimbaV2); no mean is taken from them, which would change what an episode's length is worth.
    """

    def __init__(
        self, size: int, envs: int, discount: float, *, observations: bool, rewards: bool, goals: int = 0
    ) -> None:
        """Of observations of `size` numbers in `envs` environments; of nothing else than what is to be normalized.

        Where what was achieved is stored behind them, the last `goals` of these are those of a goal, which what was
        achieved may become: both count alike, so that a goal that never changed has a scale.
        """
        self._observed = Moments(size) if observations else None
        self._goals = Moments(goals) if observations and goals else None
        self._returned = Moments(1) if rewards else None
        self._discount = discount
        self._largest = 0.0
        """Of the returns, in absolute value."""
        self._episodes, self._returns = [-1] * envs, [0.0] * envs
        """Of each environment the number of its running episode, and the discounted return up to now."""
        self.snapshot = first(size if observations else None)
        """By what the newest batches were normalized."""

    def add(self, transitions: Transitions) -> None:
        """Transitions enter replay, in their order."""
        begins, returns = self._advanced(transitions.episode.tolist(), transitions.reward.tolist())
        if self._observed is not None:
            shown, size = transitions.next_observation, len(self._observed.mean)
            if any(begins):
                shown = np.concatenate([transitions.observation[begins], shown])
            self._observed.add(shown[:, :size])
            if self._goals is not None:
                goals = len(self._goals.mean)
                self._goals.add(shown[:, size - goals :].reshape(-1, goals))  # desired, achieved
        if self._returned is not None:
            self._returned.add(np.array(returns)[:, np.newaxis])
            self._largest = max([self._largest, *map(abs, returns)])

    def count(self, recorded: Replay) -> None:
        """What was recorded elsewhere is there before the first step, an episode after the other."""
        running, self._episodes, self._returns = (self._episodes, self._returns), [-1], [0.0]
        episodes = recorded.episodes(recorded.oldest, recorded.added)
        order = recorded.oldest + np.argsort(episodes, kind="stable")
        for first in range(0, len(order), CHUNK):
            numbers = order[first : first + CHUNK]
            self.add(recorded.layout.unpacked(recorded.gathered(numbers), episodes[numbers - recorded.oldest]))
        self._episodes, self._returns = running

    def _advanced(self, episodes: list[int], rewards: list[float]) -> tuple[list[bool], list[float]]:
        """Of each transition: whether it is the first of its episode, and the discounted return up to it."""
        begins, returns = list[bool](), list[float]()
        for episode, reward in zip(episodes, rewards, strict=True):
            environment = episode % len(self._episodes)
            anew = episode < 0 or self._episodes[environment] != episode  # those of early formats have no number
            total = reward if anew else reward + self._discount * self._returns[environment]
            self._episodes[environment], self._returns[environment] = episode, total
            begins.append(anew)
            returns.append(total)
        return begins, returns

    def normalize(self, batch: Batch) -> Batch:
        """Normalize batches in place, by a snapshot of what is known now, which they carry from here on."""
        normalizer = None if self._observed is None else normalizer_of(self._observed, self._goals)
        self.snapshot = Snapshot(normalizer, self._reward_scale())
        return normalized(batch, self.snapshot)

    def _reward_scale(self) -> float:
        if self._returned is None:
            return 1.0
        spread = float(np.sqrt(self._returned.variance[0] + EPSILON))
        return min(max(spread, self._largest / BOUND), LARGEST)

    def measured(self) -> dict[str, float]:
        """What a record has of it."""
        return {} if self._returned is None else {"learner/reward_scale": self.snapshot.reward_scale}

    def state(self) -> Arrays:
        """What `restore` needs."""
        arrays = {
            "episodes": np.array(self._episodes, np.int64),
            "returns": np.array(self._returns),
            "largest": np.array(self._largest),
            "reward_scale": np.array(self.snapshot.reward_scale),
        }
        for name, moments in self._moments().items():
            arrays |= {f"{name}/{each}": value for each, value in moments.state().items()}
        if self.snapshot.normalizer is not None:
            arrays |= {"mean": self.snapshot.normalizer.mean, "scale": self.snapshot.normalizer.scale}
        return arrays

    def restore(self, arrays: Arrays, *, episodes: bool = True) -> None:
        """Go on from a `state()`; without its running `episodes`, where another run does.

        Raises:
            ValueError, TypeError, KeyError: this is no state of such statistics.
        """
        rest = dict(arrays)
        if episodes:
            envs = len(self._episodes)
            self._episodes = taken(rest, "episodes", np.int64, (envs,)).tolist()
            self._returns = taken(rest, "returns", np.float64, (envs,)).tolist()
        for name, moments in self._moments().items():
            moments.restore({each: rest.pop(f"{name}/{each}") for each in moments.state()})
        if self._observed is not None:
            with np.errstate(over="ignore"):  # what is beyond float32 is no observation's
                normalizer_of(self._observed, self._goals).require_sound(len(self._observed.mean))
        self._largest = float(taken(rest, "largest", np.float64, ()))
        if self._largest < 0:
            raise ValueError(f"a largest return of {self._largest}")
        self.snapshot = snapshot_in(rest, None if self._observed is None else len(self._observed.mean))
        if episodes and rest:
            raise ValueError(f"statistics have no {sorted(rest)}")

    def _moments(self) -> Mapping[str, Moments]:
        kept = {"observations": self._observed, "goals": self._goals, "rewards": self._returned}
        return {name: moments for name, moments in kept.items() if moments is not None}


def normalizer_of(observed: Moments, goals: Moments | None = None) -> Normalizer:
    """A snapshot of the moments of observations, in float32; the last numbers are `goals`, if there are any."""
    mean, variance = observed.mean, observed.variance
    if goals is not None:
        rest = slice(len(mean) - len(goals.mean))
        mean, variance = np.append(mean[rest], goals.mean), np.append(variance[rest], goals.variance)
    scale = 1.0 / np.sqrt(variance + EPSILON)
    return Normalizer(mean.astype(np.float32), scale.astype(np.float32), CLIP)


def normalized(batch: Batch, snapshot: Snapshot) -> Batch:
    """The same batches, whose observations and rewards are normalized in place."""
    records, layout = batch.records, batch.layout
    if snapshot.normalizer is not None:
        for columns in (layout.observation, layout.next_observation):
            records[..., columns] = snapshot.normalizer(records[..., columns])
    if snapshot.reward_scale != 1.0:
        records[..., layout.reward] /= np.float32(snapshot.reward_scale)
    return replace(batch, snapshot=snapshot)


def first(size: int | None) -> Snapshot:
    """The snapshot before there were any batches, of observations of so many numbers: nothing but the clip."""
    return Snapshot(None if size is None else Normalizer(np.zeros(size, np.float32), np.ones(size, np.float32), CLIP))


def snapshot_in(arrays: Arrays, size: int | None) -> Snapshot:
    """The snapshot in the state of statistics, taken out of it; of observations of so many numbers, if of any.

    Raises:
        ValueError, KeyError: there is none, or it makes no sense.
    """
    reward_scale, normalizer = float(taken(arrays, "reward_scale", np.float64, ())), None
    if not 0 < reward_scale <= LARGEST:
        raise ValueError(f"rewards divided by {reward_scale}")
    if size is not None:
        mean, scale = (taken(arrays, name, np.float32, (size,)) for name in ("mean", "scale"))
        normalizer = Normalizer(mean, scale, CLIP)
        normalizer.require_sound(size)
    return Snapshot(normalizer, reward_scale)


def taken(arrays: Arrays, name: str, kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array out of others, where it is of this kind and shape and its numbers are finite.

    Raises:
        ValueError, KeyError: it is not.
    """
    found = arrays.pop(name)
    if found.dtype != kind or found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"{name} is {found.dtype} {found.shape}, or not finite, but must be {np.dtype(kind)} {shape}")
    return found
