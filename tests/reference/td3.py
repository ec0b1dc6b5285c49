"""TD3 (SPEC.md, section 3)."""

from typing import Any

import numpy as np

from reference.common import (
    Array,
    Arrays,
    Batch,
    action_gradient,
    actor_metrics,
    adam_step,
    backward,
    critic_loss,
    critic_metrics,
    part,
    polyak_step,
    q_value,
    td_error,
)
from reference.ddpg import actor_loss, mu  # (8.12) is DDPG's actor loss with the first critic


def smoothed_target_action(state: Arrays, batch: Batch, noise: Array, config: Any) -> Array:
    """(8.8), in normalized actions."""
    epsilon = np.clip(config.target_noise * noise, -config.target_noise_clip, config.target_noise_clip)
    return np.clip(mu(part(state, "target_actor", config), batch.next_observation)[0] + epsilon, -1.0, 1.0)


def target(state: Arrays, batch: Batch, noise: Array, config: Any) -> Array:
    """(8.9): y = r + gamma (1 - d) min_i Q_target,i(s', a'(s'))."""
    action = smoothed_target_action(state, batch, noise, config)
    q_1, q_2 = (q_value(part(state, f"target_critic_{i}", config), batch.next_observation, action)[0] for i in (1, 2))
    return batch.reward + batch.discount * np.minimum(q_1, q_2)


def cloning_loss(
    actor: Arrays, critic: Arrays, observation: Array, recorded: Array, alpha: float
) -> tuple[float, Arrays, Array]:
    """TD3+BC: - lambda mean Q_1(s, mu(s)) + mean (mu(s) - a)^2, lambda = alpha / mean |Q_1|; gradients; and mu(s)."""
    action, trace = mu(actor, observation)
    q, critic_inputs = q_value(critic, observation, action)
    scale, apart = alpha / np.mean(np.abs(q)), action - recorded
    upstream = 2.0 * apart / apart.size - scale * action_gradient(critic, critic_inputs, action.shape[1]) / len(q)
    gradients, _ = backward(actor, trace, upstream * (1.0 - action**2))
    return np.mean(apart**2) - scale * np.mean(q), gradients, action


def update(state: Arrays, batch: Batch, noise: Arrays, config: Any) -> tuple[Arrays, dict[str, float]]:
    """Critic steps; then, on every `policy_delay`-th update of the run, actor step and Polyak step of the targets."""
    y = target(state, batch, noise["target_action"], config)
    loss_1, gradients_1, q = critic_loss(part(state, "critic_1", config), batch, y, config)
    loss_2, gradients_2, q_2 = critic_loss(part(state, "critic_2", config), batch, y, config)
    state = state | adam_step(state, "critic_1", gradients_1, config.critic_learning_rate, config)
    state = state | adam_step(state, "critic_2", gradients_2, config.critic_learning_rate, config)
    state = state | {"step": state["step"] + 1}
    metrics = critic_metrics(loss_1 + loss_2, q, y, gradients_1, gradients_2) | {"error": td_error(y, q, q_2)}
    metrics |= dict.fromkeys(("actor_loss", "actor_gradient_norm", "saturated"), np.nan)
    if state["step"] % config.policy_delay == 0:
        networks = part(state, "actor", config), part(state, "critic_1", config)
        if config.behaviour_cloning:
            recorded = batch.action, config.behaviour_cloning
            loss, gradients, action = cloning_loss(*networks, batch.observation, *recorded)
        else:
            loss, gradients, action = actor_loss(*networks, batch.observation)
        metrics |= actor_metrics(loss, action, gradients)
        state = state | adam_step(state, "actor", gradients, config.actor_learning_rate, config, config.policy_delay)
        for name in ("actor", "critic_1", "critic_2"):
            state = state | polyak_step(state, name, config.polyak)
    return state, metrics


__all__ = ["actor_loss", "cloning_loss", "mu", "smoothed_target_action", "target", "update"]
