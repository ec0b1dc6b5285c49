"""In a collector's place in a run that takes no steps: what counts steps elsewhere counts its updates."""

from collections.abc import Mapping
from typing import Any

from polyak.environments.stepping import Environments
from polyak.experience.collector import Episode
from polyak.types import Arrays


class Offline:
    """Nobody acts: there are environments for what they show and take alone, and all there is to learn from is there.

    Policies are evaluated in environments of their own, or in these.
    """

    def __init__(self, environments: Environments, burst: int) -> None:
        """Count a `burst` of updates at a time."""
        self.environments, self._burst = environments, burst
        self.steps = 0
        """Updates so far, those included that have not been waited for."""

    def begin(self) -> None:
        """Nothing is begun."""

    def advance(self) -> None:
        """The next burst is due."""
        self.steps += self._burst

    def finished(self) -> list[Episode]:
        """No episodes."""
        return []

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `restore` needs, as for a `Collector`."""
        return {"updates": self.steps}, {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError, KeyError: this is no such state.
        """
        self.steps = int(state["updates"])
        if self.steps < 0 or self.steps % self._burst:
            raise ValueError(f"{self.steps} updates, in bursts of {self._burst}")
