"""CrossQ: batch normalization in place of target networks (Bhatt, Palenicek et al. 2024, arXiv 1902.05605).

SAC whose critics see (s, a) and (s', a') in one forward pass, so that both are normalized by statistics of both.

Deviations, and what the other choice would be:
- Epsilon is added to the batch's variance before r and d correct it, as Ioffe 2017 (algorithm 1) has it:
  z = (x - mean) / sqrt(variance + epsilon) r + d. The authors' code, SBX and sb3-contrib fold r and d into a mean and a
  variance first, to which epsilon is added then. Both are equal in the warm-up, and after it where the variance is far
  above epsilon (0.001): of the column (1, 1, 1, 1.2), with running mean and variance of 1, the last row becomes 0.5923
  here and 0.6227 there.
- Means and variances are of the 2 B rows, the variance divided by 2 B, as in the authors' code; sb3-contrib divides by
  2 B - 1.
- First weights are drawn as those of all of polyak's algorithms, uniformly in +-1/sqrt(inputs); the authors' are normal
  with a deviation of 1/sqrt(inputs), their biases 0.
- The critics are 256 x 256 by default, because an update of wider ones costs many times as much on a CPU; the authors'
  are 2048 x 2048 (preset `paper`), those of SBX and sb3-contrib 1024 x 1024 (preset `sbx`).
- The critics' loss has the authors' factor 1/2, which polyak's SAC does not have.
- The temperature is stepped with the actor, toward the entropy seen in its step, by the loss of SAC's paper, as in
  the authors' code; SBX and sb3-contrib have log alpha in place of the factor alpha.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from polyak.algorithm import Algorithm, Entries
from polyak.algorithms import sac
from polyak.networks.layers import NetworkKind
from polyak.settings.kinds import ABOVE_0, AT_LEAST_0, Changeable, Count, Limit
from polyak.settings.shared import BELOW_1, Optimizer
from polyak.types import Spec

NO_TARGETS = Limit("0, as CrossQ has no target networks", lambda number: number == 0)


@dataclass(frozen=True, kw_only=True)
class Config(sac.Config):
    """Every setting of CrossQ: those of SAC, some with other defaults, and the delay."""

    policy_delay: Count = 3
    """Critic updates per update of the actor and the temperature."""
    start_steps: Annotated[int, AT_LEAST_0] = 5_000
    """Actions of the first this many steps are uniform over the action box."""
    update_after: int = 5_000
    """No gradient step before this many steps; at least batch_size."""
    alpha_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 1e-3
    """Adam's step size for the logarithm of the temperature."""
    adam_beta_1: Annotated[float, BELOW_1] = 0.5
    """Decay of Adam's mean of the gradients of actor and critics; the temperature's is 0.9."""
    network: Literal[NetworkKind, "batch_renorm"] = "batch_renorm"  # pyright: ignore[reportIncompatibleVariableOverride]
    """The kind of actor's and critics' networks: batch_renorm is CrossQ's; by the others, what it is worth is seen."""
    polyak: Annotated[float, NO_TARGETS] = 0.0
    """Nothing but 0: there are no target networks, that is, each is its target."""

    def optimizer(self, trained: str) -> Optimizer:
        """Adam's usual mean for the temperature, as in the authors' code."""
        found = super().optimizer(trained)
        return replace(found, beta_1=0.9) if trained == "log_alpha" else found

    def period(self, trained: str) -> int:
        """Actor and temperature are stepped on each `policy_delay`-th update."""
        return self.policy_delay if trained in ("actor", "log_alpha") else 1


def state(spec: Spec, config: Config) -> Entries:
    """Actor and twin critics, whose layers keep running statistics, and the temperature."""
    return {name: entry for name, entry in sac.state(spec, config).items() if not name.startswith("target_")}


def every(config: Config) -> Mapping[str, int]:
    """Actor and temperature wait for the critics."""
    return {"actor": config.policy_delay}


ALGORITHM = Algorithm(Config, state, sac.draws, sac.head, sac.value, sac.METRICS, every)
