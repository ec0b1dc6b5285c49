"""What a collector does in its own process, whatever carries its orders and rounds."""

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyak.environments.stepping import Environments
from polyak.environments.worker import fault_of, unpacked
from polyak.experience.collector import Collector
from polyak.experience.reenactment import OfEpisodes, brought_back
from polyak.experience.rounds import Answer, Beginning, Finished, Order, Round
from polyak.policies.policy import Policy
from polyak.system.randomness import Streams
from polyak.system.signals import time_limit
from polyak.system.threads import one_numpy_thread, processor
from polyak.types import Float


class Collecting:
    """Environments and a policy, and the round that is to be answered with next."""

    def __init__(self, beginning: Beginning) -> None:
        """Make the environments and begin their episodes, or go on with those that were running.

        Raises:
            UsageError: the environments cannot be made here.
            TrainingError: one raised, or did not answer.
            ValueError, TypeError, KeyError: where it is to go on makes no sense.
        """
        self.title = beginning.title
        self._beginning = beginning
        self._stack = ExitStack()
        try:
            self._environments = self._made()
            self._collector = self._put_together()
            given_up = self._begun()
        except BaseException:
            self.close()
            raise
        self._policy: Policy | None = None
        self._seconds = {"waiting": 0.0, "acting": 0.0, "environment": 0.0}
        self._last = time.perf_counter()
        about = {"spec": json.dumps(self._environments.spec.to_json()), "processor": processor()}
        self.first = self._round(*self._rows(0), [], given_up, about)

    def _made(self) -> Environments:
        of = self._beginning
        self._stack.enter_context(one_numpy_thread())
        environments: Environments = unpacked(of.make)(
            count=of.envs,
            first=of.first,
            generator_of=Streams(of.seed).environment,
            limit=self._stack.enter_context(time_limit(of.step_timeout)),
        )
        self._stack.callback(environments.close)
        self._stack.enter_context(environments.told_as(self._moment))
        return environments

    def _moment(self) -> str:
        steps = self._environments.steps // self._beginning.envs
        return f"in {self._beginning.title}, after {steps:,} steps of each there"

    def _put_together(self) -> Collector:
        of = self._beginning
        numbers, streams = range(of.first, of.first + of.envs), Streams(of.seed)
        return Collector(
            self._environments,
            list(map(streams.warm_up_of, numbers)),
            list(map(streams.exploration_of, numbers)),
            of.manner,
            first=of.first,
            among=of.among,
        )

    def _begun(self) -> Mapping[int, str]:
        memory = self._beginning.memory
        if memory is None:
            self._collector.begin()
            return {}
        past = OfEpisodes(memory.records, memory.held, self._environments.spec.layout)
        return brought_back(self._collector, json.loads(memory.state), memory.arrays, past, memory.seconds)

    def answered(self, order: Order) -> Round:
        """Carry an order out.

        Raises:
            TrainingError: an environment raised, did not answer, or returned what it must not.
        """
        self._lap("waiting")
        for name, value in order.settings.items():
            self._environments.set(name, value)
        if order.policy is not None:
            head, spec = self._beginning.head, self._environments.spec.seen
            through = {"body": head.body, "normalizer": order.normalizer}
            self._policy = Policy(order.policy, spec, head.kind, head.exploration_noise, **through)  # pyright: ignore[reportArgumentType]
        if order.steps == 0:
            self._collector.begin()
        acting = None if order.uniform else self._policy
        records, episodes = self._rows(order.steps)
        layout, finished = self._environments.spec.layout, list[Finished]()
        for step in range(order.steps):
            transitions = self._collector.step(acting, self._lap)
            layout.pack(transitions, records[step])
            episodes[step] = transitions.episode
            finished += [
                Finished(step, each.total_reward, each.length, each.terminated, each.info)
                for each in self._collector.finished()
            ]
        return self._round(records, episodes, finished, {}, {})

    def _rows(self, steps: int) -> tuple[Float, NDArray[np.int32]]:
        shape = steps, self._beginning.envs
        return np.empty((*shape, self._environments.spec.layout.width), np.float32), np.empty(shape, np.int32)

    def _round(
        self,
        records: Float,
        episodes: NDArray[np.int32],
        finished: list[Finished],
        given_up: Mapping[int, str],
        about: Mapping[str, Any],
    ) -> Round:
        counts, arrays = self._collector.state()
        state = json.dumps({"collector": counts, "environments": self._environments.state()}).encode()
        self._lap("acting")
        seconds, self._seconds = tuple(self._seconds.values()), dict.fromkeys(self._seconds, 0.0)
        rows = records.reshape(-1, records.shape[-1])
        return Round(rows, episodes.reshape(-1), finished, state, arrays, seconds, given_up, about)

    def _lap(self, part: str) -> None:
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now

    def close(self) -> None:
        """Close the environments."""
        self._stack.close()


def begun(beginning: Beginning) -> tuple[Collecting | None, Answer]:
    """A collector, and its first answer; or None, and what was raised instead."""
    try:
        collecting = Collecting(beginning)
    except BaseException as error:  # noqa: BLE001 - a stranger's code, whose fault is reported, even its exit
        return None, fault_of(beginning.title, error)
    return collecting, collecting.first


def answered(collecting: Collecting, order: Order) -> Answer:
    """What an order is answered with, whatever happens."""
    try:
        return collecting.answered(order)
    except BaseException as error:  # noqa: BLE001 - as above
        return fault_of(collecting.title, error)
