"""From what replay holds to what a learner learns from, in five stages.

1. choose: which transitions (`choosers`).
2. relabel: what would have been rewarded had another goal been meant (`hindsight`).
3. accumulate: from raw transitions to targets' parts, as (8.5) has them, of one step or n: reward, next observation,
   discount.
4. mix: of each batch, a share of demonstrations behind that of replay, each chosen and accumulated by itself, in this
   order from one stream.
5. normalize: observations and rewards, by what has been seen of them up to now (`moments`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyak.experience import moments
from polyak.experience.choosers import Chooser, Chosen, Uniform
from polyak.experience.hindsight import Hindsight, Outcomes
from polyak.experience.moments import Statistics
from polyak.experience.replay import Replay
from polyak.policies.normalizer import RAW, Snapshot
from polyak.settings.shared import Settings
from polyak.types import Arrays, Batch, Float, Spec, Transitions

UNIFORM = Uniform()


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
        demonstrations: Replay | None = None,
        demonstrated: int = 0,
        statistics: Statistics | None = None,
        hindsight: Hindsight | None = None,
    ) -> None:
        """Make batches of what `replay` holds, and `demonstrated` rows of each of what `demonstrations` do.

        Without `statistics`, observations and rewards are as they are.
        """
        self.replay, self.demonstrations = replay, demonstrations
        self._discount, self._n_step, self._chooser = discount, n_step, chooser
        self._demonstrated = demonstrated
        self._statistics, self._hindsight = statistics, hindsight

    def add(self, transitions: Transitions) -> None:
        """Transitions enter replay, in their order."""
        self.replay.add(transitions)
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
        if self.demonstrations is None:
            return self._of(self.replay, generator, updates, batch_size, self._chooser)
        own, shown = batch_size - self._demonstrated, self._demonstrated
        shares = [(self.replay, own, self._chooser)] * (own > 0) + [(self.demonstrations, shown, UNIFORM)]
        return mixed([self._of(replay, generator, updates, rows, by) for replay, rows, by in shares])

    def _of(
        self, replay: Replay, generator: np.random.Generator, updates: int, batch_size: int, chooser: Chooser
    ) -> Batch:
        """A share, of one replay."""
        chosen = chooser.choose(replay, generator, updates, batch_size)
        if self._hindsight is not None:
            return self._hindsight.batch(replay, chosen, generator, self._discount, self._n_step)
        return accumulated(replay, chosen, self._discount, self._n_step)

    @property
    def snapshot(self) -> Snapshot:
        """What the newest batches were normalized by, which those who have learned from them are used to."""
        return RAW if self._statistics is None else self._statistics.snapshot

    def measured(self) -> dict[str, float]:
        """What a record has of the stages."""
        return {} if self._statistics is None else self._statistics.measured()

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `restore` needs beside replay: as JSON can hold it, and as arrays of any kind."""
        return {}, {} if self._statistics is None else named(STATISTICS, self._statistics.state())

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Go on from a `state()`, with a replay that is restored already.

        Raises:
            ValueError, TypeError, KeyError: this is no state of what the stages keep.
        """
        rest = dict(arrays)
        if self._statistics is not None:
            self._statistics.restore(parted(STATISTICS, rest))
        if state or rest:
            raise ValueError(f"batches keep {sorted({*state, *rest})}, of which the settings say nothing")

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
    shown = 0 if demonstrations is None else config.demonstrated(config.batch_size)
    statistics, sizes = None, (spec.seen.observation_size, envs, config.discount)
    if config.normalize_observations or config.normalize_rewards:
        wanted = {"observations": config.normalize_observations, "rewards": config.normalize_rewards}
        statistics = Statistics(*sizes, **wanted, goals=spec.observation_size - spec.seen.observation_size)
    hindsight = None if goals is None else Hindsight(goals, spec, config.hindsight_goals)
    return Batches(replay, config.discount, config.n_step, UNIFORM, demonstrations, shown, statistics, hindsight)


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
    return Batch(records, layout)


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
