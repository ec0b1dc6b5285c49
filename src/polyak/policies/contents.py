"""What is in a policy's file besides its arrays, and whether all of it belongs together."""

import math
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import numpy as np

from polyak.environments.parts import reader_of_parts, size_of
from polyak.networks.layers import Body, outputs_of
from polyak.networks.weights import shapes
from polyak.policies.normalizer import Normalizer
from polyak.settings.kinds import checked, require
from polyak.system.arrayfiles import Form
from polyak.types import Arrays, Spec

FORM, FORM_WITH_BODY, FORM_NORMALIZED = (
    Form("polyak-policy", version, "policy", ("F32",), sealed=True) for version in (1, 2, 3)
)
"""Of dense layers with ReLU between them, which the arrays tell; of others, which the file says; and of either behind a
normalizer, `normalizer/mean` and `normalizer/scale`."""

Kind = Literal["deterministic", "squashed_gaussian"]


def described(spec: Spec, kind: Kind, noise: float, made_for: Mapping[str, str | int]) -> dict[str, Any]:
    """What the file says in words."""
    description: dict[str, Any] = {
        "kind": kind,
        "exploration_noise": noise,
        "observation_shape": spec.observation_shape,
        "action_shape": spec.action_shape,
    }
    if spec.observation_parts is not None:
        description["observation_parts"] = spec.observation_parts
    if made_for:
        description["made_for"] = dict(made_for)
    return description


def spec_in(description: Mapping[str, Any], arrays: Arrays) -> Spec:
    """The spec that the words and arrays of a file say; errors as for `require_consistent`, or KeyError, TypeError."""
    return Spec(
        observation_shape=_shape(description["observation_shape"]),
        action_shape=_shape(description["action_shape"]),
        action_low=arrays["action_low"],
        action_high=arrays["action_high"],
        observation_parts=description.get("observation_parts"),
    )


def normalizer_in(description: Mapping[str, Any], arrays: Arrays) -> Normalizer | None:
    """What the policy sees observations through, whose arrays are taken from the others; errors as for `spec_in`."""
    if "normalizer" not in description:
        return None
    mean, scale = (arrays.pop(f"normalizer/{name}") for name in ("mean", "scale"))
    return Normalizer(mean, scale, float(description["normalizer"]["clip"]))


def marks_in(description: Mapping[str, Any]) -> dict[str, str | int]:
    """What the policy was made for.

    Raises:
        ValueError: that cannot be.
    """
    value = description.get("made_for", {})
    if isinstance(value, dict):
        marks = cast(dict[str, Any], value)
        if all(type(mark) in (str, int) for mark in marks.values()):
            return marks
    raise ValueError(f"{str(cast(Any, value))[:40]!r} does not say what it was made for")


def require_kinds(
    parameters: Any, spec: Any, kind: Any, exploration_noise: Any, made_for: Any, body: Any, normalizer: Any
) -> None:
    """Check what a policy is made of by its kind alone, which costs little.

    Raises:
        UsageError: something is of another kind.
    """
    require("parameters", parameters, isinstance(parameters, dict) and parameters != {}, "arrays by name")
    require("spec", spec, isinstance(spec, Spec), "a polyak.Spec")
    require("kind", kind, isinstance(kind, str) and kind in get_args(Kind), " or ".join(get_args(Kind)))
    require("made_for", made_for, isinstance(made_for, Mapping), "a mapping")
    require("body", body, body is None or isinstance(body, tuple), "layers, or None")
    through = normalizer is None or isinstance(normalizer, Normalizer)
    require("normalizer", normalizer, through, "a Normalizer, or None")
    noise = checked("exploration_noise", exploration_noise, float)
    require("exploration_noise", noise, noise >= 0.0, "at least 0")


def require_consistent(parameters: Arrays, spec: Spec, kind: str, noise: float, layers: Body) -> None:
    """Check that kind, spec and parameters belong together, and that all numbers are finite.

    Raises:
        ValueError: they do not, or one is not.
    """
    for name, value in parameters.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds a number that is not finite")
    if kind not in ("deterministic", "squashed_gaussian"):
        raise ValueError(f"unknown kind {kind!r}")
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"exploration_noise is {noise}, but must be finite and at least 0")
    _require_sound(spec)
    expected = shapes(layers, spec.observation_size)
    found = {name: value.shape for name, value in parameters.items()}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name} has shape {found.get(name)}, where its layers have {expected.get(name)}")
    outputs = spec.action_size * (1 if kind == "deterministic" else 2)
    if outputs_of(layers) != outputs:
        raise ValueError(f"the layers end in {outputs_of(layers)} outputs, but {outputs} are needed")


def _require_sound(spec: Spec) -> None:
    low, high, actions = spec.action_low, spec.action_high, spec.action_size
    if low.shape != (actions,) or high.shape != (actions,):
        raise ValueError(f"action bounds must have shape ({actions},)")
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError("action bounds must be finite, the lower below the upper")
    parts = spec.observation_parts
    if parts is not None:
        reader_of_parts(parts)
        if size_of(parts) != spec.observation_size:
            raise ValueError(f"the observation's parts are {size_of(parts)} numbers, not {spec.observation_size}")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, list):
        sizes = cast(list[Any], value)
        if all(type(size) is int and size >= 1 for size in sizes):
            return tuple(sizes)
    raise ValueError(f"{str(cast(Any, value))[:40]!r} is no shape")
