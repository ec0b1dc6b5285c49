"""SAC (SPEC.md, section 6)."""

from typing import Any, NamedTuple

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


class Sample(NamedTuple):
    """A squashed-Gaussian action, and what its gradient needs."""

    action: Array
    """tanh(u), [B, A]"""
    log_probability: Array
    """[B]"""
    u: Array
    """mu + sigma xi, [B, A]"""
    sigma: Array
    """[B, A]"""
    inside: Array
    """[B, A]: the derivative of log sigma in the output, 0 where it was clamped."""
    trace: Trace


def sample_action(actor: Arrays, observation: Array, xi: Array) -> Sample:
    """(8.30): tanh(mu + sigma xi); log pi = sum log N(u; mu, sigma) - sum 2 (ln 2 - u - softplus(-2 u))."""
    output, trace = forward(actor, observation)
    mean, raw = np.split(output, 2, axis=1)
    log_sigma, slope = np.clip(raw, -20.0, 2.0), 1.0 * ((raw > -20.0) & (raw < 2.0))
    if getattr(actor, "log_sigma", "clip") == "tanh":
        log_sigma, slope = -10.0 + 6.0 * (1.0 + np.tanh(raw)), 6.0 / np.cosh(raw) ** 2
    sigma = np.exp(log_sigma)
    u = mean + sigma * xi
    log_normal = -0.5 * (xi**2 + np.log(2.0 * np.pi)) - log_sigma
    log_probability = log_normal - 2.0 * (np.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))
    return Sample(np.tanh(u), log_probability.sum(axis=1), u, sigma, slope, trace)


def target(state: Arrays, batch: Batch, xi: Array, config: Any = None) -> Array:
    """(8.24 to 8.28): y = r + gamma (1 - d) (min_i Q_target,i(s', a') - alpha log pi(a'|s')), a' ~ pi(s')."""
    sample = sample_action(part(state, "actor", config), batch.next_observation, xi)
    q_1, q_2 = (
        q_value(part(state, f"target_critic_{i}", config), batch.next_observation, sample.action)[0] for i in (1, 2)
    )
    value = np.minimum(q_1, q_2) - np.exp(state["log_alpha"]) * sample.log_probability
    return batch.reward + batch.discount * value


def actor_loss(
    actor: Arrays, critic_1: Arrays, critic_2: Arrays, alpha: float, observation: Array, xi: Array
) -> tuple[float, Arrays, float, Array]:
    """(8.35): mean (alpha log pi - min_i Q_i), its pathwise gradients, the mean of log pi, and the actions.

    With xi fixed: d log pi / du = 2 tanh(u); d log pi / d log sigma = -1 beside its part through u; du / d log sigma =
    sigma xi.
    """
    sample = sample_action(actor, observation, xi)
    size = xi.shape[1]
    q_1, inputs_1 = q_value(critic_1, observation, sample.action)
    q_2, inputs_2 = q_value(critic_2, observation, sample.action)
    slope_1, slope_2 = action_gradient(critic_1, inputs_1, size), action_gradient(critic_2, inputs_2, size)
    slope = np.where((q_1 < q_2)[:, None], slope_1, slope_2)
    in_u = alpha * 2.0 * np.tanh(sample.u) - slope * (1.0 - sample.action**2)
    in_log_sigma = (in_u * sample.sigma * xi - alpha) * sample.inside
    gradients, _ = backward(actor, sample.trace, np.concatenate([in_u, in_log_sigma], axis=1) / len(q_1))
    loss = np.mean(alpha * sample.log_probability - np.minimum(q_1, q_2))
    return loss, gradients, np.mean(sample.log_probability), sample.action


def temperature_loss(log_alpha: Array, mean_log_probability: float, target_entropy: float) -> tuple[float, float]:
    """Equation 18 of 1812.05905: mean(-alpha log pi - alpha H), alpha = exp(log_alpha), and its derivative."""
    loss = -np.exp(log_alpha) * (mean_log_probability + target_entropy)
    return loss, loss  # exp is its own derivative


def update(state: Arrays, batch: Batch, noise: Arrays, config: Any) -> tuple[Arrays, dict[str, float]]:
    """Critic steps, actor step, temperature step, Polyak step of the critics' targets."""
    alpha = np.exp(state["log_alpha"])
    y = target(state, batch, noise["next_action"], config)
    loss_1, gradients_1, q = critic_loss(part(state, "critic_1", config), batch, y, config)
    loss_2, gradients_2, q_2 = critic_loss(part(state, "critic_2", config), batch, y, config)
    state = state | adam_step(state, "critic_1", gradients_1, config.critic_learning_rate, config)
    state = state | adam_step(state, "critic_2", gradients_2, config.critic_learning_rate, config)
    networks = (part(state, name, config) for name in ("actor", "critic_1", "critic_2"))
    policy_loss, gradients, log_probability, action = actor_loss(*networks, alpha, batch.observation, noise["action"])
    state = state | adam_step(state, "actor", gradients, config.actor_learning_rate, config)
    alpha_loss = np.nan
    if config.learn_alpha:
        usual = -batch.action.shape[1] * config.target_entropy_scale
        target_entropy = usual if config.target_entropy is None else config.target_entropy
        alpha_loss, gradient = temperature_loss(state["log_alpha"], log_probability, target_entropy)
        state = state | adam_step(state, "log_alpha", {"": gradient}, config.alpha_learning_rate, config)
    state = state | polyak_step(state, "critic_1", config.polyak) | polyak_step(state, "critic_2", config.polyak)
    metrics = critic_metrics(loss_1 + loss_2, q, y, gradients_1, gradients_2) | {"error": td_error(y, q, q_2)}
    metrics |= actor_metrics(policy_loss, action, gradients)
    metrics |= {"alpha": alpha, "alpha_loss": alpha_loss, "entropy": -log_probability}
    return state | {"step": state["step"] + 1}, metrics
