"""The learner, as the control loop sees it: it is sent steps and sends policies, and is never waited for."""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from polyak.deploy.drive.control import Learning
from polyak.deploy.drive.learner import serve
from polyak.deploy.drive.messages import Beginning, Done, Newer, Ready
from polyak.deploy.drive.outbox import Outbox
from polyak.environments.worker import Fault
from polyak.environments.workers import WORKER, require_one_who_may_start, start_method
from polyak.errors import UsageError
from polyak.experience.collector import Collector, Episode
from polyak.experience.processes import how_it_ended
from polyak.policies.policy import Policy
from polyak.system.foreign import message_of
from polyak.system.signals import start_deaf
from polyak.types import Transitions

ENDING_SECONDS = 5.0
"""How long a process that has ended may take to be gone."""
LOOKING_SECONDS = 0.2
"""How often it is looked whether a signal came, while the learner begins."""
OTHERWISE = "or leave --learn out"


class Link(Learning):
    """A learner's process, at the other end of a pipe, with a thread for each direction."""

    def __init__(self, of: Beginning, bound: int, told: Callable[[str], None]) -> None:
        """Start it; of the steps that it has not taken yet, `bound` wait at most. `told` is told if it is lost.

        Raises:
            UsageError: the system refuses.
        """
        require_one_who_may_start("a learner is asked for", OTHERWISE)
        context: Any = multiprocessing.get_context(start_method())
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, of), name=f"{WORKER}-learner", daemon=True)
        try:
            self._process.start()
        except OSError as error:
            raise UsageError(f"the system refuses the learner's process ({message_of(error)}), {OTHERWISE}") from error
        finally:
            theirs.close()
        self._bound, self._told = bound, told
        self._policy: Policy | None = None
        self.policies = self.updates = 0
        """Policies that came, and the updates that the newest has seen."""
        self.done: Done | None = None
        self.lost = ""
        """How the learner ended, where it was before the loop did."""

    # Beginning

    def ready(self, signals: list[int]) -> Ready | None:
        """Wait until the learner is; None where a signal comes first.

        Raises:
            UsageError, TrainingError: it cannot begin, or there is nothing left to learn.
        """
        while not signals:
            if not self._pipe.poll(LOOKING_SECONDS):
                continue
            message = self._receive()
            if isinstance(message, Ready):
                return message
            if isinstance(message, Done):
                raise UsageError(message.said or "the learner's run has ended")
            if isinstance(message, Fault):
                raise message.raised()
            if message is None:
                raise UsageError(f"the learner did not begin: {self.lost}")
        return None

    def begin(self, collector: Collector, every: int) -> None:
        """Send the steps of this collector, so many at a time."""
        self._outbox = Outbox(collector, every, self._bound)
        self._listening = threading.Thread(target=self._listen, name="polyak-listening", daemon=True)
        start_deaf(self._listening)
        start_deaf(threading.Thread(target=self._send, name="polyak-sending", daemon=True))

    # What the loop calls

    def newest(self) -> Policy:
        """The newest policy that has come."""
        if self._policy is None:
            raise RuntimeError("the learner has sent no policy")
        return self._policy

    def took(self, transitions: Transitions, episodes: Sequence[Episode]) -> None:
        """Keep a step, and let those that are enough for the learner be sent, unless too many wait already."""
        if (self.lost or self.done) and not self._outbox.closed:
            self._outbox.closed = True
            why = f"is lost: {self.lost}" if self.done is None else f"has ended: {self.done.said}"
            self._told(f"the learner {why}; the loop goes on with its last policy, of {self.updates:,} updates")
        self._outbox.add(transitions, episodes)

    # Its threads

    def _send(self) -> None:
        while True:
            first = self._outbox.first()
            with suppress(OSError, ValueError):  # where it is gone, `_listen` will say so
                self._pipe.send(first)
            self._outbox.sent()
            if first is None:
                return

    def _listen(self) -> None:
        while self.done is None and not self.lost:
            self._receive()

    def _receive(self) -> Any:
        """Take the next message over; None where there will be none any more."""
        try:
            message: Any = self._pipe.recv()
        except (EOFError, OSError):
            message = None
        if isinstance(message, Newer):
            self._policy, self.updates = message.policy, message.updates
            self.policies += 1
        elif isinstance(message, Done):
            self.done, self.updates = message, message.updates
        elif isinstance(message, Fault):
            self.lost = str(message)
        elif message is None:
            self._process.join(ENDING_SECONDS)
            self.lost = f"its process ended ({how_it_ended(self._process.exitcode)})"
        return message

    # The end

    def finish(self) -> None:
        """Let the learner take over what it has been sent, save everything and end; wait for that."""
        self._outbox.end()
        self._listening.join()
        self._process.join(ENDING_SECONDS)

    def learning(self, ready: Ready) -> dict[str, Any]:
        """What was learned, as a report has it."""
        return {
            "folder": str(ready.folder),
            "steps": ready.steps + self._outbox.kept if self.done is None else self.done.steps,
            "updates": self.updates,
            "policies": self.policies,
            "dropped": self._outbox.dropped,
            "lost": self.lost,
        }

    def close(self) -> None:
        """End the process at once, unless it has ended."""
        self._process.kill()
        self._process.join(ENDING_SECONDS)
