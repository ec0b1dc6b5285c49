"""SAC in PyTorch, in the paper's order (Haarnoja et al. 2018, 1812.05905, algorithm 1; equations 8.24 to 8.35)."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from polyak.algorithm import LOG_SIGMA_HIGH, LOG_SIGMA_LOW
from polyak.algorithms.sac import Config
from polyak.frameworks.torch.parts import (
    Adam,
    Batch,
    Parameters,
    actor_metrics,
    adam_step,
    critic_metrics,
    network,
    polyak_average,
    q_value,
    value_and_gradient,
)


class State(NamedTuple):
    """Everything that one update reads and writes."""

    actor: Parameters
    critic_1: Parameters
    critic_2: Parameters
    target_critic_1: Parameters
    target_critic_2: Parameters
    log_alpha: Tensor
    adam_actor: Adam
    adam_critic_1: Adam
    adam_critic_2: Adam
    adam_log_alpha: Adam
    step: int


def sample_action(actor: Parameters, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """(8.30) and the appendix of the paper: a = tanh(u), u = mu(s) + sigma(s) noise, [B, A], and log pi(a|s), [B]."""
    mean, log_sigma = torch.chunk(network(actor, observation), 2, dim=-1)
    log_sigma = torch.clamp(log_sigma, LOG_SIGMA_LOW, LOG_SIGMA_HIGH)
    u = mean + torch.exp(log_sigma) * noise
    log_normal = -0.5 * noise**2 - log_sigma - 0.5 * math.log(2.0 * math.pi)  # (u - mean) / sigma is the noise
    # log(1 - tanh(u)^2), stable for large |u|; the usual threshold of 20 would be off by 1e-10 in float64
    log_jacobian = 2.0 * (math.log(2.0) - u - softplus(-2.0 * u, threshold=40.0))
    return torch.tanh(u), torch.sum(log_normal - log_jacobian, dim=-1)


def target(state: State, batch: Batch, noise: Tensor) -> Tensor:
    """(8.24 to 8.28): y = r + gamma (1 - d) (min_i Q_target,i(s', a') - alpha log pi(a'|s')), a' ~ pi now, [B]."""
    next_action, log_probability = sample_action(state.actor, batch.next_observation, noise)
    next_q = torch.minimum(
        q_value(state.target_critic_1, batch.next_observation, next_action),
        q_value(state.target_critic_2, batch.next_observation, next_action),
    )
    next_value = next_q - torch.exp(state.log_alpha) * log_probability
    return batch.reward + batch.discount * next_value


def critic_loss(critics: tuple[Parameters, Parameters], batch: Batch, y: Tensor) -> tuple[Tensor, Tensor]:
    """(8.28): the sum over both critics of mean (Q_i(s, a) - y)^2, and Q_1(s, a), [B]."""
    q_1 = q_value(critics[0], batch.observation, batch.action)
    q_2 = q_value(critics[1], batch.observation, batch.action)
    return torch.mean(batch.weight * (q_1 - y) ** 2) + torch.mean(batch.weight * (q_2 - y) ** 2), q_1


def actor_loss(
    actor: Parameters, critics: tuple[Parameters, Parameters], alpha: Tensor, observation: Tensor, noise: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """(8.35): - mean (min_i Q_i(s, a) - alpha log pi(a|s)), differentiated by the actor; the mean of log pi; and a."""
    action, log_probability = sample_action(actor, observation, noise)
    q = torch.minimum(q_value(critics[0], observation, action), q_value(critics[1], observation, action))
    return torch.mean(alpha * log_probability - q), (torch.mean(log_probability), action)


def temperature_loss(log_alpha: Tensor, mean_log_probability: Tensor, target_entropy: float) -> Tensor:
    """Equation 18 of 1812.05905: mean (- alpha log pi(a|s) - alpha H), alpha = exp(log_alpha)."""
    return -torch.exp(log_alpha) * (mean_log_probability + target_entropy)


def update(
    state: State, batch: Batch, noise: Mapping[str, Tensor], config: Config
) -> tuple[State, Mapping[str, Tensor]]:
    """One update: critic step, actor step, temperature step, Polyak step of the critics' targets."""
    alpha = torch.exp(state.log_alpha)
    y = target(state, batch, noise["next_action"])
    critics = (state.critic_1, state.critic_2)
    (loss, q), gradients = value_and_gradient(critic_loss, critics, batch, y)
    critic_1, adam_critic_1 = adam_step(state.critic_1, gradients[0], state.adam_critic_1, config.critic_learning_rate)
    critic_2, adam_critic_2 = adam_step(state.critic_2, gradients[1], state.adam_critic_2, config.critic_learning_rate)

    (policy_loss, (log_probability, action)), gradient = value_and_gradient(
        actor_loss, state.actor, (critic_1, critic_2), alpha, batch.observation, noise["action"]
    )
    actor, adam_actor = adam_step(state.actor, gradient, state.adam_actor, config.actor_learning_rate)

    log_alpha, adam_log_alpha = state.log_alpha, state.adam_log_alpha
    alpha_loss = torch.full_like(alpha, torch.nan)  # where alpha is fixed
    if config.learn_alpha:
        action_size = batch.action.shape[-1]
        target_entropy = -float(action_size) if config.target_entropy is None else config.target_entropy
        alpha_loss, slope = value_and_gradient(temperature_loss, log_alpha, log_probability, target_entropy)
        log_alpha, adam_log_alpha = adam_step(log_alpha, slope, adam_log_alpha, config.alpha_learning_rate)

    new_state = State(
        actor=actor,
        critic_1=critic_1,
        critic_2=critic_2,
        target_critic_1=polyak_average(state.target_critic_1, critic_1, config.polyak),
        target_critic_2=polyak_average(state.target_critic_2, critic_2, config.polyak),
        log_alpha=log_alpha,
        adam_actor=adam_actor,
        adam_critic_1=adam_critic_1,
        adam_critic_2=adam_critic_2,
        adam_log_alpha=adam_log_alpha,
        step=state.step + 1,
    )
    metrics = critic_metrics(loss, q, y, gradients) | actor_metrics(policy_loss, action, gradient)
    return new_state, metrics | {"alpha": alpha, "alpha_loss": alpha_loss, "entropy": -log_probability}
