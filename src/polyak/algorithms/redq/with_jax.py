"""REDQ in JAX, in the paper's order (Chen et al. 2021, 2101.05982, algorithm 1)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from polyak.algorithms.redq import Config
from polyak.algorithms.sac.with_jax import improved, sample_action
from polyak.frameworks.jax.parts import (
    Batch,
    averaged,
    critic_metrics,
    q_value,
    regression,
    step,
    td_error,
    value_and_gradient,
    when,
)
from polyak.frameworks.state import State, Weights

Measured = Mapping[str, Array]


def members(critics: Weights, subset: Array | None) -> Weights:
    """The critics of these numbers, [M], or all of them."""
    if subset is None:
        return critics

    def chosen(stacked: Array) -> Array:
        return stacked[subset]

    return jax.tree.map(chosen, critics)


def target(state: State, batch: Batch, draws: Mapping[str, Array]) -> Array:
    """(1): r + gamma (1 - d) (min over the subset of Q_target,i(s', a') - alpha log pi(a'|s')), a' ~ pi now, [B]."""
    next_action, log_probability = sample_action(state.actor.parameters, batch.next_observation, draws["next_action"])
    chosen = members(state.target_critics, draws.get("subset"))
    next_q = jnp.min(q_value(chosen, batch.next_observation, next_action, draws.get("next_dropped")), axis=0)
    return batch.reward + batch.discount * (next_q - jnp.exp(state.log_alpha.parameters) * log_probability)


def critic_loss(
    critics: Weights, batch: Batch, y: Array, config: Config, dropped: Array | None = None
) -> tuple[Array, Array]:
    """The sum over all critics of mean (Q_i(s, a) - y)^2, each weighted, and all Q_i(s, a), [N, B]."""
    q = q_value(critics, batch.observation, batch.action, dropped)
    return len(q) * regression(q - y, batch.weight, config), q


def worth(climbs: str, critics: Weights, dropped: Array | None, observation: Array, action: Array) -> Array:
    """What the critics are worth to the actor: the mean of all Q_i(s, a), or the minimum, [B]."""
    q = q_value(critics, observation, action, dropped)
    return jnp.mean(q, axis=0) if climbs == "mean" else jnp.min(q, axis=0)


def update(
    state: State, batch: Batch, draws: Mapping[str, Array], due: Mapping[str, Any], config: Config
) -> tuple[State, Measured]:
    """One update: critic step; where due, actor and temperature step; Polyak step of the critics' target."""
    y = target(state, batch, draws)
    (loss, q), gradient = value_and_gradient(
        critic_loss, state.critics.parameters, batch, y, config, draws.get("critic_dropped")
    )
    critics = step(state.critics, gradient, config.optimizer("critics"))
    climbed = partial(worth, config.actor_climbs, critics.parameters, draws.get("actor_dropped"))
    policy = State({"actor": state.actor, "log_alpha": state.log_alpha})  # a condition copies what goes through it
    policy, measured = when(due["actor"], improved, policy, climbed, batch.observation, draws["action"], config)
    state = state.replace(
        critics=critics,
        target_critics=averaged(state.target_critics, critics.parameters, config.polyak),
        actor=policy.actor,
        log_alpha=policy.log_alpha,
    )
    return state, {**critic_metrics(loss, jnp.mean(q, axis=0), y, gradient), **measured, "error": td_error(y, *q)}
