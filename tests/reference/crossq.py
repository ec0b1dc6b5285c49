"""CrossQ (Bhatt, Palenicek et al. 2024; FRONTIER 1.4), its networks written out with batch renormalization."""

from typing import Any, NamedTuple

import numpy as np

from reference import sac
from reference.common import (
    ACTIVATIONS,
    DERIVATIVES,
    Array,
    Arrays,
    Batch,
    actor_metrics,
    adam_step,
    critic_metrics,
    part,
    penalty,
    td_error,
)

EPSILON, DECAY, MOST_SCALED, MOST_SHIFTED, WARM_UP = 1e-3, 0.99, 3.0, 5.0, 100_000


class Renormalized(NamedTuple):
    """A layer's output before scale and offset, what its gradient needs, and the running statistics after."""

    output: Array
    z: Array
    """(x - mean) / deviation"""
    deviation: Array
    r: Array
    d: Array
    after: Arrays


def renormalized(x: Array, kept: Arrays) -> Renormalized:
    """Ioffe 2017, algorithm 1: (x - mean_B) / sigma_B r + d; r and d are 1 and 0 in the first 100,000 calls."""
    mean, variance = x.mean(axis=0), x.var(axis=0)
    deviation, running = np.sqrt(variance + EPSILON), np.sqrt(kept["variance"] + EPSILON)
    r, d = np.ones_like(mean), np.zeros_like(mean)
    if kept["steps"] >= WARM_UP:
        r = np.clip(deviation / running, 1.0 / MOST_SCALED, MOST_SCALED)
        d = np.clip((mean - kept["mean"]) / running, -MOST_SHIFTED, MOST_SHIFTED)
    z = (x - mean) / deviation
    after = {
        "mean": DECAY * kept["mean"] + (1.0 - DECAY) * mean,
        "variance": DECAY * kept["variance"] + (1.0 - DECAY) * variance,
        "steps": kept["steps"] + 1,
    }
    return Renormalized(z * r + d, z, deviation, r, d, after)


class Pass(NamedTuple):
    """A way through a network: what comes out, what `back` needs, and the running statistics after."""

    output: Array
    trace: list[Any]
    after: Arrays


def numbers(network: Arrays) -> list[str]:
    """Its layers, each with two arrays."""
    return [str(number) for number in range(len(network) // 2)]


def through(network: Arrays, statistics: Arrays, x: Array, *, training: bool) -> Pass:
    """Normalize; for each hidden layer a product, the activation, normalize; and a last product."""
    trace, after, *_, last = list[Any](), dict[str, Array](), *numbers(network)
    for number in numbers(network):
        if f"{number}/kernel" in network:
            trace.append(("dense", number, x))
            x = x @ network[f"{number}/kernel"] + network[f"{number}/bias"]
            if number != last:
                trace.append(("activation", number, x))
                x = ACTIVATIONS["relu"](x)
        else:
            kept = part(statistics, number)
            found = renormalized(x, kept)
            if not training:
                z = (x - kept["mean"]) / np.sqrt(kept["variance"] + EPSILON)
                found = found._replace(output=z, deviation=np.sqrt(kept["variance"] + EPSILON), after={})
            after |= {f"{number}/{name}": value for name, value in found.after.items()}
            trace.append(("norm" if training else "fixed", number, found))
            x = found.output * network[f"{number}/scale"] + network[f"{number}/offset"]
    return Pass(x, trace, after)


def back(network: Arrays, trace: list[Any], upstream: Array) -> tuple[Arrays, Array]:
    """From a loss's gradient in the output: those in the parameters, and in the inputs.

    r and d are constants: dz = dy r, dx = (dz - mean(dz) - z mean(z dz)) / deviation, means over the rows.
    """
    gradients: Arrays = {}
    for kind, number, seen in reversed(trace):
        if kind == "activation":
            upstream = upstream * DERIVATIVES["relu"](seen)
        elif kind == "dense":
            gradients |= {f"{number}/kernel": seen.T @ upstream, f"{number}/bias": upstream.sum(axis=0)}
            upstream = upstream @ network[f"{number}/kernel"].T
        else:
            gradients |= {
                f"{number}/scale": (upstream * seen.output).sum(axis=0),
                f"{number}/offset": upstream.sum(axis=0),
            }
            upstream = upstream * network[f"{number}/scale"]
            if kind == "norm":
                upstream = upstream * seen.r
                upstream = upstream - upstream.mean(axis=0) - seen.z * (seen.z * upstream).mean(axis=0)
            upstream = upstream / seen.deviation
    return gradients, upstream


def policy(state: Arrays, observation: Array, xi: Array, *, training: bool) -> tuple[sac.Sample, Arrays]:
    """The squashed Gaussian for s, and the actor's statistics after."""
    found = through(part(state, "actor"), part(state, "statistics_actor"), observation, training=training)
    mean, raw = np.split(found.output, 2, axis=1)
    log_sigma = np.clip(raw, -20.0, 2.0)
    sigma = np.exp(log_sigma)
    u = mean + sigma * xi
    log_normal = -0.5 * (xi**2 + np.log(2.0 * np.pi)) - log_sigma
    log_probability = log_normal - 2.0 * (np.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))
    inside = (raw > -20.0) & (raw < 2.0)
    return sac.Sample(np.tanh(u), log_probability.sum(axis=1), u, sigma, inside, found.trace), found.after


def joint(state: Arrays, name: str, batch: Batch, next_action: Array) -> Pass:
    """A critic in training over (s, a) and, below, (s', a')."""
    rows = np.block([[batch.observation, batch.action], [batch.next_observation, next_action]])
    return through(part(state, name), part(state, f"statistics_{name}"), rows, training=True)


def critic_losses(
    state: Arrays, batch: Batch, next_action: Array, bonus: Array, config: Any
) -> tuple[float, dict[str, Arrays], list[Array], Array, dict[str, Arrays]]:
    """Loss, gradients by critic, both Q(s, a), y, and statistics by critic: no gradient goes through y."""
    names, size = ("critic_1", "critic_2"), len(batch.reward)
    passes = {name: joint(state, name, batch, next_action) for name in names}
    next_q = np.minimum(*(passes[name].output[size:, 0] for name in names))
    y = batch.reward + batch.discount * (next_q + bonus)
    loss, gradients, values = 0.0, dict[str, Arrays](), list[Array]()
    for name in names:
        values.append(passes[name].output[:size, 0])
        each, slope = penalty(values[-1] - y, config)
        loss += 0.5 * np.mean(batch.weight * each)
        upstream = np.concatenate([0.5 * batch.weight * slope / size, np.zeros(size)])[:, None]
        gradients[name], _ = back(part(state, name), passes[name].trace, upstream)
    after = {name: passes[name].after for name in names}
    return loss, gradients, values, y, after


def actor_loss(
    state: Arrays, alpha: float, observation: Array, xi: Array
) -> tuple[float, Arrays, float, Array, Arrays]:
    """mean (alpha log pi - min_i Q_i), the critics by their running statistics; derivatives as in reference/sac.py."""
    sample, after = policy(state, observation, xi, training=True)
    rows, size = np.concatenate([observation, sample.action], axis=1), xi.shape[1]
    q, slopes = list[Array](), list[Array]()
    for name in ("critic_1", "critic_2"):
        found = through(part(state, name), part(state, f"statistics_{name}"), rows, training=False)
        q.append(found.output[:, 0])
        slopes.append(back(part(state, name), found.trace, np.ones_like(found.output))[1][:, -size:])
    slope = np.where((q[0] < q[1])[:, None], *slopes)
    in_u = alpha * 2.0 * np.tanh(sample.u) - slope * (1.0 - sample.action**2)
    in_log_sigma = (in_u * sample.sigma * xi - alpha) * sample.inside
    gradients, _ = back(part(state, "actor"), sample.trace, np.concatenate([in_u, in_log_sigma], axis=1) / len(rows))
    loss = np.mean(alpha * sample.log_probability - np.minimum(*q))
    return loss, gradients, np.mean(sample.log_probability), sample.action, after


def kept(name: str, after: Arrays) -> Arrays:
    """Running statistics by their names in a state."""
    return {f"statistics_{name}/{path}": value for path, value in after.items()}


def update(state: Arrays, batch: Batch, noise: Arrays, config: Any) -> tuple[Arrays, dict[str, float]]:
    """Critic steps; then, on every `policy_delay`-th update of the run, actor step and temperature step."""
    alpha = np.exp(state["log_alpha"])
    sample, _ = policy(state, batch.next_observation, noise["next_action"], training=False)
    bonus = -alpha * sample.log_probability
    loss, gradients, q, y, after = critic_losses(state, batch, sample.action, bonus, config)
    for name in ("critic_1", "critic_2"):
        state = state | adam_step(state, name, gradients[name], config.critic_learning_rate, config)
        state = state | kept(name, after[name])
    state = state | {"step": state["step"] + 1}
    metrics = critic_metrics(loss, q[0], y, *gradients.values()) | {"error": td_error(y, *q)}
    delayed = ("actor_loss", "actor_gradient_norm", "saturated", "alpha", "alpha_loss", "entropy")
    metrics |= dict.fromkeys(delayed, np.nan)
    if state["step"] % config.policy_delay == 0:
        loss, slopes, log_probability, action, now = actor_loss(state, alpha, batch.observation, noise["action"])
        state = state | adam_step(state, "actor", slopes, config.actor_learning_rate, config, config.policy_delay)
        state = state | kept("actor", now)
        usual = -batch.action.shape[1] * config.target_entropy_scale
        target_entropy = usual if config.target_entropy is None else config.target_entropy
        metrics |= actor_metrics(loss, action, slopes) | {"alpha": alpha, "entropy": -log_probability}
        if config.learn_alpha:
            loss, slope = sac.temperature_loss(state["log_alpha"], log_probability, target_entropy)
            usual = config.__class__(**{**vars(config), "adam_beta_1": 0.9})
            rate, every = config.alpha_learning_rate, config.policy_delay
            state = state | adam_step(state, "log_alpha", {"": slope}, rate, usual, every)
            metrics["alpha_loss"] = loss
    return state, metrics
