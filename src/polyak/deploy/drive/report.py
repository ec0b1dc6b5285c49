"""What a control loop came to."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from polyak.deploy.drive.schedule import Lateness
from polyak.deploy.drive.steered import Ended

MILLISECONDS = 1_000.0


@dataclasses.dataclass(frozen=True)
class Drive:
    """A control loop that has ended: why, what its episodes gave, and how well it kept to its rate."""

    ended: Ended
    """`steps`, `episodes`: as many as were asked for. `late`: the policy was, and `when_late` is stop. `stop_on`: it
    said so. `interrupted`: by a signal. `failed`: the environment or `stop_on` raised."""
    steps: int
    """Of the environment."""
    returns: tuple[float, ...]
    """Of the episodes that ended."""
    lengths: tuple[int, ...]
    """The same, in steps."""
    seconds: float
    """From the first episode's beginning."""
    rate: float
    """Steps a second that were asked for."""
    lateness: Lateness
    """How long after they were due steps began."""
    overruns: int
    """Steps after which the environment answered when the next one was due already."""
    late: int
    """Steps to which the policy was late."""
    limited: int
    """Steps whose action was held back by `action_rate_limit`."""
    learning: Mapping[str, Any] | None = None
    """With `learn`: `folder`, `steps` and `updates` of the run; `policies` that came to act; `dropped` transitions, for
    which the queue had no room; `lost`: how the learner ended before the loop did, else an empty text."""
    signal_number: int | None = None
    """Of the signal that ended it."""

    @property
    def milliseconds(self) -> dict[str, float]:
        """Half of the steps began within `p50` milliseconds of their moment, 99 of 100 within `p99`, all in `worst`."""
        found = {"p50": self.lateness.quantile(0.5), "p99": self.lateness.quantile(0.99), "worst": self.lateness.worst}
        return {name: round(value * MILLISECONDS, 3) for name, value in found.items()}

    def to_json(self) -> dict[str, Any]:
        """All of it, by these names; `lateness` in milliseconds."""
        names = ("ended", "steps", "seconds", "rate", "returns", "lengths", "overruns", "late", "limited")
        told: dict[str, Any] = {name: getattr(self, name) for name in names}
        told |= {"returns": list(self.returns), "lengths": list(self.lengths), "lateness": self.milliseconds}
        return told | ({} if self.learning is None else {"learning": dict(self.learning)})

    def lines(self) -> list[str]:
        """What is said of it."""
        late = self.milliseconds
        told = [
            f"{WHY[self.ended]} after {self.steps:,} steps in {self.seconds:.1f} s, {self.rate:g} a second asked for",
            f"lateness   p50 {late['p50']:.2f} ms  p99 {late['p99']:.2f} ms  worst {late['worst']:.2f} ms",
            f"overruns   {self.overruns:,} steps of the environment; late policy {self.late:,}",
        ]
        if self.limited:
            told.append(f"limited    {self.limited:,} actions held back by the limit of their rate")
        if self.returns:
            count = len(self.returns)
            told.append(f"returns    mean {np.mean(self.returns):.2f}  over {count} episode{'s' if count > 1 else ''}")
        if self.learning is not None:
            learned = self.learning
            told.append(
                f"learned    {learned['updates']:,} updates from {learned['steps']:,} steps of the run; "
                f"{learned['policies']:,} policies came; {learned['dropped']:,} transitions dropped"
            )
            told += [f"lost       {learned['lost']}"] if learned["lost"] else []
        return told


WHY: Mapping[Ended, str] = {
    "steps": "done",
    "episodes": "done",
    "late": "ended by a late policy",
    "stop_on": "ended by stop_on",
    "interrupted": "interrupted",
    "failed": "failed",
}
