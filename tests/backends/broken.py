"""Deliberately broken copies of the learners, each one plausible mistake; the comparison must catch them all.

Each function gets an algorithm's module and its framework, and returns the attributes to replace in the module.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends import Framework, common_of

Replacements = Mapping[str, Any]
Break = Callable[[ModuleType, Framework], Replacements]


def function(framework: Framework, name: str) -> Callable[..., Any]:
    """The framework's own function of this name."""
    found: Any = namespace(framework)
    for part in framework.functions[name].split("."):
        found = getattr(found, part)
    return found


def namespace(framework: Framework) -> Any:
    """What the learners call `jnp`, `torch` or `tf`."""
    return getattr(common_of(framework), framework.namespace)


class _Altered:
    """A framework's namespace, some of its functions replaced."""

    def __init__(self, framework: Framework, functions: Mapping[str, Any]) -> None:
        self._real = namespace(framework)
        self._replaced = {framework.functions[name]: value for name, value in functions.items()}

    def __getattr__(self, name: str) -> Any:
        return self._replaced[name] if name in self._replaced else getattr(self._real, name)


def with_functions(framework: Framework, **functions: Any) -> Replacements:
    """The module's `jnp`, `torch` or `tf`, some functions of it replaced."""
    return {framework.namespace: _Altered(framework, functions)}


def with_adam(framework: Framework, direction: Callable[[Any, Any, float, Callable[..., Any]], Any]) -> Replacements:
    """Adam that moves by -learning_rate direction(first moment, second moment, count, square root)."""
    right, sqrt = common_of(framework).adam_step, function(framework, "sqrt")

    def step(parameters: Any, gradients: Any, adam: Any, learning_rate: float) -> Any:
        _, new = right(parameters, gradients, adam, learning_rate)
        count = float(np.asarray(new["count"]))
        move = lambda value, m, v: value - learning_rate * direction(m, v, count, sqrt)  # noqa: E731
        return framework.mapped(move, parameters, new["first"], new["second"]), new

    return {"adam_step": step}


def moved_targets(module: ModuleType, state: Any, new: Any, config: Any, names: list[str]) -> dict[str, Any]:
    """The Polyak step of `state`'s targets toward the networks of `new`."""
    average = module.polyak_average
    return {f"target_{x}": average(getattr(state, f"target_{x}"), getattr(new, x), config.polyak) for x in names}


def nothing(module: ModuleType, framework: Framework) -> Replacements:
    """The control: both ways of breaking, without a break."""
    right = lambda m, v, t, sqrt: (m / (1.0 - 0.9**t)) / (sqrt(v / (1.0 - 0.999**t)) + 1e-8)  # noqa: E731
    return {**with_functions(framework), **with_adam(framework, right)}


def adam_with_epsilon_hat(module: ModuleType, framework: Framework) -> Replacements:
    """Epsilon outside the bias correction, as Keras has it."""
    return with_adam(framework, lambda m, v, t, sqrt: m / (1.0 - 0.9**t) * (1.0 - 0.999**t) ** 0.5 / (sqrt(v) + 1e-8))


def adam_with_epsilon_under_the_root(module: ModuleType, framework: Framework) -> Replacements:
    return with_adam(framework, lambda m, v, t, sqrt: (m / (1.0 - 0.9**t)) / sqrt(v / (1.0 - 0.999**t) + 1e-16))


def adam_without_bias_correction(module: ModuleType, framework: Framework) -> Replacements:
    return with_adam(framework, lambda m, v, t, sqrt: m / (sqrt(v) + 1e-8))


def noise_dropped(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update
    none = lambda noise: framework.mapped(lambda value: 0.0 * value, noise)  # noqa: E731
    return {"update": lambda state, batch, noise, config: update(state, batch, none(noise), config)}


def noise_of_the_first_sample_for_all(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update
    first = lambda noise: framework.mapped(lambda value: 0.0 * value + value[:1], noise)  # noqa: E731
    return {"update": lambda state, batch, noise, config: update(state, batch, first(noise), config)}


def terminated_ignored(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def never(state: Any, batch: Any, noise: Any, config: Any) -> Any:
        return update(state, batch._replace(discount=config.discount + 0.0 * batch.discount), noise, config)

    return {"update": never}


def weights_ignored(module: ModuleType, framework: Framework) -> Replacements:
    update, equal = module.update, lambda batch: batch._replace(weight=1.0 + 0.0 * batch.weight)
    return {"update": lambda state, batch, *rest: update(state, equal(batch), *rest)}


def targets_moved_before_the_critic_step(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def early(state: Any, batch: Any, noise: Any, config: Any) -> Any:
        moved = moved_targets(
            module, state, state, config, [name for name in state._fields if name.startswith("critic")]
        )
        state, metrics = update(state._replace(**moved), batch, noise, config)
        return state._replace(**moved), metrics

    return {"update": early}


def minimum_replaced_by_mean(module: ModuleType, framework: Framework) -> Replacements:
    return with_functions(framework, minimum=lambda one, other: 0.5 * (one + other))


def minimum_replaced_by_first(module: ModuleType, framework: Framework) -> Replacements:
    return with_functions(framework, minimum=lambda one, other: one)


def target_by_the_current_actor(module: ModuleType, framework: Framework) -> Replacements:
    target = module.target
    return {"target": lambda state, *rest: target(state._replace(target_actor=state.actor), *rest)}


def smoothing_noise_not_clipped(module: ModuleType, framework: Framework) -> Replacements:
    clip = function(framework, "clip")
    return with_functions(framework, clip=lambda value, low, high: clip(value, -1.0, 1.0))


def targets_moved_at_every_update(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def every(state: Any, batch: Any, noise: Any, config: Any) -> Any:
        new, metrics = update(state, batch, noise, config)
        return new._replace(**moved_targets(module, state, new, config, ["actor", "critic_1", "critic_2"])), metrics

    return {"update": every}


def actor_climbs_the_minimum(module: ModuleType, framework: Framework) -> Replacements:
    delayed, q_value, smaller = module.update_policy_and_targets, module.q_value, function(framework, "minimum")

    def climbs(state: Any, observation: Any, config: Any) -> Any:
        minimum = lambda critic, *rest: smaller(q_value(critic, *rest), q_value(state.critic_2, *rest))  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "q_value", minimum)
            return delayed(state, observation, config)

    return {"update_policy_and_targets": climbs}


def actor_climbs_the_first_critic(module: ModuleType, framework: Framework) -> Replacements:
    original = module.actor_loss
    return {"actor_loss": lambda actor, critics, *rest: original(actor, (critics[0], critics[0]), *rest)}


def actor_climbs_the_critics_before_their_step(module: ModuleType, framework: Framework) -> Replacements:
    """The actor's gradient from the critics as they were before this update."""
    update, original = module.update, module.actor_loss

    def stale(state: Any, *rest: Any) -> Any:
        old = state.critic if "critic" in state._fields else (state.critic_1, state.critic_2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "actor_loss", lambda actor, critics, *others: original(actor, old, *others))
            return update(state, *rest)

    return {"update": stale}


def target_without_entropy(module: ModuleType, framework: Framework) -> Replacements:
    target = module.target
    return {"target": lambda state, *rest: target(state._replace(log_alpha=framework.tensor(np.array(-np.inf))), *rest)}


def log_probability_of_the_unsquashed_action(module: ModuleType, framework: Framework) -> Replacements:
    sample, log = module.sample_action, function(framework, "log")

    def unsquashed(*arguments: Any) -> Any:
        action, log_probability = sample(*arguments)
        return action, log_probability + sum(log(1.0 - action[..., i] ** 2) for i in range(action.shape[-1]))

    return {"sample_action": unsquashed}


def temperature_loss_of_the_wrong_sign(module: ModuleType, framework: Framework) -> Replacements:
    original = module.temperature_loss
    return {"temperature_loss": lambda *rest: -original(*rest)}


def temperature_loss_with_factor_log_alpha(module: ModuleType, framework: Framework) -> Replacements:
    return {"temperature_loss": lambda log_alpha, mean, entropy: -log_alpha * (mean + entropy)}


def temperature_before_the_actor_step(module: ModuleType, framework: Framework) -> Replacements:
    """The actor's loss with another alpha than the target's."""
    original = module.actor_loss
    return {"actor_loss": lambda actor, critics, alpha, *rest: original(actor, critics, alpha * 1.0003, *rest)}


_ALL: list[Break] = [
    adam_with_epsilon_hat,
    adam_with_epsilon_under_the_root,
    adam_without_bias_correction,
    terminated_ignored,
    weights_ignored,
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
