"""DDPG in PyTorch, in the paper's order (Lillicrap et al. 2016, algorithm 1; equations 8.5 to 8.7)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from polyak.algorithms.ddpg import Config
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
    critic: Parameters
    target_actor: Parameters
    target_critic: Parameters
    adam_actor: Adam
    adam_critic: Adam
    step: int


def mu(actor: Parameters, observation: Tensor) -> Tensor:
    """The deterministic policy: [B, O] -> [B, A] in [-1, 1]."""
    return torch.tanh(network(actor, observation))


def target(state: State, batch: Batch) -> Tensor:
    """(8.5): y = r + gamma (1 - d) Q_target(s', mu_target(s')), [B]."""
    next_action = mu(state.target_actor, batch.next_observation)
    next_q = q_value(state.target_critic, batch.next_observation, next_action)
    return batch.reward + batch.discount * next_q


def critic_loss(critic: Parameters, batch: Batch, y: Tensor) -> tuple[Tensor, Tensor]:
    """(8.5): mean (Q(s, a) - y)^2, and Q(s, a), [B]."""
    q = q_value(critic, batch.observation, batch.action)
    return torch.mean(batch.weight * (q - y) ** 2), q


def actor_loss(actor: Parameters, critic: Parameters, observation: Tensor) -> tuple[Tensor, Tensor]:
    """(8.6, 8.7): - mean Q(s, mu(s)), differentiated by the actor's parameters alone; and mu(s), [B, A]."""
    action = mu(actor, observation)
    return -torch.mean(q_value(critic, observation, action)), action


def update(
    state: State, batch: Batch, noise: Mapping[str, Tensor], config: Config
) -> tuple[State, Mapping[str, Tensor]]:
    """One update: critic step, actor step, Polyak step of both targets."""
    y = target(state, batch)
    (loss, q), critic_gradient = value_and_gradient(critic_loss, state.critic, batch, y)
    critic, adam_critic = adam_step(state.critic, critic_gradient, state.adam_critic, config.critic_learning_rate)

    (policy_loss, action), actor_gradient = value_and_gradient(actor_loss, state.actor, critic, batch.observation)
    actor, adam_actor = adam_step(state.actor, actor_gradient, state.adam_actor, config.actor_learning_rate)

    new_state = State(
        actor=actor,
        critic=critic,
        target_actor=polyak_average(state.target_actor, actor, config.polyak),
        target_critic=polyak_average(state.target_critic, critic, config.polyak),
        adam_actor=adam_actor,
        adam_critic=adam_critic,
        step=state.step + 1,
    )
    metrics = critic_metrics(loss, q, y, critic_gradient) | actor_metrics(policy_loss, action, actor_gradient)
    return new_state, metrics
