"""DDPG in TensorFlow, in the paper's order (Lillicrap et al. 2016, algorithm 1; equations 8.5 to 8.7)."""

from collections.abc import Mapping
from typing import Any

from polyak.algorithms.ddpg import Config
from polyak.frameworks.state import State, Weights
from polyak.frameworks.tensorflow.parts import (
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
)
from polyak.frameworks.tensorflow.quiet import Tensor, tf

Measured = Mapping[str, Tensor]


def mu(actor: Weights, observation: Tensor) -> Tensor:
    """The deterministic policy: [B, O] -> [B, A] in [-1, 1]."""
    return tf.tanh(network(actor, observation))


def target(state: State, batch: Batch) -> Tensor:
    """(8.5): y = r + gamma (1 - d) Q_target(s', mu_target(s')), [B]."""
    next_action = mu(state.target_actor, batch.next_observation)
    return batch.reward + batch.discount * q_value(state.target_critic, batch.next_observation, next_action)


def critic_loss(critic: Weights, batch: Batch, y: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """(8.5): mean (Q(s, a) - y)^2, each weighted, and Q(s, a), [B]."""
    q = q_value(critic, batch.observation, batch.action)
    return regression(q - y, batch.weight, config), q


def actor_loss(actor: Weights, critic: Weights, observation: Tensor) -> tuple[Tensor, Tensor]:
    """(8.6, 8.7): - mean Q(s, mu(s)), differentiated by the actor's parameters alone; and mu(s), [B, A]."""
    action = mu(actor, observation)
    return -tf.reduce_mean(q_value(critic, observation, action)), action


def update(
    state: State, batch: Batch, draws: Mapping[str, Tensor], due: Mapping[str, Any], config: Config
) -> tuple[State, Measured]:
    """One update: critic step, actor step, Polyak step of both targets."""
    y = target(state, batch)
    (loss, q), critic_gradient = value_and_gradient(critic_loss, state.critic.parameters, batch, y, config)
    critic = step(state.critic, critic_gradient, config.optimizer("critic"))

    (policy_loss, action), actor_gradient = value_and_gradient(
        actor_loss, state.actor.parameters, critic.parameters, batch.observation
    )
    actor = step(state.actor, actor_gradient, config.optimizer("actor"))

    state = state.replace(
        actor=actor,
        critic=critic,
        target_actor=averaged(state.target_actor, actor.parameters, config.polyak),
        target_critic=averaged(state.target_critic, critic.parameters, config.polyak),
    )
    metrics = critic_metrics(loss, q, y, critic_gradient) | actor_metrics(policy_loss, action, actor_gradient)
    return state, {**metrics, "error": td_error(y, q)}
