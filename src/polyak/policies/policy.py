"""The actor in NumPy: acts in microseconds, needs no framework, lives in one safetensors file."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from polyak.algorithm import LOG_SIGMA_HIGH, LOG_SIGMA_LOW, Algorithm, body_in
from polyak.errors import UsageError
from polyak.networks.forward import Forward, forward, forward_of_any
from polyak.networks.layers import Body, from_json, outputs_of, plain, to_json
from polyak.networks.weights import plain_body, shapes
from polyak.settings.shared import Settings
from polyak.system.arrayfiles import Form, content_of, read_arrays
from polyak.system.files import write_atomically
from polyak.types import Arrays, Float, Spec

FORM, FORM_WITH_BODY = (Form("polyak-policy", version, "policy", ("F32",), sealed=True) for version in (1, 2))
"""Of dense layers with ReLU between them, which the arrays tell; and of others, which the file says."""

Kind = Literal["deterministic", "squashed_gaussian"]

LOWEST, HIGHEST, LEAST, MOST = (np.array(bound, np.float32) for bound in (-1, 1, LOG_SIGMA_LOW, LOG_SIGMA_HIGH))


@dataclass(frozen=True, eq=False)
class Policy:
    """A trained actor: `act` for use, `explore` for collecting experience."""

    parameters: Arrays
    """`LAYER/kernel` [inputs, outputs] and `LAYER/bias` [outputs], float32."""
    spec: Spec
    kind: Kind
    exploration_noise: float = 0.0
    """Standard deviation of `explore`'s noise as a fraction of the half-range (deterministic policies only)."""
    made_for: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """`algorithm`, `environment` (an id) and `seed` of the run that it was trained in; empty outside of runs."""
    body: Body | None = None
    """The layers of the network that the parameters are of; None: dense ones, with ReLU between them."""

    def act(self, observation: Any) -> Float:
        """The deterministic action in environment units: [*S] -> [*action shape], or [N, *S] -> [N, *action shape].

        S is `spec.observation_shape`: that of the environment's observation space, by which one observation and many
        are told apart. Where the space is no Box and no MultiBinary, it is the vector that Gymnasium's `flatten` makes.

        Raises:
            UsageError: an observation that is no array, or of another shape.
        """
        try:
            given = np.asarray(observation, np.float32)
        except (TypeError, ValueError, RuntimeError) as error:  # the last of a tensor that has a gradient
            raise UsageError(
                f"the observation is no array of numbers ({error}): give a Dict or Tuple as the vector that "
                "gymnasium.spaces.flatten makes of it"
            ) from error
        shape = self.spec.observation_shape
        if given.shape == shape:
            leading: tuple[int, ...] = ()
        elif given.shape[1:] == shape:
            leading = given.shape[:1]
        else:
            many = ", ".join(map(str, ("N", *shape)))
            raise UsageError(f"the observation has shape {given.shape}, but this policy takes {shape} or ({many})")
        action = self.spec.to_environment(self.mean(given.reshape((*leading, self.spec.observation_size))))
        return action.reshape((*leading, *self.spec.action_shape))

    def mean(self, observation: Float) -> Float:
        """The deterministic action, normalized: [..., O] -> [..., A] in [-1, 1]."""
        outputs = self._rows(observation) if observation.ndim == 2 else self._any(observation)
        return np.tanh(outputs[..., : self.spec.action_size])

    def explore(self, observation: Float, noise: Float) -> Float:
        """An exploring action, normalized: observation [N, O], standard normal noise [N, A] -> [N, A] in [-1, 1].

        Deterministic policies add noise to the action and clip; the squashed Gaussian of SAC is sampled (8.16, 8.30).
        """
        outputs = self._rows(observation)
        if self.kind == "deterministic":
            return clipped(np.tanh(outputs) + np.float32(self.exploration_noise) * noise, LOWEST, HIGHEST)
        mean, log_sigma = outputs[..., : self.spec.action_size], outputs[..., self.spec.action_size :]
        sigma = np.exp(clipped(log_sigma, LEAST, MOST))
        return np.tanh(mean + sigma * noise)

    @property
    def layers(self) -> Body:
        """The layers of its network."""
        return plain_body(self.parameters) if self.body is None else self.body

    @cached_property
    def _rows(self) -> Forward:
        return forward(self.layers, self.parameters)

    @cached_property
    def _any(self) -> Forward:
        return forward_of_any(self.layers, self.parameters)

    def finite(self) -> bool:
        """Whether every parameter is a finite number."""
        return all(bool(np.isfinite(value).all()) for value in self.parameters.values())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file; a reader sees the old file or the new one, never a part."""
        write_atomically(Path(path), self.content())

    def content(self) -> bytes:
        """What `save` writes, its own SHA-256 included; equal policies are equal files."""
        description: dict[str, Any] = {
            "kind": self.kind,
            "exploration_noise": self.exploration_noise,
            "observation_shape": self.spec.observation_shape,
            "action_shape": self.spec.action_shape,
        }
        if self.made_for:
            description["made_for"] = dict(self.made_for)
        form = FORM
        if not plain(self.layers):
            form, description["body"] = FORM_WITH_BODY, to_json(self.layers)
        arrays = {f"actor/{name}": value for name, value in self.parameters.items()}
        arrays |= {"action_low": self.spec.action_low, "action_high": self.spec.action_high}
        return content_of(form, arrays, {"policy": json.dumps(description)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Policy":
        """Read what `save` wrote.

        Raises:
            UsageError: the file is missing, damaged, of another kind or a newer version, or holds a weight that is not
                finite.
        """
        arrays, metadata = read_arrays(Path(path), FORM_WITH_BODY)
        try:
            description = json.loads(metadata["policy"])
            spec = Spec(
                observation_shape=_shape(description["observation_shape"]),
                action_shape=_shape(description["action_shape"]),
                action_low=arrays.pop("action_low"),
                action_high=arrays.pop("action_high"),
            )
            parameters = {name.removeprefix("actor/"): value for name, value in arrays.items()}
            noise, made_for = float(description["exploration_noise"]), _marks(description.get("made_for", {}))
            body = from_json(description["body"]) if "body" in description else None
            policy = cls(parameters, spec, description["kind"], noise, made_for, body)
            policy.require_consistent()
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UsageError(f"{path} is not a whole polyak policy: {error}") from error
        return policy

    def require_consistent(self) -> None:
        """Check that kind, spec and parameters belong together.

        Raises:
            ValueError: they do not.
        """
        actions = self.spec.action_size
        for name, value in self.parameters.items():
            if not np.isfinite(value).all():
                raise ValueError(f"{name} holds a number that is not finite")
        if self.kind not in ("deterministic", "squashed_gaussian"):
            raise ValueError(f"unknown kind {self.kind!r}")
        low, high = self.spec.action_low, self.spec.action_high
        if low.shape != (actions,) or high.shape != (actions,):
            raise ValueError(f"action bounds must have shape ({actions},)")
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise ValueError("action bounds must be finite, the lower below the upper")
        if not (math.isfinite(self.exploration_noise) and self.exploration_noise >= 0):
            raise ValueError(f"exploration_noise is {self.exploration_noise}, but must be finite and at least 0")
        expected = shapes(self.layers, self.spec.observation_size)
        found = {name: value.shape for name, value in self.parameters.items()}
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                raise ValueError(f"{name} has shape {found.get(name)}, where its layers have {expected.get(name)}")
        outputs = actions if self.kind == "deterministic" else 2 * actions
        if outputs_of(self.layers) != outputs:
            raise ValueError(f"the layers end in {outputs_of(self.layers)} outputs, but {outputs} are needed")


def policy_of(
    algorithm: Algorithm, config: Settings, spec: Spec, actor: Arrays, made_for: Mapping[str, str | int]
) -> Policy:
    """The policy that an algorithm's network `actor`, of these arrays, is."""
    head, body = algorithm.head(config), body_in(algorithm.state(spec, config), "actor")
    return Policy(actor, spec, head.kind, head.noise, made_for, body)


def clipped(values: Float, low: Any, high: Any) -> Float:
    """What `np.clip` gives, in a third of the time where the array is small."""
    return np.minimum(np.maximum(values, low), high)


def _marks(value: Any) -> dict[str, str | int]:
    if isinstance(value, dict):
        marks = cast(dict[str, Any], value)
        if all(type(mark) in (str, int) for mark in marks.values()):
            return marks
    raise ValueError(f"{str(cast(Any, value))[:40]!r} does not say what it was made for")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, list):
        sizes = cast(list[Any], value)
        if all(type(size) is int and size >= 1 for size in sizes):
            return tuple(sizes)
    raise ValueError(f"{str(cast(Any, value))[:40]!r} is no shape")
