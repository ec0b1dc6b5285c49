"""REDQ: randomized ensembled double Q-learning (Chen et al. 2021, arXiv 2101.05982), and what it becomes by settings.

`droq` is this with two critics, dropout and layer normalization (Hiraoka et al. 2022, arXiv 2110.02034); `rlpd` with
layer normalization and demonstrations in half of each batch (Ball et al. 2023, arXiv 2302.02948).

Deviations, and what the other choice would be:
- The actor climbs the critics as they are after this update's critic step, as in the paper's algorithm 1; the authors'
  code takes its gradient from those before.
- One subset for the whole batch, as in the authors' code; algorithm 1 may be read as one for each transition.
- All kernels and biases begin uniform in +-1/sqrt(inputs), as everywhere in polyak; the authors' code begins with
  Xavier's uniform kernels and biases of 0.
- log sigma is clipped to [-20, 2], and log pi is that of actions in [-1, 1] without an epsilon in the Jacobian's
  logarithm; the authors' code adds 1e-6 there.
- The temperature begins at 1 and minimizes equation 18 of 1812.05905 with alpha = exp(log_alpha), as SAC's here; in the
  authors' code its first value is 0.2 until its first step, which then begins from 1, and log_alpha is the factor.
- The target entropy is -A unless it is set; the authors' is about -A/2, and is in the presets of the environments that
  they name.
- The actor's step falls on each `policy_delay`-th update of the run, which with `updates_per_step` the same is the last
  of each environment step; the authors' DroQ draws a batch of its own for it, as nobody after them does.
- With dropout, units are dropped in the target, in the critics' loss and in the actor's, each time others (text, code);
  `eval/q` and what is read from a run drop none.
- DroQ's actor climbs the mean of both critics (text, code); SBX's DroQ climbs the minimum, halves the critics' loss,
  and has an epsilon of 1e-6 in its layer norms, here 1e-5.
- RLPD's target has the entropy's term in every environment; its authors leave it out (`backup_entropy`) where rewards
  are sparse, and have one critic in the subset in AntMaze, three hidden layers in Adroit.
- RLPD's actor and temperature are stepped by the last of an environment step's 20 batches, as in the authors' code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from polyak.algorithm import (
    Algorithm,
    Bits,
    Copy,
    Draw,
    Draws,
    Entries,
    Net,
    Subset,
)
from polyak.algorithms import sac
from polyak.networks.forward import Forward
from polyak.networks.layers import NetworkKind, body_of, units_dropped
from polyak.settings.kinds import ABOVE_0, AT_LEAST_0, Changeable, Count, require
from polyak.settings.shared import BELOW_1
from polyak.types import Float, Spec


@dataclass(frozen=True, kw_only=True)
class Config(sac.Config):
    """Every setting of REDQ: SAC's, of which some begin otherwise, and its own."""

    start_steps: Annotated[int, AT_LEAST_0] = 5_000
    """Actions of the first this many steps are uniform over the action box."""
    update_after: int = 5_000
    """No gradient step before this many steps; at least batch_size."""
    updates_per_step: Annotated[float, ABOVE_0] = 20.0
    """Gradient steps per environment step, however many environments there are."""
    actor_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 3e-4
    """Adam's step size for the actor."""
    critic_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 3e-4
    """Adam's step size for the critics."""
    critics: Count = 10
    """N: critics in the ensemble."""
    subset: Count = 2
    """M: critics, drawn anew for each update, of whose targets' values the minimum is the target; at most critics."""
    policy_delay: Count = 20
    """Critic updates per update of actor and temperature."""
    actor_climbs: Literal["mean", "minimum"] = "mean"
    """What the critics are worth to the actor: the mean of all, or the minimum as in SAC."""
    dropout: Annotated[float, BELOW_1] = 0.0
    """Probability that a hidden unit of a critic is dropped, in its loss, in the target and in the actor's loss."""
    critic_network: NetworkKind | None = None
    """The kind of the critics' networks where it is another than the actor's; None: `network`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("subset", self.subset, self.subset <= self.critics, f"at most critics ({self.critics})")
        undropped = self.dropout == 0.0 or self.network_of_critics != "simba"
        require("dropout", self.dropout, undropped, "0 of simba critics, whose blocks drop nothing: set critic_network")

    @property
    def network_of_critics(self) -> NetworkKind:
        """Their own, or the actor's."""
        return self.critic_network or self.network

    def period(self, trained: str) -> int:
        """Actor and temperature are stepped on each `policy_delay`-th update."""
        return self.policy_delay if trained in ("actor", "log_alpha") else 1


def critics_of(spec: Spec, config: Config) -> Net:
    """The ensemble: Dense -> dropout -> layer norm -> activation, of these what the settings say; then one output."""
    sizes = config.critic_hidden_sizes or config.hidden_sizes
    body = body_of(sizes, 1, config.network_of_critics, config.activation, config.dropout)
    return Net(spec.observation_size + spec.action_size, body, config.critics)


def state(spec: Spec, config: Config) -> Entries:
    """Actor, the ensemble of critics and its target, and the temperature."""
    of_sac = sac.state(spec, config)
    return {
        "actor": of_sac["actor"],
        "critics": critics_of(spec, config),
        "target_critics": Copy("critics"),
        "log_alpha": of_sac["log_alpha"],
    }


def draws(spec: Spec, config: Config) -> Draws:
    """SAC's noise; the subset, where it is not all; and which units are dropped, in each of three ways through."""
    found: dict[str, Draw] = {**sac.draws(spec, config)}
    if config.subset < config.critics:
        found["subset"] = Subset(config.subset, config.critics)
    units = units_dropped(critics_of(spec, config).body)
    if units:
        passes = {"next": config.subset, "critic": config.critics, "actor": config.critics}
        for name, members in passes.items():
            found[f"{name}_dropped"] = Bits((members, config.batch_size, units), config.dropout)
    return found


def value(networks: Mapping[str, Forward], observation: Float, action: Float, config: Config) -> Float:
    """The mean of all critics' Q_i(s, a), [n]."""
    outputs = networks["critics"](np.concatenate([observation, action], axis=-1))
    return np.mean(outputs[..., 0], axis=0)


def every(config: Config) -> Mapping[str, int]:
    """Actor and temperature wait for the critics."""
    return {"actor": config.policy_delay}


NEEDS = {"rlpd": "demonstrations"}

ALGORITHM = Algorithm(Config, state, draws, sac.head, value, sac.METRICS, every, presets=("droq", "rlpd"), needs=NEEDS)
