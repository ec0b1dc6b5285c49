"""CrossQ in PyTorch, in the order of the authors' code (Bhatt, Palenicek et al. 2024, arXiv 1902.05605)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from polyak.algorithms.crossq import Config
from polyak.algorithms.sac.with_torch import minimum, sample_action, squashed, temperature_step
from polyak.frameworks.state import State, Weights, in_evaluation
from polyak.frameworks.torch.parts import (
    Batch,
    actor_metrics,
    critic_metrics,
    network_in_training,
    regression,
    step,
    td_error,
    value_and_gradient,
    when,
)

Measured = Mapping[str, Tensor]


def joint_values(critic: Weights, statistics: Any, batch: Batch, next_action: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Q(s, a) and Q(s', a'), [B] each, of one pass in training over the 2 B rows; and the running statistics after."""
    now = torch.cat([batch.observation, batch.action], dim=-1)
    following = torch.cat([batch.next_observation, next_action], dim=-1)
    values, statistics = network_in_training(critic, torch.cat([now, following]), statistics)
    q, next_q = torch.chunk(values[:, 0], 2)
    return q, next_q, statistics


def target(batch: Batch, next_q: Tensor, bonus: Tensor) -> Tensor:
    """Y = r + gamma (1 - d) (min_i Q_i(s', a') - alpha log pi(a'|s')), which no gradient passes, [B]."""
    return (batch.reward + batch.discount * (next_q + bonus)).detach()


def critic_loss(
    critics: tuple[Weights, Weights],
    statistics: tuple[Any, Any],
    batch: Batch,
    next_action: Tensor,
    bonus: Tensor,
    config: Config,
) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], Tensor, tuple[Any, Any]]]:
    """The sum over both critics of mean (Q_i(s, a) - y)^2 / 2, weighted; all Q_i(s, a) and y, [B]; the statistics."""
    q_1, next_q_1, statistics_1 = joint_values(critics[0], statistics[0], batch, next_action)
    q_2, next_q_2, statistics_2 = joint_values(critics[1], statistics[1], batch, next_action)
    y = target(batch, torch.minimum(next_q_1, next_q_2), bonus)
    loss = 0.5 * (regression(q_1 - y, batch.weight, config) + regression(q_2 - y, batch.weight, config))
    return loss, ((q_1, q_2), y, (statistics_1, statistics_2))


def actor_loss(
    actor: Weights,
    statistics: Any,
    q: Callable[[Tensor, Tensor], Tensor],
    alpha: Tensor,
    observation: Tensor,
    noise: Tensor,
) -> tuple[Tensor, tuple[Tensor, Tensor, Any]]:
    """- mean (Q(s, a) - alpha log pi(a|s)) of the actor in training; the mean of log pi; a; and the statistics."""
    outputs, statistics = network_in_training(actor, observation, statistics)
    action, log_probability = squashed(outputs, noise)
    loss = torch.mean(alpha * log_probability - q(observation, action))
    return loss, (torch.mean(log_probability), action, statistics)


def improved(
    state: State, q: Callable[[Tensor, Tensor], Tensor], observation: Tensor, noise: Tensor, config: Config
) -> tuple[State, Measured]:
    """The delayed part: the actor step, up Q(s, a) of the critics in evaluation, and then the temperature step."""
    alpha = torch.exp(state.log_alpha.parameters)
    (loss, (log_probability, action, statistics)), gradient = value_and_gradient(
        actor_loss, state.actor.parameters, state.actor.statistics, q, alpha, observation, noise
    )
    measured = actor_metrics(loss, action, gradient) | {"alpha": alpha, "entropy": -log_probability}
    state = state.replace(actor=step(state.actor, gradient, config.optimizer("actor"), statistics))
    state, cooled = temperature_step(state, log_probability, action.shape[-1], config)
    return state, measured | cooled


def update(
    state: State, batch: Batch, draws: Mapping[str, Tensor], due: Mapping[str, bool], config: Config
) -> tuple[State, Measured]:
    """One update: critic step; on every `policy_delay`-th of the run, actor step and temperature step."""
    next_action, log_probability = sample_action(
        in_evaluation(state.actor), batch.next_observation, draws["next_action"]
    )
    bonus = -torch.exp(state.log_alpha.parameters) * log_probability
    critics = state.critic_1.parameters, state.critic_2.parameters
    statistics = state.critic_1.statistics, state.critic_2.statistics
    (loss, (q, y, statistics)), gradients = value_and_gradient(
        critic_loss, critics, statistics, batch, next_action, bonus, config
    )
    state = state.replace(
        critic_1=step(state.critic_1, gradients[0], config.optimizer("critic_1"), statistics[0]),
        critic_2=step(state.critic_2, gradients[1], config.optimizer("critic_2"), statistics[1]),
    )
    climbed = partial(minimum, in_evaluation(state.critic_1), in_evaluation(state.critic_2))
    policy = State({"actor": state.actor, "log_alpha": state.log_alpha})
    policy, measured = when(due["actor"], improved, policy, climbed, batch.observation, draws["action"], config)
    state = state.replace(actor=policy.actor, log_alpha=policy.log_alpha)
    return state, {**critic_metrics(loss, q[0], y, gradients), **measured, "error": td_error(y, *q)}
