"""REDQ (2101.05982, algorithm 1) and DroQ (2110.02034, algorithm 1), critic by critic."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from reference.common import (
    Array,
    Arrays,
    Batch,
    Network,
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
from reference.sac import sample_action, temperature_loss


def critic(state: Arrays, name: str, index: int, config: Any, dropped: Array | None = None) -> Network:
    """One of an ensemble; `dropped` says which of its hidden units are, [B, units]."""
    network = part(state, name, config)
    for leaf, value in network.items():
        network[leaf] = value[index]
    if dropped is not None:
        each = 2 if "1/scale" in network else 1  # arrays of two layers with a norm between them
        layers = np.split(dropped, np.cumsum(widths(config))[:-1], axis=1)
        network.kept = {str(each * i): np.where(one, 0.0, 1.0 / (1.0 - config.dropout)) for i, one in enumerate(layers)}
    return network


def widths(config: Any) -> tuple[int, ...]:
    """Of a critic's hidden layers."""
    return config.critic_hidden_sizes or config.hidden_sizes


def critics(state: Arrays, name: str, config: Any, members: Iterable[int], sent: Array | None) -> list[Network]:
    """Those of these numbers, with what is dropped of each; `sent` has eight of such bits a byte, the lowest first."""
    members = list(members)
    if sent is None:
        return [critic(state, name, index, config) for index in members]
    size = len(members) * config.batch_size * sum(widths(config))
    bits = np.array([byte >> place & 1 for byte in sent.tolist() for place in range(8)][:size], bool)
    dropped = bits.reshape(len(members), config.batch_size, -1)
    return [critic(state, name, index, config, dropped[place]) for place, index in enumerate(members)]


def target(state: Arrays, batch: Batch, draws: Arrays, config: Any) -> Array:
    """y = r + gamma (1 - d) (min over the subset of Q_target,i(s', a') - alpha log pi(a'|s')), a' ~ pi(s')."""
    sample = sample_action(part(state, "actor", config), batch.next_observation, draws["next_action"])
    members = draws.get("subset", range(config.critics))
    chosen = critics(state, "target_critics", config, members, draws.get("next_dropped"))
    q = np.array([q_value(each, batch.next_observation, sample.action)[0] for each in chosen])
    value = q.min(axis=0) - np.exp(state["log_alpha"]) * sample.log_probability
    return batch.reward + batch.discount * value


def critics_loss(state: Arrays, batch: Batch, y: Array, config: Any, sent: Array | None) -> tuple[float, Arrays, Array]:
    """The sum of each critic's own loss, the gradients side by side, and all Q(s, a), [N, B]."""
    each = [
        critic_loss(one, batch, y, config) for one in critics(state, "critics", config, range(config.critics), sent)
    ]
    losses, gradients, q = zip(*each, strict=True)
    stacked = {path: np.stack([one[path] for one in gradients]) for path in gradients[0]}
    return sum(losses), stacked, np.array(q)


def actor_loss(
    state: Arrays, alpha: float, observation: Array, draws: Arrays, config: Any
) -> tuple[float, Arrays, float, Array]:
    """mean (alpha log pi - mean_i Q_i), or the minimum for the mean; gradients, the mean of log pi, actions."""
    actor, xi = part(state, "actor", config), draws["action"]
    sample = sample_action(actor, observation, xi)
    all_of_them = critics(state, "critics", config, range(config.critics), draws.get("actor_dropped"))
    found = [q_value(each, observation, sample.action) for each in all_of_them]
    q = np.array([value for value, _ in found])
    slopes = np.array(
        [action_gradient(each, trace, xi.shape[1]) for each, (_, trace) in zip(all_of_them, found, strict=True)]
    )
    if config.actor_climbs == "mean":
        worth, slope = q.mean(axis=0), slopes.mean(axis=0)
    else:
        rows = np.arange(q.shape[1])
        worth, slope = q.min(axis=0), slopes[q.argmin(axis=0), rows]
    in_u = alpha * 2.0 * np.tanh(sample.u) - slope * (1.0 - sample.action**2)
    in_log_sigma = (in_u * sample.sigma * xi - alpha) * sample.inside
    gradients, _ = backward(actor, sample.trace, np.concatenate([in_u, in_log_sigma], axis=1) / len(worth))
    loss = np.mean(alpha * sample.log_probability - worth)
    return loss, gradients, np.mean(sample.log_probability), sample.action


def update(state: Arrays, batch: Batch, draws: Arrays, config: Any) -> tuple[Arrays, dict[str, float]]:
    """Critic steps; on each `policy_delay`-th update of the run an actor and a temperature step; Polyak step."""
    alpha, number = np.exp(state["log_alpha"]), int(state["step"]) + 1
    y = target(state, batch, draws, config)
    loss, gradients, q = critics_loss(state, batch, y, config, draws.get("critic_dropped"))
    metrics = critic_metrics(loss, np.mean(q, axis=0), y, gradients) | {"error": td_error(y, *q)}
    state = state | adam_step(state, "critics", gradients, config.critic_learning_rate, config)
    late = dict.fromkeys(("actor_loss", "actor_gradient_norm", "saturated", "alpha", "alpha_loss", "entropy"), np.nan)
    if number % config.policy_delay == 0:
        state, late = improved(state, alpha, batch, draws, config)
    state = state | polyak_step(state, "critics", config.polyak)
    return state | {"step": state["step"] + 1}, metrics | late


def improved(state: Arrays, alpha: float, batch: Batch, draws: Arrays, config: Any) -> tuple[Arrays, dict[str, float]]:
    """The actor's step, and after it the temperature's."""
    delay = config.policy_delay
    policy_loss, gradients, log_probability, action = actor_loss(state, alpha, batch.observation, draws, config)
    state = state | adam_step(state, "actor", gradients, config.actor_learning_rate, config, delay)
    alpha_loss = np.nan
    if config.learn_alpha:
        usual = -batch.action.shape[1] * config.target_entropy_scale
        target_entropy = usual if config.target_entropy is None else config.target_entropy
        alpha_loss, gradient = temperature_loss(state["log_alpha"], log_probability, target_entropy)
        state = state | adam_step(state, "log_alpha", {"": gradient}, config.alpha_learning_rate, config, delay)
    measured = actor_metrics(policy_loss, action, gradients)
    return state, measured | {"alpha": alpha, "alpha_loss": alpha_loss, "entropy": -log_probability}
