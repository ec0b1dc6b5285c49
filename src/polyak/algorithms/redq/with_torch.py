"""REDQ in PyTorch, in the paper's order (Chen et al. 2021, 2101.05982, algorithm 1)."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from polyak.algorithms.redq import Config
from polyak.algorithms.sac.with_torch import improved, sample_action
from polyak.frameworks.state import State, Weights, mapped
from polyak.frameworks.torch.parts import (
    Batch,
    averaged,
    critic_metrics,
    q_value,
    regression,
    step,
    td_error,
    value_and_gradient,
    when,
)

Measured = Mapping[str, Tensor]


def members(critics: Weights, subset: Tensor | None) -> Weights:
    """The critics of these numbers, [M], or all of them."""
    if subset is None:
        return critics

    def chosen(stacked: Tensor) -> Tensor:
        return stacked[subset]

    return mapped(chosen, critics)


def target(state: State, batch: Batch, draws: Mapping[str, Tensor]) -> Tensor:
    """(1): r + gamma (1 - d) (min over the subset of Q_target,i(s', a') - alpha log pi(a'|s')), a' ~ pi now, [B]."""
    next_action, log_probability = sample_action(state.actor.parameters, batch.next_observation, draws["next_action"])
    chosen = members(state.target_critics, draws.get("subset"))
    next_q = torch.amin(q_value(chosen, batch.next_observation, next_action, draws.get("next_dropped")), dim=0)
    return batch.reward + batch.discount * (next_q - torch.exp(state.log_alpha.parameters) * log_probability)


def critic_loss(
    critics: Weights, batch: Batch, y: Tensor, config: Config, dropped: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The sum over all critics of mean (Q_i(s, a) - y)^2, each weighted, and all Q_i(s, a), [N, B]."""
    q = q_value(critics, batch.observation, batch.action, dropped)
    return len(q) * regression(q - y, batch.weight, config), q


def worth(climbs: str, critics: Weights, dropped: Tensor | None, observation: Tensor, action: Tensor) -> Tensor:
    """What the critics are worth to the actor: the mean of all Q_i(s, a), or the minimum, [B]."""
    q = q_value(critics, observation, action, dropped)
    return torch.mean(q, dim=0) if climbs == "mean" else torch.amin(q, dim=0)


def update(
    state: State, batch: Batch, draws: Mapping[str, Tensor], due: Mapping[str, bool], config: Config
) -> tuple[State, Measured]:
    """One update: critic step; where due, actor and temperature step; Polyak step of the critics' target."""
    y = target(state, batch, draws)
    (loss, q), gradient = value_and_gradient(
        critic_loss, state.critics.parameters, batch, y, config, draws.get("critic_dropped")
    )
    critics = step(state.critics, gradient, config.optimizer("critics"))
    climbed = partial(worth, config.actor_climbs, critics.parameters, draws.get("actor_dropped"))
    policy = State({"actor": state.actor, "log_alpha": state.log_alpha})
    policy, measured = when(due["actor"], improved, policy, climbed, batch.observation, draws["action"], config)
    state = state.replace(
        critics=critics,
        target_critics=averaged(state.target_critics, critics.parameters, config.polyak),
        actor=policy.actor,
        log_alpha=policy.log_alpha,
    )
    return state, {**critic_metrics(loss, torch.mean(q, dim=0), y, gradient), **measured, "error": td_error(y, *q)}
