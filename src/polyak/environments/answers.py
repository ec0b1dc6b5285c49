"""What environments answer, within a time limit; whatever goes wrong in them is one error that says when."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from gymnasium.vector import AsyncVectorEnv

from polyak.environments.guard import WrongAnswer
from polyak.environments.workers import dead_worker
from polyak.errors import TrainingError, UsageError
from polyak.system.foreign import message_of
from polyak.system.prints import environments_speak
from polyak.system.signals import MARK, Limit, NoAnswer, came_by_signal
from polyak.types import Float


class Answers:
    """Those of a vector environment."""

    def __init__(self, vector: Any, limit: Limit, first: int = 0) -> None:
        """`limit` makes the block in which an answer is waited for; messages number environments from `first` on."""
        self._vector, self._limit, self._first = vector, limit, first
        self._moment: Callable[[], str] | None = None
        self.steps = 0
        """Environment steps so far, summed over all environments: an error says after how many."""
        self.lost = False
        """Whether an answer did not come within the limit, and none can be waited for any more."""

    def to(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What they answer to `ask(...)`, a method of theirs.

        Raises:
            TrainingError: one raised, of which that is the cause, answered wrongly, or not in time.
            KeyboardInterrupt: a signal came meanwhile.
        """
        try:
            with environments_speak, self._limit():
                return ask(*arguments, **options)
        except UsageError:
            raise
        except WrongAnswer as error:
            raise TrainingError(f"{error}, {self._when()}; the fault is in the environment") from error
        except NoAnswer as error:
            self.lost = True
            raise TrainingError(
                f"the environment did not answer within the time limit (step_timeout) {self._when()}; "
                "the fault is in the environment, or the limit is too short for it"
            ) from error
        except BaseException as error:
            if came_by_signal(error):
                if isinstance(error, KeyboardInterrupt) or hasattr(error, MARK):
                    raise
                raise KeyboardInterrupt from error  # of which the environment has made something else
            raise TrainingError(self._told(error)) from error

    def _told(self, error: BaseException) -> str:
        inner = getattr(self._vector, "unwrapped", self._vector)
        dead = None
        if isinstance(inner, AsyncVectorEnv) and isinstance(error, EOFError | ConnectionError):
            dead = dead_worker(cast(Any, inner))
        if dead is not None:
            return f"{dead} {self._when()}: {type(error).__name__} {message_of(error)}"
        said = message_of(error)
        return f"the environment raised {type(error).__name__} {self._when()}{': ' if said else ''}{said}"

    def _when(self) -> str:
        return self._moment() if self._moment else f"after {self.steps} environment steps"

    @contextmanager
    def told_as(self, moment: Callable[[], str]) -> Generator[None]:
        """Let faults within this block say `moment()` instead of how many steps there have been."""
        before, self._moment = self._moment, moment
        try:
            yield
        finally:
            self._moment = before

    def require_finite(self, what: str, values: Float) -> None:
        """Check that all `values` [N, ...] that were answered are finite.

        Raises:
            TrainingError: one is not; the message says whose, and when.
        """
        finite = np.isfinite(values)
        if np.count_nonzero(finite) < finite.size:
            bad = np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1))[0]
            raise TrainingError(
                f"environment {self._first + bad} returned a non-finite {what} {self._when()}: {values[bad]}; "
                "the fault is in the environment"
            )
