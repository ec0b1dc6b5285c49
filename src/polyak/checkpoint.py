"""A learner's whole state on disk: one safetensors file from which any framework goes on."""

from pathlib import Path

from polyak.arrayfiles import read_arrays, write_arrays
from polyak.errors import UsageError
from polyak.types import Arrays

FORMAT = "polyak-learner"
VERSION = 1


def save_learner(path: Path, algorithm: str, arrays: Arrays) -> None:
    """Write `Learner.arrays()`; a reader sees the old file or the new one, never a part."""
    write_arrays(path, arrays, {"format": FORMAT, "version": str(VERSION), "algorithm": algorithm})


def load_learner(path: Path, algorithm: str, expected: Arrays) -> Arrays:
    """Read what `save_learner` wrote, whichever framework learned it.

    Args:
        path: the file.
        algorithm: the algorithm that is to go on.
        expected: a state of the names, shapes and kinds that the settings in force need.

    Raises:
        UsageError: the file is missing, broken, of another form or algorithm, or does not fit the settings.
    """
    arrays, metadata = read_arrays(path, "learner", FORMAT, VERSION, ("F32", "I32"))
    if metadata.get("algorithm") != algorithm:
        raise UsageError(
            f"{path} is a learner of {metadata.get('algorithm', 'no algorithm')[:20]}, but {algorithm} is asked for: "
            "a learner goes on in its own algorithm"
        )
    for name in sorted(expected.keys() | arrays.keys()):
        here, needed = _kind(arrays, name), _kind(expected, name)
        if here != needed:
            raise UsageError(
                f"{path} does not fit these settings and this environment: {name} is {here}, but must be {needed}; "
                "observations, actions and hidden_sizes must be those that it learned with"
            )
    return arrays


def _kind(arrays: Arrays, name: str) -> str:
    return f"{arrays[name].dtype} {list(arrays[name].shape)}" if name in arrays else "absent"
