"""What is said of a control loop: facts, a line for each episode, one that moves in a terminal, how it kept time."""

import sys
from collections.abc import Mapping
from typing import TextIO

from polyak.deploy.drive.report import Drive
from polyak.views.watching import LiveWatch, PlainWatch


class PlainDrive:
    """Lines."""

    def __init__(self, watch: PlainWatch, errors: TextIO | None = None) -> None:
        """Print episodes as `watch` does, and what is to be known to `errors`, by default standard error."""
        self._watch, self._errors = watch, errors or sys.stderr

    def started(self, facts: Mapping[str, str]) -> None:
        """Print what is worth knowing."""
        for name, text in facts.items():
            self._watch.say(f"{name:<12}{text}")

    def stepped(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """Move the moving line, if there is one."""
        self._watch.stepped(episode, total, steps, seconds)

    def episode_ended(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """Print it."""
        self._watch.episode_ended(episode, total, steps, seconds)

    def told(self, text: str) -> None:
        """Print it where errors go."""
        print(f"polyak: {text}", file=self._errors, flush=True)

    def close(self) -> None:
        """Take away what moves."""
        self._watch.stop()

    def ended(self, drive: Drive) -> None:
        """Print how it ended, and how well it kept time."""
        self.close()
        for line in drive.lines():
            self._watch.say(line)


class JsonDrive(PlainDrive):
    """Nothing but what is to be known; the report is the caller's to print."""

    def __init__(self) -> None:
        """Take nothing."""
        super().__init__(PlainWatch(sys.stderr))
        self.drive: Drive | None = None

    def started(self, facts: Mapping[str, str]) -> None:
        """Say nothing."""

    def episode_ended(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """Say nothing."""

    def ended(self, drive: Drive) -> None:
        """Keep it."""
        self.drive = drive


def make_drive_view(stream: TextIO) -> PlainDrive:
    """What suits where it goes."""
    if not stream.isatty():
        return PlainDrive(PlainWatch(stream))
    return PlainDrive(LiveWatch(stream, "the first episode begins; Ctrl-C ends it"))
