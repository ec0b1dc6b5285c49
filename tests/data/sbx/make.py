"""Two updates of DroQ by SBX, of which the second steps the actor: `.venv-peers/bin/python tests/data/sbx/make.py`.

`make bench` makes that environment. `droq.npz` has the batches, the noise, which units are dropped, and the networks
before and after, by polyak's names, in float64. SBX's own code computes, operation by operation; what it draws is
watched where it is drawn. Two constants are not its own: the critics' Adam has half the epsilon, because their loss is
half of polyak's, and the layer norm's epsilon is polyak's 1e-5.
"""

import types
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from gymnasium import Env, spaces
from sbx import SAC
from sbx.common import policies
from sbx.common.type_aliases import ReplayBufferSamplesNp
from tensorflow_probability.substrates.jax.internal import samplers

HERE = Path(__file__).parent
ROWS, OBSERVATION, ACTION, HIDDEN = 8, 3, 2, [6, 5]
UPDATES, PROBABILITY = 2, 0.25
NORM_EPSILON, ADAM_EPSILON = 1e-5, 1e-8


class Place(Env[Any, Any]):
    """Has the spaces."""

    observation_space = spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (ACTION,), np.float32)


class Watched(nn.Dropout):
    """flax's own, which tells what it drops: of each critic by itself, in their order."""

    def __call__(self, inputs: Any, deterministic: bool | None = None, rng: Any = None) -> Any:
        found = super().__call__(inputs, deterministic, rng)
        jax.debug.callback(lambda kept: DROPPED.append(np.asarray(kept) == 0.0), found)
        return found


DROPPED: list[Any] = []
"""Which units are dropped, [B, units] of one layer of one critic: layer by layer, within each critic by critic."""
NOISE: list[Any] = []
"""[B, A], of s' in each update, and of s where the actor is stepped."""


def layers(tree: Any, numbers: list[int]) -> dict[str, Any]:
    """A flax network as polyak has it; an actor's two heads are one of twice as many columns."""
    heads = [tree[f"Dense_{index}"] for index in range(sum(name.startswith("Dense") for name in tree))]
    if len(heads) > len(numbers):
        heads[-2:] = [{name: np.concatenate([heads[-2][name], heads[-1][name]], axis=-1) for name in heads[-1]}]
    found = {
        f"{number}/{name}": value for number, head in zip(numbers, heads, strict=True) for name, value in head.items()
    }
    for index in range(sum(name.startswith("LayerNorm") for name in tree)):
        norm = tree[f"LayerNorm_{index}"]
        found |= {f"{numbers[index] + 1}/scale": norm["scale"], f"{numbers[index] + 1}/offset": norm["bias"]}
    return found


def networks(actor: Any, critics: Any, alpha: Any) -> dict[str, Any]:
    """Actor, critics, their targets and the temperature's logarithm."""
    found = {f"actor/{name}": value for name, value in layers(actor.params["params"], [0, 1, 2]).items()}
    for name, tree in (("critics", critics.params), ("target_critics", critics.target_params)):
        (one,) = tree["params"].values()
        found |= {f"{name}/{path}": value for path, value in layers(one, [0, 2, 4]).items()}
    found["log_alpha"] = alpha.params["log_ent_coef"]
    return {name: np.array(value, np.float64) for name, value in found.items()}


def double(state: Any, epsilon: float) -> Any:
    """A state of flax in float64, with an Adam of its own."""
    params = jax.tree.map(lambda value: value.astype(np.float64), state.params)
    optimizer = optax.adam(3e-4, eps=epsilon)
    return state.replace(params=params, tx=optimizer, opt_state=optimizer.init(params))


def through(places: list[Any]) -> Any:
    """What is dropped in one way through both critics, [2, B, units], the columns of one layer behind the other's."""
    return np.stack([np.concatenate(places[critic::2], axis=1) for critic in range(2)])


def main() -> None:
    """Make the model, let it compute both updates, and write what it was and what came of it."""
    jax.config.update("jax_enable_x64", True)
    policies.nn = types.SimpleNamespace(**vars(nn))
    policies.nn.Dropout = Watched
    policies.nn.LayerNorm = lambda: nn.LayerNorm(epsilon=NORM_EPSILON, use_fast_variance=False)
    kinds = {"net_arch": HIDDEN, "dropout_rate": PROBABILITY, "layer_norm": True}
    model = SAC("MlpPolicy", Place(), seed=1, policy_delay=UPDATES, policy_kwargs=kinds)
    generator = np.random.default_rng(0)
    normal = generator.standard_normal
    actor, alpha = double(model.policy.actor_state, ADAM_EPSILON), double(model.ent_coef_state, ADAM_EPSILON)
    critics = double(model.policy.qf_state, 0.5 * ADAM_EPSILON)
    away = jax.tree.map(lambda value: value + 0.3 * normal(value.shape), critics.params)
    critics = critics.replace(target_params=away)
    rows = UPDATES * ROWS
    batch = {"observations": normal((rows, OBSERVATION)), "actions": np.tanh(normal((rows, ACTION)))}
    batch |= {"next_observations": normal((rows, OBSERVATION)), "dones": (np.arange(rows) % 3 == 0) * 1.0}
    batch |= {"rewards": 2.0 * normal(rows)}
    data = ReplayBufferSamplesNp(**batch, discounts=np.full(rows, 0.99))
    before = {f"before/{name}": value for name, value in networks(actor, critics, alpha).items()}

    def drawn(shape: Any, *_: Any, **__: Any) -> Any:
        NOISE.append(normal(tuple(np.array(shape))).T)  # it asks for the columns of a batch
        return jax.numpy.array(NOISE[-1].T)

    samplers.normal = drawn
    jax.effects_barrier()
    DROPPED.clear()
    with jax.disable_jit():
        critics, actor, alpha, _, losses = SAC._train(
            0.005, -float(ACTION), UPDATES, data, UPDATES, 1, critics, actor, alpha, model.key
        )
    jax.effects_barrier()
    after = {f"after/{name}": value for name, value in networks(actor, critics, alpha).items()}
    ways = [through(DROPPED[first : first + 4]) for first in range(0, len(DROPPED), 4)]
    drawn_there = {"next_action": [NOISE[0], NOISE[1]], "action": [0.0 * NOISE[2], NOISE[2]]}
    drawn_there |= {"next_dropped": ways[0:4:2], "critic_dropped": ways[1:4:2], "actor_dropped": [0 * ways[4], ways[4]]}
    told = {**batch, **{name: np.stack(each) for name, each in drawn_there.items()}, **before, **after}
    np.savez(HERE / "droq.npz", actor_loss=losses[0], critic_loss=losses[1], **told)


if __name__ == "__main__":
    main()
