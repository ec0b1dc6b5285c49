"""A run's mirror: a folder or URL that gets the run's folder as of each checkpoint, while training goes on.

A thread of its own sends, so that a slow mirror holds nothing up: where it is still sending as the next checkpoint is
made, the newest of those that wait is next. Where environments draw from a generator that the whole process shares,
training waits instead, because what sends may draw from it too. A mirror that fails ends nothing: that is told once,
each checkpoint tries again, and so does the run's end. Only another attempt at the same run ends this one.
"""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

from polyak.environments.history import generators_kept
from polyak.errors import BehindError, Interrupted, ReplacedError, UsageError
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import SERIALS, Manifest
from polyak.run.folder import Run
from polyak.run.mirror.copy import PLENTY, Copy, begun, gone_on, place

SILENCE = 120.0
"""Seconds at the run's end in which not one file has got through: then it is left behind."""
SOON = 5.0
"""Seconds until somebody is told what is waited for."""


class Mirror:
    """Sends what it is told of; all but what `_work` calls is for the thread that trains."""

    def __init__(self, copy: Copy, checkpoints: Checkpoints, *, waits: bool = False) -> None:
        """Begin; `checkpoints` keep what is being read. `waits`: until what it is told of is there, or has failed."""
        self.copy, self._checkpoints, self._waits = copy, checkpoints, waits
        self._changed = threading.Condition()
        self._next: list[Manifest | None] = []
        """What is to be sent next, if anything: a checkpoint, or without one what lies beside it."""
        self._sending: list[Manifest | None] = []
        self._over = False
        self._trouble = ""
        self._told = False
        self._replaced: ReplacedError | None = None
        checkpoints.held = self._held
        self._thread = threading.Thread(target=self._work, name="polyak-mirror", daemon=True)
        self._thread.start()

    def send(self, made: Manifest | None) -> None:
        """Bring a new checkpoint to the mirror, as soon as what is on its way is there.

        Raises:
            ReplacedError: another attempt has taken over.
        """
        with self._changed:
            self._next = [made]
            self._changed.notify_all()
        if self._waits:
            with generators_kept(), self._changed:
                self._changed.wait_for(self._is_idle)
        self._say_how_it_is()

    def finish(self) -> None:
        """Bring the run's folder as it is in the end there; wait for it as long as something gets through.

        Raises:
            ReplacedError: another attempt has taken over.
            BehindError: the mirror does not have all of it.
        """
        with self._changed:
            self._over, self._next = True, [self._checkpoints.latest]
            self._changed.notify_all()
        with generators_kept():
            silent = self._wait()
        if self._replaced is not None:
            raise self._replaced
        if silent or self._trouble:
            reason = self._trouble or f"nothing got through for {SILENCE:g} seconds"
            raise BehindError(
                f"the mirror is behind, {self._what_it_has()}: {reason}. All is in {self.copy.folder}; once the mirror "
                f"answers, this brings it there: polyak resume {self.copy.folder}"
            )

    def _wait(self) -> bool:
        """Until the thread has ended; whether it had to be left."""
        self._thread.join(SOON)
        if self._thread.is_alive():
            _say(f"waiting for the mirror {self.copy.store.shown} to have the end of the run; Ctrl-C leaves it behind")
        while self._thread.is_alive():
            before = self.copy.sent
            self._thread.join(SILENCE)
            if self._thread.is_alive() and self.copy.sent == before:
                return True
        return False

    def _say_how_it_is(self) -> None:
        if self._replaced is not None:
            raise self._replaced
        trouble = self._trouble
        if trouble and not self._told:
            _say(
                f"the mirror is behind, {self._what_it_has()}: {trouble}. Training goes on; each checkpoint tries again"
            )
        elif self._told and not trouble:
            _say(f"the mirror answers again, {self._what_it_has()}")
        self._told = bool(trouble)

    def _what_it_has(self) -> str:
        step = self.copy.step
        return "without a checkpoint" if step is None else f"at the checkpoint of step {step:,}"

    def _is_idle(self) -> bool:
        return not self._sending and (not self._next or self._replaced is not None)

    def _held(self) -> set[str]:
        with self._changed:
            made = [*self._next, *self._sending]
        return {name for each in made if each is not None for name in each.names}

    # In the thread that sends

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next or self._over)
                if not self._next:
                    return
                self._sending, self._next = self._next, []
            self._bring(self._sending[0])
            with self._changed:
                self._sending = []
                self._changed.notify_all()
            if self._replaced is not None:
                return

    def _bring(self, made: Manifest | None) -> None:
        try:
            self.copy.bring(made)
        except ReplacedError as error:
            self._replaced = error
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a copy, the run is trained
            self._trouble = str(error) or type(error).__name__
        else:
            self._trouble = ""


@contextmanager
def mirrored(
    mirror: str | None, run: Run, checkpoints: Checkpoints, *, resumed: bool, waits: bool
) -> Generator[Mirror | None]:
    """What mirrors a run while this block trains it, if anything is to; the end is there when the block is left.

    Raises:
        UsageError: the place cannot be used; nothing has been trained.
        ReplacedError, BehindError: as `Mirror.finish` says, where nothing else is raised.
    """
    if not mirror:
        yield None
        return
    with generators_kept():
        store = place(mirror, run.settings)
        if resumed:
            copy = gone_on(store, run.folder, run.settings, checkpoints.latest)
        else:
            copy = begun(store, run.folder, run.settings)
    if copy.attempt.number > 1 and copy.serial + 2 * PLENTY < SERIALS:
        checkpoints.first = copy.serial + PLENTY
    made = Mirror(copy, checkpoints, waits=waits)
    try:
        yield made
    except BaseException as error:
        _finish_after(made, error)
        raise
    made.finish()


def _finish_after(made: Mirror, error: BaseException) -> None:
    """The same where something else has ended the run, which is what is raised."""
    if isinstance(error, UsageError):
        made.copy.withdraw()
    if isinstance(error, ReplacedError | UsageError) or not isinstance(error, Exception | Interrupted):
        return
    try:
        made.finish()
    except (ReplacedError, BehindError) as another:
        _say(str(another))


def _say(message: str) -> None:
    sys.stderr.write(f"polyak: {message}\n")
    sys.stderr.flush()
