"""SAC: soft actor-critic (Haarnoja et al. 2018, arXiv 1801.01290 and 1812.05905; equations 8.19 to 8.35).

The actor's last layer is one matrix of 2 A columns: the mean, then log sigma.

Deviations, and what the other choice would be:
- The target's action comes from the current policy (text, paper); some listings use a lagged copy.
- The actor climbs the minimum of both critics (text, paper); some climb the first or the mean.
- The critics' loss is the chapter's (8.28), without the factor 1/2 of equation 5 of 1812.05905, which Stable-Baselines3
  has: its gradient is twice as large. Adam divides by the gradient's size, so that its epsilon alone tells them apart.
- The temperature minimizes equation 18 of 1812.05905 as written, with alpha = exp(log_alpha); many implementations put
  log_alpha in place of the factor alpha, which changes the step's size, not its sign.
- One temperature step with the entropy seen in the actor step, after it, as in the paper's algorithm 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from polyak.algorithms.settings import ACTOR_METRICS, CRITIC_METRICS, Settings
from polyak.networks import actor_sizes, copied, critic_sizes, flattened, initial_adam, initial_network
from polyak.settings.kinds import ABOVE_0
from polyak.types import Arrays, Float, Spec

POLICY_KIND = "squashed_gaussian"
METRICS = (*CRITIC_METRICS, *ACTOR_METRICS, "alpha", "alpha_loss", "entropy")
"""What an update measures."""
NOISE: tuple[str, ...] = ("next_action", "action")
"""The noises of an update, [B, A] each: xi of (8.16) in the target and in the actor's loss."""
LOG_SIGMA_LOW, LOG_SIGMA_HIGH = -20.0, 2.0


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Every setting of SAC."""

    learn_alpha: bool = True
    """Learn the temperature toward target_entropy (1812.05905); False keeps it at alpha."""
    alpha: Annotated[float, ABOVE_0] = 1.0
    """The temperature: its first value where it is learned, else its only one (0.2 in the chapter)."""
    alpha_learning_rate: Annotated[float, ABOVE_0] = 3e-4
    """Adam's step size for the logarithm of the temperature."""
    target_entropy: float | None = None
    """The entropy, in nats, that the temperature steers to; None is -A."""


def draw_noise(generator: np.random.Generator, updates: int, batch_size: int, action_size: int) -> Mapping[str, Float]:
    """`next_action` and `action`, both [K, B, A], standard normal: xi of (8.16) in target and actor's loss."""
    shape = (updates, batch_size, action_size)
    return {
        "next_action": generator.standard_normal(shape, dtype=np.float32),
        "action": generator.standard_normal(shape, dtype=np.float32),
    }


def initial_state(generator: np.random.Generator, spec: Spec, config: Config) -> Arrays:
    """The learner's whole state before the first update: networks, targets equal to them, Adam's moments, step."""
    actor = initial_network(generator, actor_sizes(spec, config.hidden_sizes, 2 * spec.action_size))
    critic_1 = initial_network(generator, critic_sizes(spec, config.hidden_sizes))
    critic_2 = initial_network(generator, critic_sizes(spec, config.hidden_sizes))
    log_alpha = np.array(math.log(config.alpha), np.float32)
    return flattened(
        {
            "actor": actor,
            "critic_1": critic_1,
            "critic_2": critic_2,
            "target_critic_1": copied(critic_1),
            "target_critic_2": copied(critic_2),
            "log_alpha": log_alpha,
            "adam_actor": initial_adam(actor),
            "adam_critic_1": initial_adam(critic_1),
            "adam_critic_2": initial_adam(critic_2),
            "adam_log_alpha": {
                "count": np.zeros((), np.int32),
                "first": np.zeros((), np.float32),
                "second": np.zeros((), np.float32),
            },
            "step": np.zeros((), np.int32),
        }
    )
