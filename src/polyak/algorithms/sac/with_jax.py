"""SAC in JAX, in the paper's order (Haarnoja et al. 2018, 1812.05905, algorithm 1; equations 8.24 to 8.35)."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from polyak.algorithm import LOG_SIGMA_HIGH, LOG_SIGMA_LOW
from polyak.algorithms.sac import Config
from polyak.frameworks.jax.parts import (
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
from polyak.frameworks.state import State, Weights

Measured = Mapping[str, Array]


def sample_action(actor: Weights, observation: Array, noise: Array) -> tuple[Array, Array]:
    """(8.30): a, [B, A], and log pi(a|s), [B], of the policy for s."""
    return squashed(network(actor, observation), noise)


def squashed(outputs: Array, noise: Array) -> tuple[Array, Array]:
    """(8.30) and the appendix of the paper: a = tanh(u), u = mu(s) + sigma(s) noise, [B, A], and log pi(a|s), [B]."""
    mean, log_sigma = jnp.split(outputs, 2, axis=-1)
    log_sigma = jnp.clip(log_sigma, LOG_SIGMA_LOW, LOG_SIGMA_HIGH)
    u = mean + jnp.exp(log_sigma) * noise
    log_normal = -0.5 * noise**2 - log_sigma - 0.5 * math.log(2.0 * math.pi)  # (u - mean) / sigma is the noise
    log_jacobian = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))  # log(1 - tanh(u)^2), stable for large |u|
    return jnp.tanh(u), jnp.sum(log_normal - log_jacobian, axis=-1)


def minimum(critic_1: Weights, critic_2: Weights, observation: Array, action: Array) -> Array:
    """min_i Q_i(s, a), [B]."""
    return jnp.minimum(q_value(critic_1, observation, action), q_value(critic_2, observation, action))


def target(state: State, batch: Batch, noise: Array) -> Array:
    """(8.24 to 8.28): y = r + gamma (1 - d) (min_i Q_target,i(s', a') - alpha log pi(a'|s')), a' ~ pi now, [B]."""
    next_action, log_probability = sample_action(state.actor.parameters, batch.next_observation, noise)
    next_q = minimum(state.target_critic_1, state.target_critic_2, batch.next_observation, next_action)
    return batch.reward + batch.discount * (next_q - jnp.exp(state.log_alpha.parameters) * log_probability)


def critic_loss(
    critics: tuple[Weights, Weights], batch: Batch, y: Array, config: Config
) -> tuple[Array, tuple[Array, Array]]:
    """(8.28): the sum over both critics of mean (Q_i(s, a) - y)^2, each weighted, and both Q_i(s, a), [B]."""
    q_1 = q_value(critics[0], batch.observation, batch.action)
    q_2 = q_value(critics[1], batch.observation, batch.action)
    return regression(q_1 - y, batch.weight, config) + regression(q_2 - y, batch.weight, config), (q_1, q_2)


def actor_loss(
    actor: Weights, q: Callable[[Array, Array], Array], alpha: Array, observation: Array, noise: Array
) -> tuple[Array, tuple[Array, Array]]:
    """(8.35): - mean (Q(s, a) - alpha log pi(a|s)), differentiated by the actor; the mean of log pi; and a."""
    action, log_probability = sample_action(actor, observation, noise)
    loss = jnp.mean(alpha * log_probability - q(observation, action))
    return loss, (jnp.mean(log_probability), action)


def temperature_loss(log_alpha: Array, mean_log_probability: Array, target_entropy: float) -> Array:
    """Equation 18 of 1812.05905: mean (- alpha log pi(a|s) - alpha H), alpha = exp(log_alpha)."""
    return -jnp.exp(log_alpha) * (mean_log_probability + target_entropy)


def improved(
    state: State, q: Callable[[Array, Array], Array], observation: Array, noise: Array, config: Config
) -> tuple[State, Measured]:
    """The actor step, up Q(s, a), and after it the temperature step; `q` is what the critics are worth to the actor."""
    alpha = jnp.exp(state.log_alpha.parameters)
    (loss, (log_probability, action)), gradient = value_and_gradient(
        actor_loss, state.actor.parameters, q, alpha, observation, noise
    )
    measured = actor_metrics(loss, action, gradient) | {"alpha": alpha, "entropy": -log_probability}
    state = state.replace(actor=step(state.actor, gradient, config.optimizer("actor")))
    state, cooled = temperature_step(state, log_probability, action.shape[-1], config)
    return state, measured | cooled


def temperature_step(
    state: State, mean_log_probability: Array, action_size: int, config: Config
) -> tuple[State, dict[str, Array]]:
    """One step of the temperature toward the target entropy, where it is learned."""
    if not config.learn_alpha:
        return state, {}
    wanted = config.wanted_entropy(action_size)
    loss, slope = value_and_gradient(temperature_loss, state.log_alpha.parameters, mean_log_probability, wanted)
    state = state.replace(log_alpha=step(state.log_alpha, slope, config.optimizer("log_alpha")))
    return state, {"alpha_loss": loss}


def update(
    state: State, batch: Batch, draws: Mapping[str, Array], due: Mapping[str, Any], config: Config
) -> tuple[State, Measured]:
    """One update: critic step, actor step, temperature step, Polyak step of the critics' targets."""
    y = target(state, batch, draws["next_action"])
    critics = state.critic_1.parameters, state.critic_2.parameters
    (loss, q), gradients = value_and_gradient(critic_loss, critics, batch, y, config)
    state = state.replace(
        critic_1=step(state.critic_1, gradients[0], config.optimizer("critic_1")),
        critic_2=step(state.critic_2, gradients[1], config.optimizer("critic_2")),
    )
    critics = state.critic_1.parameters, state.critic_2.parameters
    state, measured = improved(state, partial(minimum, *critics), batch.observation, draws["action"], config)
    state = state.replace(
        target_critic_1=averaged(state.target_critic_1, critics[0], config.polyak),
        target_critic_2=averaged(state.target_critic_2, critics[1], config.polyak),
    )
    return state, {**critic_metrics(loss, q[0], y, gradients), **measured, "error": td_error(y, *q)}
