"""The settings that all three algorithms share, each checked at the door."""

from dataclasses import dataclass
from typing import Annotated

from polyak.settings.kinds import ABOVE_0, AT_LEAST_0, Count, Limit, check_fields, require

SATURATED = 0.99
"""A component of a normalized action counts as saturated where its absolute value is above this."""

CRITIC_METRICS = ("critic_loss", "q", "q_std", "target", "critic_gradient_norm")
"""What every critic step measures: its loss; mean and standard deviation over the batch of (the first critic's)
Q(s, a); the mean target y; the Euclidean norm of the loss's gradient in all weights of the critics."""
ACTOR_METRICS = ("actor_loss", "actor_gradient_norm", "saturated")
"""What every actor step measures: its loss; the norm of its gradient; and the fraction of saturated components among
the policy's actions."""


IN_UNIT = Limit("in [0, 1]", lambda number: 0 <= number <= 1)
BELOW_1 = Limit("in [0, 1)", lambda number: 0 <= number < 1)
ABSENT_OR_1 = Limit("at least 1, or None", lambda steps: steps >= 1)
WIDTHS = Limit("one or more widths of at least 1", lambda sizes: len(sizes) >= 1 and min(sizes) >= 1)
LAGS = Limit("0 or 1", lambda lag: lag in (0, 1))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Schedule, replay, optimization and networks. Steps are environment steps, summed over all environments."""

    steps: Count = 1_000_000
    """Environment steps of the whole run."""
    start_steps: Annotated[int, AT_LEAST_0] = 10_000
    """Actions of the first this many steps are uniform over the action box."""
    update_after: int = 1_000
    """No gradient step before this many steps; at least batch_size."""
    update_every: Count = 1
    """Steps between bursts of gradient steps."""
    updates_per_step: Annotated[float, ABOVE_0] = 1.0
    """Gradient steps per environment step, however many environments there are."""
    lag: Annotated[int, LAGS] = 0
    """1: the environments go on with the policy before it while a burst of gradient steps is computed; 0: they wait."""
    steps_per_epoch: Count = 5_000
    """Steps between evaluations, which also write metrics and save the policy."""
    evaluation_episodes: Count = 10
    """Episodes of each evaluation."""
    max_episode_steps: Annotated[int | None, ABSENT_OR_1] = None
    """Time limit of an episode in steps; None keeps the environment's own."""
    replay_size: Count = 1_000_000
    """Transitions that replay holds before it overwrites the oldest."""
    batch_size: Count = 256
    """Transitions in the batch of one gradient step."""
    discount: Annotated[float, IN_UNIT] = 0.99
    """gamma, in [0, 1]."""
    polyak: Annotated[float, BELOW_1] = 0.995
    """rho of the target networks (8.2): target <- rho target + (1 - rho) network."""
    actor_learning_rate: Annotated[float, ABOVE_0] = 1e-3
    """Adam's step size for the actor."""
    critic_learning_rate: Annotated[float, ABOVE_0] = 1e-3
    """Adam's step size for the critics."""
    hidden_sizes: Annotated[tuple[int, ...], WIDTHS] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    exploration_correlation: Annotated[float, BELOW_1] = 0.0
    """Correlation in [0, 1) of an episode's successive exploration noise: 0 is white, near 1 Ornstein-Uhlenbeck."""

    def __post_init__(self) -> None:
        check_fields(self, type(self))
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
