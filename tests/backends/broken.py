"""Deliberately broken copies of the learners, each one plausible mistake; the comparison must catch them all.

Each function gets an algorithm's module and its framework, and returns the attributes to replace in the module.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends import Framework, parts_of
from polyak.frameworks.state import Trained, Weights, in_evaluation, mapped
from polyak.networks.layers import Activation, BatchRenorm, Norm

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
    return getattr(parts_of(framework), framework.namespace)


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


def with_adam(framework: Framework, direction: Callable[..., Any]) -> Replacements:
    """Adam that moves by -rate direction(first moment, second moment, a correction for each, square root)."""
    right, sqrt = parts_of(framework).step, function(framework, "sqrt")

    def step(net: Trained, gradient: Any, optimizer: Any, *statistics: Any) -> Trained:
        new = right(net, gradient, optimizer, *statistics)
        counted = new.adam["count"]  # in JAX it is traced
        count = 1.0 * counted if framework.name == "jax" else float(np.asarray(counted))
        corrections = 1.0 - optimizer.beta_1**count, 1.0 - optimizer.beta_2**count
        move = lambda value, m, v: value - optimizer.rate * direction(m, v, *corrections, sqrt)  # noqa: E731
        return new._replace(parameters=mapped(move, net.parameters, new.adam["first"], new.adam["second"]))

    return {"step": step}


def moved_targets(module: ModuleType, state: Any, new: Any, config: Any, names: list[str]) -> dict[str, Any]:
    """The Polyak step of `state`'s targets toward the networks of `new`."""
    return {
        f"target_{x}": module.averaged(getattr(state, f"target_{x}"), getattr(new, x).parameters, config.polyak)
        for x in names
    }


def nothing(module: ModuleType, framework: Framework) -> Replacements:
    """The control: all ways of breaking, without a break."""
    right = lambda m, v, one, two, sqrt: (m / one) / (sqrt(v / two) + 1e-8)  # noqa: E731
    loss = with_quantile_loss(framework) if hasattr(module, "quantile_regression") else {}
    return {**with_functions(framework), **with_adam(framework, right), **loss}


def adam_with_epsilon_hat(module: ModuleType, framework: Framework) -> Replacements:
    """Epsilon outside the bias correction, as Keras has it."""
    return with_adam(framework, lambda m, v, one, two, sqrt: m / one * two**0.5 / (sqrt(v) + 1e-8))


def adam_with_epsilon_under_the_root(module: ModuleType, framework: Framework) -> Replacements:
    return with_adam(framework, lambda m, v, one, two, sqrt: (m / one) / sqrt(v / two + 1e-16))


def adam_without_bias_correction(module: ModuleType, framework: Framework) -> Replacements:
    return with_adam(framework, lambda m, v, one, two, sqrt: m / (sqrt(v) + 1e-8))


def noise_dropped(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def none(state: Any, batch: Any, draws: Any, *rest: Any) -> Any:
        return update(state, batch, {name: 0.0 * value for name, value in draws.items()}, *rest)

    return {"update": none}


def noise_of_the_first_sample_for_all(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def first(state: Any, batch: Any, draws: Any, *rest: Any) -> Any:
        return update(state, batch, {name: 0.0 * value + value[:1] for name, value in draws.items()}, *rest)

    return {"update": first}


def terminated_ignored(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def never(state: Any, batch: Any, draws: Any, due: Any, config: Any) -> Any:
        return update(state, batch._replace(discount=config.discount + 0.0 * batch.discount), draws, due, config)

    return {"update": never}


def weights_ignored(module: ModuleType, framework: Framework) -> Replacements:
    update, equal = module.update, lambda batch: batch._replace(weight=1.0 + 0.0 * batch.weight)
    return {"update": lambda state, batch, *rest: update(state, equal(batch), *rest)}


def targets_moved_before_the_critic_step(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def early(state: Any, *rest: Any) -> Any:
        names = [name for name in state.entries if name.startswith("critic")]
        moved = moved_targets(module, state, state, rest[-1], names)
        state, metrics = update(state.replace(**moved), *rest)
        return state.replace(**moved), metrics

    return {"update": early}


def minimum_replaced_by_mean(module: ModuleType, framework: Framework) -> Replacements:
    return with_functions(framework, minimum=lambda one, other: 0.5 * (one + other))


def minimum_replaced_by_first(module: ModuleType, framework: Framework) -> Replacements:
    return with_functions(framework, minimum=lambda one, other: one)


def target_by_the_current_actor(module: ModuleType, framework: Framework) -> Replacements:
    target = module.target
    return {"target": lambda state, *rest: target(state.replace(target_actor=state.actor.parameters), *rest)}


def smoothing_noise_not_clipped(module: ModuleType, framework: Framework) -> Replacements:
    clip = function(framework, "clip")
    return with_functions(framework, clip=lambda value, low, high: clip(value, -1.0, 1.0))


def targets_moved_at_every_update(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def every(state: Any, *rest: Any) -> Any:
        new, metrics = update(state, *rest)
        return new.replace(**moved_targets(module, state, new, rest[-1], ["actor", "critic_1", "critic_2"])), metrics

    return {"update": every}


def actor_climbs_the_minimum(module: ModuleType, framework: Framework) -> Replacements:
    delayed, q_value, smaller = module.policy_and_targets, module.q_value, function(framework, "minimum")

    def climbs(state: Any, *given: Any) -> Any:
        other = state.critic_2.parameters
        minimum = lambda critic, *rest: smaller(q_value(critic, *rest), q_value(other, *rest))  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "q_value", minimum)
            return delayed(state, *given)

    return {"policy_and_targets": climbs}


def actor_climbs_the_first_critic(module: ModuleType, framework: Framework) -> Replacements:
    original = module.actor_loss

    def first(actor: Any, q: Any, *rest: Any) -> Any:
        return original(actor, partial(q.func, q.args[0], q.args[0]), *rest)

    return {"actor_loss": first}


def actor_climbs_the_critics_before_their_step(module: ModuleType, framework: Framework) -> Replacements:
    """The actor's gradient from the critics as they were before this update."""
    update, original = module.update, module.actor_loss

    def stale(state: Any, *rest: Any) -> Any:
        if "critic" in state.entries:
            old = state.critic.parameters
        else:
            old = partial(module.minimum, state.critic_1.parameters, state.critic_2.parameters)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "actor_loss", lambda actor, critics, *others: original(actor, old, *others))
            return update(state, *rest)

    return {"update": stale}


def target_without_entropy(module: ModuleType, framework: Framework) -> Replacements:
    target, nothing = module.target, framework.tensor(np.array(-np.inf))

    def bare(state: Any, *rest: Any) -> Any:
        return target(state.replace(log_alpha=state.log_alpha._replace(parameters=nothing)), *rest)

    return {"target": bare}


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
    return {"actor_loss": lambda actor, q, alpha, *rest: original(actor, q, alpha * 1.0003, *rest)}


# TQC


def improving(module: ModuleType) -> ModuleType:
    """Where the actor step of a page is written: in another page, if that one's is called."""
    return sys.modules[module.improved.__module__] if hasattr(module, "improved") else module


def in_what_it_calls(broken: Break) -> Break:
    """A break of SAC's actor and temperature step, in a page that calls them."""

    def called(module: ModuleType, framework: Framework) -> Replacements:
        improved, home = module.improved, improving(module)

        def altered(*arguments: Any) -> Any:
            with pytest.MonkeyPatch.context() as patch:
                for name, replacement in broken(home, framework).items():
                    patch.setattr(home, name, replacement)
                return improved(*arguments)

        return {"improved": altered}

    called.__name__ = broken.__name__
    return called


def with_quantile_loss(
    framework: Framework,
    midpoint: float = 0.5,
    linear: float = 1.0,
    below: Callable[[Any], Any] = lambda u: u < 0.0,
    factor: float = 1.0,
) -> Replacements:
    """The quantile Huber loss written out: tau = (m + `midpoint`) / M, linear beyond +-`linear`."""
    clip = function(framework, "clip")

    def loss(theta: Any, y: Any, weight: Any) -> Any:
        tau = framework.tensor(((np.arange(theta.shape[-1]) + midpoint) / theta.shape[-1])[:, None])
        u = y[:, None, :] - theta[..., None]
        clipped = clip(u, -linear, linear)
        rows = (abs(tau - 1.0 * below(u)) * clipped * (u - 0.5 * clipped)).mean((0, 2, 3))
        return factor * (weight * rows).mean()

    return {"quantile_regression": loss}


def quantiles_half_a_step_too_low(module: ModuleType, framework: Framework) -> Replacements:
    return with_quantile_loss(framework, midpoint=0.0)


def quantiles_half_a_step_too_high(module: ModuleType, framework: Framework) -> Replacements:
    return with_quantile_loss(framework, midpoint=1.0)


def quantiles_of_the_other_side(module: ModuleType, framework: Framework) -> Replacements:
    return with_quantile_loss(framework, below=lambda u: u > 0.0)


def quantile_loss_without_its_linear_part(module: ModuleType, framework: Framework) -> Replacements:
    return with_quantile_loss(framework, linear=1e6)


def quantile_loss_summed_over_quantiles(module: ModuleType, framework: Framework) -> Replacements:
    return with_quantile_loss(framework, factor=5.0)


def largest_atoms_kept(module: ModuleType, framework: Framework) -> Replacements:
    """Sorted descending."""
    smallest = module.smallest
    return {"smallest": lambda pooled, count: -smallest(-pooled, count)}


def dropped_once_and_not_for_each_critic(module: ModuleType, framework: Framework) -> Replacements:
    smallest = module.smallest
    return {"smallest": lambda pooled, count: smallest(pooled, pooled.shape[-1] - 2)}


def none_dropped(module: ModuleType, framework: Framework) -> Replacements:
    smallest = module.smallest
    return {"smallest": lambda pooled, count: smallest(pooled, pooled.shape[-1])}


def largest_atoms_of_each_critic_dropped(module: ModuleType, framework: Framework) -> Replacements:
    """Not of all that are pooled: the case has three critics."""
    smallest = module.smallest

    def each(pooled: Any, count: int) -> Any:
        apart = pooled.reshape(-1, pooled.shape[-1] // 3)
        return smallest(apart, count // 3).reshape(len(pooled), -1)

    return {"smallest": each}


def targets_averaged_into_one(module: ModuleType, framework: Framework) -> Replacements:
    smallest = module.smallest
    return {"smallest": lambda pooled, count: smallest(pooled, count).mean(-1)[:, None]}


def actor_climbs_the_kept_atoms(module: ModuleType, framework: Framework) -> Replacements:
    atoms, smallest = module.atoms, module.smallest

    def kept(*arguments: Any) -> Any:
        z = atoms(*arguments)
        pooled = z.swapaxes(0, 1).reshape(z.shape[1], -1)
        return smallest(pooled, len(z) * (z.shape[-1] - 2)).mean(-1)

    return {"mean_of_atoms": kept}


def actor_climbs_the_first_of_the_ensemble(module: ModuleType, framework: Framework) -> Replacements:
    atoms = module.atoms
    return {"mean_of_atoms": lambda *arguments: atoms(*arguments)[0].mean(-1)}


def actor_climbs_the_ensemble_before_its_step(module: ModuleType, framework: Framework) -> Replacements:
    update, improved = module.update, module.improved

    def stale(state: Any, *rest: Any) -> Any:
        old = partial(module.mean_of_atoms, state.critics.parameters)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "improved", lambda new, q, *others: improved(new, old, *others))
            return update(state, *rest)

    return {"update": stale}


# Of layers that keep running statistics


def statistics_of_each_half_alone(module: ModuleType, framework: Framework) -> Replacements:
    """Q(s, a) and its statistics from (s, a) alone, Q(s', a') from (s', a')."""
    right = module.joint_values

    def apart(critic: Any, statistics: Any, batch: Any, next_action: Any) -> Any:
        later = batch._replace(observation=batch.next_observation, action=next_action)
        now = batch._replace(next_observation=batch.observation)
        q, _, after = right(critic, statistics, now, batch.action)
        return q, right(critic, statistics, later, next_action)[1], after

    return {"joint_values": apart}


def statistics_that_stay(module: ModuleType, framework: Framework) -> Replacements:
    right = module.joint_values
    return {"joint_values": lambda critic, statistics, *rest: (*right(critic, statistics, *rest)[:2], statistics)}


def critics_in_evaluation(module: ModuleType, framework: Framework) -> Replacements:
    """The critics' loss by their running statistics, which advance all the same."""
    right, training, network = module.joint_values, module.network_in_training, parts_of(framework).network

    def fixed(weights: Weights, inputs: Any, statistics: Any) -> Any:
        net = in_evaluation(Trained(weights, {}, statistics))
        return network(net, inputs), training(weights, inputs, statistics)[1]

    def joint(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "network_in_training", fixed)
            return right(*arguments)

    return {"joint_values": joint}


def target_with_a_gradient(module: ModuleType, framework: Framework) -> Replacements:
    return {"target": lambda batch, next_q, bonus: batch.reward + batch.discount * (next_q + bonus)}


def _with_renorm(framework: Framework, correction: Callable[..., Any]) -> Replacements:
    """Batch renormalization of a call in training after the warm-up that is z r + d by other means."""
    right, where = parts_of(framework).renormalized, function(framework, "where")

    def altered(rows: Any, layer: Any, kept: Any, *affine: Any) -> Any:
        outputs, after = right(rows, layer, kept, *affine)
        normal = correction(rows, layer, kept, function(framework, "sqrt"), function(framework, "clip"))
        if affine:
            normal = normal * affine[0] + affine[1]
        return where(kept["steps"] < layer.warm_up, outputs, normal), after

    return {"renormalized": altered}


def _moments(rows: Any) -> tuple[Any, Any]:
    mean = rows.mean(0)
    return mean, ((rows - mean) ** 2).mean(0)


def gradient_through_r_and_d(module: ModuleType, framework: Framework) -> Replacements:
    def followed(rows: Any, layer: Any, kept: Any, sqrt: Any, clip: Any) -> Any:
        mean, variance = _moments(rows)
        deviation, running = sqrt(variance + layer.epsilon), sqrt(kept["variance"] + layer.epsilon)
        r = clip(deviation / running, 1.0 / layer.most_scaled, layer.most_scaled)
        d = clip((mean - kept["mean"]) / running, -layer.most_shifted, layer.most_shifted)
        return (rows - mean) / deviation * r + d

    return _with_renorm(framework, followed)


def epsilon_after_r_and_d(module: ModuleType, framework: Framework) -> Replacements:
    """As public code has it: r and d in a mean and a variance, and epsilon beside these."""

    def folded(rows: Any, layer: Any, kept: Any, sqrt: Any, clip: Any) -> Any:
        mean, variance = _moments(rows)
        running = sqrt(kept["variance"] + layer.epsilon)
        r = clip(sqrt(variance + layer.epsilon) / running, 1.0 / layer.most_scaled, layer.most_scaled)
        d = clip((mean - kept["mean"]) / running, -layer.most_shifted, layer.most_shifted)
        return (rows - mean + d * sqrt(variance) / r) / sqrt(variance / r**2 + layer.epsilon)

    return _with_renorm(framework, folded)


def warm_up_without_end(module: ModuleType, framework: Framework) -> Replacements:
    right = parts_of(framework).renormalized

    def frozen(rows: Any, layer: Any, kept: Any, *affine: Any) -> Any:
        outputs, after = right(rows, layer, kept, *affine)
        return outputs, {**after, "steps": kept["steps"]}

    return {"renormalized": frozen}


def running_variance_of_a_sample(module: ModuleType, framework: Framework) -> Replacements:
    """Divided by n - 1."""
    right = parts_of(framework).renormalized

    def unbiased(rows: Any, layer: Any, kept: Any, *affine: Any) -> Any:
        outputs, after = right(rows, layer, kept, *affine)
        more = (1.0 - layer.decay) * _moments(rows)[1] / (len(rows) - 1)
        still = after["variance"] + getattr(more, "detach", lambda: more)()
        return outputs, {**after, "variance": still}

    return {"renormalized": unbiased}


def _with_limits(module: ModuleType, **changed: Any) -> Replacements:
    right = module.network_in_training

    def altered(weights: Weights, inputs: Any, statistics: Any) -> Any:
        body = [replace(layer, **changed) if isinstance(layer, BatchRenorm) else layer for layer in weights.body]
        outputs, after = right(Weights(weights.arrays, tuple(body)), inputs, statistics)
        return outputs, after

    return {"network_in_training": altered}


def r_without_limit(module: ModuleType, framework: Framework) -> Replacements:
    return _with_limits(module, most_scaled=1e9)


def d_without_limit(module: ModuleType, framework: Framework) -> Replacements:
    return _with_limits(module, most_shifted=1e9)


def statistics_of_another_decay(module: ModuleType, framework: Framework) -> Replacements:
    return _with_limits(module, decay=0.9)


def actor_whose_statistics_stay(module: ModuleType, framework: Framework) -> Replacements:
    right = module.actor_loss

    def left_out(actor: Any, statistics: Any, *rest: Any) -> Any:
        loss, (log_probability, action, _) = right(actor, statistics, *rest)
        return loss, (log_probability, action, statistics)

    return {"actor_loss": left_out}


def _training(module: ModuleType, weights: Weights, inputs: Any, calls: Any) -> Any:
    """A network as `in_evaluation` gives it, in training."""
    norms = {number: arrays for number, arrays in weights.arrays.items() if "mean" in arrays}
    kept = {number: {**arrays, "steps": calls} for number, arrays in norms.items()}
    return module.network_in_training(weights, inputs, kept)[0]


def next_action_in_training(module: ModuleType, framework: Framework) -> Replacements:
    calls = framework.tensor(np.array(0, np.int32))
    return {
        "sample_action": lambda actor, observation, noise: module.squashed(
            _training(module, actor, observation, calls), noise
        )
    }


def actor_climbs_critics_in_training(module: ModuleType, framework: Framework) -> Replacements:
    right, parts, calls = module.minimum, parts_of(framework), framework.tensor(np.array(100_000, np.int32))

    def minimum(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "network", lambda weights, inputs, *_: _training(module, weights, inputs, calls))
            return right(*arguments)

    return {"minimum": minimum}


def actor_climbs_by_statistics_of_before(module: ModuleType, framework: Framework) -> Replacements:
    update, right = module.update, module.improved

    def stale(before: Any, *rest: Any) -> Any:
        def improved(state: Any, q: Any, *others: Any) -> Any:
            kept = (before.critic_1.statistics, before.critic_2.statistics)
            old = [in_evaluation(Trained(weights, {}, each)) for weights, each in zip(q.args, kept, strict=True)]
            return right(state, partial(module.minimum, *old), *others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "improved", improved)
            return update(before, *rest)

    return {"update": stale}


def target_by_the_critics_that_learn(module: ModuleType, framework: Framework) -> Replacements:
    target = module.target
    return {"target": lambda state, *rest: target(state.replace(target_critics=state.critics.parameters), *rest)}


def critic_loss_without_the_half(module: ModuleType, framework: Framework) -> Replacements:
    right = module.regression
    return {"regression": lambda *given: 2.0 * right(*given)}


def usual_beta_1(module: ModuleType, framework: Framework) -> Replacements:
    return _with_optimizer(framework, beta_1=0.9)


_ALL: list[Break] = [
    adam_with_epsilon_hat,
    adam_with_epsilon_under_the_root,
    adam_without_bias_correction,
    terminated_ignored,
    weights_ignored,
    targets_moved_before_the_critic_step,
]
_SAMPLED: list[Break] = [noise_dropped, noise_of_the_first_sample_for_all]
_TWIN: list[Break] = [
    *_SAMPLED,
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
    "tqc": [
        *_ALL,
        *_SAMPLED,
        quantiles_half_a_step_too_low,
        quantiles_half_a_step_too_high,
        quantiles_of_the_other_side,
        quantile_loss_without_its_linear_part,
        quantile_loss_summed_over_quantiles,
        largest_atoms_kept,
        dropped_once_and_not_for_each_critic,
        none_dropped,
        largest_atoms_of_each_critic_dropped,
        targets_averaged_into_one,
        actor_climbs_the_kept_atoms,
        actor_climbs_the_first_of_the_ensemble,
        actor_climbs_the_ensemble_before_its_step,
        target_by_the_critics_that_learn,
        target_without_entropy,
        log_probability_of_the_unsquashed_action,
        in_what_it_calls(temperature_loss_of_the_wrong_sign),
        in_what_it_calls(temperature_loss_with_factor_log_alpha),
        in_what_it_calls(temperature_before_the_actor_step),
    ],
    "crossq": [
        *(broken for broken in (*_ALL, *_TWIN) if broken is not targets_moved_before_the_critic_step),
        log_probability_of_the_unsquashed_action,
        statistics_of_each_half_alone,
        statistics_that_stay,
        critics_in_evaluation,
        target_with_a_gradient,
        gradient_through_r_and_d,
        epsilon_after_r_and_d,
        warm_up_without_end,
        running_variance_of_a_sample,
        r_without_limit,
        d_without_limit,
        statistics_of_another_decay,
        actor_whose_statistics_stay,
        next_action_in_training,
        actor_climbs_critics_in_training,
        actor_climbs_by_statistics_of_before,
        critic_loss_without_the_half,
        usual_beta_1,
    ],
}


def _with_optimizer(framework: Framework, **changed: Any) -> Replacements:
    """Steps by an optimizer of which this is another."""
    right = parts_of(framework).step
    other = lambda optimizer: replace(optimizer, **changed)  # noqa: E731
    return {"step": lambda net, gradient, optimizer, *rest: right(net, gradient, other(optimizer), *rest)}


def _with_layers(framework: Framework, other: Callable[[Any], Any]) -> Replacements:
    """Networks of which each layer is another."""
    network, q_value = parts_of(framework).network, parts_of(framework).q_value

    def altered(weights: Weights) -> Weights:
        return Weights(weights.arrays, tuple(other(layer) for layer in weights.body))

    return {
        "network": lambda weights, *rest: network(altered(weights), *rest),
        "q_value": lambda critic, *rest: q_value(altered(critic), *rest),
    }


def decay_of_biases_too(module: ModuleType, framework: Framework) -> Replacements:
    right = parts_of(framework).step

    def step(net: Trained, gradient: Any, optimizer: Any) -> Trained:
        new, taken = right(net, gradient, optimizer), optimizer.rate * optimizer.decay
        moved = mapped(
            lambda after, before: after - (taken * before if len(before.shape) == 1 else 0.0),
            new.parameters,
            net.parameters,
        )
        return new._replace(parameters=moved)

    return {"step": step}


def no_decay(module: ModuleType, framework: Framework) -> Replacements:
    return _with_optimizer(framework, decay=0.0)


def a_rate_that_does_not_fall(module: ModuleType, framework: Framework) -> Replacements:
    return _with_optimizer(framework, schedule="constant")


def a_rate_by_the_count_of_the_run(module: ModuleType, framework: Framework) -> Replacements:
    return _with_optimizer(framework, horizon=10)


def a_rate_that_falls_to_nothing(module: ModuleType, framework: Framework) -> Replacements:
    return _with_optimizer(framework, end=0.0)


def usual_betas(module: ModuleType, framework: Framework) -> Replacements:
    return _with_optimizer(framework, beta_1=0.9, beta_2=0.999)


def another_epsilon_of_the_norm(module: ModuleType, framework: Framework) -> Replacements:
    return _with_layers(framework, lambda layer: Norm(1e-3) if isinstance(layer, Norm) else layer)


def relu_everywhere(module: ModuleType, framework: Framework) -> Replacements:
    return _with_layers(framework, lambda layer: Activation("relu") if isinstance(layer, Activation) else layer)


BROKEN_PARTS: list[Break] = [
    decay_of_biases_too,
    no_decay,
    a_rate_that_does_not_fall,
    a_rate_by_the_count_of_the_run,
    a_rate_that_falls_to_nothing,
    usual_betas,
    another_epsilon_of_the_norm,
    relu_everywhere,
]
