"""Deliberately broken copies of the JAX learners, each one plausible mistake; the comparison must catch them all.

Each function gets an algorithm's module and returns the attributes to replace in it.
"""

from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from polyak.learners.jax import common

Replacements = Mapping[str, Any]
Break = Callable[[ModuleType], Replacements]


def with_jnp(**functions: Any) -> Replacements:
    """The module's `jnp`, some functions of it replaced."""
    return {"jnp": SimpleNamespace(**(vars(jnp) | functions))}


def with_adam(direction: Callable[[Any, Any, Any], Any]) -> Replacements:
    """Adam that moves by -learning_rate direction(first moment, second moment, count)."""

    def step(parameters: Any, gradients: Any, adam: Any, learning_rate: float) -> Any:
        _, new = common.adam_step(parameters, gradients, adam, learning_rate)
        move = lambda value, m, v: value - learning_rate * direction(m, v, new["count"])  # noqa: E731
        return jax.tree.map(move, parameters, new["first"], new["second"]), new

    return {"adam_step": step}


def moved_targets(state: Any, new: Any, config: Any, names: list[str]) -> dict[str, Any]:
    """The Polyak step of `state`'s targets toward the networks of `new`."""
    average = common.polyak_average
    return {f"target_{x}": average(getattr(state, f"target_{x}"), getattr(new, x), config.polyak) for x in names}


def nothing(module: ModuleType) -> Replacements:
    """The control: both ways of breaking, without a break."""
    right = lambda m, v, t: (m / (1.0 - 0.9**t)) / (jnp.sqrt(v / (1.0 - 0.999**t)) + 1e-8)  # noqa: E731
    return {**with_jnp(), **with_adam(right)}


def adam_with_epsilon_hat(module: ModuleType) -> Replacements:
    """Epsilon outside the bias correction, as Keras has it."""
    return with_adam(lambda m, v, t: m / (1.0 - 0.9**t) * jnp.sqrt(1.0 - 0.999**t) / (jnp.sqrt(v) + 1e-8))


def adam_with_epsilon_under_the_root(module: ModuleType) -> Replacements:
    return with_adam(lambda m, v, t: (m / (1.0 - 0.9**t)) / jnp.sqrt(v / (1.0 - 0.999**t) + 1e-16))


def adam_without_bias_correction(module: ModuleType) -> Replacements:
    return with_adam(lambda m, v, t: m / (jnp.sqrt(v) + 1e-8))


def noise_dropped(module: ModuleType) -> Replacements:
    update = module.update
    return {
        "update": lambda state, batch, noise, config: update(state, batch, jax.tree.map(jnp.zeros_like, noise), config)
    }


def noise_of_the_first_sample_for_all(module: ModuleType) -> Replacements:
    update = module.update
    first = lambda noise: jax.tree.map(lambda value: jnp.broadcast_to(value[:1], value.shape), noise)  # noqa: E731
    return {"update": lambda state, batch, noise, config: update(state, batch, first(noise), config)}


def terminated_ignored(module: ModuleType) -> Replacements:
    update, never = module.update, lambda batch: batch._replace(terminated=jnp.zeros_like(batch.terminated))
    return {"update": lambda state, batch, *rest: update(state, never(batch), *rest)}


def targets_moved_before_the_critic_step(module: ModuleType) -> Replacements:
    update = module.update

    def early(state: Any, batch: Any, noise: Any, config: Any) -> Any:
        moved = moved_targets(state, state, config, [name for name in state._fields if name.startswith("critic")])
        state, metrics = update(state._replace(**moved), batch, noise, config)
        return state._replace(**moved), metrics

    return {"update": early}


def minimum_replaced_by_mean(module: ModuleType) -> Replacements:
    return with_jnp(minimum=lambda one, other: 0.5 * (one + other))


def minimum_replaced_by_first(module: ModuleType) -> Replacements:
    return with_jnp(minimum=lambda one, other: one)


def target_by_the_current_actor(module: ModuleType) -> Replacements:
    target = module.target
    return {"target": lambda state, *rest: target(state._replace(target_actor=state.actor), *rest)}


def smoothing_noise_not_clipped(module: ModuleType) -> Replacements:
    return with_jnp(clip=lambda value, low, high: jnp.clip(value, -1.0, 1.0))


def targets_moved_at_every_update(module: ModuleType) -> Replacements:
    update = module.update

    def every(state: Any, batch: Any, noise: Any, config: Any) -> Any:
        new, metrics = update(state, batch, noise, config)
        return new._replace(**moved_targets(state, new, config, ["actor", "critic_1", "critic_2"])), metrics

    return {"update": every}


def actor_climbs_the_minimum(module: ModuleType) -> Replacements:
    delayed, q_value = module.update_policy_and_targets, module.q_value

    def climbs(state: Any, observation: Any, config: Any) -> Any:
        minimum = lambda critic, *rest: jnp.minimum(q_value(critic, *rest), q_value(state.critic_2, *rest))  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "q_value", minimum)
            return delayed(state, observation, config)

    return {"update_policy_and_targets": climbs}


def actor_climbs_the_first_critic(module: ModuleType) -> Replacements:
    original = module.actor_loss
    return {"actor_loss": lambda actor, critics, *rest: original(actor, (critics[0], critics[0]), *rest)}


def actor_climbs_the_critics_before_their_step(module: ModuleType) -> Replacements:
    """The actor's gradient from the critics as they were before this update."""
    update, original = module.update, module.actor_loss

    def stale(state: Any, *rest: Any) -> Any:
        old = state.critic if "critic" in state._fields else (state.critic_1, state.critic_2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "actor_loss", lambda actor, critics, *others: original(actor, old, *others))
            return update(state, *rest)

    return {"update": stale}


def target_without_entropy(module: ModuleType) -> Replacements:
    target = module.target
    return {"target": lambda state, *rest: target(state._replace(log_alpha=-jnp.inf), *rest)}


def log_probability_of_the_unsquashed_action(module: ModuleType) -> Replacements:
    sample = module.sample_action

    def unsquashed(*arguments: Any) -> Any:
        action, log_probability = sample(*arguments)
        return action, log_probability + jnp.sum(jnp.log(1.0 - action**2), axis=-1)

    return {"sample_action": unsquashed}


def temperature_loss_of_the_wrong_sign(module: ModuleType) -> Replacements:
    original = module.temperature_loss
    return {"temperature_loss": lambda *rest: -original(*rest)}


def temperature_loss_with_factor_log_alpha(module: ModuleType) -> Replacements:
    return {"temperature_loss": lambda log_alpha, mean, entropy: -log_alpha * (mean + entropy)}


def temperature_before_the_actor_step(module: ModuleType) -> Replacements:
    """The actor's loss with another alpha than the target's."""
    original = module.actor_loss
    return {"actor_loss": lambda actor, critics, alpha, *rest: original(actor, critics, alpha * 1.0003, *rest)}


_ALL: list[Break] = [
    adam_with_epsilon_hat,
    adam_with_epsilon_under_the_root,
    adam_without_bias_correction,
    terminated_ignored,
    targets_moved_before_the_critic_step,
]
_TWIN: list[Break] = [
    noise_dropped,
    noise_of_the_first_sample_for_all,
    minimum_replaced_by_mean,
    minimum_replaced_by_first,
]

BROKEN: dict[str, list[Break]] = {
    "ddpg": [*_ALL, target_by_the_current_actor, actor_climbs_the_critics_before_their_step],
    "td3": [
        *_ALL,
        *_TWIN,
        target_by_the_current_actor,
        smoothing_noise_not_clipped,
        targets_moved_at_every_update,
        actor_climbs_the_minimum,
    ],
    "sac": [
        *_ALL,
        *_TWIN,
        actor_climbs_the_first_critic,
        actor_climbs_the_critics_before_their_step,
        target_without_entropy,
        log_probability_of_the_unsquashed_action,
        temperature_loss_of_the_wrong_sign,
        temperature_loss_with_factor_log_alpha,
        temperature_before_the_actor_step,
    ],
}
