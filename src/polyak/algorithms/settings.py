"""The settings that all three algorithms share, each checked at the door."""

import math
from dataclasses import dataclass
from typing import Any, cast, get_args, get_type_hints

from polyak.errors import UsageError

SATURATED = 0.99
"""A component of a normalized action counts as saturated where its absolute value is above this."""

CRITIC_METRICS = ("critic_loss", "q", "q_std", "target", "critic_gradient_norm")
"""What every critic step measures: its loss; mean and standard deviation over the batch of (the first critic's)
Q(s, a); the mean target y; the Euclidean norm of the loss's gradient in all weights of the critics."""
ACTOR_METRICS = ("actor_loss", "actor_gradient_norm", "saturated")
"""What every actor step measures: its loss; the norm of its gradient; and the fraction of saturated components among
the policy's actions."""


def require(name: str, value: object, holds: bool, limit: str) -> None:
    """Refuse a setting with an error that names it, its value and the limit."""
    if not holds:
        raise UsageError(f"{name} is {value!r}, but must be {limit}")


def require_kind(name: str, value: Any, kind: Any) -> None:
    """Refuse a setting whose value is not of the kind that its field is annotated with."""
    kinds = get_args(kind) or (kind,)
    if value is None and type(None) in kinds:
        return
    if kind == tuple[int, ...]:
        sizes = cast(tuple[Any, ...], value) if isinstance(value, tuple) else (None,)
        require(name, cast(Any, value), all(type(size) is int for size in sizes), "a tuple of whole numbers")
    elif bool in kinds:
        require(name, value, isinstance(value, bool), "True or False")
    elif int in kinds:
        require(name, value, isinstance(value, int) and not isinstance(value, bool), "a whole number")
    else:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        require(name, value, number is not None, "a number")
        require(name, value, number is not None and math.isfinite(number), "finite")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Schedule, replay, optimization and networks. Steps are environment steps, summed over all environments."""

    steps: int = 1_000_000
    """Environment steps of the whole run."""
    start_steps: int = 10_000
    """Actions of the first this many steps are uniform over the action box."""
    update_after: int = 1_000
    """No gradient step before this many steps; at least batch_size."""
    update_every: int = 1
    """Steps between bursts of gradient steps."""
    updates_per_step: float = 1.0
    """Gradient steps per environment step, however many environments there are."""
    lag: int = 0
    """1: the environments go on with the policy before it while a burst of gradient steps is computed; 0: they wait."""
    steps_per_epoch: int = 5_000
    """Steps between evaluations, which also write metrics and save the policy."""
    evaluation_episodes: int = 10
    """Episodes of each evaluation."""
    max_episode_steps: int | None = None
    """Time limit of an episode in steps; None keeps the environment's own."""
    replay_size: int = 1_000_000
    """Transitions that replay holds before it overwrites the oldest."""
    batch_size: int = 256
    """Transitions in the batch of one gradient step."""
    discount: float = 0.99
    """gamma, in [0, 1]."""
    polyak: float = 0.995
    """rho of the target networks (8.2): target <- rho target + (1 - rho) network."""
    actor_learning_rate: float = 1e-3
    """Adam's step size for the actor."""
    critic_learning_rate: float = 1e-3
    """Adam's step size for the critics."""
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    exploration_correlation: float = 0.0
    """Correlation in [0, 1) of an episode's successive exploration noise: 0 is white, near 1 Ornstein-Uhlenbeck."""

    def __post_init__(self) -> None:
        if isinstance(cast(object, self.hidden_sizes), list):  # as JSON, TOML and habit write it
            object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        for name, kind in get_type_hints(type(self)).items():
            require_kind(name, getattr(self, name), kind)
        for name in ("steps", "update_every", "steps_per_epoch", "evaluation_episodes", "replay_size", "batch_size"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        require("start_steps", self.start_steps, self.start_steps >= 0, "at least 0")
        limit = self.max_episode_steps
        require("max_episode_steps", limit, limit is None or limit >= 1, "at least 1, or None")
        require("updates_per_step", self.updates_per_step, self.updates_per_step > 0, "above 0")
        require("lag", self.lag, self.lag in (0, 1), "0 or 1")
        require("discount", self.discount, 0 <= self.discount <= 1, "in [0, 1]")
        require("polyak", self.polyak, 0 <= self.polyak < 1, "in [0, 1)")
        require("actor_learning_rate", self.actor_learning_rate, self.actor_learning_rate > 0, "above 0")
        require("critic_learning_rate", self.critic_learning_rate, self.critic_learning_rate > 0, "above 0")
        positive = len(self.hidden_sizes) >= 1 and all(size >= 1 for size in self.hidden_sizes)
        require("hidden_sizes", self.hidden_sizes, positive, "one or more widths of at least 1")
        correlation = self.exploration_correlation
        require("exploration_correlation", correlation, 0 <= correlation < 1, "in [0, 1)")
        require(
            "batch_size",
            self.batch_size,
            self.batch_size <= self.replay_size,
            f"at most replay_size ({self.replay_size}): lower the one or raise the other",
        )
        require(
            "update_after",
            self.update_after,
            self.update_after >= self.batch_size,
            f"at least batch_size ({self.batch_size}), so that a full batch of transitions is there",
        )
