"""TD3: twin delayed DDPG (Fujimoto et al. 2018, arXiv 1802.09477; equations 8.8 to 8.12).

Deviations, and what the other choice would be:
- Actor and all targets move on every `policy_delay`-th critic update, counted over the whole run (text, paper); some
  implementations count within one burst, or move the critics' targets at every update.
- The actor climbs the first critic (text, paper); others take the mean or the minimum of both.
- The action enters the critics at their first layer, as in the authors' code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from polyak.algorithms.settings import ACTOR_METRICS, CRITIC_METRICS, Settings
from polyak.networks import actor_sizes, copied, critic_sizes, flattened, initial_adam, initial_network
from polyak.settings.kinds import AT_LEAST_0, Count
from polyak.types import Arrays, Float, Spec

POLICY_KIND = "deterministic"
METRICS = (*CRITIC_METRICS, *ACTOR_METRICS)
"""What an update measures."""
NOISE: tuple[str, ...] = ("target_action",)
"""The noise of an update, [B, A]: that of (8.8), before it is scaled and clipped."""


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Every setting of TD3."""

    exploration_noise: Annotated[float, AT_LEAST_0] = 0.1
    """Standard deviation of the exploration noise, as a fraction of the action's half-range."""
    target_noise: Annotated[float, AT_LEAST_0] = 0.2
    """Standard deviation of the target policy smoothing noise (8.8), as a fraction of the action's half-range."""
    target_noise_clip: Annotated[float, AT_LEAST_0] = 0.5
    """The smoothing noise is clipped to +- this (c in 8.8), as a fraction of the action's half-range."""
    policy_delay: Count = 2
    """Critic updates per update of the actor and the targets."""


def draw_noise(generator: np.random.Generator, updates: int, batch_size: int, action_size: int) -> Mapping[str, Float]:
    """`target_action` [K, B, A], standard normal: the smoothing noise of (8.8) before it is scaled and clipped."""
    return {"target_action": generator.standard_normal((updates, batch_size, action_size), dtype=np.float32)}


def initial_state(generator: np.random.Generator, spec: Spec, config: Config) -> Arrays:
    """The learner's whole state before the first update: networks, targets equal to them, Adam's moments, step."""
    actor = initial_network(generator, actor_sizes(spec, config.hidden_sizes, spec.action_size))
    critic_1 = initial_network(generator, critic_sizes(spec, config.hidden_sizes))
    critic_2 = initial_network(generator, critic_sizes(spec, config.hidden_sizes))
    return flattened(
        {
            "actor": actor,
            "critic_1": critic_1,
            "critic_2": critic_2,
            "target_actor": copied(actor),
            "target_critic_1": copied(critic_1),
            "target_critic_2": copied(critic_2),
            "adam_actor": initial_adam(actor),
            "adam_critic_1": initial_adam(critic_1),
            "adam_critic_2": initial_adam(critic_2),
            "step": np.zeros((), np.int32),
        }
    )
