"""What a run tells those who watch it."""

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from polyak.errors import UsageError
from polyak.experience.collector import Episode
from polyak.run.metrics import Record


@dataclass
class Progress:
    """A run's state for watchers, kept up to date by the training loop; watchers only read it."""

    title: str
    """Algorithm, environment, seed."""
    facts: dict[str, str]
    """What is worth knowing at the start: preset, replay's memory, updates per step, ..."""
    folder: Path
    total_steps: int
    steps: int = 0
    updates: int = 0
    seconds: float = 0.0
    evaluating: Callable[[], str] | None = None
    """How far the evaluation is that runs, in words; None where none does."""
    stopping: bool = False
    """Whether a signal asks it to stop: it saves and ends."""
    episodes: deque[Episode] = field(default_factory=lambda: deque[Episode](maxlen=10))
    """The last training episodes."""
    record: Record = field(default_factory=dict[str, float])
    """The last record of the metrics."""
    unit: str = "steps"
    """What is counted as steps: these, or offline the updates."""
    best: tuple[int, float] | None = None
    """Step and mean return of the best evaluation."""
    untrained: str = ""
    """Why nothing is learned, in words; empty where something is."""
    outcome: str = ""
    """One sentence, once the run has ended."""
    error: BaseException | None = None
    """What ended the run before its time, if anything did: a fault, or a signal."""


class Observer(Protocol):
    """Watches a run: a terminal view, a log, a test.

    What `started` or `epoch_ended` raises ends the run, which saves everything first, and reaches the caller: so an
    observer may end it. What `ended` raises is warned of: the run is what it is by then.
    """

    def started(self, progress: Progress) -> None:
        """The folder exists; nothing has been trained yet."""

    def epoch_ended(self, progress: Progress) -> None:
        """A record has been written."""

    def ended(self, progress: Progress) -> None:
        """Called once, whatever ended the run."""


def tell_stopping(observer: Observer, progress: Progress, running: int = 1) -> None:
    """Tell an observer that a signal asks `running` runs to stop, if it has a method `stopping(progress, running)`.

    This is within the signal's handler: whatever goes wrong there is left, for the run to end in order.
    """
    progress.stopping = True
    with suppress(Exception):
        getattr(observer, "stopping", _nothing)(progress, running)


def _nothing(progress: Progress, running: int) -> None:
    """Tell nobody."""


def tell_ended(observer: Observer, progress: Progress) -> None:
    """Tell an observer that a run has ended; nothing that it raises replaces the run's own result or error."""
    try:
        observer.ended(progress)
    except Exception as error:  # noqa: BLE001 - whatever somebody's observer raises, the run has ended
        said = " ".join(str(error).split())
        with suppress(Warning):  # where warnings are errors, too
            warnings.warn(
                f"the observer's ended() raised {type(error).__name__}: {said}; the run is whole", stacklevel=2
            )


class Several(Observer):
    """Several that watch the same run, told in their order; all are told of its end, whatever one of them raises."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def started(self, progress: Progress) -> None:
        """Tell each."""
        for each in self._observers:
            each.started(progress)

    def epoch_ended(self, progress: Progress) -> None:
        """Tell each."""
        for each in self._observers:
            each.epoch_ended(progress)

    def stopping(self, progress: Progress, running: int) -> None:
        """Tell each."""
        for each in self._observers:
            tell_stopping(each, progress, running)

    def ended(self, progress: Progress) -> None:
        """Tell each."""
        for each in self._observers:
            tell_ended(each, progress)


class Silent(Observer):
    """Watches nothing."""


def watching(observer: Observer | None) -> Observer:
    """Who watches: the one that is given, or nobody.

    Raises:
        UsageError: it cannot.
    """
    lacks = [name for name in ("started", "epoch_ended", "ended") if not callable(getattr(observer, name, None))]
    if observer is not None and lacks:
        raise UsageError(f"observer is {observer!r:.100}, but must have the methods started, epoch_ended and ended")
    return Silent() if observer is None else observer
