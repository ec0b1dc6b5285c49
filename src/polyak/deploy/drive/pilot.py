"""Who acts in a control loop: a policy where it is in time, and what was asked for instead where it is late."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from polyak.deploy.drive.clock import Clock
from polyak.deploy.drive.schedule import Schedule
from polyak.deploy.drive.thinking import Thinking
from polyak.errors import NonFiniteError
from polyak.policies.policy import NOT_FINITE, Policy, clipped
from polyak.types import Float

WhenLate = Literal["repeat", "middle", "stop"]
"""What a late policy is answered with: the last action once more, the middle of the action box, or the end."""
Acting = Callable[[Policy, Float, Float, Float | None], Float]
"""An action of a policy, normalized: observation [1, O], standard normal noise [1, A] -> [1, A]."""


class TooLate(Exception):  # noqa: N818 - named for what happened
    """The policy was late, and that is to be the end; nothing has been done to the environment."""


class Pilot:
    """Acts as a policy does where a collector steps (`explore`), when the schedule says.

    Before the first action of an episode, the last one is the middle of the box: nothing is known of where a reset has
    left the actuators.
    """

    def __init__(
        self,
        newest: Callable[[], Policy],
        acting: Acting,
        thinking: Thinking,
        clock: Clock,
        schedule: Schedule,
        *,
        when_late: WhenLate = "repeat",
        most: Float | None = None,
    ) -> None:
        """Act with the `newest` policy; an action changes by at most `most` [A] a step, in normalized units."""
        self._newest, self._acting, self._thinking = newest, acting, thinking
        self._clock, self._schedule = clock, schedule
        self._when_late, self._most = when_late, most
        self._last: Float | None = None
        self.late = self.limited = 0
        """Steps to which the policy was late; steps whose action was held back by the limit of its rate."""

    def begin(self) -> None:
        """An episode has begun."""
        self._last = None

    def explore(self, observation: Float, noise: Float, spread: Float | None = None) -> Float:
        """The action of the next step, once it is due: [1, O], [1, A] -> [1, A] in [-1, 1]; as `Policy.explore`.

        Raises:
            TooLate: the policy was late, and that is the end.
            NonFiniteError: it computes a number that is not finite.
        """
        deadline = self._schedule.deadline(self._clock.now())
        policy = self._newest()
        self._thinking.ask(lambda: _finite(self._acting(policy, observation, noise, spread)))
        action = self._thinking.answer(deadline)
        last = np.zeros_like(noise) if self._last is None else self._last
        if action is None:
            self.late += 1
            if self._when_late == "stop":
                raise TooLate
            action = last if self._when_late == "repeat" else np.zeros_like(noise)
        else:
            self._clock.wait_until(self._schedule.due)
        self._last = self._held_back(action, last)
        return self._last

    def _held_back(self, action: Float, last: Float) -> Float:
        if self._most is None:
            return action
        held = clipped(action, last - self._most, last + self._most)
        self.limited += bool(np.any(held != action))
        return held


def _finite(action: Float) -> Float:
    if not np.isfinite(action).all():
        raise NonFiniteError(NOT_FINITE)
    return action
