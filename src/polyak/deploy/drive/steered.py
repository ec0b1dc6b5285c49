"""An environment in a control loop: timed, watched over, and not begun anew once the loop is to end."""

import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from gymnasium import Wrapper

from polyak.deploy.drive.clock import Clock
from polyak.deploy.drive.schedule import Schedule

Ended = Literal["steps", "episodes", "late", "stop_on", "interrupted", "failed"]
"""What ended a control loop."""
StopOn = Callable[[Any, Any, float, dict[str, Any]], bool]
"""Asked after each step, of what the environment showed next, the action in its units, reward and info."""


class Ending:
    """What is to end a control loop."""

    def __init__(self, steps: int | None, episodes: int | None, signals: list[int]) -> None:
        """After so many steps or episodes, where there is a limit, or once there are `signals`."""
        self._steps, self._episodes, self._signals = steps, episodes, signals
        self.steps = self.episodes = 0
        """So far."""
        self.reason: Ended | None = None
        """What ended it otherwise."""

    def after(self, steps: int) -> None:
        """End after so many steps from the beginning."""
        self._steps = steps

    def now(self) -> Ended | None:
        """What ends it now, if anything does."""
        if self.reason is not None:
            return self.reason
        if self._signals:
            return "interrupted"
        if self._steps is not None and self.steps >= self._steps:
            return "steps"
        return "episodes" if self._episodes is not None and self.episodes >= self._episodes else None


class Steered(Wrapper[Any, Any, Any, Any]):
    """An environment whose steps are timed, and after each of which it is asked whether to stop."""

    def __init__(
        self, environment: Any, clock: Clock, schedule: Schedule, ending: Ending, stop_on: StopOn | None
    ) -> None:
        super().__init__(environment)
        self._clock, self._schedule, self._ending, self._stop_on = clock, schedule, ending, stop_on
        self._shown: Any = None
        self.fault: Exception | None = None
        """What `stop_on` raised, or what it gave was no answer: to be raised once the step is over."""
        self.began: Callable[[], None] = lambda: None
        """Called where an episode begins."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, and with it the clock, unless the loop is to end."""
        if self._shown is not None and self._ending.now() is not None:
            return self._shown, {}  # what has come to its end is not set in motion once more
        answer = self.env.reset(seed=seed, options=options)
        self.began()
        self._schedule.begin(self._clock.now())
        return answer

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, timed, and ask whether that is to be the last."""
        began = self._clock.now()
        answer: Any = self.env.step(action)
        self._schedule.stepped(began, self._clock.now())
        with suppress(TypeError, ValueError, IndexError):  # what is no right answer, the guard around this says
            self._note(action, *answer)
        return answer

    def _note(self, action: Any, shown: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> None:
        over = bool(terminated or truncated)
        self._shown = shown
        self._ending.steps += 1
        self._ending.episodes += over
        if self._stop_on is not None:
            self._ask(self._stop_on, shown, action, reward, info)

    def _ask(self, stop_on: StopOn, *step: Any) -> None:
        try:
            if operator.truth(stop_on(*step)):
                self._ending.reason = "stop_on"
        except Exception as error:  # noqa: BLE001 - a stranger's code; whatever it raises, the loop must end
            self.fault, self._ending.reason = error, "failed"
