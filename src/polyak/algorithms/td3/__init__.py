"""TD3: twin delayed DDPG (Fujimoto et al. 2018, arXiv 1802.09477; equations 8.8 to 8.12).

Deviations, and what the other choice would be:
- Actor and all targets move on every `policy_delay`-th critic update, counted over the whole run (text, paper); some
  implementations count within one burst, or move the critics' targets at every update.
- The actor climbs the first critic (text, paper); others take the mean or the minimum of both.
- The action enters the critics at their first layer, as in the authors' code.
- `behaviour_cloning` (TD3+BC, Fujimoto and Gu 2021, arXiv 2106.06860) is of all rows of a batch, those that a run has
  collected itself included; it is meant for offline runs, whose rows are all recorded.
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
    Normal,
    actor_of,
    critic_of,
)
from polyak.networks.forward import Forward
from polyak.settings.kinds import AT_LEAST_0, Count
from polyak.settings.shared import Settings
from polyak.types import Float, Spec


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
    behaviour_cloning: Annotated[float, AT_LEAST_0] = 0.0
    """TD3+BC's alpha, 2.5 there: the actor also comes near the batch's actions, and Q counts alpha over its size; 0: no
    such term."""

    def period(self, trained: str) -> int:
        """The actor is stepped on each `policy_delay`-th update."""
        return self.policy_delay if trained == "actor" else 1


def state(spec: Spec, config: Config) -> Entries:
    """Actor and twin critics, and their targets."""
    return {
        "actor": actor_of(spec, config, spec.action_size),
        "critic_1": critic_of(spec, config),
        "critic_2": critic_of(spec, config),
        "target_actor": Copy("actor"),
        "target_critic_1": Copy("critic_1"),
        "target_critic_2": Copy("critic_2"),
    }


def draws(spec: Spec, config: Config) -> Draws:
    """The smoothing noise of (8.8), before it is scaled and clipped."""
    return {"target_action": Normal((config.batch_size, spec.action_size))}


def head(config: Config) -> Head:
    """The action itself, with Gaussian noise while it explores."""
    return Head("deterministic", config.exploration_noise)


def value(networks: Mapping[str, Forward], observation: Float, action: Float, config: Config) -> Float:
    """Q_1(s, a), which the actor climbs (8.12), [n]."""
    return networks["critic_1"](np.concatenate([observation, action], axis=-1))[:, 0]


def every(config: Config) -> Mapping[str, int]:
    """Actor and targets wait for the critics."""
    return {"actor": config.policy_delay}


ALGORITHM = Algorithm(Config, state, draws, head, value, metrics=(*CRITIC_METRICS, *ACTOR_METRICS), every=every)
