"""A learner's state in a run's checkpoints, compared with what the run says before it is believed."""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from polyak.algorithm import Algorithm, Net, expected_state, shape_of
from polyak.algorithms.checks import require_parts
from polyak.errors import UsageError
from polyak.experience.batches import snapshot_in
from polyak.policies.normalizer import Snapshot
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import Manifest
from polyak.settings.shared import Settings
from polyak.types import Arrays, Spec


class Known(NamedTuple):
    """A learner's state and what it is of."""

    config: Settings
    spec: Spec
    arrays: Arrays
    snapshot: Snapshot
    """What it sees observations through, and what its values are to be multiplied by."""


def newest_learner(folder: Path, algorithm: Algorithm, settings: Mapping[str, Any]) -> Known:
    """The learner of the newest whole checkpoint in a folder of checkpoints, of a run of these settings.

    Raises:
        UsageError: there is none, none is whole, or it is not what it should be.
    """
    checkpoints = Checkpoints(folder)

    def read(made: Manifest) -> Known:
        with sensible(folder / made.name):
            config = _config(algorithm, made.run["settings"])
            spec = Spec.from_json(made.state["spec"]).seen
            require_parts(algorithm, spec, config)
            expected = expected_learner(algorithm, spec, config, checkpoints.size(made.files["learner"]))
            arrays = checkpoints.learner(made, algorithm.name, expected)
            return Known(config, spec, arrays, snapshot_in(checkpoints.batches(made), config, spec))

    return checkpoints.newest(read, settings)


def _config(algorithm: Algorithm, settings: Mapping[str, Any]) -> Settings:
    try:
        return algorithm.Config(**settings)
    except UsageError as error:  # it is the file that is wrong, and not the call
        raise ValueError(str(error)) from error


def expected_learner(algorithm: Algorithm, spec: Spec, config: Settings, file_bytes: int) -> Arrays:
    """The learner's arrays as they must be, without memory of their own; what its file cannot hold is refused."""
    entries = algorithm.state(spec, config)
    trained = [shape_of(entries, name) for name, entry in entries.items() if isinstance(entry, Net)]
    least = 3 * 4 * sum(math.prod(shape) for shapes in trained for shape in shapes.values())  # with the moments
    if least > file_bytes:
        sizes = config.hidden_sizes
        raise UsageError(f"hidden_sizes {sizes} need {least:,} bytes, but the learner's file has {file_bytes:,}")
    return expected_state(entries)


@contextmanager
def sensible(manifest: Path) -> Generator[None]:
    """Name a manifest where its content makes no sense, although it is whole by its SHA-256.

    Raises:
        UsageError: instead of what makes no sense.
    """
    try:
        yield
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError) as error:
        raise UsageError(f"{manifest} makes no sense: {type(error).__name__} {str(error)[:200]}") from error
