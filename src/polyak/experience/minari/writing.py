"""A dataset of episodes, which Minari reads as its own."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from polyak.environments.parts import size_of
from polyak.errors import UsageError
from polyak.experience.minari.places import DATA, EPISODES, ID, METADATA, hdf5, root
from polyak.types import Float, Spec, Transitions

VERSION = "0.5.4"
"""Of Minari, whose format is written."""


def require_place(path: Path) -> None:
    """Check that a dataset can be written there.

    Raises:
        UsageError: something is there, or the name is none of a dataset.
    """
    if ID.fullmatch(path.name) is None:
        raise UsageError(
            f"a Minari dataset cannot be called {path.name!r:.100}: a name is of letters, digits, - and _, and ends in "
            "a version, as my-data-v0"
        )
    if os.path.lexists(path):
        raise UsageError(f"there is something at {path} already: choose another name, such as its next version")
    hdf5()


def write(path: Path, episodes: Sequence[Transitions], spec: Spec, facts: Mapping[str, Any]) -> None:
    """Write a dataset of these episodes, each in its order; `facts` go into its metadata.

    It is made beside its place and put there whole. Observations and actions are as the environment has them.

    Raises:
        UsageError: it cannot be written.
    """
    require_place(path)
    parts = spec.observation_parts or ["array", [*spec.observation_shape], "float32"]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        (temporary / DATA).mkdir(parents=True)
        with hdf5().File(temporary / DATA / EPISODES, "x", track_order=True) as file:
            for number, episode in enumerate(episodes):
                _write_episode(file.create_group(f"episode_{number}"), number, episode, spec, parts)
        size = (temporary / DATA / EPISODES).stat().st_size
        told = {
            "total_episodes": len(episodes),
            "total_steps": sum(len(episode.reward) for episode in episodes),
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "observation_space": json.dumps(_space_of(parts)),
            "action_space": json.dumps(_box(spec.action_shape, spec.action_low, spec.action_high)),
            "dataset_id": _id_of(path),
            "minari_version": VERSION,
            "dataset_size": round(size / 1e6, 1),
            **facts,
        }
        (temporary / DATA / METADATA).write_text(json.dumps(told, indent=1), encoding="utf-8")
        temporary.rename(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _removed(temporary)


def _removed(folder: Path) -> None:
    for name in (EPISODES, METADATA):
        with suppress(OSError):
            (folder / DATA / name).unlink()
    for each in (folder / DATA, folder):
        with suppress(OSError):
            each.rmdir()


def _id_of(path: Path) -> str:
    """As Minari finds it: below its own folder by the whole path, elsewhere by the name."""
    place = path.absolute()
    below = place.is_relative_to(root().absolute())
    return place.relative_to(root().absolute()).as_posix() if below else place.name


def _write_episode(group: Any, number: int, episode: Transitions, spec: Spec, parts: Any) -> None:
    shown = np.concatenate([episode.observation, episode.next_observation[-1:]])
    group.attrs["id"], group.attrs["total_steps"] = number, len(episode.reward)
    _write_observations(group, "observations", shown, parts)
    action = spec.to_environment(episode.action).reshape(-1, *spec.action_shape)
    truncated = episode.truncated.copy()
    truncated[-1] |= not episode.terminated[-1]  # an episode that still ran, or was given up, as Minari marks it
    for name, column in (
        ("actions", action),
        ("rewards", episode.reward),
        ("terminations", episode.terminated),
        ("truncations", truncated),
    ):
        group.create_dataset(name, data=column)


def _write_observations(group: Any, name: str, shown: Float, parts: Any) -> None:
    """The columns of `shown` [n, O], by their parts."""
    match parts:
        case ["dict", pairs]:
            _write_parts(group.create_group(name), [key for key, _ in pairs], [each for _, each in pairs], shown)
        case ["tuple", several]:
            _write_parts(group.create_group(name), [f"_index_{at}" for at in range(len(several))], several, shown)
        case ["choices", counts, firsts, shape]:
            ends = np.cumsum(counts)
            chosen = [shown[:, end - count : end].argmax(axis=1) for count, end in zip(counts, ends, strict=True)]
            numbers = np.stack(chosen, axis=1) + np.array(firsts, np.int64)
            group.create_dataset(name, data=numbers.reshape(-1, *shape))
        case [_, shape, *_]:
            group.create_dataset(name, data=shown.reshape(-1, *shape))
        case _:
            raise ValueError(f"{parts!s:.60} are no parts of an observation")


def _write_parts(group: Any, names: Sequence[str], several: Sequence[Any], shown: Float) -> None:
    at = 0
    for name, parts in zip(names, several, strict=True):
        size = size_of(parts)
        _write_observations(group, name, shown[:, at : at + size], parts)
        at += size


def _space_of(parts: Any) -> dict[str, Any]:
    """A space as Minari writes it; bounds are not known, and those of a Box are infinite."""
    match parts:
        case ["dict", pairs]:
            return {"type": "Dict", "subspaces": {key: _space_of(each) for key, each in pairs}}
        case ["tuple", several]:
            return {"type": "Tuple", "subspaces": [*map(_space_of, several)]}
        case ["choices", [count], [start], []]:
            return {"type": "Discrete", "dtype": "int64", "start": start, "n": count}
        case ["choices", counts, firsts, shape]:
            starts, sizes = (np.array(each).reshape(shape).tolist() for each in (firsts, counts))
            return {"type": "MultiDiscrete", "dtype": "int64", "nvec": sizes, "start": starts}
        case [_, shape, *_]:
            return _box(shape, np.full(shape, -np.inf), np.full(shape, np.inf))
        case _:
            raise ValueError(f"{parts!s:.60} are no parts of an observation")


def _box(shape: Sequence[int], low: Any, high: Any) -> dict[str, Any]:
    bounds = {
        name: np.asarray(each, np.float32).reshape(shape).tolist() for name, each in (("low", low), ("high", high))
    }
    return {"type": "Box", "dtype": "float32", "shape": [*shape], **bounds}
