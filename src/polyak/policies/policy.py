"""The actor in NumPy: acts in microseconds, needs no framework, lives in one safetensors file."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polyak.algorithm import LOG_SIGMA_HIGH, LOG_SIGMA_LOW, Algorithm, policy_body
from polyak.errors import NonFiniteError, UsageError
from polyak.networks.forward import Forward, forward, forward_of_any
from polyak.networks.layers import Body, from_json, plain, to_json
from polyak.networks.weights import plain_body
from polyak.policies.contents import (
    FORM,
    FORM_NORMALIZED,
    FORM_WITH_BODY,
    Kind,
    described,
    marks_in,
    normalizer_in,
    require_consistent,
    require_kinds,
    spec_in,
)
from polyak.policies.distribution import Distribution
from polyak.policies.normalizer import Normalizer
from polyak.policies.observed import Reading, reading
from polyak.settings.kinds import checked, require
from polyak.settings.shared import Settings
from polyak.system.arrayfiles import content_of, read_arrays
from polyak.system.files import write_atomically
from polyak.system.randomness import stream
from polyak.types import Arrays, Float, Spec

LOWEST, HIGHEST, LEAST, MOST = (np.array(bound, np.float32) for bound in (-1, 1, LOG_SIGMA_LOW, LOG_SIGMA_HIGH))


@dataclass(frozen=True, eq=False)
class Policy:
    """A trained actor: `act` for use, `predict` likewise for code written for Stable-Baselines3."""

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
    normalizer: Normalizer | None = None
    """What the network sees observations through; they are given, and read, as the environment shows them."""

    def __post_init__(self) -> None:
        require_kinds(**vars(self))

    # Acting

    def act(
        self, observation: Any, deterministic: bool = True, *, generator: np.random.Generator | None = None
    ) -> Float:
        """The action in environment units: [*S] -> [*action shape], or [N, *S] -> [N, *action shape].

        S is `spec.observation_shape`: that of the environment's observation space, by which one observation and many
        are told apart. Where the space is no array (a Dict, a Tuple, a Discrete), what the environment shows is taken
        as it is, and so is the vector that Gymnasium's `flatten` makes of it, whose shape S then is.

        Args:
            observation: one, or N.
            deterministic: the action that the policy takes for the best. If not, one is drawn: a squashed Gaussian
                (SAC) is sampled; to a deterministic policy (DDPG, TD3), white noise of `exploration_noise` is added.
            generator: what is drawn comes from it; by default from a stream of the policy's own, which begins alike
                each time that a policy is made or read.

        Raises:
            UsageError: what is given is no observation.
            NonFiniteError: a number of the observation, or of the action that would follow, is not finite: no NaN is
                ever returned.
        """
        return self._acted(self._reading(observation), deterministic, generator)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Float, Any]:
        """`act` as Stable-Baselines3 calls it, for code that was written for a model of its: (action, state).

        One observation or N, as a `VecEnv` gives them: arrays, a dict of arrays, numbers. `state` comes back as it was
        given and `episode_start` is not read, because the policy remembers nothing. Errors are as for `act`.
        """
        return self._acted(self._predicting(observation), deterministic, None), state

    def distribution(self, observation: Any) -> Distribution:
        """The distribution of the actions to an observation or N: mean and deviation before the squash, `log_prob`.

        Raises:
            UsageError: the policy is deterministic (DDPG, TD3), so that its actions have no density; or as for `act`.
        """
        if self.kind == "deterministic":
            raise UsageError("the policy is deterministic: its action is `act`, and has no density to look at")
        outputs = self._any(self._reading(observation))
        mean, log_sigma = outputs[..., : self.spec.action_size], outputs[..., self.spec.action_size :]
        if not np.isfinite(outputs).all():
            raise NonFiniteError(NOT_FINITE)
        return Distribution(mean, np.exp(clipped(log_sigma, LEAST, MOST)), self.spec)

    @property
    def draws(self) -> bool:
        """Whether an action that is not `deterministic` is another."""
        return self.kind != "deterministic" or self.exploration_noise > 0.0

    def _acted(self, vectors: Float, deterministic: bool, generator: np.random.Generator | None) -> Float:
        outputs, size = self._any(vectors), self.spec.action_size
        if deterministic is not True or generator is not None:
            deterministic = checked("deterministic", deterministic, bool)
            require("generator", generator, _draws(generator), "a numpy.random.Generator, or None")
        if deterministic:
            action = np.tanh(outputs if self.kind == "deterministic" else outputs[..., :size])
        else:
            shape = (*vectors.shape[:-1], size)
            action = self._explored(outputs, (generator or self._stream).standard_normal(shape, np.float32))
        if np.count_nonzero(np.isfinite(action)) != action.size:
            raise NonFiniteError(NOT_FINITE)
        return self._in_environment_units(action)

    def mean(self, observation: Float) -> Float:
        """The deterministic action, normalized: [..., O] -> [..., A] in [-1, 1]."""
        outputs = self._rows(observation) if observation.ndim == 2 else self._any(observation)
        return np.tanh(outputs[..., : self.spec.action_size])

    def explore(self, observation: Float, noise: Float, spread: Float | None = None) -> Float:
        """An exploring action, normalized: observation [N, O], standard normal noise [N, A] -> [N, A] in [-1, 1].

        Deterministic policies add noise to the action and clip; the squashed Gaussian of SAC is sampled (8.16, 8.30).
        `spread` [N, 1] is the noise's standard deviation in place of `exploration_noise`; the deviation that a squashed
        Gaussian has by itself is multiplied by it.
        """
        return self._explored(self._rows(observation), noise, spread)

    def _explored(self, outputs: Float, noise: Float, spread: Float | None = None) -> Float:
        if self.kind == "deterministic":
            deviation = np.float32(self.exploration_noise) if spread is None else spread
            return clipped(np.tanh(outputs) + deviation * noise, LOWEST, HIGHEST)
        noise = noise if spread is None else spread * noise
        mean, log_sigma = outputs[..., : self.spec.action_size], outputs[..., self.spec.action_size :]
        sigma = np.exp(clipped(log_sigma, LEAST, MOST))
        return np.tanh(mean + sigma * noise)

    @property
    def layers(self) -> Body:
        """The layers of its network."""
        return plain_body(self.parameters) if self.body is None else self.body

    @cached_property
    def _rows(self) -> Forward:
        return self._normalized(forward(self.layers, self.parameters))

    @cached_property
    def _any(self) -> Forward:
        return self._normalized(forward_of_any(self.layers, self.parameters))

    def _normalized(self, outputs: Forward) -> Forward:
        normalizer = self.normalizer
        return outputs if normalizer is None else lambda observation: outputs(normalizer(observation))

    @cached_property
    def _reading(self) -> Reading:
        return reading(self.spec)

    @cached_property
    def _predicting(self) -> Reading:
        return reading(self.spec, own_first=True)

    @cached_property
    def _stream(self) -> np.random.Generator:
        return stream(0, "policy")

    @cached_property
    def _in_environment_units(self) -> Callable[[Float], Float]:
        mapped, shape = self.spec.map_of(), self.spec.action_shape
        if len(shape) == 1:
            return mapped
        return lambda action: mapped(action).reshape((*action.shape[:-1], *shape))

    # The file

    def finite(self) -> bool:
        """Whether every parameter is a finite number."""
        return all(bool(np.isfinite(value).all()) for value in self.parameters.values())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file; a reader sees the old file or the new one, never a part.

        Raises:
            UsageError: there is no place to write to.
        """
        place: Path = checked("path", path, Path)
        try:
            write_atomically(place, self.content())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
            raise UsageError(f"cannot write {place}: {error.strerror or error}") from error

    def content(self) -> bytes:
        """What `save` writes, its own SHA-256 included; equal policies are equal files."""
        description = described(self.spec, self.kind, self.exploration_noise, self.made_for)
        form = FORM
        if not plain(self.layers):
            form, description["body"] = FORM_WITH_BODY, to_json(self.layers)
        arrays = {f"actor/{name}": value for name, value in self.parameters.items()}
        arrays |= {"action_low": self.spec.action_low, "action_high": self.spec.action_high}
        if self.normalizer is not None:
            form, description["normalizer"] = FORM_NORMALIZED, {"clip": self.normalizer.clip}
            arrays |= {"normalizer/mean": self.normalizer.mean, "normalizer/scale": self.normalizer.scale}
        return content_of(form, arrays, {"policy": json.dumps(description)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Policy":
        """Read what `save` wrote.

        Raises:
            UsageError: the file is missing, damaged, of another kind or a newer version, or holds a weight that is not
                finite.
        """
        arrays, metadata = read_arrays(checked("path", path, Path), FORM_NORMALIZED)
        try:
            description = json.loads(metadata["policy"])
            spec, normalizer = spec_in(description, arrays), normalizer_in(description, arrays)
            parameters = {name.removeprefix("actor/"): value for name, value in arrays.items() if name not in BOUNDS}
            noise, made_for = float(description["exploration_noise"]), marks_in(description)
            body = from_json(description["body"]) if "body" in description else None
            policy = cls(parameters, spec, description["kind"], noise, made_for, body, normalizer)
            policy.require_consistent()
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UsageError(f"{path} is not a whole polyak policy: {error}") from error
        return policy

    def require_consistent(self) -> None:
        """Check that kind, spec and parameters belong together.

        Raises:
            ValueError: they do not.
        """
        require_consistent(self.parameters, self.spec, self.kind, self.exploration_noise, self.layers)
        if self.normalizer is not None:
            self.normalizer.require_sound(self.spec.observation_size)


BOUNDS = ("action_low", "action_high")
NOT_FINITE = "the policy computes a number that is not finite: its weights are too large for what it is shown"


def policy_of(
    algorithm: Algorithm,
    config: Settings,
    spec: Spec,
    actor: Arrays,
    made_for: Mapping[str, str | int],
    normalizer: Normalizer | None = None,
) -> Policy:
    """The policy that an algorithm's network `actor` is, of the arrays that `actor_in` gives."""
    head, body = algorithm.head(config), policy_body(algorithm.state(spec, config))
    return Policy(actor, spec, head.kind, head.noise, made_for, body, normalizer)


def _draws(generator: object) -> bool:
    return generator is None or isinstance(generator, np.random.Generator)


def clipped(values: Float, low: Any, high: Any) -> Float:
    """What `np.clip` gives, in a third of the time where the array is small."""
    return np.minimum(np.maximum(values, low), high)
