"""The same settings in Stable-Baselines3: its arguments, made of polyak's values."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyak.algorithms import algorithm as algorithm_named
from polyak.settings import presets

ZOO = Path(__file__).resolve().parent / "zoo.toml"
OF_THE_RUN = {"steps", "steps_per_epoch", "evaluation_episodes"}
"""Settings that are no argument of a model's."""


def settings(preset: str | Path, algorithm: str, environment: str) -> dict[str, Any]:
    """Every setting of polyak's that a preset brings about, those included that it leaves alone."""
    known = algorithm_named(algorithm)
    return dataclasses.asdict(known.Config(**presets.load(str(preset), known, environment).values))


def peer_options(algorithm: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What `peers/sb3.py` is to make a model of, so that its settings are polyak's.

    A setting that Stable-Baselines3 has under no name must be polyak's default, which is what it does.

    Raises:
        ValueError: they cannot be the same; the message names the setting.
    """
    told = _Told(values)
    learning_rate = told["actor_learning_rate"]
    model = {
        "learning_rate": learning_rate,
        "buffer_size": told["replay_size"],
        "learning_starts": told["start_steps"],
        "batch_size": told["batch_size"],
        "tau": round(1 - told["polyak"], 12),
        "gamma": told["discount"],
        "train_freq": told["update_every"],
        "gradient_steps": round(told["update_every"] * told["updates_per_step"]),
        "policy_kwargs": {"net_arch": list(told["hidden_sizes"])},
    }
    told.require("critic_learning_rate", learning_rate)
    told.require("update_after", values["start_steps"] + 1)
    options: dict[str, Any] = {"model": model}
    if algorithm == "sac":
        told.require("alpha_learning_rate", learning_rate)
        model["ent_coef"] = f"auto_{told['alpha']}" if told["learn_alpha"] else told["alpha"]
    else:
        options["noise"] = told["exploration_noise"]
    if algorithm == "td3":
        renamed = {"policy_delay": "policy_delay", "target_policy_noise": "target_noise"}
        model |= {name: told[ours] for name, ours in renamed.items()} | {"target_noise_clip": told["target_noise_clip"]}
    defaults = dataclasses.asdict(algorithm_named(algorithm).Config())
    for name in values.keys() - told.asked - OF_THE_RUN:
        told.require(name, defaults[name])
    return options


class _Told:
    """Values, and which of them were asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values, self.asked = values, set[str]()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self._values[name]

    def require(self, name: str, value: object) -> None:
        if self[name] != value:
            raise ValueError(f"{name} is {self[name]!r}: Stable-Baselines3 would have {value!r}")
