"""What passes between a run and its collectors: packed arrays and plain data, whatever carries them.

A collector is N of the run's environments and a policy in NumPy, in a process of its own. It is sent a `Beginning`,
and answers with a `Round` of no steps, which says where it is. Then each `Order` is answered with a `Round` of as many
steps as were ordered. A round ends with all that the collector is to go on from, so that what was sent last is enough
to make it again elsewhere: nothing is kept that only its process knows.

A `Place` is where collectors run; processes of this machine are one, `polyak.experience.processes`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from polyak.environments.worker import Fault
from polyak.experience.exploration import Manner
from polyak.policies.normalizer import Normalizer
from polyak.types import Arrays, Float


class Head(NamedTuple):
    """What makes a policy of parameters."""

    kind: Any
    """As `Policy.kind`."""
    exploration_noise: float
    body: Any
    """Its layers, as plain records; None: dense ones, with ReLU between them."""


class Memory(NamedTuple):
    """Where a collector goes on."""

    state: bytes
    """JSON: `collector` and `environments`, each as its own `state` says it."""
    arrays: Arrays
    """`exploration_noise` [N, A] and `observation` [N, O]."""
    records: Float
    """[T, N, 2 O + A + 3]: what replay holds of the running episodes, the newest last, aligned there."""
    held: NDArray[np.int64]
    """[N]: how many of these each environment's episode has."""
    seconds: float
    """The longest that enacting them again may take."""


class Beginning(NamedTuple):
    """All that a collector is made of."""

    number: int
    """Which of W collectors, from 0."""
    first: int
    """The number of its first environment among all W N."""
    envs: int
    """N"""
    among: int
    """W N"""
    seed: int
    """The run's: each environment's streams follow from it and from the environment's number."""
    spec: str
    """What its environments must show and take, as JSON."""
    make: bytes
    """What makes its environments, `packed`: called with `count`, `first`, `generator_of` and `limit`."""
    head: Head
    manner: Manner
    """Of exploration noise."""
    step_timeout: float | None
    """Seconds for one answer of the environments."""
    memory: Memory | None = None
    """None: it begins its first episodes."""

    @property
    def title(self) -> str:
        """What a message calls it."""
        last = self.first + self.envs - 1
        these = f"environment {last}" if self.envs == 1 else f"environments {self.first} to {last}"
        return f"collector {self.number} ({these})"


class Order(NamedTuple):
    """What a collector is to do."""

    steps: int
    """In each of its environments; 0: begin the first episodes once more, with the `settings`."""
    uniform: bool
    """At random, without a policy."""
    policy: Arrays | None
    """The parameters to act with; None: those that it has."""
    settings: Mapping[str, Any]
    """Of the environments, those that have changed; each next episode is begun with them."""
    normalizer: Normalizer | None = None
    """What a policy that comes along sees observations through."""


class Finished(NamedTuple):
    """An episode that ended in a round."""

    step: int
    """In which of the round's steps, from 0."""
    total_reward: float
    length: int
    terminated: bool
    info: Mapping[str, float]


class Round(NamedTuple):
    """What L steps of N environments gave, and where they stand now."""

    records: Float
    """[L N, 2 O + A + 3], packed as replay has them: by step, then environment."""
    episodes: NDArray[np.int32]
    """[L N]: the numbers of their episodes."""
    finished: Sequence[Finished]
    """By step, then environment."""
    state: bytes
    """As `Memory.state`."""
    arrays: Arrays
    """As `Memory.arrays`."""
    seconds: Sequence[float]
    """Spent waiting for the order, acting, and in the environments."""
    given_up: Mapping[int, str]
    """By environment, from 0 to N - 1: why its episode could not be enacted again; another was begun there."""
    about: Mapping[str, Any]
    """In the first round of a process: `spec`, as JSON, and `processor`, its kind."""


Answer = Round | Fault
"""What a collector sends back; after a `Fault` it is of no use any more."""


class Lost(Exception):  # noqa: N818 - named for what happened
    """A collector is gone, and with it its answer; the message says how it ended."""

    def __init__(self, how: str, *, by_itself: bool = True) -> None:
        super().__init__(how)
        self.by_itself = by_itself
        """Whether what it did may be why: its process ended, where its machine did not."""


class Seat(Protocol):
    """One collector, as the run's process sees it."""

    def send(self, order: Order) -> None:
        """Give it an order; where it is gone, `receive` will say so."""
        ...

    def receive(self) -> Answer:
        """The answer that the place has said is `ready`.

        Raises:
            Lost: there will be none.
        """
        ...

    def kill(self) -> None:
        """End it at once, whatever it does."""
        ...


class Place(Protocol):
    """Where collectors run."""

    name: str
    """In a few words, for the view of the run."""

    def start(self, beginning: Beginning) -> Seat:
        """Start one, without waiting for its first round.

        Raises:
            UsageError: it cannot be started.
        """
        ...

    def ready(self, seats: Sequence[Any], seconds: float | None) -> Sequence[Any]:
        """Wait until some of these seats, which all owe an answer, have it or are gone; which, if any are in time."""
        ...

    def end(self, seats: Sequence[Any], seconds: float) -> None:
        """Let collectors close their environments and end; those that have not in so many seconds are killed."""
        ...
