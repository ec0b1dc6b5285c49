"""DDPG (SPEC.md, section 2)."""

from typing import Any

import numpy as np

from reference.common import (
    Array,
    Arrays,
    Batch,
    Trace,
    action_gradient,
    actor_metrics,
    adam_step,
    backward,
    critic_loss,
    critic_metrics,
    forward,
    part,
    polyak_step,
    q_value,
    td_error,
)


def mu(actor: Arrays, observation: Array) -> tuple[Array, Trace]:
    """tanh of the actor's output, and what `backward` needs."""
    output, trace = forward(actor, observation)
    return np.tanh(output), trace


def target(state: Arrays, batch: Batch, config: Any = None) -> Array:
    """(8.5): y = r + gamma (1 - d) Q_target(s', mu_target(s'))."""
    action, _ = mu(part(state, "target_actor", config), batch.next_observation)
    q, _ = q_value(part(state, "target_critic", config), batch.next_observation, action)
    return batch.reward + batch.discount * q


def actor_loss(actor: Arrays, critic: Arrays, observation: Array) -> tuple[float, Arrays, Array]:
    """(8.6, 8.7): - mean Q(s, mu(s)), its gradients by dQ/da dmu/dtheta, and mu(s)."""
    action, trace = mu(actor, observation)
    q, critic_inputs = q_value(critic, observation, action)
    upstream = -action_gradient(critic, critic_inputs, action.shape[1]) / len(q)
    gradients, _ = backward(actor, trace, upstream * (1.0 - action**2))
    return -np.mean(q), gradients, action


def update(state: Arrays, batch: Batch, noise: Arrays, config: Any) -> tuple[Arrays, dict[str, float]]:
    """Critic step, actor step, Polyak step of both targets."""
    y = target(state, batch, config)
    loss, gradients, q = critic_loss(part(state, "critic", config), batch, y, config)
    metrics = critic_metrics(loss, q, y, gradients) | {"error": td_error(y, q)}
    state = state | adam_step(state, "critic", gradients, config.critic_learning_rate, config)
    policy_loss, gradients, action = actor_loss(
        part(state, "actor", config), part(state, "critic", config), batch.observation
    )
    state = state | adam_step(state, "actor", gradients, config.actor_learning_rate, config)
    state = state | polyak_step(state, "actor", config.polyak) | polyak_step(state, "critic", config.polyak)
    return state | {"step": state["step"] + 1}, metrics | actor_metrics(policy_loss, action, gradients)
