"""SAC: soft actor-critic (Haarnoja et al. 2018, arXiv 1801.01290 and 1812.05905; equations 8.19 to 8.35).

The actor's last layer is one matrix of 2 A columns: the mean, then log sigma.

Deviations, and what the other choice would be:
- The target's action comes from the current policy (text, paper); some listings use a lagged copy.
- The actor climbs the minimum of both critics (text, paper); some climb the first or the mean.
- The critics' loss is the chapter's (8.28), without the factor 1/2 of equation 5 of 1812.05905, which Stable-Baselines3
  has: its gradient is twice as large. Adam divides by the gradient's size, so that its epsilon alone tells them apart.
- The temperature minimizes equation 18 of 1812.05905 as written, with alpha = exp(log_alpha); many implementations put
  log_alpha in place of the factor alpha, which changes the step's size, not its sign.
- With `n_step` above 1, the entropy of the intermediate steps is left out of the target, as in all common
  implementations; strictly, each of them adds -alpha log pi of the current policy, computed anew.
- One temperature step with the entropy seen in the actor step, after it, as in the paper's algorithm 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from polyak.algorithm import (
    ACTOR_METRICS,
    CRITIC_METRICS,
    Algorithm,
    Copy,
    Draws,
    Entries,
    Head,
    Net,
    Normal,
    Parameter,
    actor_of,
    critic_of,
)
from polyak.networks.forward import Forward
from polyak.networks.layers import TanhBounds
from polyak.settings.kinds import ABOVE_0, Changeable
from polyak.settings.shared import Settings
from polyak.types import Float, Spec


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Every setting of SAC."""

    learn_alpha: bool = True
    """Learn the temperature toward target_entropy (1812.05905); False keeps it at alpha."""
    alpha: Annotated[float, ABOVE_0] = 1.0
    """The temperature: its first value where it is learned, else its only one (0.2 in the chapter)."""
    alpha_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 3e-4
    """Adam's step size for the logarithm of the temperature."""
    target_entropy: float | None = None
    """The entropy, in nats, that the temperature steers to; None is -A, times target_entropy_scale."""
    target_entropy_scale: Annotated[float, ABOVE_0] = 1.0
    """What -A is multiplied by where target_entropy is None; SimBa and RLPD have 0.5."""
    log_sigma: Literal["clip", "tanh"] = "clip"
    """How log sigma is bounded: clipped to [-20, 2], or -10 + 6 (1 + tanh), as SimBa has it."""

    def wanted_entropy(self, action_size: int) -> float:
        """What the temperature steers to for so many numbers in an action."""
        return -self.target_entropy_scale * action_size if self.target_entropy is None else self.target_entropy

    def learning_rate(self, trained: str) -> float:
        """The temperature has its own."""
        return self.alpha_learning_rate if trained == "log_alpha" else super().learning_rate(trained)


def gaussian_actor(spec: Spec, config: Config) -> Net:
    """The policy's network: O -> mean and log sigma, 2 A."""
    actor = actor_of(spec, config, 2 * spec.action_size)
    return replace(actor, body=(*actor.body, TanhBounds(-10.0, 2.0))) if config.log_sigma == "tanh" else actor


def state(spec: Spec, config: Config) -> Entries:
    """Actor and twin critics, the critics' targets, and the temperature."""
    return {
        "actor": gaussian_actor(spec, config),
        "critic_1": critic_of(spec, config),
        "critic_2": critic_of(spec, config),
        "target_critic_1": Copy("critic_1"),
        "target_critic_2": Copy("critic_2"),
        "log_alpha": Parameter(math.log(config.alpha)),
    }


def draws(spec: Spec, config: Config) -> Draws:
    """The noise xi of (8.16), in the target and in the actor's loss."""
    shape = (config.batch_size, spec.action_size)
    return {"next_action": Normal(shape), "action": Normal(shape)}


def head(config: Config) -> Head:
    """A sample of the squashed Gaussian."""
    return Head("squashed_gaussian")


def value(networks: Mapping[str, Forward], observation: Float, action: Float, config: Config) -> Float:
    """Q_1(s, a), [n]."""
    return networks["critic_1"](np.concatenate([observation, action], axis=-1))[:, 0]


METRICS = (*CRITIC_METRICS, *ACTOR_METRICS, "alpha", "alpha_loss", "entropy")

ALGORITHM = Algorithm(Config, state, draws, head, value, METRICS)
