"""Collectors on a cluster of Ray: each is an actor, which Ray places on a node with room for it.

Ray carries orders and rounds, and tells of actors whose process or node has died. It starts none of them again by
itself: where one goes on is known to the run alone (`Crew`).
"""

import signal
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

from polyak.experience.collecting import Collecting, answered, begun
from polyak.experience.rounds import Answer, Beginning, Lost, Order
from polyak.types import Arrays

ROOM_SECONDS = 20.0
"""For an actor to be placed: afterwards a new run says that it waits, and one that is made again asks for nothing."""
LOOK_SECONDS = 1.0
"""Between two looks at who has been placed."""
PUT_BYTES = 100_000
"""From which on a policy is stored once for all who are sent it; Ray sends less than that along with the order."""


class Acting:
    """What an actor does: it is `begun`, and answers orders until it is closed."""

    def here(self) -> None:
        """It has been placed, and its process runs."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's to note

    def begin(self, beginning: Beginning) -> Answer:
        """The round of no steps, or what went wrong."""
        memory = beginning.memory
        if memory is not None:  # what Ray has brought can be read alone
            arrays = {name: array.copy() for name, array in memory.arrays.items()}
            beginning = beginning._replace(memory=memory._replace(arrays=arrays))
        self._collecting, answer = begun(beginning)
        return answer

    def answer(self, order: Order, policy: Arrays | None) -> Answer:
        """What an order is answered with; `policy` is the order's, where it does not hold it itself."""
        if policy is not None:
            order = order._replace(policy=policy)
        return answered(cast(Collecting, self._collecting), order)

    def close(self) -> None:
        """Close the environments."""
        if self._collecting is not None:
            self._collecting.close()


class Actor:
    """One of them, as the run's process knows it."""

    def __init__(self, ray: Any, beginning: Beginning, share: float, stored: "Stored") -> None:
        """Ask Ray for one, which asks for that `share` of a processor."""
        self._ray, self._beginning, self._stored = ray, beginning, stored
        self.placed = False
        """Whether it is known to have found a node."""
        self.replaces = False
        """Whether the run has had this collector before."""
        self._make(share)

    def _make(self, share: float) -> None:
        kind = self._ray.remote(num_cpus=share, max_restarts=0, scheduling_strategy="SPREAD")(Acting)
        self.asked, self._handle = time.monotonic(), kind.remote()
        self._here, self.owed = self._handle.here.remote(), self._handle.begin.remote(self._beginning)

    def look(self) -> bool:
        """Whether it has been placed by now, or does not wait for it any more."""
        self.placed = self.placed or bool(self._ray.wait([self._here], timeout=0)[0])
        return self.placed

    def squeeze(self) -> None:
        """Take whatever place there is, since none has the room that was asked for."""
        self.kill()
        self._make(0.0)

    def send(self, order: Order) -> None:
        """Where the actor is gone, `receive` will say so."""
        policy = self._stored(order.policy)
        if policy is not order.policy:
            self.owed = self._handle.answer.remote(order._replace(policy=None), policy)
        else:
            self.owed = self._handle.answer.remote(order, None)

    def receive(self) -> Answer:
        """The answer that is there.

        Raises:
            Lost: there will be none.
        """
        try:
            answer: Answer = self._ray.get(self.owed)
        except self._ray.exceptions.RayError as error:
            raise _lost(self._ray, error) from error
        return answer

    def kill(self) -> None:
        """At once, whatever it does; an answer that is on its way reaches nobody."""
        self._ray.kill(self._handle)

    def leave(self) -> Any:
        """Let it close its environments; what becomes ready once it has."""
        return self._handle.close.remote()


def _lost(ray: Any, error: Exception) -> Lost:
    told = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.ActorDiedError) and "node has died" in told:
        return Lost("its node died", by_itself=False)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return Lost("Ray ended it because its node was out of memory")
    if isinstance(error, ray.exceptions.RayActorError):
        return Lost("its process ended")
    return Lost(f"{type(error).__name__}: {told[:200]}", by_itself=False)


class Stored:
    """A policy that goes to all of them, put once where each fetches it."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._last: tuple[Arrays, Any] | None = None

    def __call__(self, policy: Arrays | None) -> Any:
        """What stands for it in a call of an actor's; itself where it is small."""
        if policy is None or sum(each.nbytes for each in policy.values()) < PUT_BYTES:
            return policy
        if self._last is None or self._last[0] is not policy:
            self._last = policy, self._ray.put(policy)
        return self._last[1]


class Actors:
    """Places for collectors on a cluster that this process has joined."""

    def __init__(self, ray: Any, name: str, collectors: int) -> None:
        """`ray` is the module, `name` the cluster's, for so many collectors."""
        self.name = name
        self.share = share_of(collectors, (node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]))
        """Of a processor, what each asks for."""
        self._ray, self._stored = ray, Stored(ray)
        self._started, self._warned = set[int](), False

    def start(self, beginning: Beginning) -> Actor:
        """Ask Ray for one."""
        actor = Actor(self._ray, beginning, self.share, self._stored)
        if beginning.number in self._started:
            actor.replaces = True
        self._started.add(beginning.number)
        return actor

    def ready(self, seats: Sequence[Actor], seconds: float | None) -> list[Actor]:
        """Those whose answer is there, or will not come, once there is one."""
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            unplaced = [seat for seat in seats if not seat.look()]
            found = self._found(seats, min(left, LOOK_SECONDS) if unplaced else left)
            if found or left <= 0:
                return found
            for seat in unplaced:
                if time.monotonic() - seat.asked > ROOM_SECONDS:
                    self._make_room(seat)

    def _found(self, seats: Sequence[Actor], seconds: float) -> list[Actor]:
        owed = {seat.owed: seat for seat in seats}
        timeout = None if seconds == float("inf") else seconds
        first, rest = self._ray.wait(list(owed), timeout=timeout)
        more: list[Any] = self._ray.wait(rest, num_returns=len(rest), timeout=0)[0] if first and rest else []
        return [owed[each] for each in [*first, *more]]

    def _make_room(self, seat: Actor) -> None:
        """Nobody has had room for a collector: let the run wait for it, unless it has worked already."""
        if seat.replaces:
            seat.squeeze()
        elif not self._warned:
            self._warned = True
            with suppress(Warning):  # where warnings are errors, too
                warnings.warn(
                    f"collectors wait for room on {self.name}, where each asks for {self.share:g} processors",
                    stacklevel=2,
                )

    def end(self, seats: Sequence[Actor], seconds: float) -> None:
        """Let all of them close their environments, and end them then, or after so many seconds."""
        leaving = [seat.leave() for seat in seats if seat.look()]
        if leaving and seconds > 0:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=seconds)
        for seat in seats:
            seat.kill()


def share_of(collectors: int, processors: Iterable[float]) -> float:
    """Of a processor, what each collector asks for: one, or less where nodes with so many have no room for them all.

    Then it is the largest share with which they have: what Ray counts in is a ten-thousandth of a processor.
    """
    nodes = [each for each in processors if each > 0]
    shares = {min(10_000, int(10_000 * each / count)) for each in {*nodes} for count in range(1, collectors + 1)}
    for share in sorted(shares, reverse=True):
        if sum(int(10_000 * each) // share for each in nodes) >= collectors:
            return share / 10_000
    return 1.0  # there is no node yet, or thousands for each
