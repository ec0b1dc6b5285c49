"""A run's gradient steps: when they are due, in which pieces, on which transitions, and what they bring."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polyak.algorithm import drawn
from polyak.errors import TrainingError
from polyak.experience.batches import Batches
from polyak.policies.normalizer import Normalizer
from polyak.policies.policy import Policy
from polyak.run.ledger import Ledger
from polyak.run.plan import Plan
from polyak.settings.shared import Settings
from polyak.system.randomness import Streams, go_on_from, state_of
from polyak.types import Arrays, Batch, Learned, Learner, Metrics

Waited = Callable[[], Learned]
"""Waits for a burst, and gives what it brought; again and again the same."""


class UpdateSchedule:
    """How many updates are due after environment steps, by the ratio per environment step, whatever N is."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self.owed = 0.0
        """The fraction of an update that is carried over."""

    def due(self, before: int, after: int) -> int:
        """Updates due when the run's steps go from `before` to `after`; offline, where these are counted, as many.

        At every multiple of `update_every` from `update_after` on, `update_every * updates_per_step` more are due; a
        fraction is carried over.
        """
        if self._config.offline:
            return after - before
        every = self._config.update_every
        bursts = after // every - max(before, self._config.update_after - 1) // every
        if after < self._config.update_after or bursts < 1:
            return 0
        self.owed += bursts * every * self._config.updates_per_step
        due = int(self.owed + 1e-9)
        self.owed -= due
        return due

    def would_be_due(self, before: int, after: int) -> bool:
        """Whether `due` would be above 0."""
        owed = self.owed
        due = self.due(before, after)
        self.owed = owed
        return due > 0


def pieces(due: int) -> list[int]:
    """A number of updates as a sum of powers of four, the largest first: 27 is 16 + 4 + 4 + 1 + 1 + 1.

    Each length of a burst is a program to be compiled. Cut like this, bursts of all lengths up to 16 take three.
    """
    found, power = list[int](), 4 ** (max(due, 1).bit_length() // 2)
    while due:
        found += [power] * (due // power)
        due, power = due % power, power // 4
    return found


class Updates:
    """Samples from replay what a learner learns from, in bursts; and takes over what it learned.

    With a lag of one, a burst is taken over only after the next has been launched: the policy that collects is then one
    burst older than the learner's, which computes while the environments go on.
    """

    def __init__(
        self,
        plan: Plan,
        streams: Streams,
        batches: Batches,
        learner: Learner,
        policy: Policy,
        ledger: Ledger,
        folder: Path,
        *,
        in_pieces: bool = False,
    ) -> None:
        """Begin before the first update; what is measured goes into `ledger`.

        `folder` keeps the policies, and `in_pieces`: bursts are of many lengths, and are launched in pieces of few.
        """
        self.count = 0
        """Updates that were taken over."""
        self.begun = 0
        """Updates that were launched."""
        self.policy = policy
        """The newest that was taken over."""
        self.batches, self.learner = batches, learner
        self._plan, self._streams, self._ledger, self._folder = plan, streams, ledger, folder
        self._draws = plan.algorithm.draws(policy.spec, plan.config)
        self._schedule = UpdateSchedule(plan.config)
        self._in_pieces = in_pieces
        self._launched: list[tuple[Waited, Normalizer | None]] = []
        """Bursts that have not been taken over, the oldest first, and what they see observations through."""

    def launch(self, before: int, after: int) -> bool:
        """Start the updates that are due as the run's steps go from `before` to `after`; whether there are any."""
        due, batch_size = self._schedule.due(before, after), self._plan.config.batch_size
        if due:
            batches = self.batches.sample(self._streams.replay, due, batch_size)
            self._ledger.stopwatch.lap("replay")
            draws = drawn(self._draws, self._streams.learner, due)
            self._launched.append((self._started(batches, draws), self.batches.snapshot.normalizer))
            self.begun += due
            self._ledger.stopwatch.lap("learner")
        return bool(due)

    def will_launch(self, before: int, after: int) -> bool:
        """Whether `launch` will start any."""
        return self._schedule.would_be_due(before, after)

    def _started(self, batches: Batch, draws: Arrays) -> Waited:
        """The learner's updates on a whole burst, which has been sampled and drawn as one whatever its pieces are."""
        if not self._in_pieces:
            return self.learner.launch(batches, draws)
        waited, first = list[Waited](), 0
        for length in pieces(len(batches.records)):
            part = slice(first, first + length)
            piece = dataclasses.replace(batches, records=batches.records[part])
            waited.append(self.learner.launch(piece, {name: each[part] for name, each in draws.items()}))
            first += length
        return partial(_joined, waited)

    def take(self, steps: int, behind: int = 0) -> None:
        """After so many of the run's steps, take over what was launched, but for the last `behind` bursts; and wait.

        Raises:
            TrainingError: a loss or the actor is not finite.
        """
        while len(self._launched) > behind:
            waited, normalizer = self._launched.pop(0)
            self._take_over(waited(), normalizer, steps)

    def _take_over(self, learned: Learned, normalizer: Normalizer | None, steps: int) -> None:
        metrics, actor, errors = learned
        policy = dataclasses.replace(self.policy, parameters=actor, normalizer=normalizer)
        count = self.count + len(metrics.values)
        critic_loss = metrics.values[:, metrics.names.index("critic_loss")]
        finite = np.isfinite(critic_loss).all() and (errors is None or np.isfinite(errors).all())
        if not finite or not policy.finite():
            raise TrainingError(
                f"training diverged: a loss or the actor is not finite after {steps:,} steps "
                f"({count:,} updates); the last finite policy is kept in {self._folder}. "
                "A new run may have lower learning rates; check the rewards' scale"
            )
        self.policy, self.count = policy, count
        if errors is not None:
            self.batches.learned(errors)
        self._ledger.measured.append(metrics)
        self._ledger.stopwatch.lap("learner")

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `restore` needs beside learner, replay and policy: as JSON can hold it, and as arrays."""
        state: dict[str, Any] = {
            "replay_stream": state_of(self._streams.replay),
            "learner_stream": state_of(self._streams.learner),
            "updates": self.count,
            "updates_owed": self._schedule.owed,
        }
        arrays: Arrays = {}
        for launched, _ in self._launched:  # one at most: between two steps, no more are on their way
            arrays = {f"policy/{name}": value for name, value in self.policy.parameters.items()}
            if self.policy.normalizer is not None:
                arrays |= {f"normalizer/{name}": getattr(self.policy.normalizer, name) for name in ("mean", "scale")}
            learned = launched()
            arrays["launched"] = learned.metrics.values
            state["launched"] = len(arrays["launched"])
            if learned.errors is not None:
                arrays["errors"] = learned.errors
        return state, arrays

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Go on from a `state()`, with a learner, batches and the learner's policy that are restored already.

        Raises:
            ValueError, TypeError, KeyError: this is no state of updates.
        """
        go_on_from(self._streams.replay, state["replay_stream"])
        go_on_from(self._streams.learner, state["learner_stream"])
        self.count = self.begun = int(state["updates"])
        self._schedule.owed = float(state["updates_owed"])
        if not -1e-6 < self._schedule.owed < 1:
            raise ValueError(f"{self._schedule.owed} updates owed")
        if "launched" in arrays:
            values = self._ledger.of_today(state, arrays["launched"])
            metrics, errors = Metrics(self._plan.algorithm.metrics, values), arrays.get("errors")
            learned = Learned(metrics, self.policy.parameters, errors)
            self._launched = [(lambda: learned, self.policy.normalizer)]
            self.begun += len(values)
            behind, normalizer = {name: arrays[f"policy/{name}"] for name in self.policy.parameters}, None
            if self.policy.normalizer is not None:
                normalizer = dataclasses.replace(
                    self.policy.normalizer, mean=arrays["normalizer/mean"], scale=arrays["normalizer/scale"]
                )
                normalizer.require_sound(self.policy.spec.observation_size)
            self.policy = dataclasses.replace(self.policy, parameters=behind, normalizer=normalizer)
        awaited = [arrays["errors"].shape] if "errors" in arrays else []
        if self.batches.awaited != awaited:
            raise ValueError(f"bursts on their way are of {self.batches.awaited} transitions, of {awaited} errors")


def _joined(pieces: Sequence[Waited]) -> Learned:
    """What the pieces of a burst brought, as one: the metrics in their order, and the last one's actor."""
    learned = [piece() for piece in pieces]
    values = np.concatenate([each.metrics.values for each in learned])
    errors = [each.errors for each in learned if each.errors is not None]
    found = np.concatenate(errors) if errors else None
    return Learned(Metrics(learned[-1].metrics.names, values), learned[-1].actor, found)
