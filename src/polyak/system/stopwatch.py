"""Where a run's time goes: every moment belongs to the part whose lap it ends."""

import time
from collections.abc import Mapping

CALLBACKS = "callbacks"
PARTS: tuple[str, ...] = ("environment", "acting", "replay", "learner", "evaluation", "saving", CALLBACKS)
"""Stepping the environments; the policy's actions; storing and sampling transitions; updates with their noise and
compilation; evaluation episodes; records, policies and checkpoints; callbacks, where there are any."""


class Stopwatch:
    """Seconds since the last `take`, one number a part; two calls of the clock cost less than a microsecond."""

    def __init__(self) -> None:
        self._seconds = _nothing()
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """What has passed since the last lap went into this part."""
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """The seconds of each part, which then begin anew."""
        seconds, self._seconds = self._seconds, _nothing()
        return seconds

    def state(self) -> dict[str, float]:
        """What `restore` needs."""
        return dict(self._seconds)

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError: this is none.
        """
        self._seconds = {part: float(state.get(part, 0.0)) for part in PARTS}
        self._last = time.perf_counter()


def _nothing() -> dict[str, float]:
    return dict.fromkeys(PARTS, 0.0)


def no_lap(part: str) -> None:
    """For whoever does not measure."""
