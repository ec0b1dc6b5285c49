"""A run's collectors: started, given orders, and replaced where they are lost, so that the run does not notice."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from polyak.environments.worker import Fault
from polyak.environments.workers import CLOSING_SECONDS, SECONDS_OF_THE_LOST
from polyak.errors import TrainingError, UsageError
from polyak.experience.reenactment import OfEpisodes
from polyak.experience.replay import Replay
from polyak.experience.rounds import Beginning, Lost, Memory, Order, Place, Round, Seat
from polyak.experience.tally import Tally
from polyak.types import Arrays

AGAIN_SECONDS = 600.0
"""The longest that the running episodes of a collector that was lost may take to be enacted again."""


class Crew:
    """W collectors in a place, each with the state that it would be made again from."""

    def __init__(self, place: Place, beginnings: Sequence[Beginning], states: list[bytes], replay: Replay) -> None:
        """Know how each begins; `states` [W] are kept up to date, and `replay` holds what their episodes have seen."""
        self.place, self.states, self._replay = place, states, replay
        self.arrays: list[Arrays] = []
        """[W]: with `states`, where each collector stands."""
        self.given_up = 0
        """Episodes given up, because a collector that was made again could not enact them again."""
        self.tally = Tally(len(beginnings))
        self.processors = set[str]()
        """The kinds that collectors have computed on."""
        self._beginnings = beginnings
        self._seats: list[Seat] = []
        self._orders: dict[int, Order] = {}
        """Those that are not answered yet."""
        self._deadlines: dict[int, float] = {}
        self._policies: dict[int, Arrays] = {}
        """What each has to act with."""
        self._deaths = [0] * len(beginnings)
        """Of each since its last round, but for those of its machine."""
        self._hangs = False

    def __len__(self) -> int:
        return len(self._beginnings)

    def start(self, memories: Sequence[Memory] | None = None) -> list[Round]:
        """Start all of them, where they are to go on if they are; their first rounds.

        Raises:
            UsageError: they cannot be started, or make no environments, or others than this process.
            TrainingError: an environment raised or did not answer, or one of their processes ended.
            ValueError, TypeError, KeyError: where one is to go on makes no sense.
        """
        for each, memory in zip(self._beginnings, memories or [None] * len(self), strict=True):
            self._seats.append(self.place.start(each._replace(memory=memory)))
        rounds = list(map(self._begun, range(len(self))))
        self.states[:], self.arrays = [each.state for each in rounds], [each.arrays for each in rounds]
        return rounds

    def memory(self, index: int, state: Mapping[str, Any], arrays: Arrays, seconds: float) -> Memory:
        """Where collector `index` goes on, from its state.

        Raises:
            ValueError, TypeError, KeyError: this is none.
        """
        past = OfEpisodes.found(self._replay, [int(each) for each in state["collector"]["episode_numbers"]])
        return Memory(json.dumps(state).encode(), arrays, past.records, past.held, seconds)

    def send(self, index: int, order: Order) -> None:
        """Give a collector an order, which it is to answer; the policy goes with it where it has another."""
        self._orders[index] = order
        self._send(index)

    def _send(self, index: int) -> None:
        order = self._orders[index]
        if order.policy is not None and order.policy is self._policies.get(index):
            order = order._replace(policy=None, normalizer=None)
        elif order.policy is not None:
            self._policies[index] = order.policy
        limit = self._beginnings[index].step_timeout
        if limit is not None:
            self._deadlines[index] = time.monotonic() + (order.steps + 1) * limit
        self._seats[index].send(order)
        self.tally.ordered(order)

    def arrived(self) -> dict[int, Round]:
        """Wait for one of the rounds that were ordered, or several; a collector that is lost is made again meanwhile.

        Raises:
            TrainingError: an environment is at fault, or a collector was lost twice at the same place.
        """
        owing = {id(self._seats[index]): index for index in self._orders}
        ready = self.place.ready([self._seats[index] for index in self._orders], self._patience())
        rounds, lost = dict[int, Round](), {} if ready else self._late()
        for seat in ready:
            index = owing[id(seat)]
            try:
                rounds[index] = self._received(index)
                del self._orders[index]
            except Lost as gone:
                lost[index] = gone
        while lost:
            lost = self._made_again(lost)
        return rounds

    def took(self, index: int, made: Round, lag: int | None = None) -> None:
        """A round has been taken over: from now on, the collector would be made again from its end.

        Its policy was `lag` updates behind; None: there was none.
        """
        self.tally.arrived(index, made, lag)
        self.states[index], self.arrays[index], self._deaths[index] = made.state, made.arrays, 0

    def _received(self, index: int) -> Round:
        answer = self._seats[index].receive()
        if isinstance(answer, Fault):
            raise answer.raised()
        return answer

    def _begun(self, index: int) -> Round:
        try:
            return self._first(index)
        except Lost as lost:
            raise TrainingError(f"{self._beginnings[index].title} did not begin: {lost}") from lost

    def _first(self, index: int) -> Round:
        self.place.ready([self._seats[index]], None)
        made = self._received(index)
        self._require_alike(index, made)
        self.processors.add(made.about["processor"])
        return made

    def _require_alike(self, index: int, made: Round) -> None:
        ours, theirs = self._beginnings[index].spec, made.about["spec"]
        if theirs != ours:
            raise UsageError(
                f"{self._beginnings[index].title} makes environments with other observations or actions than this "
                f"process: {theirs} instead of {ours}"
            )

    def _made_again(self, lost: Mapping[int, Lost]) -> dict[int, Lost]:
        """Make collectors again from their last states, side by side, and give them the orders they have not answered.

        Returns:
            Those of them that were lost once more.

        Raises:
            TrainingError: one was lost by itself a second time since its last round; or an environment is at fault.
        """
        for index, gone in lost.items():
            self._require_accident(index, gone)
            self._seats[index].kill()
            memory = self.memory(index, json.loads(self.states[index]), self.arrays[index], AGAIN_SECONDS)
            self._seats[index] = self.place.start(self._beginnings[index]._replace(memory=memory))
            self._policies.pop(index, None)
        again = dict[int, Lost]()
        for index in lost:
            try:
                made = self._first(index)
            except Lost as gone:
                again[index] = gone
                continue
            self.states[index], self.arrays[index] = made.state, made.arrays
            self.given_up += len(made.given_up)
            self.tally.lost()
            self._send(index)
        return again

    def _require_accident(self, index: int, lost: Lost) -> None:
        """Check that a collector is not lost again and again for something that it does."""
        self._deaths[index] += lost.by_itself
        if self._deaths[index] > 1:
            raise TrainingError(
                f"{self._beginnings[index].title} was lost twice at the same place, the second time after its episodes "
                f"had been enacted again: {lost}"
            ) from lost

    def _patience(self) -> float | None:
        """Seconds until the first of those that owe a round is late."""
        late = [self._deadlines[index] for index in self._orders if index in self._deadlines]
        return max(min(late) - time.monotonic(), 0.0) if late else None

    def _late(self) -> dict[int, Lost]:
        """Those that should have answered by now, and will not be waited for."""
        now = time.monotonic()
        late = [index for index in self._orders if self._deadlines.get(index, now + 1) <= now]
        self._hangs |= bool(late)
        return {
            index: Lost(
                "it did not answer within the time limit (step_timeout) of a round's steps: an environment hangs in "
                "code that does not come back to Python, or its machine does"
            )
            for index in late
        }

    def close(self) -> None:
        """End all of them; those that owe a round are not waited for once one has hung."""
        seats, self._seats = self._seats, []
        self.place.end(seats, SECONDS_OF_THE_LOST if self._hangs else CLOSING_SECONDS)
