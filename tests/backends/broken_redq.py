"""Deliberately broken copies of REDQ's pages, as those of `broken`: each is one plausible mistake."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends import Framework
from backends.broken import (
    Break,
    Replacements,
    adam_with_epsilon_hat,
    adam_with_epsilon_under_the_root,
    adam_without_bias_correction,
    target_without_entropy,
    targets_moved_before_the_critic_step,
    terminated_ignored,
    weights_ignored,
)
from polyak.frameworks.state import Weights
from polyak.networks.layers import Dropout


def _with_draws(module: ModuleType, other: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Replacements:
    """Updates of other draws."""
    update = module.update
    return {"update": lambda state, batch, draws, *rest: update(state, batch, other(draws), *rest)}


def _without(name: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    return lambda draws: {each: value for each, value in draws.items() if each != name}


def a_subset_for_each_row(module: ModuleType, framework: Framework) -> Replacements:
    """Rows take turns with which members are theirs: the first row's are those drawn."""
    target, numpy = module.target, np.asarray

    def by_rows(state: Any, batch: Any, draws: Any) -> Any:
        count = numpy(state.target_critics.arrays["0"]["bias"]).shape[0]
        each = [
            numpy(target(state, batch, {**draws, "subset": (draws["subset"] + shift) % count}))
            for shift in range(count)
        ]
        return framework.tensor(np.array([each[row % count][row] for row in range(len(each[0]))]))

    return {"target": by_rows}


def a_subset_with_replacement(module: ModuleType, framework: Framework) -> Replacements:
    """The first member, as often as members are drawn."""
    return _with_draws(module, lambda draws: {**draws, "subset": 0 * draws["subset"] + draws["subset"][:1]})


def all_of_the_ensemble_in_the_target(module: ModuleType, framework: Framework) -> Replacements:
    members = module.members
    return {"members": lambda critics, subset: members(critics, None), **_without_dropout_in_the_target(module)}


def _without_dropout_in_the_target(module: ModuleType) -> Replacements:
    return _with_draws(module, _without("next_dropped"))


def nothing_dropped_in_the_target(module: ModuleType, framework: Framework) -> Replacements:
    return _without_dropout_in_the_target(module)


def nothing_dropped_in_the_loss(module: ModuleType, framework: Framework) -> Replacements:
    return _with_draws(module, _without("critic_dropped"))


def nothing_dropped_for_the_actor(module: ModuleType, framework: Framework) -> Replacements:
    return _with_draws(module, _without("actor_dropped"))


def the_same_bits_in_target_and_loss(module: ModuleType, framework: Framework) -> Replacements:
    def same(draws: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**draws, "next_dropped": draws["critic_dropped"][: len(draws["next_dropped"])]}

    return _with_draws(module, same)


def the_same_bits_in_loss_and_actor(module: ModuleType, framework: Framework) -> Replacements:
    return _with_draws(module, lambda draws: {**draws, "actor_dropped": draws["critic_dropped"]})


def dropout_behind_the_norm(module: ModuleType, framework: Framework) -> Replacements:
    q_value = module.q_value

    def behind(critic: Weights, *rest: Any) -> Any:
        body = list(critic.body)
        for place, layer in enumerate(critic.body):
            if isinstance(layer, Dropout):
                body[place : place + 2] = body[place + 1], layer
        return q_value(Weights(critic.arrays, tuple(body)), *rest)

    return {"q_value": behind}


def critic_loss_of_the_mean(module: ModuleType, framework: Framework) -> Replacements:
    """The mean over the critics for the sum: nearly the same step by Adam."""
    original = module.critic_loss

    def mean(critics: Weights, *rest: Any) -> Any:
        loss, q = original(critics, *rest)
        return loss / len(critics.arrays["0"]["bias"]), q

    return {"critic_loss": mean}


def mean_in_the_target(module: ModuleType, framework: Framework) -> Replacements:
    target, q_value = module.target, module.q_value

    def mean(state: Any, *rest: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "q_value", lambda *given: q_value(*given).mean(0)[None])
            return target(state, *rest)

    return {"target": mean}


def actor_climbs_the_sum(module: ModuleType, framework: Framework) -> Replacements:
    worth = module.worth
    return {"worth": lambda climbs, critics, *rest: len(critics.arrays["0"]["bias"]) * worth(climbs, critics, *rest)}


def actor_climbs_the_least(module: ModuleType, framework: Framework) -> Replacements:
    worth = module.worth
    return {"worth": lambda climbs, *rest: worth("minimum", *rest)}


def actor_climbs_the_ensemble_before_its_step(module: ModuleType, framework: Framework) -> Replacements:
    update, worth = module.update, module.worth

    def stale(state: Any, *rest: Any) -> Any:
        old = state.critics.parameters
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "worth", lambda climbs, critics, *others: worth(climbs, old, *others))
            return update(state, *rest)

    return {"update": stale}


def actor_at_every_update(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update
    return {"update": lambda state, batch, draws, due, config: update(state, batch, draws, {"actor": True}, config)}


def temperature_at_every_update(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def every(state: Any, batch: Any, draws: Any, due: Any, config: Any) -> Any:
        new, metrics = update(state, batch, draws, due, config)
        also, _ = update(state, batch, draws, {"actor": True}, config)
        return new.replace(log_alpha=also.log_alpha), metrics

    return {"update": every}


def targets_that_wait_for_the_actor(module: ModuleType, framework: Framework) -> Replacements:
    update = module.update

    def waiting(state: Any, batch: Any, draws: Any, due: Any, config: Any) -> Any:
        new, metrics = update(state, batch, draws, due, config)
        return (new if due["actor"] else new.replace(target_critics=state.target_critics)), metrics

    return {"update": waiting}


def temperature_step_of_the_wrong_sign(module: ModuleType, framework: Framework) -> Replacements:
    """In the page from which the step is taken."""
    original = module.improved

    def wrong(state: Any, *rest: Any) -> Any:
        new, metrics = original(state, *rest)
        before, after = state.log_alpha.parameters, new.log_alpha.parameters
        return new.replace(log_alpha=new.log_alpha._replace(parameters=2.0 * before - after)), metrics

    return {"improved": wrong}


BROKEN_REDQ: list[Break] = [
    adam_with_epsilon_hat,
    adam_with_epsilon_under_the_root,
    adam_without_bias_correction,
    terminated_ignored,
    weights_ignored,
    targets_moved_before_the_critic_step,
    target_without_entropy,
    temperature_step_of_the_wrong_sign,
    a_subset_for_each_row,
    a_subset_with_replacement,
    all_of_the_ensemble_in_the_target,
    nothing_dropped_in_the_target,
    nothing_dropped_in_the_loss,
    nothing_dropped_for_the_actor,
    the_same_bits_in_target_and_loss,
    the_same_bits_in_loss_and_actor,
    dropout_behind_the_norm,
    critic_loss_of_the_mean,
    mean_in_the_target,
    actor_climbs_the_sum,
    actor_climbs_the_least,
    actor_climbs_the_ensemble_before_its_step,
    actor_at_every_update,
    temperature_at_every_update,
    targets_that_wait_for_the_actor,
]
