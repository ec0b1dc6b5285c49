"""The actor of a model that Stable-Baselines3 has saved (SAC, TD3, DDPG), as a policy of polyak's.

A model is a zip file: `data`, JSON in whose plain text spaces and architecture are read, and `policy.pth`, weights.
What `data` holds in pickled form (`:serialized:`) is not decoded; weights are read by PyTorch's restricted reader.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polyak.errors import UsageError
from polyak.networks.layers import Activation, Body, Dense, plain
from polyak.policies.policy import Policy
from polyak.policies.sb3.weights import read_weights
from polyak.policies.sb3.words import Model, read_words
from polyak.settings.door import door
from polyak.settings.kinds import checked
from polyak.system.archives import archive_in, read_member
from polyak.system.arrayfiles import SIZE_LIMIT
from polyak.types import Arrays

WORDS_LIMIT = 20_000_000
"""Bytes of `data` at most."""
MODEL_LIMIT = 4 * SIZE_LIMIT
"""Bytes of a model at most: policy, critics and optimizers."""
NORMALIZERS = ("vecnormalize.pkl", "vec_normalize.pkl")
"""What the running averages of a VecNormalize are saved as beside a model, by the zoo and by the documentation."""


@door
def import_sb3(path: str | os.PathLike[str]) -> Policy:
    """The actor of a SAC, TD3 or DDPG model that Stable-Baselines3 has saved; it gives the same actions.

    Args:
        path: the model's zip file.

    Raises:
        UsageError: it is missing, damaged or hostile; or the model has what a policy of polyak's has not: another
            algorithm, a features extractor, gSDE, another activation, spaces that are no Box, observations that a
            VecNormalize changes; or PyTorch is missing, or too old to read a stranger's weights.
    """
    file: Path = checked("path", path, Path)
    _require_no_normalizer(file)
    with archive_in(file, MODEL_LIMIT) as archive:
        model = read_words(read_member(archive, "data", WORDS_LIMIT, file), file)
        content = read_member(archive, "policy.pth", SIZE_LIMIT, file)
        version = "_stable_baselines3_version"
        told = read_member(archive, version, 100, file) if version in archive.namelist() else b""
    weights = read_weights(content, file)
    try:
        parameters, body = _network(model, weights)
        marks: dict[str, str | int] = {"imported_from": f"stable_baselines3 {told.decode('ascii', 'replace')}".strip()}
        policy = Policy(parameters, model.spec, model.kind, made_for=marks, body=None if plain(body) else body)
        policy.require_consistent()
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} cannot be imported: {error}") from error
    return policy


def _require_no_normalizer(file: Path) -> None:
    """Check that no file says that the model saw other observations than the environment shows."""
    lost = "its averages would be lost. Train without it, or with polyak's --normalize-observations"
    if file.suffix == ".pkl":
        raise UsageError(f"{file} is no model: a pickle, such as a VecNormalize file, is never read; {lost}")
    for name in NORMALIZERS:
        for beside in (file.with_name(name), file.parent / file.stem / name):
            if beside.exists():
                raise UsageError(
                    f"{beside} lies beside {file.name}: a model that was trained in a VecNormalize sees other "
                    f"observations than the environment shows, and {lost}; if this model was trained without, take "
                    "that file away"
                )


def _network(model: Model, weights: Mapping[str, Any]) -> tuple[Arrays, Body]:
    """The arrays and the layers of the actor, where two of theirs side by side are the last of one that draws."""
    actor = {name.removeprefix("actor."): value for name, value in weights.items() if name.startswith("actor.")}
    drawn = model.kind == "squashed_gaussian"
    trunk, heads = ("latent_pi", ["mu", "log_std"]) if drawn else ("mu", [])
    count = sum(name.startswith(f"{trunk}.") and name.endswith(".weight") for name in actor)
    layers = [[f"{trunk}.{2 * place}"] for place in range(count)] + ([heads] if drawn else [])
    expected = {f"{name}.{part}" for layer in layers for name in layer for part in ("weight", "bias")}
    if not layers or actor.keys() != expected:
        others = ", ".join(sorted(actor.keys() ^ expected)[:3])
        raise UsageError(f"the actor is no network of dense layers alone: {others}; polyak has no such layers")
    arrays: Arrays = {}
    body: list[Any] = []
    for place, layer in enumerate(layers):
        kernel = np.concatenate([actor[f"{name}.weight"] for name in layer]).T
        arrays[f"{place}/kernel"] = np.ascontiguousarray(kernel)
        arrays[f"{place}/bias"] = np.concatenate([actor[f"{name}.bias"] for name in layer])
        body += [Dense(kernel.shape[1]), Activation(model.activation)]
    return arrays, tuple(body[:-1])
