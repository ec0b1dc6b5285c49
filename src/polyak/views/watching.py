"""What is said while a policy is watched in a window: a line for each episode, and in a terminal one that moves."""

from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text


def line(episode: int, total: float, steps: int, seconds: float) -> str:
    """An episode's number, return, steps, and their time at the environment's rate."""
    return f"episode {episode:>3}  return {total:>10.2f}  length {steps:>6}  {seconds:>6.1f} s"


class PlainWatch:
    """A line for each episode that has ended."""

    def __init__(self, stream: TextIO) -> None:
        """Take where lines go."""
        self._stream = stream
        self.ended: list[float] = []
        """Returns."""

    def stepped(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """Say nothing."""

    def episode_ended(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """Print it."""
        self.ended.append(total)
        self.say(line(episode, total, steps, seconds))

    def stop(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Stop, and say what the episodes came to."""
        self.stop()
        if self.ended:
            mean = sum(self.ended) / len(self.ended)
            self.say(f"mean {mean:.2f}  over {len(self.ended)} episode{'s' if len(self.ended) > 1 else ''}")

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._stream, flush=True)


class LiveWatch(PlainWatch):
    """The same, and below a line of the running episode, redrawn a few times a second."""

    def __init__(self, stream: TextIO, now: str = "the window is being opened; Ctrl-C ends it") -> None:
        """Take a terminal, and what the moving line says first."""
        super().__init__(stream)
        self._console = Console(file=stream, highlight=False)
        self._now = now
        self._live = Live(
            get_renderable=lambda: Text(self._now), console=self._console, refresh_per_second=8, transient=True
        )
        self._live.start()

    def stepped(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """Note how far it is."""
        self._now = line(episode, total, steps, seconds)

    def stop(self) -> None:
        """Take the moving line away."""
        self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the moving one."""
        self._console.print(Text(text))


def make_watch_view(stream: TextIO) -> PlainWatch:
    """What suits where it goes."""
    return LiveWatch(stream) if stream.isatty() else PlainWatch(stream)
