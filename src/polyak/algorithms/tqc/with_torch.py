"""TQC in PyTorch, in the paper's order (Kuznetsov et al. 2020, 2005.04269); actor and temperature step are SAC's."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from polyak.algorithms.sac.with_torch import improved, sample_action
from polyak.algorithms.tqc import Config
from polyak.frameworks.state import State, Weights
from polyak.frameworks.torch.parts import (
    Batch,
    averaged,
    critic_metrics,
    network,
    quantile_regression,
    step,
    td_error,
    value_and_gradient,
)

Measured = Mapping[str, Tensor]


def atoms(critics: Weights, observation: Tensor, action: Tensor) -> Tensor:
    """The M atoms theta_n^m(s, a) of each of N critics, [N, B, M]."""
    return network(critics, torch.cat([observation, action], dim=-1))


def mean_of_atoms(critics: Weights, observation: Tensor, action: Tensor) -> Tensor:
    """Q(s, a): the mean of all atoms, of which none is left out, [B]."""
    return torch.mean(atoms(critics, observation, action), dim=(0, 2))


def smallest(pooled: Tensor, count: int) -> Tensor:
    """Each row's numbers in ascending order, without the largest: [B, N M] -> [B, count]."""
    # it takes a fraction of the time of a sort, on a CPU
    return torch.topk(pooled, count, largest=False)[0]


def target(state: State, batch: Batch, noise: Tensor, config: Config) -> Tensor:
    """y_i = r + gamma (1 - d) (z_(i)(s', a') - alpha log pi(a'|s')), z the pooled atoms in order, [B, (M - k) N]."""
    next_action, log_probability = sample_action(state.actor.parameters, batch.next_observation, noise)
    z = atoms(state.target_critics, batch.next_observation, next_action)
    pooled = torch.swapaxes(z, 0, 1).reshape(len(batch.reward), -1)
    kept = smallest(pooled, config.critics * (config.quantiles - config.dropped_quantiles))
    value = kept - (torch.exp(state.log_alpha.parameters) * log_probability)[:, None]
    return batch.reward[:, None] + batch.discount[:, None] * value


def critic_loss(critics: Weights, batch: Batch, y: Tensor) -> tuple[Tensor, Tensor]:
    """The quantile Huber loss of all atoms against all targets, each transition weighted; and the atoms, [N, B, M]."""
    theta = atoms(critics, batch.observation, batch.action)
    return quantile_regression(theta, y, batch.weight), theta


def update(
    state: State, batch: Batch, draws: Mapping[str, Tensor], due: Mapping[str, bool], config: Config
) -> tuple[State, Measured]:
    """One update: critic step, SAC's actor and temperature step, Polyak step of the critics' targets."""
    y = target(state, batch, draws["next_action"], config)
    (loss, theta), gradient = value_and_gradient(critic_loss, state.critics.parameters, batch, y)
    state = state.replace(critics=step(state.critics, gradient, config.optimizer("critics")))
    critics = state.critics.parameters
    state, measured = improved(state, partial(mean_of_atoms, critics), batch.observation, draws["action"], config)
    state = state.replace(target_critics=averaged(state.target_critics, critics, config.polyak))
    error = td_error(torch.mean(y, dim=1), *torch.mean(theta, dim=2))
    return state, {**critic_metrics(loss, torch.mean(theta, dim=(0, 2)), y, gradient), **measured, "error": error}
