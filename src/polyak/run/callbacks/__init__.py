"""A run's callbacks: told what happens in the order in which they were asked for, and saved with the run.

One that raises ends the run, but in order: the moment that it was told of is brought to its end first, the other
callbacks hear of it too, and everything is saved.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

from polyak.errors import TrainingError
from polyak.run.callbacks import keeping
from polyak.run.callbacks.view import Training
from polyak.settings.called import HOOKS
from polyak.system.foreign import told
from polyak.system.signals import came_by_signal
from polyak.types import Arrays

Hook = Callable[[Training], object]


class Made(NamedTuple):
    """A callback, and by which name it is known."""

    name: str
    itself: Any

    @property
    def top(self) -> str:
        """The package that its class is in."""
        return str(type(self.itself).__module__).partition(".")[0]

    def method(self, name: str) -> Any:
        """One that it may have; None where it does not."""
        return getattr(self.itself, name, None)

    @property
    def is_kept(self) -> bool:
        """Whether it has a state, which goes on with the run."""
        return callable(self.method("state"))


class Callbacks:
    """Those of one run."""

    def __init__(self, made: Sequence[Made] = ()) -> None:
        self.made = tuple(made)
        hooks = {hook: [(each, h) for each in made if callable(h := each.method(hook))] for hook in HOOKS}
        self.heard: Mapping[str, Sequence[tuple[Made, Hook]]] = {hook: calls for hook, calls in hooks.items() if calls}
        """For each moment that anybody hears of: who, and the method."""
        self.stepped, self.updated = "stepped" in self.heard, "updated" in self.heard
        self.failure: BaseException | None = None
        """What the first of them raised that raised something."""
        self._begun = False

    def begin(self) -> None:
        """The run begins, or goes on; from now on they are told of its end too."""
        self._begun = True

    def tell(self, hook: str, training: Training) -> None:
        """Call a method of all that have it; what they raise is kept as `failure`."""
        for each, call in self.heard[hook]:
            try:
                call(training)
            except BaseException as error:
                if came_by_signal(error):
                    raise
                self.failure = self.failure or _wrapped(each, hook, training.steps, error)

    def require_all_well(self) -> None:
        """End the run where one has raised.

        Raises:
            TrainingError: it has.
        """
        if self.failure is not None:
            raise self.failure

    def end(self, training: Training) -> None:
        """Tell those that heard of the beginning of the end; what they raise is said, and replaces nothing."""
        training.close()
        for each, call in self.heard.get("ended", ()) if self._begun else ():
            try:
                call(training)
            except Exception as error:  # noqa: BLE001 - whatever somebody's callback raises, the run has ended
                with suppress(Warning):  # where warnings are errors, too
                    said = f"{type(error).__name__}{told(error, each.top)}"
                    warnings.warn(f"the callback {each.name} raised {said} in ended(); the run is whole", stacklevel=2)

    @property
    def forgetful(self) -> list[str]:
        """Those that a resumed run begins anew."""
        return [each.name for each in self.made if not each.is_kept]

    def state(self) -> tuple[list[dict[str, Any]], Arrays]:
        """What `restore` needs: as JSON can hold it, and as arrays.

        Raises:
            TrainingError: a callback's `state()` raises, or gives what cannot be kept.
        """
        return keeping.kept([(each.name, each.itself.state if each.is_kept else None) for each in self.made])

    def restore(self, state: Any, arrays: Arrays) -> None:
        """Go on from a `state()`: each from what one of its name had, in their order; others begin anew.

        Raises:
            UsageError: a callback refuses what it had.
            ValueError, TypeError, KeyError: this is no state of callbacks.
        """
        saved = keeping.read(state, arrays)
        for each in self.made:
            position = next((index for index, (name, _) in enumerate(saved) if name == each.name), None)
            if position is not None:
                _, had = saved.pop(position)
                if had is not None and each.is_kept:
                    keeping.give_back(each.name, each.itself.restore, had)


def _wrapped(each: Made, hook: str, steps: int, error: BaseException) -> BaseException:
    said = f"{type(error).__name__} in {hook}() after {steps:,} steps{told(error, each.top)}"
    failure = TrainingError(f"the callback {each.name} raised {said}")
    failure.__cause__ = error
    return cast(BaseException, failure)
