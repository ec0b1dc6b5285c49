"""Collectors in processes of their own, as a run's loop sees them: one collector, whose step is a round.

In step, a round is as many steps of every environment as there are between two bursts of updates, with the policy that
the order took along. Each environment draws from streams of its own, and rows are put together by step, then
environment, so that it matters not which process an environment is in, how long it takes, or whether it had to be made
again.

Free, each collector's round is one by itself, taken over when it comes, and its next is begun at once with the newest
policy. One round of each may wait to be taken over; then its collector waits. How many updates there are for a step
stays as it was asked for.
"""

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from polyak.environments.elsewhere import Elsewhere
from polyak.experience.collector import Episode
from polyak.experience.crew import Crew
from polyak.experience.rounds import Finished, Order, Round
from polyak.experience.tally import Counts
from polyak.policies.policy import Policy
from polyak.system.stopwatch import no_lap
from polyak.system.threads import processor
from polyak.types import Arrays, Transitions

ARRAYS = ("exploration_noise", "observation")


class Rhythm(NamedTuple):
    """Where rounds end."""

    every: Sequence[int]
    """At multiples of these steps of the run, the first of which is a burst's."""
    at: Sequence[int]
    """And after so many."""

    def next(self, steps: int) -> int:
        """The first end after so many steps of the run."""
        ends = [(steps // each + 1) * each for each in self.every]
        return min([*ends, *(each for each in self.at if each > steps)])


class Remote(ABC):
    """A collector whose environments are in other processes, as a run's loop sees it."""

    inexact = ""
    """Why the run is not what another of the same seed would be, if it is not."""
    described: Mapping[str, Any] = MappingProxyType({})
    """What the run's settings say of it."""

    def __init__(self, environments: Elsewhere) -> None:
        self.environments = environments
        self._episodes: list[Episode] = []
        self._counts: Counts | None = None

    def measured_by(self, counts: Counts) -> None:
        """Measure how old policies are by the run's updates."""
        self._counts = counts

    @property
    def steps(self) -> int:
        """Environment steps so far, summed over all environments."""
        return self.environments.steps

    def start(self) -> None:
        """Start what is to begin a new run, so that what cannot be is said before there is a folder.

        Raises:
            UsageError, TrainingError: it cannot be.
        """
        return

    @abstractmethod
    def step(self, policy: Policy | None, lap: Callable[[str], None] = no_lap) -> Transitions:
        """Take over what there is next, and let what comes be taken with this policy, or at random: [n] rows.

        `lap` is told when what was to be waited for is there, and when it has been dealt with.

        Raises:
            TrainingError, Interrupted: there is nothing more; all is as it was before.
        """

    def begin(self) -> None:
        """The first episodes are to begin."""
        return

    def finished(self) -> list[Episode]:
        """The episodes finished since the last call, in order."""
        episodes, self._episodes = self._episodes, []
        return episodes

    def measured(self) -> dict[str, float]:
        """What was measured since the last call, as a record has it."""
        return {}

    def given_up(self) -> int:
        """Episodes given up since the last call."""
        return 0

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `go_on` needs, as JSON can hold it and as arrays, beside the environments' own state."""

    @abstractmethod
    def go_on(self, state: Mapping[str, Any], arrays: Arrays, seconds: float) -> Mapping[int, str]:
        """Go on from a `state`, where `seconds` is the longest that running episodes may take to be enacted again.

        Returns:
            For each environment that does not show the same again: why; a new episode is begun there.

        Raises:
            UsageError, TrainingError, ValueError, TypeError, KeyError: it cannot, or this is no state.
        """


class Collectors(Remote):
    """W collectors with N environments each; what they do in step and free alike."""

    def __init__(self, environments: Elsewhere, crew: Crew, rhythm: Rhythm) -> None:
        super().__init__(environments)
        self.rhythm = rhythm
        self._crew = crew
        self._each = environments.count // len(crew)
        """N"""
        self._fresh = False
        self._seen: dict[int, int | None] = {}
        """Of each collector's order: the updates that its policy had seen; None where there was no policy."""

    @property
    def inexact(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - which processes tell
        """That collectors compute on another kind of processor than this process, if some do."""
        others = sorted(self._crew.processors - {processor()})
        if not others:
            return ""
        return (
            f"collectors compute on {', '.join(others)}, this process on {processor()}: another kind may round "
            "otherwise, so that the run need not be the one that all on one kind would be"
        )

    def start(self) -> None:
        """Start the processes, which begin their first episodes.

        Raises:
            UsageError, TrainingError: as `Crew.start` says.
        """
        self._crew.start()
        self._fresh = True

    @abstractmethod
    def step(self, policy: Policy | None, lap: Callable[[str], None] = no_lap) -> Transitions:
        """Take a round, with `policy`'s exploration or, where it is None, uniformly at random: [n] rows.

        `lap` is told when what was to be waited for is there, and when it has been dealt with.

        Raises:
            TrainingError: as `Crew.arrived` says; all is as it was before the round.
        """

    def begin(self) -> None:
        """The first episodes are to begin: those which were `start`ed, or others, with settings that have changed.

        Raises:
            TrainingError: an environment raised or did not answer.
        """
        if self._fresh:
            self._fresh = False
            return
        for index in range(len(self._crew)):
            self._crew.send(index, Order(0, uniform=True, policy=None, settings=self.environments.changed))
        for index, made in self._all_rounds():
            self._crew.took(index, made)

    def _send(self, index: int, steps: int, policy: Policy | None) -> None:
        """Order so many steps of each environment, with a policy's exploration or, without one, at random."""
        acting = (None, None) if policy is None else (policy.parameters, policy.normalizer)
        order = Order(steps, policy is None, acting[0], self.environments.changed, acting[1])
        self._seen[index] = None if policy is None or self._counts is None else self._counts.count
        self._crew.send(index, order)

    def _took(self, index: int, made: Round) -> None:
        seen = self._seen.pop(index)
        begun = 0 if self._counts is None else self._counts.begun
        self._crew.took(index, made, None if seen is None else begun - seen)

    def measured(self) -> dict[str, float]:
        """What the collectors did since the last call, as a record has it."""
        return self._crew.tally.measured()

    def given_up(self) -> int:
        """Episodes given up since the last call, because a collector that was made again could not enact them again."""
        count, self._crew.given_up = self._crew.given_up, 0
        return count

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `go_on` needs, as JSON can hold it and as arrays, beside the environments' own state."""
        each = [json.loads(state) for state in self._crew.states]
        lag = self._crew.tally.state()
        return {"each": each, "lag": lag}, {
            name: np.concatenate([one[name] for one in self._crew.arrays]) for name in ARRAYS
        }

    def go_on(self, state: Mapping[str, Any], arrays: Arrays, seconds: float) -> Mapping[int, str]:
        """Start the processes where the collectors of a `state` were, whose episodes are enacted again.

        Returns:
            For each environment that does not show the same again: why; a new episode has been started there.

        Raises:
            UsageError, TrainingError, ValueError, TypeError, KeyError: as `Crew.start` says.
        """
        self.environments.restore(state["environments"])
        self._crew.tally.restore(state["collector"]["lag"])
        each: list[Any] = state["collector"]["each"]
        if len(each) != len(self._crew):
            raise ValueError(f"{len(each)} states of {len(self._crew)} collectors")
        parts = {name: np.split(arrays[name], len(self._crew)) for name in ARRAYS}
        memories = [
            self._crew.memory(index, one, {name: parts[name][index] for name in ARRAYS}, seconds)
            for index, one in enumerate(each)
        ]
        rounds = enumerate(self._crew.start(memories))
        return {
            index * self._each + number: reason for index, made in rounds for number, reason in made.given_up.items()
        }

    def close(self) -> None:
        """End the processes."""
        self._crew.close()

    def _all_rounds(self) -> Iterable[tuple[int, Round]]:
        """One of each collector, in their order."""
        rounds: dict[int, Round] = {}
        while len(rounds) < len(self._crew):
            rounds |= self._crew.arrived()
        return sorted(rounds.items())


class InStep(Collectors):
    """All collectors take the same steps with the same policy, and nobody goes on before all have delivered."""

    def __init__(self, environments: Elsewhere, crew: Crew, rhythm: Rhythm) -> None:
        super().__init__(environments, crew, rhythm)
        self._ordered = 0
        """Steps of each environment in the round that is under way."""

    def ahead(self, policy: Policy | None) -> None:
        """Let the next round begin, with `policy`'s exploration or, where it is None, uniformly at random."""
        if self._ordered:
            return
        steps, count = self.steps, self.environments.count
        self._ordered = -(-(self.rhythm.next(steps) - steps) // count)
        for index in range(len(self._crew)):
            self._send(index, self._ordered, policy)

    def step(self, policy: Policy | None, lap: Callable[[str], None] = no_lap) -> Transitions:
        """Take the round that was begun `ahead`, or one with this policy: [L W N] rows."""
        self.ahead(policy)
        rounds = [made for _, made in self._all_rounds()]
        lap("environment")
        for index, made in enumerate(rounds):
            self._took(index, made)
        shape = self._ordered, self._each
        records = np.concatenate([made.records.reshape(*shape, -1) for made in rounds], axis=1)
        episodes = np.concatenate([made.episodes.reshape(shape) for made in rounds], axis=1)
        self._note(rounds)
        self.environments.steps += self._ordered * self.environments.count
        self._ordered = 0
        rows = records.reshape(-1, records.shape[-1])
        transitions = self.environments.spec.layout.unpacked(rows, episodes.reshape(-1))
        lap("acting")
        return transitions

    def _note(self, rounds: Sequence[Round]) -> None:
        """The episodes that have ended, by step, then environment."""
        ended = [(one.step, index, one) for index, made in enumerate(rounds) for one in made.finished]
        count, before = self.environments.count, self.steps
        for step, _, one in sorted(ended, key=lambda each: each[:2]):
            self._episodes.append(_episode(before + (step + 1) * count, one))


class Free(Collectors):
    """Whoever is ready delivers, and goes on."""

    def __init__(self, environments: Elsewhere, crew: Crew, rhythm: Rhythm) -> None:
        super().__init__(environments, crew, rhythm)
        self._waiting: deque[tuple[int, Round]] = deque()
        """Rounds that have arrived, and are to be taken over."""

    @property
    def _ordered(self) -> int:
        """Steps of each environment in a round: as many as in step, if nothing else cuts it short."""
        return max(1, self.rhythm.every[0] // self.environments.count)

    def step(self, policy: Policy | None, lap: Callable[[str], None] = no_lap) -> Transitions:
        """Take the first round that is there, [L N] rows, and let its collector go on with this policy."""
        for index in range(len(self._crew)):
            if index not in self._seen:  # at the beginning, and nowhere else
                self._send(index, self._ordered, policy)
        while not self._waiting:
            self._waiting.extend(self._crew.arrived().items())
        lap("environment")
        index, made = self._waiting.popleft()
        self._took(index, made)
        self._send(index, self._ordered, policy)
        before = self.steps
        for one in made.finished:
            self._episodes.append(_episode(before + (one.step + 1) * self._each, one))
        self.environments.steps += len(made.records)
        transitions = self.environments.spec.layout.unpacked(made.records, made.episodes)
        lap("acting")
        return transitions


def _episode(step: int, one: Finished) -> Episode:
    return Episode(step, one.total_reward, one.length, one.terminated, dict(one.info))
