"""Hindsight: transitions as they would have been had another goal been meant (Andrychowicz et al. 2017).

The strategy is `future`: of k + 1 transitions in a batch k, by a coin for each, get the goal that was achieved after a
later step of their episode, or after their own, drawn uniformly among those that replay holds. The goal is written into
s and s', reward and end are asked of the environment anew, and all steps that a target counts are of the same goal.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from polyak.experience.choosers import Chosen
from polyak.experience.replay import Replay
from polyak.types import Batch, Bool, Float, Layout, Spec


class Outcomes(Protocol):
    """What an environment says of goals, as `polyak.environments.goals.Goals` does."""

    def outcomes(self, achieved: Float, desired: Float) -> tuple[Float, Bool]:
        """Rewards and ends [n] where goals [n, G] were achieved and others desired."""
        ...


class Meant(NamedTuple):
    """What transitions are to have been meant for."""

    given: Bool
    """[...]: whether another goal than their own."""
    goals: Float
    """[..., G]: which; of no account elsewhere."""


class Hindsight:
    """Makes batches, some of whose transitions are of another goal, and without the columns that nobody sees."""

    def __init__(self, goals: Outcomes, spec: Spec, per_transition: float) -> None:
        """`goals` of environments of this spec; of `per_transition` + 1 transitions so many get another goal."""
        self._goals, self._layout, self._seen = goals, spec.layout, spec.seen.layout
        self._fraction = per_transition / (per_transition + 1)
        size, shown, after = spec.goal_size, spec.observation_size, spec.layout.next_observation.start
        self._desired = slice(shown - 2 * size, shown - size)
        self._desired_next = slice(after + self._desired.start, after + self._desired.stop)
        self._achieved_next = slice(after + shown - size, after + shown)

    def batch(
        self, replay: Replay, chosen: Chosen, generator: np.random.Generator, discount: float, n_step: int
    ) -> Batch:
        """The chosen transitions, as `batches.accumulated` has them, seen in hindsight; `generator` draws the goals.

        Raises:
            TrainingError: the environment's functions of goals failed.
        """
        layout, meant = self._layout, self._meant(replay, chosen.numbers, generator)
        records = self._seen_so(replay.gathered(chosen.numbers), meant)
        power = np.float32(discount) if n_step == 1 else self._ahead(replay, chosen, records, meant, discount, n_step)
        records[..., layout.discount] = power * (1 - records[..., layout.terminated])
        records[..., layout.weight] = chosen.weight
        return Batch(_narrowed(records, layout, self._seen), self._seen, weighted=chosen.weighted)

    def _meant(self, replay: Replay, numbers: NDArray[np.int64], generator: np.random.Generator) -> Meant:
        given = generator.random(numbers.shape) < self._fraction
        steps = (generator.random(numbers.shape)[given] * (replay.followers(numbers[given]) + 1)).astype(np.int64)
        goals = np.zeros((*numbers.shape, self._achieved_next.stop - self._achieved_next.start), np.float32)
        goals[given] = replay.gathered(replay.later(numbers[given], steps))[:, self._achieved_next]
        return Meant(given, goals)

    def _seen_so(self, records: Float, meant: Meant) -> Float:
        """Records [..., W] of these goals; they are written to."""
        layout, rows, goals = self._layout, records[meant.given], meant.goals[meant.given]
        if len(rows):
            for_other_reasons = self._ended_anyway(rows)
            reward, ended = self._goals.outcomes(rows[:, self._achieved_next], goals)
            rows[:, layout.reward], rows[:, layout.terminated] = reward, ended | for_other_reasons
            rows[:, self._desired], rows[:, self._desired_next] = goals, goals
            records[meant.given] = rows
        return records

    def _ended_anyway(self, rows: Float) -> Bool:
        """[n]: where an episode terminated, but not because its own goal was reached: a fall, a crash."""
        ended = rows[:, self._layout.terminated] != 0
        if ended.any():
            _, reached = self._goals.outcomes(rows[ended, self._achieved_next], rows[ended, self._desired_next])
            ended[ended] = ~reached
        return ended

    def _ahead(
        self, replay: Replay, chosen: Chosen, records: Float, meant: Meant, discount: float, n_step: int
    ) -> Float:
        """As `batches` looks ahead, while an episode goes on under the goal that is meant; gamma^m of each [...]."""
        layout, last = self._layout, chosen.numbers.copy()
        after = slice(layout.next_observation.start, None)
        reward, power = records[..., layout.reward].astype(np.float64), np.full(last.shape, discount)
        following = np.where(records[..., layout.terminated] != 0, -1, replay.successors(last))
        for _ in range(n_step - 1):
            found = following >= 0
            last[found] = following[found]
            step = self._seen_so(replay.gathered(last[found]), Meant(meant.given[found], meant.goals[found]))
            reward[found] += power[found] * step[:, layout.reward]
            power[found] *= discount
            records[found, after] = step[:, after]
            following[found] = np.where(step[:, layout.terminated] != 0, -1, replay.successors(last[found]))
        records[..., layout.reward] = reward
        return power.astype(np.float32)


def _narrowed(records: Float, stored: Layout, seen: Layout) -> Float:
    """Records [..., W] without the numbers at the end of both observations that are not seen."""
    narrow = np.empty((*records.shape[:-1], seen.width), np.float32)
    narrow[..., seen.observation] = records[..., : seen.observation_size]
    narrow[..., seen.action], narrow[..., seen.reward] = records[..., stored.action], records[..., stored.reward]
    first = stored.next_observation.start
    narrow[..., seen.next_observation] = records[..., first : first + seen.observation_size]
    narrow[..., seen.discount :] = records[..., stored.discount :]
    return narrow
