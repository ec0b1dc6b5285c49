"""What a model of Stable-Baselines3 says of itself in plain text, in the JSON that it calls `data`.

Of an object that is no plain JSON it says the type, the pickled bytes, and `str()` of each attribute. The bytes are
never decoded: what cannot be read in the text is refused.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from polyak.errors import UsageError
from polyak.networks.layers import ActivationKind
from polyak.policies.contents import Kind
from polyak.types import Float, Spec

MODULES: Mapping[str, Kind] = {
    "stable_baselines3.sac.policies": "squashed_gaussian",
    "stable_baselines3.td3.policies": "deterministic",  # DDPG's too
}
POLICIES = ("SACPolicy", "TD3Policy")
"""What "MlpPolicy" is: that of images and that of dicts have other names, and so has one that somebody derived."""
ACTIVATIONS: Mapping[str, ActivationKind] = {"ReLU": "relu", "Tanh": "tanh", "ELU": "elu", "SiLU": "silu"}
PLAIN_EXTRACTOR = "stable_baselines3.common.torch_layers.FlattenExtractor"


class Model(NamedTuple):
    """What is read."""

    kind: Kind
    spec: Spec
    activation: ActivationKind


def read_words(content: bytes, path: Path) -> Model:
    """The policy's kind, the spaces and the activation.

    Raises:
        UsageError: they cannot be read, or are none that polyak has; the message names what it is.
    """
    try:
        words = _table({"data": json.loads(content)}, "data")
        kind = _kind(_table(words, "policy_class"))
        _require_no_sde(words)
        activation = _activation(words.get("policy_kwargs") or {})
        return Model(kind, _spec(_table(words, "observation_space"), _table(words, "action_space")), activation)
    except UsageError as error:
        raise UsageError(f"{path} cannot be imported: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise UsageError(f"{path} is no model of Stable-Baselines3's: its data cannot be read: {error}") from error


def _table(words: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table: Any = words[name]
    if not isinstance(table, dict):
        raise TypeError(f"{name} is no table")
    return cast("dict[str, Any]", table)


def _kind(policy: Mapping[str, Any]) -> Kind:
    module, made = str(policy["__module__"]), re.match(r"<function (\w+)\.__init__ at", str(policy["__init__"]))
    name = made[1] if made else ""
    if module not in MODULES or name not in POLICIES:
        raise UsageError(
            f"its policy is {name or 'another class'} of {module}, but only MlpPolicy of Stable-Baselines3's SAC, TD3 "
            "and DDPG can be: a features extractor for images or dicts, an algorithm on other policies, or a class of "
            "somebody's own has parts that a policy of polyak's has not"
        )
    return MODULES[module]


def _require_no_sde(words: Mapping[str, Any]) -> None:
    options: Any = words.get("policy_kwargs") or {}
    if words.get("use_sde") not in (None, False) or str(options.get("use_sde", False)) != "False":
        raise UsageError("it explores with gSDE (use_sde), whose actor clips its mean: polyak has no such actor")


def _activation(options: Mapping[str, Any]) -> ActivationKind:
    """Of `policy_kwargs`, whose other entries concern exploration, optimizers and critics, or show in the weights."""
    extractor = _class_in(str(options.get("features_extractor_class", f"<class '{PLAIN_EXTRACTOR}'>")))
    if extractor != PLAIN_EXTRACTOR:
        raise UsageError(f"it has a features extractor ({extractor}): polyak's policies see the observation itself")
    name = _class_in(str(options.get("activation_fn", "<class 'torch.nn.modules.activation.ReLU'>")))
    kind = ACTIVATIONS.get(name.removeprefix("torch.nn.modules.activation."))
    if kind is None:
        raise UsageError(f"its activation is {name}, but polyak has {', '.join(ACTIVATIONS)}")
    return kind


def _class_in(text: str) -> str:
    found = re.fullmatch(r"<class '([\w.<>]+)'>", text)
    return found[1] if found else text[:60]


def _spec(observation: Mapping[str, Any], action: Mapping[str, Any]) -> Spec:
    for name, space in (("observation", observation), ("action", action)):
        kind = _class_in(str(space[":type:"]))
        if kind.rpartition(".")[2] != "Box":
            raise UsageError(f"its {name} space is a {kind}: only a Box can be imported")
    shape, taken = _shape(observation), _shape(action)
    if observation["dtype"] == "uint8" and len(shape) > 1:
        raise UsageError(f"its observation is an image of shape {shape}, but polyak learns from vectors")
    size = math.prod(taken)
    return Spec(shape, taken, _bounds(action, "low", size), _bounds(action, "high", size))


def _shape(space: Mapping[str, Any]) -> tuple[int, ...]:
    found: tuple[Any, ...] = tuple(space["_shape"])
    if not all(type(size) is int and 1 <= size < 2**31 for size in found):
        raise ValueError(f"a shape is {str(found)[:60]}")
    return found


def _bounds(space: Mapping[str, Any], name: str, size: int) -> Float:
    """The bounds as NumPy prints them: to eight digits behind the point, which is float32's own precision or nearly."""
    text = str(space[name])
    if "..." in text:
        raise UsageError(f"its action space has {size:,} numbers, and its plain text leaves out most of their bounds")
    numbers = [float(number) for number in text.replace("[", " ").replace("]", " ").split()]
    if len(numbers) != size:
        raise ValueError(f"{name} of the action space is {text[:60]}, which are not {size} numbers")
    return np.array(numbers, np.float32)
