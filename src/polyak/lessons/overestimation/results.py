"""What the lesson measured."""

from dataclasses import dataclass, field
from typing import Any

from polyak.lessons.common import Measured
from polyak.lessons.overestimation.formulas import Rule
from polyak.lessons.quadrature import Array


@dataclass(frozen=True)
class Equal:
    """One step with k actions of equal value, in units of sigma."""

    actions: int
    biases: dict[Rule, Measured]


@dataclass(frozen=True, eq=False)
class Learning:
    """One rule in the lesson's one-state problem."""

    rule: Rule
    one_step: Measured
    """The bias of the rule's value for the true values of the actions."""
    fixed_point: float
    """The exact bias of Q in the end."""
    last: Measured
    """The bias of Q after the last step."""
    steps: Array = field(repr=False)
    """[T] at which the bias of Q was measured."""
    simulated: Array = field(repr=False)
    """[T] the mean over runs."""
    standard_error: Array = field(repr=False)
    """[T] of that mean."""


@dataclass(frozen=True)
class Climb:
    """An actor at the top of its critic's error, in units of the error's standard deviation."""

    dimensions: int
    gained: Measured
    """By the critic that it climbed."""
    clipped: float
    """The minimum of that critic and an independent one, measured only."""


@dataclass(frozen=True, eq=False)
class Result:
    """The lesson."""

    values: tuple[float, ...]
    """The true values of the actions (the rewards, in the one-state problem), the best first, at 0."""
    sigma: float
    gamma: float
    rate: float
    steps: int
    repeats: int
    runs: int
    seed: int
    equal: tuple[Equal, ...]
    learning: tuple[Learning, ...]
    climbs: tuple[Climb, ...]

    def to_json(self) -> dict[str, Any]:
        """What the tables show."""
        names = ("values", "sigma", "gamma", "rate", "steps", "repeats", "runs", "seed")
        equal = [
            {"actions": each.actions} | {rule: bias.to_json() for rule, bias in each.biases.items()}
            for each in self.equal
        ]
        learning = {
            each.rule: {
                "one_step": each.one_step.to_json(),
                "fixed_point": each.fixed_point,
                "last": each.last.to_json(),
            }
            for each in self.learning
        }
        climbs = [
            {"dimensions": each.dimensions, "gained": each.gained.to_json(), "clipped": each.clipped}
            for each in self.climbs
        ]
        head = {name: getattr(self, name) for name in names}
        return {**head, "equal": equal, "learning": learning, "climbs": climbs}
