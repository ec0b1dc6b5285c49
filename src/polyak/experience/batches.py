"""From what replay holds to what a learner learns from, in five stages.

1. choose: which transitions (`choosers`; by their errors: `priorities`).
2. relabel: what would have been rewarded had another goal been meant (`hindsight`).
3. accumulate: from raw transitions to targets' parts, as (8.5) has them, of one step or n: reward, next observation,
   discount.
4. mix: of each batch, a share of demonstrations behind that of replay, each chosen and accumulated by itself, in this
   order from one stream.
5. normalize: observations and rewards, by what has been seen of them up to now (`moments`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyak.experience import moments
from polyak.experience.choosers import Chooser, Chosen, Uniform
from polyak.experience.hindsight import Hindsight, Outcomes
from polyak.experience.moments import Statistics
from polyak.experience.priorities import Prioritized
from polyak.experience.replay import Replay
from polyak.policies.normalizer import RAW, Snapshot
from polyak.settings.shared import Settings
from polyak.types import Arrays, Batch, Float, Spec, Transitions

UNIFORM = Uniform()


class Share(NamedTuple):
    """A part of each batch: so many rows of a replay, chosen by itself."""

    replay: Replay
    chooser: Chooser
    rows: int


class Batches:
    """What a run's learner learns from: transitions as they enter replay, and batches of them, made by the stages.

    What the stages keep from one burst to the next is in its state. Collectors, wherever they are, keep none: all of it
    advances where transitions enter, in their order.
    """

    def __init__(
        self,
        replay: Replay,
        discount: float,
        n_step: int = 1,
        chooser: Chooser = UNIFORM,
        demonstrated: Share | None = None,
        statistics: Statistics | None = None,
        hindsight: Hindsight | None = None,
    ) -> None:
        """Make batches of what `replay` holds, by `chooser`, and of what is `demonstrated`.

        Without `statistics`, observations and rewards are as they are.
        """
        self.replay = replay
        self.demonstrations = None if demonstrated is None else demonstrated.replay
        self._discount, self._n_step, self._chooser, self._demonstrated = discount, n_step, chooser, demonstrated
        self._statistics, self._hindsight = statistics, hindsight
        self._choosers = {"chooser": chooser}
        """By their names in a checkpoint."""
        if demonstrated is not None:
            self._choosers["chooser_of_demonstrations"] = demonstrated.chooser
        self._wants_errors = any(each.wants_errors for each in self._choosers.values())
        self._sampled: list[NDArray[np.int64]] = []
        """The numbers [K, B] of the bursts whose errors are still to come, the oldest first."""

    def add(self, transitions: Transitions) -> None:
        """Transitions enter replay, in their order."""
        self.replay.add(transitions)
        self._chooser.entered(len(transitions.reward))
        if self._statistics is not None:
            self._statistics.add(transitions)

    def sample(self, generator: np.random.Generator, updates: int, batch_size: int) -> Batch:
        """K batches of B transitions [K, B]; `generator` is all the chance there is.

        Raises:
            UsageError: replay is empty.
            TrainingError: the environment's functions of goals failed.
        """
        batch = self._drawn(generator, updates, batch_size)
        return batch if self._statistics is None else self._statistics.normalize(batch)

    def _drawn(self, generator: np.random.Generator, updates: int, batch_size: int) -> Batch:
        """All stages but the last."""
        if self._demonstrated is None and not self._wants_errors:  # nothing is mixed, and nobody is told
            return self._of(self.replay, self._chooser.choose(self.replay, generator, updates, batch_size), generator)
        numbers: list[NDArray[np.int64]] = []
        shares: list[Batch] = []
        for replay, chooser, rows in self._shares(batch_size):
            chosen = chooser.choose(replay, generator, updates, rows)
            numbers.append(chosen.numbers)
            shares.append(self._of(replay, chosen, generator))
        if not self._wants_errors:
            return mixed(shares)
        self._sampled.append(np.concatenate(numbers, axis=1))
        return dataclasses.replace(mixed(shares), wants_errors=True)

    def _of(self, replay: Replay, chosen: Chosen, generator: np.random.Generator) -> Batch:
        """A share, of one replay."""
        if self._hindsight is None:
            return accumulated(replay, chosen, self._discount, self._n_step)
        return self._hindsight.batch(replay, chosen, generator, self._discount, self._n_step)

    def _shares(self, batch_size: int) -> list[Share]:
        """Of what a batch is made, in the order of its rows."""
        shown = self._demonstrated
        own = Share(self.replay, self._chooser, batch_size - (0 if shown is None else shown.rows))
        return [share for share in (own, shown) if share is not None and share.rows > 0]

    def learned(self, errors: Float) -> None:
        """The errors of a burst whose batch wanted them, [K, B]; once for each, in the order of their sampling."""
        numbers, first = self._sampled.pop(0), 0
        for share in self._shares(numbers.shape[1]):
            rows = slice(first, first + share.rows)
            share.chooser.learned(numbers[:, rows], errors[:, rows])
            first += share.rows

    @property
    def snapshot(self) -> Snapshot:
        """What the newest batches were normalized by, which those who have learned from them are used to."""
        return RAW if self._statistics is None else self._statistics.snapshot

    def measured(self) -> dict[str, float]:
        """What a record has of the stages."""
        return {} if self._statistics is None else self._statistics.measured()

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `restore` needs beside replay: as JSON can hold it, and as arrays of any kind."""
        state, arrays = dict[str, Any](), Arrays()
        for name, chooser in self._choosers.items():
            told, kept = chooser.state()
            state |= {name: told} if told else {}
            arrays |= named(name, kept)
        if self._statistics is not None:
            arrays |= named(STATISTICS, self._statistics.state())
        for numbers in self._sampled:  # one at most: between two steps, no more bursts are on their way
            arrays["sampled"] = numbers
        return state, arrays

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Go on from a `state()`, with a replay that is restored already.

        Raises:
            ValueError, TypeError, KeyError: this is no state of what the stages keep.
        """
        told, rest = dict(state), dict(arrays)
        for (name, chooser), replay in zip(self._choosers.items(), (self.replay, self.demonstrations), strict=False):
            if replay is not None:
                chooser.restore(replay, told.pop(name, {}), parted(name, rest))
        if self._statistics is not None:
            self._statistics.restore(parted(STATISTICS, rest))
        if "sampled" in rest:
            self._sampled = [self._require_numbers(rest.pop("sampled"))]
        if told or rest:
            raise ValueError(f"batches keep {sorted({*told, *rest})}, of which the settings say nothing")

    def _require_numbers(self, sampled: NDArray[Any]) -> NDArray[np.int64]:
        """What a burst on its way was sampled from: [K, B], each a number of a transition."""
        if sampled.dtype != np.int64 or sampled.ndim != 2 or not self._wants_errors:
            raise ValueError(f"a burst on its way has transitions {sampled.dtype} {sampled.shape}")
        first = 0
        for share in self._shares(sampled.shape[1]):
            numbers = sampled[:, first : first + share.rows]
            if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= share.replay.added:
                raise ValueError(f"a burst on its way has a transition that is none of {share.replay.added:,}")
            first += share.rows
        return sampled

    @property
    def awaited(self) -> list[tuple[int, ...]]:
        """The shapes [K, B] of the bursts whose errors are still to come."""
        return [numbers.shape for numbers in self._sampled]

    def begin(self) -> None:
        """Count what there is before a run's first step: demonstrations, as if they were entering replay."""
        if self._statistics is not None and self.demonstrations is not None:
            self._statistics.count(self.demonstrations)

    def begin_with(self, arrays: Arrays) -> None:
        """Begin with what another run knew of the scale of observations and rewards, from the arrays of its `state()`.

        Raises:
            ValueError, KeyError: they are no such.
        """
        if self._statistics is not None:
            self._statistics.restore(parted(STATISTICS, dict(arrays)), episodes=False)


def batches_of(
    config: Settings,
    spec: Spec,
    envs: int,
    replay: Replay,
    demonstrations: Replay | None = None,
    goals: Outcomes | None = None,
) -> Batches:
    """What these settings make of a replay that so many environments fill, and of demonstrations.

    With what says of `goals` how they are rewarded, some are set in hindsight, in demonstrations too.
    """
    shown = None
    if demonstrations is not None:
        shown = Share(demonstrations, chooser_of(config, demonstrations), config.demonstrated(config.batch_size))
    statistics, sizes = None, (spec.seen.observation_size, envs, config.discount)
    if config.normalize_observations or config.normalize_rewards:
        wanted = {"observations": config.normalize_observations, "rewards": config.normalize_rewards}
        statistics = Statistics(*sizes, **wanted, goals=spec.observation_size - spec.seen.observation_size)
    hindsight = None if goals is None else Hindsight(goals, spec, config.hindsight_goals)
    return Batches(replay, config.discount, config.n_step, chooser_of(config, replay), shown, statistics, hindsight)


def chooser_of(config: Settings, replay: Replay) -> Chooser:
    """What chooses transitions of a replay, as the settings say."""
    if config.prioritized == "none":
        return UNIFORM
    return Prioritized(replay, config.prioritized, *config.priority_exponents, config.updates)


STATISTICS = "statistics"
"""What the names of their arrays begin with."""


def named(prefix: str, arrays: Arrays) -> Arrays:
    """The same under `prefix/name`."""
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def parted(prefix: str, arrays: Arrays) -> Arrays:
    """Those of `prefix/name` by their names, taken out of all."""
    names = [name for name in arrays if name.startswith(f"{prefix}/")]
    return {name.removeprefix(f"{prefix}/"): arrays.pop(name) for name in names}


def first_snapshot(config: Settings, spec: Spec) -> Snapshot:
    """What the settings show networks through before there were any batches."""
    return moments.first(spec.seen.observation_size if config.normalize_observations else None)


def snapshot_in(arrays: Arrays, config: Settings, spec: Spec) -> Snapshot:
    """What the newest batches were normalized by, from the arrays of the state of batches of such settings.

    Raises:
        ValueError, KeyError: they are no such.
    """
    if not (config.normalize_observations or config.normalize_rewards):
        return RAW
    kept = parted(STATISTICS, dict(arrays))
    return moments.snapshot_in(kept, spec.observation_size if config.normalize_observations else None)


def sample_batch(
    replay: Replay,
    generator: np.random.Generator,
    updates: int,
    batch_size: int,
    discount: float,
    n_step: int = 1,
    chooser: Chooser = UNIFORM,
) -> Batch:
    """K batches of B transitions [K, B], of which `chooser` says which, with what `generator` draws.

    Raises:
        UsageError: replay is empty.
    """
    return accumulated(replay, chooser.choose(replay, generator, updates, batch_size), discount, n_step)


def mixed(shares: Sequence[Batch]) -> Batch:
    """One burst of the rows of several, in their order: [K, the sum of all B]."""
    if len(shares) == 1:
        return shares[0]
    records = np.concatenate([share.records for share in shares], axis=1)
    return Batch(records, shares[0].layout, weighted=any(share.weighted for share in shares))


def accumulated(replay: Replay, chosen: Chosen, discount: float, n_step: int = 1) -> Batch:
    """The chosen transitions; what follows one counts `discount`^m after m <= n steps, or nothing where it terminated.

    The m-th is the episode's last one, the newest stored one, or the n-th (Sutton 1988; Watkins 1989). Then

        R = sum of gamma^k r_(t + k) over k < m,  y = R + gamma^m (1 - terminated) V(s_(t + m)),

    so that an episode's tail and the newest transitions are learned from like all others, with fewer steps.
    """
    layout, records = replay.layout, replay.gathered(chosen.numbers)
    power = np.float32(discount) if n_step == 1 else _ahead(replay, chosen.numbers, records, discount, n_step)
    going_on = 1 - records[..., layout.terminated]
    np.multiply(power, going_on, out=records[..., layout.discount])
    records[..., layout.weight] = chosen.weight
    return Batch(records, layout, weighted=chosen.weighted)


def _ahead(replay: Replay, numbers: NDArray[np.int64], records: Float, discount: float, n_step: int) -> Float:
    """Have `records` [..., 2 O + A + 3] of `numbers` [...] look up to n steps ahead; gamma^m of each [...].

    Their reward becomes R, and what follows it that of the m-th transition. Sums and powers are float64.
    """
    last, reward = numbers.copy(), replay.rewards(numbers).astype(np.float64)
    power = np.full(numbers.shape, discount)
    following = replay.successors(last)
    for _ in range(n_step - 1):
        found = following >= 0
        last[found] = following[found]
        reward[found] += power[found] * replay.rewards(last[found])
        power[found] *= discount
        following[found] = replay.successors(last[found])
    after = slice(replay.layout.next_observation.start, None)
    records[..., after] = replay.gathered(last)[..., after]
    records[..., replay.layout.reward] = reward
    return power.astype(np.float32)
