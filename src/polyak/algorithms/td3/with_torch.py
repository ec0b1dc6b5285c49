"""TD3 in PyTorch, in the paper's order (Fujimoto et al. 2018, algorithm 1; equations 8.8 to 8.12)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from polyak.algorithm import ACTOR_METRICS
from polyak.algorithms.td3 import Config
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
    target_actor: Parameters
    target_critic_1: Parameters
    target_critic_2: Parameters
    adam_actor: Adam
    adam_critic_1: Adam
    adam_critic_2: Adam
    step: int


def mu(actor: Parameters, observation: Tensor) -> Tensor:
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


def critic_loss(critics: tuple[Parameters, Parameters], batch: Batch, y: Tensor) -> tuple[Tensor, Tensor]:
    """(8.10, 8.11): the sum over both critics of mean (Q_i(s, a) - y)^2, and Q_1(s, a), [B]."""
    q_1 = q_value(critics[0], batch.observation, batch.action)
    q_2 = q_value(critics[1], batch.observation, batch.action)
    return torch.mean(batch.weight * (q_1 - y) ** 2) + torch.mean(batch.weight * (q_2 - y) ** 2), q_1


def actor_loss(actor: Parameters, critic_1: Parameters, observation: Tensor) -> tuple[Tensor, Tensor]:
    """(8.12): - mean Q_1(s, mu(s)), differentiated by the actor's parameters alone; and mu(s), [B, A]."""
    action = mu(actor, observation)
    return -torch.mean(q_value(critic_1, observation, action)), action


def update_policy_and_targets(state: State, observation: Tensor, config: Config) -> tuple[State, dict[str, Tensor]]:
    """The delayed part: actor step, then the Polyak step of all three targets; and what the actor step measures."""
    (loss, action), gradient = value_and_gradient(actor_loss, state.actor, state.critic_1, observation)
    actor, adam_actor = adam_step(state.actor, gradient, state.adam_actor, config.actor_learning_rate)
    new_state = state._replace(
        actor=actor,
        adam_actor=adam_actor,
        target_actor=polyak_average(state.target_actor, actor, config.polyak),
        target_critic_1=polyak_average(state.target_critic_1, state.critic_1, config.polyak),
        target_critic_2=polyak_average(state.target_critic_2, state.critic_2, config.polyak),
    )
    return new_state, actor_metrics(loss, action, gradient)


def update(
    state: State, batch: Batch, noise: Mapping[str, Tensor], config: Config
) -> tuple[State, Mapping[str, Tensor]]:
    """One update: critic step; on every `policy_delay`-th of the run, actor step and Polyak step of the targets."""
    y = target(state, batch, noise["target_action"], config)
    critics = (state.critic_1, state.critic_2)
    (loss, q), gradients = value_and_gradient(critic_loss, critics, batch, y)
    critic_1, adam_critic_1 = adam_step(state.critic_1, gradients[0], state.adam_critic_1, config.critic_learning_rate)
    critic_2, adam_critic_2 = adam_step(state.critic_2, gradients[1], state.adam_critic_2, config.critic_learning_rate)
    state = state._replace(
        critic_1=critic_1,
        critic_2=critic_2,
        adam_critic_1=adam_critic_1,
        adam_critic_2=adam_critic_2,
        step=state.step + 1,
    )

    policy_metrics = dict.fromkeys(ACTOR_METRICS, torch.full_like(loss, torch.nan))
    if state.step % config.policy_delay == 0:
        state, policy_metrics = update_policy_and_targets(state, batch.observation, config)
    return state, critic_metrics(loss, q, y, gradients) | policy_metrics
