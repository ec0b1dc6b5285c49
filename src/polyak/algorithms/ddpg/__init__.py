"""DDPG: deep deterministic policy gradient (Lillicrap et al. 2016, arXiv 1509.02971; equations 8.5 to 8.7).

Deviations, and what the other choice would be:
- Exploration noise is Gaussian (text); the paper's Ornstein-Uhlenbeck noise is `exploration_correlation` above 0.
- The action enters the critic at its first layer (text); in the paper at its second.
- No batch normalization and no weight decay (text); the paper has both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from polyak.algorithms.settings import ACTOR_METRICS, CRITIC_METRICS, Settings
from polyak.networks import actor_sizes, copied, critic_sizes, flattened, initial_adam, initial_network
from polyak.settings.kinds import AT_LEAST_0
from polyak.types import Arrays, Float, Spec

POLICY_KIND = "deterministic"
METRICS = (*CRITIC_METRICS, *ACTOR_METRICS)
"""What an update measures."""
NOISE: tuple[str, ...] = ()
"""DDPG's update draws no noise."""


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Every setting of DDPG."""

    exploration_noise: Annotated[float, AT_LEAST_0] = 0.1
    """Standard deviation of the exploration noise, as a fraction of the action's half-range."""


def draw_noise(generator: np.random.Generator, updates: int, batch_size: int, action_size: int) -> Mapping[str, Float]:
    """DDPG's update draws no noise."""
    return {}


def initial_state(generator: np.random.Generator, spec: Spec, config: Config) -> Arrays:
    """The learner's whole state before the first update: networks, targets equal to them, Adam's moments, step."""
    actor = initial_network(generator, actor_sizes(spec, config.hidden_sizes, spec.action_size))
    critic = initial_network(generator, critic_sizes(spec, config.hidden_sizes))
    return flattened(
        {
            "actor": actor,
            "critic": critic,
            "target_actor": copied(actor),
            "target_critic": copied(critic),
            "adam_actor": initial_adam(actor),
            "adam_critic": initial_adam(critic),
            "step": np.zeros((), np.int32),
        }
    )
