"""What a run's callbacks are shown, and what they may ask of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from polyak.errors import UsageError
from polyak.experience.collector import Episode
from polyak.policies.policy import Policy
from polyak.run.collecting import Collecting
from polyak.run.learning import Updates
from polyak.run.ledger import Ledger
from polyak.run.metrics import Record
from polyak.run.plan import Plan
from polyak.run.progress import Progress
from polyak.settings.shared import Settings
from polyak.types import Transitions

REASON = 300
"""Letters of a reason to stop at most."""
_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(eq=False)
class Training:
    """A run as its callbacks see it: one object, which shows the moment at which it is looked at.

    What it shows is to be read; a callback acts on the run by `log`, `stop` and `set_environment`.
    """

    _plan: Plan
    _folder: Path
    _collector: Collecting
    _updates: Updates
    _ledger: Ledger
    _progress: Progress
    _transitions: Transitions | None = None
    _episodes: Sequence[Episode] = ()
    _metrics: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    _recording: bool = False
    _stopped: str = ""
    _over: bool = False

    # What it shows

    @property
    def folder(self) -> Path:
        """The run's folder, absolute; a callback may make files and folders of its own in it."""
        return self._folder

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self._plan.seed

    @property
    def environment(self) -> Any:
        """What the run trains on: an id, or the callable that makes it."""
        return self._plan.environment

    @property
    def settings(self) -> Settings:
        """The algorithm's settings, such as `settings.batch_size`."""
        return self._plan.config

    @property
    def steps(self) -> int:
        """Environment steps taken in the run, summed over all environments; offline, updates."""
        return self._collector.steps

    @property
    def total_steps(self) -> int:
        """Environment steps, or offline updates, after which the run is to end."""
        return self._plan.config.length

    @property
    def updates(self) -> int:
        """Gradient steps of the policy that acts."""
        return self._updates.count

    @property
    def policy(self) -> Policy:
        """The policy that acts; while the first `start_steps` are taken at random, the one that will."""
        return self._updates.policy

    @property
    def transitions(self) -> Transitions:
        """Those of the last step, one row for each environment that took one; actions are normalized. Read-only.

        With collectors, those of the last round: by step, then environment.

        Raises:
            UsageError: no step has been taken in this process yet.
        """
        if self._transitions is None:
            raise UsageError("transitions are those of the last step, and none has been taken here yet")
        return Transitions(*map(_read_only, self._transitions))

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """The training episodes that ended with the last step."""
        return tuple(self._episodes)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The newest record, by the names of `metrics.jsonl`.

        In `evaluated` it is the one that is about to be written, with what has been logged for it until now.
        """
        return MappingProxyType({**self._metrics, **self._ledger.means}) if self._recording else self._metrics

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and mean return of the best evaluation, if there has been one."""
        return self._progress.best

    @property
    def outcome(self) -> str:
        """In `ended`: how the run ended, in a sentence."""
        return self._progress.outcome

    @property
    def error(self) -> BaseException | None:
        """In `ended`: what ended the run before its time, if anything did."""
        return self._progress.error

    # What may be asked of it

    def log(self, name: str, value: float) -> None:
        """Put a number into the next record, under this name; of several, the mean over those since the last record.

        In `evaluated`, that is the record that is about to be written. A number that is not finite is left out.

        Raises:
            UsageError: the name is one of polyak's own or cannot be printed; the value is no number; the run is over.
        """
        self._require_running("log")
        self._ledger.log(name, value)

    def stop(self, reason: str) -> None:
        """End the run as reaching `total_steps` does: after this step and its updates, with a last evaluation.

        Raises:
            UsageError: the reason is no text, or the run is over.
        """
        self._require_running("stop")
        if not isinstance(reason, str) or not reason.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"the reason to stop is {reason!r:.80}, but must be a text that is not empty")
        told = "".join(letter if letter.isprintable() else " " for letter in reason)
        self._stopped = self._stopped or " ".join(told.split())[:REASON]

    def set_environment(self, name: str, value: Any) -> None:
        """Let a setting of the environment be another from each environment's next episode on.

        It is an argument of the environment's constructor, and holds where the run trains, not where it is evaluated.
        In `started` of a new run it holds from the first episode on. It is in the run's checkpoints.

        Raises:
            UsageError: the value is nothing that JSON can hold, polyak does not make these environments one by one, or
                the run is over.
        """
        self._require_running("set_environment")
        self._collector.environments.set(name, value)

    def _require_running(self, what: str) -> None:
        if self._over:
            raise UsageError(f"{what} comes too late: the run has ended")

    # What the loop tells it

    def took(self, transitions: Transitions, episodes: Sequence[Episode]) -> None:
        """A step has been taken."""
        self._transitions, self._episodes = transitions, episodes

    def recorded(self, record: Record, *, done: bool) -> None:
        """A record is about to be written, or is `done`."""
        self._metrics, self._recording = MappingProxyType(dict(record)), not done

    @property
    def stopped(self) -> str:
        """Why a callback has stopped the run; empty where none has."""
        return self._stopped

    def go_on_stopped(self, reason: str) -> None:
        """Go on from where a callback had stopped the run, whose end is still to come."""
        self._stopped = reason

    def close(self) -> None:
        """The run is over."""
        self._over = True


def _read_only(column: Any) -> Any:
    view = np.asarray(column).view()
    view.flags.writeable = False
    return view
