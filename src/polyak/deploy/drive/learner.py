"""What learns while a control loop drives: a run like any other, in a process of its own, fed through a pipe."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from polyak.deploy.drive.messages import Beginning, Done, Newer, Ready, State, Taken
from polyak.environments.elsewhere import Elsewhere
from polyak.environments.worker import fault_of
from polyak.errors import Interrupted, UsageError
from polyak.experience.collector import Episode
from polyak.experience.remote import ARRAYS, Remote
from polyak.policies.policy import Policy
from polyak.run.changes import Changes
from polyak.run.folder import Run
from polyak.run.plan import planned
from polyak.run.progress import Observer, Progress
from polyak.run.resume import Asked, resume
from polyak.run.start import train
from polyak.settings.options import options_of
from polyak.system.stopwatch import no_lap
from polyak.types import Arrays, Transitions

LEARNER = "the learner"
"""What a message calls it."""
NICE = 10
"""How far behind the loop the learner stands where both want the same core."""
GIVEN_UP = "a control loop's episode is not enacted again"


class Driven(Elsewhere):
    """The loop's environment, as the learner's process knows it."""

    def __init__(self, of: Beginning) -> None:
        super().__init__(1, of.spec, of.traits, b"", SimpleNamespace())
        self.now: Mapping[str, Any] = of.state.environments
        """Its newest state, but for the steps: those that were dropped are none of the run's."""

    def set(self, name: str, value: Any) -> None:
        """Refuse."""
        raise UsageError(f"the environment's setting {name!r} cannot be changed while a control loop drives it")

    def state(self) -> dict[str, Any]:
        """As an environment of this process would have it, so that the run may go on without a control loop."""
        return {**self.now, "steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()`."""
        super().restore({"steps": state["steps"]})
        self.now = state


class Relay(Observer):
    """Keeps what the run tells of itself."""

    progress: Progress | None = None
    """The run's, once it has started."""

    def started(self, progress: Progress) -> None:
        """Keep it."""
        self.progress = progress


class Fed(Remote):
    """The control loop's collector, as the learner's run sees it."""

    inexact = (
        "a control loop's clock decides which policy acts at which step, so that the same seed would give other numbers"
    )

    def __init__(self, of: Beginning, pipe: Connection, relay: Relay) -> None:
        environments = Driven(of)
        super().__init__(environments)
        self.described = {"driven": {"rate": of.rate}}
        self._driven, self._pipe, self._relay = environments, pipe, relay
        self._state, self._stood = of.state, None
        self._sent: Policy | None = None
        self._dropped = 0

    def step(self, policy: Policy | None, lap: Callable[[str], None] = no_lap) -> Transitions:
        """Send the policy, if it is another, and wait for the next steps: [L] rows.

        Raises:
            Interrupted: there are no more, because the loop has ended.
        """
        self._answer(policy)
        taken = self._received()
        lap("environment")
        if taken is None:
            raise Interrupted(signal.SIGINT, str(self._folder))
        before = self.steps
        self.environments.steps += len(taken.records)
        self._state, self._driven.now = taken.state, taken.state.environments
        self._dropped += taken.dropped
        for one in taken.finished:
            self._episodes.append(
                Episode(before + one.step + 1, one.total_reward, one.length, one.terminated, dict(one.info))
            )
        transitions = self.environments.spec.layout.unpacked(taken.records, taken.episodes)
        lap("acting")
        return transitions

    def _answer(self, policy: Policy | None) -> None:
        """Send a policy that is another than before; and with the first, that all is ready."""
        first = self._sent is None
        with suppress(OSError):  # nobody is there any more, which `_received` will say
            if policy is not None and policy is not self._sent:
                self._sent = policy
                self._pipe.send(Newer.of(0 if self._counts is None else self._counts.count, policy))
            if first:
                self._pipe.send(Ready(self._folder, self._stood, self.steps))

    @property
    def _folder(self) -> Path:
        return Path() if self._relay.progress is None else self._relay.progress.folder

    def _received(self) -> Taken | None:
        try:
            return self._pipe.recv()
        except (EOFError, OSError):  # the loop's process is gone
            return None

    def measured(self) -> dict[str, float]:
        """Steps whose transitions were dropped since the last record, where there were any."""
        dropped, self._dropped = self._dropped, 0
        return {"train/dropped": dropped} if dropped else {}

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """As a collector of this process would have it, so that the run may go on without a control loop."""
        return dict(self._state.collector), self._state.arrays

    def go_on(self, state: Mapping[str, Any], arrays: Arrays, seconds: float) -> Mapping[int, str]:
        """Let the loop begin where the run's collector stood, with an episode of its own."""
        self._driven.restore(state["environments"])
        kept = {name: arrays[name] for name in ARRAYS}
        self._state = self._stood = State(state["collector"], state["environments"], kept)
        return {0: GIVEN_UP} if any(state["collector"]["lengths"]) else {}


def serve(pipe: Connection, of: Beginning) -> None:
    """What the learner's process does, until the loop has ended, or its process is gone."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # so that a terminal's Ctrl-C is the loop's to note alone
        os.nice(NICE)
    relay = Relay()
    answer: Any
    try:
        with suppress(Interrupted):
            _learn(of, Fed(of, pipe, relay), relay)
        told = relay.progress or Progress("", {}, of.run, 0)
        answer = Done(told.outcome, told.steps, told.updates)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the loop goes on, and is told
        answer = fault_of(LEARNER, error)
    with suppress(OSError):
        pipe.send(answer)


def _learn(of: Beginning, fed: Fed, relay: Relay) -> None:
    environment: Any = Named(of.environment) if of.is_callable else of.environment
    if of.goes_on:
        given = environment if of.is_callable else None
        resume(Asked(Run(of.run), Changes({}, {}, of.steps), given, 0.0, fed=fed), relay)
        return
    options = options_of({**of.options, "from_run": of.run})
    settings: dict[str, Any] = {} if of.steps is None else {"steps": of.steps}
    train(planned(str(Run(of.run).settings["algorithm"]), environment, None, options, settings), relay, fed)


class Named:
    """Stands in for a callable that makes the loop's environment, by its name: none is made here."""

    def __init__(self, name: str) -> None:
        self.__qualname__ = name

    def __call__(self) -> Any:
        """Refuse."""
        raise UsageError(f"{self.__qualname__} is driven by a control loop, and made there alone")
