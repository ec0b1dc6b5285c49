"""Named arrays in a safetensors file, which cannot run code: what a policy and a learner's state are kept in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from polyak.errors import UsageError
from polyak.files import write_atomically
from polyak.types import Arrays


def write_arrays(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> None:
    """Write the file; a reader sees the old one or the new one, never a part."""
    write_atomically(path, _with_sorted_header(save(arrays, metadata=dict(metadata))))


def read_arrays(
    path: Path, what: str, form: str, version: int, kinds: tuple[str, ...]
) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata of a file of this form, such as "polyak-policy", called `what` in errors.

    Raises:
        UsageError: it is missing, broken, of another form, of a newer version, or holds other kinds of numbers.
    """
    if not path.is_file():
        raise UsageError(f"there is no {what} file {path}")
    try:
        with cast(Any, safe_open(path, framework="numpy")) as handle:
            metadata: dict[str, str] = dict(handle.metadata() or {})
            _require_form(path, what, metadata, form, version)
            names = list(handle.keys())
            for name in names:  # before any memory is taken
                if (kind := handle.get_slice(name).get_dtype()) not in kinds:
                    raise UsageError(f"{path} is not a polyak {what}: {name} holds {kind}, not {' or '.join(kinds)}")
            return {name: handle.get_tensor(name) for name in names}, metadata
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} cannot be read as safetensors: {error}") from error


def _require_form(path: Path, what: str, metadata: Mapping[str, str], form: str, version: int) -> None:
    if metadata.get("format") != form:
        raise UsageError(f"{path} is not a polyak {what}")
    found = metadata.get("version", "none")[:20]
    if found != str(version):
        raise UsageError(
            f"{path} is a {what} of format version {found}, but this polyak reads up to {version}: upgrade polyak"
        )


def _with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with its header in a fixed order, so that equal arrays are equal files."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format aligns the data to 8 bytes
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
