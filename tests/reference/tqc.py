"""TQC (Kuznetsov et al. 2020, 2005.04269), one critic, one transition's atoms, after the other."""

from typing import Any

import numpy as np

from reference.common import (
    Array,
    Arrays,
    Batch,
    Network,
    actor_metrics,
    adam_step,
    backward,
    critic_metrics,
    forward,
    part,
    polyak_step,
    td_error,
)
from reference.sac import sample_action, temperature_loss


def members(critics: Network) -> list[Network]:
    """The networks of an ensemble, one by one."""
    found: list[Network] = []
    for number in range(len(next(iter(critics.values())))):
        found.append(Network({path: value[number] for path, value in critics.items()}))
        found[-1].activation = critics.activation
    return found


def together(gradients: list[Arrays]) -> Arrays:
    """The members' arrays as those of their ensemble."""
    return {path: np.array([each[path] for each in gradients]) for path in gradients[0]}


def atoms(critic: Network, observation: Array, action: Array) -> tuple[Array, Any]:
    """theta^1..theta^M(s, a) of one critic, [B, M], and what `backward` needs."""
    return forward(critic, np.concatenate([observation, action], axis=1))


def target(state: Arrays, batch: Batch, xi: Array, config: Any) -> Array:
    """y_i = r + gamma (1 - d) (z_(i) - alpha log pi(a'|s')): z_(1) <= ... <= z_((M - k) N) of all atoms of (s', a')."""
    sample = sample_action(part(state, "actor", config), batch.next_observation, xi)
    critics = members(part(state, "target_critics", config))
    pooled = [atoms(critic, batch.next_observation, sample.action)[0] for critic in critics]
    rows: list[Array] = []
    for index in range(len(batch.reward)):
        z = sorted(number for each in pooled for number in each[index])
        for _ in critics:
            z = z[: len(z) - config.dropped_quantiles]
        soft = np.array(z) - np.exp(state["log_alpha"]) * sample.log_probability[index]
        rows.append(batch.reward[index] + batch.discount[index] * soft)
    return np.array(rows)


def quantile_huber(theta: Array, y: Array) -> tuple[Array, Array]:
    """For each transition, mean over m and i of |tau_m - 1{u < 0}| H(u), u = y_i - theta_m, tau_m = (2 m - 1) / (2 M).

    And its derivative in theta, [B, M]: H'(u) is u between -1 and 1, and the sign of u beyond.
    """
    count = theta.shape[1]
    tau = (2.0 * np.arange(1, count + 1) - 1.0) / (2.0 * count)
    u = y[:, None, :] - theta[:, :, None]
    weight = np.abs(tau[None, :, None] - np.where(u < 0.0, 1.0, 0.0))
    huber = np.where(np.abs(u) <= 1.0, u**2 / 2.0, np.abs(u) - 0.5)
    slope = np.where(np.abs(u) <= 1.0, u, np.sign(u))
    return (weight * huber).mean(axis=(1, 2)), -(weight * slope).mean(axis=2) / count


def critic_loss(critics: Network, batch: Batch, y: Array) -> tuple[float, Arrays, Array]:
    """The mean of the critics' losses, each transition weighted; its gradients; and their means of atoms, [N, B]."""
    losses, gradients, values = [], [], []
    networks = members(critics)
    for critic in networks:
        theta, trace = atoms(critic, batch.observation, batch.action)
        loss, slope = quantile_huber(theta, y)
        upstream = slope * batch.weight[:, None] / (len(y) * len(networks))
        losses.append(np.mean(batch.weight * loss))
        gradients.append(backward(critic, trace, upstream)[0])
        values.append(theta.mean(axis=1))
    return np.mean(losses), together(gradients), np.array(values)


def actor_loss(
    actor: Arrays, critics: Network, alpha: float, observation: Array, xi: Array
) -> tuple[float, Arrays, float, Array]:
    """Mean (alpha log pi - the mean of all atoms), its pathwise gradients, the mean of log pi, and the actions."""
    sample, networks = sample_action(actor, observation, xi), members(critics)
    size, q, slope = xi.shape[1], np.zeros(len(xi)), np.zeros_like(xi)
    for critic in networks:
        theta, trace = atoms(critic, observation, sample.action)
        _, into = backward(critic, trace, np.full_like(theta, 1.0 / theta.shape[1]))
        q, slope = q + theta.mean(axis=1) / len(networks), slope + into[:, -size:] / len(networks)
    in_u = alpha * 2.0 * np.tanh(sample.u) - slope * (1.0 - sample.action**2)
    in_log_sigma = (in_u * sample.sigma * xi - alpha) * sample.inside
    gradients, _ = backward(actor, sample.trace, np.concatenate([in_u, in_log_sigma], axis=1) / len(q))
    return np.mean(alpha * sample.log_probability - q), gradients, np.mean(sample.log_probability), sample.action


def update(state: Arrays, batch: Batch, noise: Arrays, config: Any) -> tuple[Arrays, dict[str, float]]:
    """Critic step, actor step, temperature step, Polyak step of the critics' targets."""
    alpha = np.exp(state["log_alpha"])
    y = target(state, batch, noise["next_action"], config)
    loss, critic_gradients, q = critic_loss(part(state, "critics", config), batch, y)
    state = state | adam_step(state, "critics", critic_gradients, config.critic_learning_rate, config)
    actor, critics = (part(state, name, config) for name in ("actor", "critics"))
    policy_loss, gradients, log_probability, action = actor_loss(
        actor, critics, alpha, batch.observation, noise["action"]
    )
    state = state | adam_step(state, "actor", gradients, config.actor_learning_rate, config)
    alpha_loss = np.nan
    if config.learn_alpha:
        usual = -batch.action.shape[1] * config.target_entropy_scale
        target_entropy = usual if config.target_entropy is None else config.target_entropy
        alpha_loss, gradient = temperature_loss(state["log_alpha"], log_probability, target_entropy)
        state = state | adam_step(state, "log_alpha", {"": gradient}, config.alpha_learning_rate, config)
    state = state | polyak_step(state, "critics", config.polyak)
    metrics = critic_metrics(loss, q.mean(axis=0), y, critic_gradients) | actor_metrics(policy_loss, action, gradients)
    metrics |= {
        "error": td_error(y.mean(axis=1), *q),
        "alpha": alpha,
        "alpha_loss": alpha_loss,
        "entropy": -log_probability,
    }
    return state | {"step": state["step"] + 1}, metrics
