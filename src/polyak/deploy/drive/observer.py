"""Who watches a control loop."""

from collections.abc import Mapping
from typing import Protocol

from polyak.deploy.drive.report import Drive


class Observer(Protocol):
    """Is told what happens. What it takes is the loop's time, except where an episode ends."""

    def started(self, facts: Mapping[str, str]) -> None:
        """What is worth knowing, before the first episode begins."""

    def stepped(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """The running episode's number from 1, its return so far, its steps, and their time at the rate."""

    def episode_ended(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """The same of one that has ended."""

    def told(self, text: str) -> None:
        """Something that whoever watches should know."""

    def ended(self, drive: Drive) -> None:
        """Called once the loop has ended, however it did, but for a second Ctrl-C."""


class Silent(Observer):
    """Watches nothing."""
