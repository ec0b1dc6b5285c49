"""What a control loop is tested with: a clock that moves only where a test says that something takes time."""

from collections.abc import Callable, Sequence
from typing import Any

from polyak.deploy.drive.asked import Asked
from polyak.deploy.drive.report import Drive
from polyak.deploy.driving import driven
from polyak.policies.player import Player
from tiny_cli import Tiny


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.seconds = 100.0
        """Sixteenths and their like, which float64 has exactly, so that tests compare without a tolerance."""

    def now(self) -> float:
        return self.seconds

    def passes(self, seconds: float) -> None:
        self.seconds += seconds

    def wait_until(self, moment: float) -> None:
        self.seconds = max(self.seconds, moment)


class Thought:
    """A policy that takes as long as a test says: `takes` [k] seconds for the k-th action, and none after the last."""

    def __init__(self, time: Time, takes: Sequence[float] = ()) -> None:
        self._time, self._takes, self.closed = time, [*takes], False

    def ask(self, computation: Callable[[], Any]) -> None:
        self._ready = self._time.now() + (self._takes.pop(0) if self._takes else 0.0)
        self._computation = computation

    def answer(self, until: float) -> Any:
        self._time.wait_until(min(self._ready, until))
        return self._computation() if self._ready <= until else None

    def close(self) -> None:
        self.closed = True


class Plant(Tiny):
    """A Tiny whose steps and resets take as long as a test says, and which notes when it was given what."""

    def __init__(self, time: Time, takes: Sequence[float] = (), reset_takes: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self._clock, self._takes, self._reset_takes = time, [*takes], reset_takes
        self.moments: list[float] = []
        self.resets = 0

    def reset(self, **options: Any) -> Any:
        self.resets += 1
        self._clock.passes(self._reset_takes)
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        self.moments.append(self._clock.now())
        self._clock.passes(self._takes.pop(0) if self._takes else 0.0)
        return super().step(action)


class Told:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.steps: list[int] = []
        self.episodes: list[tuple[int, float, int, float]] = []
        self.texts: list[str] = []
        self.drives: list[Drive] = []

    def started(self, facts: Any) -> None:
        self.facts = dict(facts)

    def stepped(self, episode: int, total: float, steps: int, seconds: float) -> None:
        self.steps.append(steps)

    def episode_ended(self, *told: Any) -> None:
        self.episodes.append(told)

    def told(self, text: str) -> None:
        self.texts.append(text)

    def ended(self, drive: Drive) -> None:
        self.drives.append(drive)


def drive(player: Player, time: Time, thinks: Sequence[float] = (), told: Told | None = None, **asked: Any) -> Drive:
    """Drive at 8 a second, by that clock, with a policy that takes so long."""
    usual: dict[str, Any] = {"rate": 8.0, "steps": None if "episodes" in asked else 1_000}
    return driven(Asked(**{**usual, **asked}), player, told or Told(), time, Thought(time, thinks))


def playing(run: Any, plant: Any) -> Player:
    return run.player(environment=lambda: plant)


def actions_of(run: Any, plant: Plant, **options: Any) -> list[float]:
    """What the policy gives where nothing is late: in the episodes of an evaluation, which are those of a loop."""
    seen = Tiny(**options)
    run.evaluate(10, environment=lambda: seen)
    return seen.actions[: len(plant.actions)]
