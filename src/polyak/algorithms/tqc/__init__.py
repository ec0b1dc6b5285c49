"""TQC: truncated quantile critics (Kuznetsov et al. 2020, arXiv 2005.04269), SAC whose critics learn distributions.

Each of N critics says M quantiles of the return, its atoms. The atoms of all target critics are pooled, and the k N
largest of them left out of the target, k for each critic: that is what keeps values from being overestimated, in place
of SAC's minimum of two.

Deviations, and what the other choice would be:
- The actor climbs the critics as this update's step left them, as SAC's does. The authors' code (tqc_pytorch) computes
  the actor's loss before the critics' step and differentiates it after, which only old versions of PyTorch allow: old
  activations with new weights.
- The critics' loss is the mean over critics, quantiles and targets, as in the authors' code and in Stable-Baselines3
  Contrib. With a loss for each critic, as in the paper and in SBX, their sum is N times as large, which Adam's epsilon
  and weight decay alone can tell.
- The temperature steps after the actor, along the gradient of SAC's equation 18, as SAC's does here. The authors' code
  has log_alpha in place of the factor alpha; Stable-Baselines3 Contrib steps the temperature first. Target and actor
  see the alpha of before its step, as in both.
- The first `start_steps` actions are uniform. The authors' code acts by its policy from the first step.
- With `n_step` above 1, the entropy of the intermediate steps is left out of the target, as in SAC.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from polyak.algorithm import Algorithm, Copy, Entries, Parameter, critic_of
from polyak.algorithms import sac
from polyak.networks.forward import Forward
from polyak.settings.kinds import ABOVE_0, AT_LEAST_0, Changeable, Count, require
from polyak.types import Float, Spec


@dataclass(frozen=True, kw_only=True)
class Config(sac.Config):
    """Every setting of TQC: SAC's, of which the step sizes are other ones, and three more."""

    actor_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 3e-4
    """Adam's step size for the actor."""
    critic_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 3e-4
    """Adam's step size for the critics."""
    critics: Count = 2
    """N: critics, whose atoms are pooled in the target."""
    quantiles: Count = 25
    """M: quantiles of the return that each critic says, its atoms."""
    dropped_quantiles: Annotated[int, AT_LEAST_0] = 2
    """k: the largest k N of the pooled target atoms are left out; below quantiles. 0 leaves none out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below = self.dropped_quantiles < self.quantiles
        require("dropped_quantiles", self.dropped_quantiles, below, f"below quantiles ({self.quantiles})")


def state(spec: Spec, config: Config) -> Entries:
    """Actor, the critics as one ensemble, their targets, and the temperature."""
    return {
        "actor": sac.gaussian_actor(spec, config),
        "critics": critic_of(spec, config, config.quantiles, config.critics),
        "target_critics": Copy("critics"),
        "log_alpha": Parameter(math.log(config.alpha)),
    }


def value(networks: Mapping[str, Forward], observation: Float, action: Float, config: Config) -> Float:
    """Q(s, a), the mean of all atoms, [n]."""
    return np.mean(networks["critics"](np.concatenate([observation, action], axis=-1)), axis=(0, 2))


ALGORITHM = Algorithm(Config, state, sac.draws, sac.head, value, sac.METRICS)
