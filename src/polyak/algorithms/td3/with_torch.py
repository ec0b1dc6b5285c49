"""TD3 in PyTorch, in the paper's order (Fujimoto et al. 2018, algorithm 1; equations 8.8 to 8.12)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from polyak.algorithms.td3 import Config
from polyak.frameworks.state import State, Weights
from polyak.frameworks.torch.parts import (
    Batch,
    actor_metrics,
    averaged,
    critic_metrics,
    network,
    q_value,
    regression,
    step,
    td_error,
    value_and_gradient,
    when,
)

Measured = Mapping[str, Tensor]


def mu(actor: Weights, observation: Tensor) -> Tensor:
    """The deterministic policy: [B, O] -> [B, A] in [-1, 1]."""
    return torch.tanh(network(actor, observation))


def smoothed_target_action(state: State, batch: Batch, noise: Tensor, config: Config) -> Tensor:
    """(8.8): clip(mu_target(s') + clip(sigma noise, -c, c), -1, 1), [B, A]."""
    epsilon = torch.clamp(config.target_noise * noise, -config.target_noise_clip, config.target_noise_clip)
    return torch.clamp(mu(state.target_actor, batch.next_observation) + epsilon, -1.0, 1.0)


def target(state: State, batch: Batch, noise: Tensor, config: Config) -> Tensor:
    """(8.9): y = r + gamma (1 - d) min_i Q_target,i(s', a'(s')), [B]."""
    next_action = smoothed_target_action(state, batch, noise, config)
    next_q = torch.minimum(
        q_value(state.target_critic_1, batch.next_observation, next_action),
        q_value(state.target_critic_2, batch.next_observation, next_action),
    )
    return batch.reward + batch.discount * next_q


def critic_loss(
    critics: tuple[Weights, Weights], batch: Batch, y: Tensor, config: Config
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """(8.10, 8.11): the sum over both critics of mean (Q_i(s, a) - y)^2, each weighted, and both Q_i(s, a), [B]."""
    q_1 = q_value(critics[0], batch.observation, batch.action)
    q_2 = q_value(critics[1], batch.observation, batch.action)
    return regression(q_1 - y, batch.weight, config) + regression(q_2 - y, batch.weight, config), (q_1, q_2)


def actor_loss(actor: Weights, critic_1: Weights, observation: Tensor) -> tuple[Tensor, Tensor]:
    """(8.12): - mean Q_1(s, mu(s)), differentiated by the actor's parameters alone; and mu(s), [B, A]."""
    action = mu(actor, observation)
    return -torch.mean(q_value(critic_1, observation, action)), action


def scale_of(q: Tensor, alpha: float) -> Tensor:
    """TD3+BC: lambda = alpha / mean |Q_1(s, mu(s))|, a constant to the gradient."""
    return (alpha / torch.mean(torch.abs(q))).detach()


def cloning_loss(
    actor: Weights, critic_1: Weights, observation: Tensor, recorded: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """TD3+BC: - lambda mean Q_1(s, mu(s)) + mean (mu(s) - a)^2, of the recorded actions a [B, A]; and mu(s)."""
    action = mu(actor, observation)
    q = q_value(critic_1, observation, action)
    return torch.mean(torch.square(action - recorded)) - scale_of(q, alpha) * torch.mean(q), action


def policy_and_targets(
    state: State, observation: Tensor, config: Config, recorded: Tensor | None = None
) -> tuple[State, Measured]:
    """The delayed part: actor step, then the Polyak step of all three targets."""
    critic_1, critic_2 = state.critic_1.parameters, state.critic_2.parameters
    loss_of, more = (actor_loss, ()) if recorded is None else (cloning_loss, (recorded, config.behaviour_cloning))
    (loss, action), gradient = value_and_gradient(loss_of, state.actor.parameters, critic_1, observation, *more)
    actor = step(state.actor, gradient, config.optimizer("actor"))
    state = state.replace(
        actor=actor,
        target_actor=averaged(state.target_actor, actor.parameters, config.polyak),
        target_critic_1=averaged(state.target_critic_1, critic_1, config.polyak),
        target_critic_2=averaged(state.target_critic_2, critic_2, config.polyak),
    )
    return state, actor_metrics(loss, action, gradient)


def update(
    state: State, batch: Batch, draws: Mapping[str, Tensor], due: Mapping[str, bool], config: Config
) -> tuple[State, Measured]:
    """One update: critic step; on every `policy_delay`-th of the run, actor step and Polyak step of the targets."""
    y = target(state, batch, draws["target_action"], config)
    critics = state.critic_1.parameters, state.critic_2.parameters
    (loss, q), gradients = value_and_gradient(critic_loss, critics, batch, y, config)
    state = state.replace(
        critic_1=step(state.critic_1, gradients[0], config.optimizer("critic_1")),
        critic_2=step(state.critic_2, gradients[1], config.optimizer("critic_2")),
    )
    recorded = batch.action if config.behaviour_cloning else None
    state, measured = when(due["actor"], policy_and_targets, state, batch.observation, config, recorded)
    return state, {**critic_metrics(loss, q[0], y, gradients), **measured, "error": td_error(y, *q)}
