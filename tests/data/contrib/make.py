"""One update of TQC by Stable-Baselines3 Contrib: `.venv-peers/bin/python tests/data/contrib/make.py`.

`make bench` makes that environment. `tqc.npz` has the batch, the noise, and the networks before and after it, by
polyak's names, in float64. Its log-probability adds 1e-6 to what it takes the logarithm of; that is left out here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import Env, spaces
from sb3_contrib import TQC
from stable_baselines3.common import policies
from stable_baselines3.common.logger import configure
from stable_baselines3.common.type_aliases import ReplayBufferSamples

HERE = Path(__file__).parent
ROWS, OBSERVATION, ACTION = 8, 3, 2
CRITICS, QUANTILES, DROPPED = 3, 4, 1  # midpoints of quarters are what they are in float32, too


class Place(Env[Any, Any]):
    """Has the spaces."""

    observation_space = spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (ACTION,), np.float64)


def linear(layers: list[Any]) -> dict[str, Any]:
    """Layers as polyak has them; the actor's two last ones are one of twice as many columns."""
    found: dict[str, Any] = {}
    for number, layer in enumerate(layers):
        heads = layer if isinstance(layer, list) else [layer]
        found[f"{number}/kernel"] = np.concatenate([head.weight.detach().numpy().T for head in heads], axis=1)
        found[f"{number}/bias"] = np.concatenate([head.bias.detach().numpy() for head in heads])
    return found


def networks(model: Any) -> dict[str, Any]:
    """Actor, critics, their targets and the temperature's logarithm."""
    actor = [each for each in model.actor.latent_pi if isinstance(each, torch.nn.Linear)]
    found = {f"actor/{name}": x for name, x in linear([*actor, [model.actor.mu, model.actor.log_std]]).items()}
    for name, critic in (("critics", model.critic), ("target_critics", model.critic_target)):
        members = [linear([each for each in net if isinstance(each, torch.nn.Linear)]) for net in critic.q_networks]
        found |= {f"{name}/{path}": np.stack([member[path] for member in members]) for path in members[0]}
    return {**found, "log_alpha": model.log_ent_coef.detach().numpy().reshape(())}


def main() -> None:
    """Make the model, let it compute one update, and write what it was and what came of it."""
    torch.set_default_dtype(torch.float64)
    policies.preprocess_obs = lambda observations, *_, **__: observations  # it would make them float32
    kinds = {"net_arch": [6, 5], "n_critics": CRITICS, "n_quantiles": QUANTILES}
    model = TQC("MlpPolicy", Place(), seed=1, device="cpu", top_quantiles_to_drop_per_net=DROPPED, policy_kwargs=kinds)
    model.set_logger(configure(None, []))
    model.actor.action_dist.epsilon = 0.0
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    for parameter in model.critic_target.parameters():
        parameter.data += 0.3 * normal(*parameter.shape)
    ended = (torch.arange(ROWS) % 3 == 0).to(torch.float64)[:, None]
    batch = {"observations": normal(ROWS, OBSERVATION), "actions": torch.tanh(normal(ROWS, ACTION))}
    batch |= {"next_observations": normal(ROWS, OBSERVATION), "dones": ended, "rewards": 2.0 * normal(ROWS, 1)}
    noise = {"action": normal(ROWS, ACTION), "next_action": normal(ROWS, ACTION)}
    given = {**networks(model)}
    given = {f"before/{name}": value.copy() for name, value in given.items()}
    asked = iter(noise.values())
    torch.distributions.normal._standard_normal = lambda shape, dtype, device: next(asked)
    model.replay_buffer.sample = lambda *_, **__: ReplayBufferSamples(**batch)
    model.train(1, ROWS)
    after = {f"after/{name}": value for name, value in networks(model).items()}
    told = {**{name: value.numpy() for name, value in {**batch, **noise}.items()}, **given, **after}
    losses = model.logger.name_to_value
    np.savez(HERE / "tqc.npz", critic_loss=losses["train/critic_loss"], actor_loss=losses["train/actor_loss"], **told)


if __name__ == "__main__":
    main()
