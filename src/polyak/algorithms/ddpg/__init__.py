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

from polyak.algorithm import (
    ACTOR_METRICS,
    CRITIC_METRICS,
    Algorithm,
    Copy,
    Draws,
    Entries,
    Head,
    actor_of,
    critic_of,
)
from polyak.networks.forward import Forward
from polyak.settings.kinds import AT_LEAST_0
from polyak.settings.shared import Settings
from polyak.types import Float, Spec


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Every setting of DDPG."""

    exploration_noise: Annotated[float, AT_LEAST_0] = 0.1
    """Standard deviation of the exploration noise, as a fraction of the action's half-range."""


def state(spec: Spec, config: Config) -> Entries:
    """Actor and critic, and their targets."""
    return {
        "actor": actor_of(spec, config, spec.action_size),
        "critic": critic_of(spec, config),
        "target_actor": Copy("actor"),
        "target_critic": Copy("critic"),
    }


def draws(spec: Spec, config: Config) -> Draws:
    """DDPG's update draws nothing."""
    return {}


def head(config: Config) -> Head:
    """(8.6): the action itself, with Gaussian noise while it explores."""
    return Head("deterministic", config.exploration_noise)


def value(networks: Mapping[str, Forward], observation: Float, action: Float, config: Config) -> Float:
    """Q(s, a), [n]."""
    return networks["critic"](np.concatenate([observation, action], axis=-1))[:, 0]


ALGORITHM = Algorithm(Config, state, draws, head, value, metrics=(*CRITIC_METRICS, *ACTOR_METRICS))
