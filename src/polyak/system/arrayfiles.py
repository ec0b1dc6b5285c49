"""Named arrays in a safetensors file, which cannot run code: what policies and checkpoints are kept in."""

import hashlib
import json
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from polyak.errors import NewerFormatError, UnreadableError, UsageError
from polyak.system.files import opened, too_long
from polyak.types import Arrays

HEADER_LIMIT = 1_000_000
"""Bytes of a file's header, which names the arrays, at most."""
SIZE_LIMIT = 500_000_000
"""Bytes of a file that stands for itself at most: a policy of ten thousand units in each of two layers."""

SEAL = "sha256"
"""Where the metadata of a sealed file have its SHA-256."""


@dataclass(frozen=True)
class Form:
    """What a file of arrays is for, and what it may hold."""

    name: str
    """The form's name in the file, such as "polyak-policy"."""
    version: int
    what: str
    """What errors call it, such as "policy"."""
    kinds: tuple[str, ...]
    """The kinds of numbers it may hold, as safetensors names them."""
    sealed: bool = False
    """Whether a file states a SHA-256 of its own; where not, a manifest does. Earlier versions wrote none."""


def content_of(form: Form, arrays: Arrays, metadata: Mapping[str, str]) -> bytes:
    """The content of a file with these arrays; equal arrays are equal files."""
    marked = {"format": form.name, "version": str(form.version), **metadata}
    if form.sealed:
        marked[SEAL] = _digest(arrays, marked)
    # Of a view, `save` writes the memory that it lies in.
    plain = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return _with_sorted_header(save(plain, metadata=marked))


def read_arrays(path: Path, form: Form) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata of a file of this form.

    Raises:
        UsageError: it is missing, broken, of another form, of a newer version, or holds other kinds of numbers; or,
            which is found before it is read, it is longer than its header says.
    """
    if not os.path.lexists(path):
        raise UsageError(f"there is no {form.what} file {path}")
    with opened(path, follow=True) as (file, size):
        if size > SIZE_LIMIT:
            raise too_long(path, SIZE_LIMIT)
        lead = file.read(8 + HEADER_LIMIT)
        needed = len(lead[:8]) + int.from_bytes(lead[:8], "little") + _data_bytes(_header(lead, path), path)
        if size != needed:
            raise UnreadableError(f"{path} is damaged: it has {size:,} bytes, but {needed:,} by its own header")
        return arrays_in(lead + file.read(max(needed - len(lead), 0)), path, form)


def arrays_in(
    content: bytes, path: Path, form: Form, expected: Mapping[str, Any] | None = None
) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata in the content of the file `path`.

    `expected` holds an array of each name, of the kind and shape that is asked for; they are compared before any
    memory is taken.

    Raises:
        UsageError: as for `read_arrays`, or names, kinds or shapes that are not those expected.
    """
    header = _header(content, path)
    metadata = header.pop("__metadata__", {})
    _require_form(path, form, metadata)
    for name, described in header.items():
        kind: Any = cast(dict[str, Any], described).get("dtype") if isinstance(described, dict) else None
        if kind not in form.kinds:
            raise UsageError(f"{path} is not a polyak {form.what}: {name} holds {kind}, not {' or '.join(form.kinds)}")
    if expected is not None:
        _require_expected(path, header, expected)
    try:
        arrays = load(content)
    except (SafetensorError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as safetensors: {error}") from error
    if form.sealed and metadata.pop(SEAL, None) not in (None, _digest(arrays, metadata)):
        raise UnreadableError(f"{path} is damaged: its content does not have the SHA-256 that it states")
    return arrays, metadata


def version_in(content: bytes, path: Path) -> str:
    """The version of the form that the content of the file `path` claims to have; "none" where it claims none.

    Raises:
        UsageError: this is no file of arrays.
    """
    return _version(_header(content, path).get("__metadata__"))


def _version(metadata: Any) -> str:
    found = cast(dict[str, Any], metadata) if isinstance(metadata, dict) else {}
    return str(found.get("version", "none"))[:20]


def _digest(arrays: Arrays, metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata, and over name, kind, shape and bytes of every array."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, value in sorted(arrays.items()):
        digest.update(
            json.dumps([name, str(value.dtype), value.shape]).encode() + np.ascontiguousarray(value).tobytes()
        )
    return digest.hexdigest()


def _header(content: bytes, path: Path) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 + length or length > HEADER_LIMIT:
        raise UsageError(f"{path} cannot be read as safetensors: its header is cut off")
    try:
        header: Any = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as safetensors: {error}") from error
    if not isinstance(header, dict):
        raise UsageError(f"{path} cannot be read as safetensors: its header names no arrays")
    return cast(dict[str, Any], header)


def _data_bytes(header: Mapping[str, Any], path: Path) -> int:
    """The bytes that follow a header, which says where each array ends."""
    try:
        ends = [described["data_offsets"][1] for name, described in header.items() if name != "__metadata__"]
        return max(map(operator.index, ends), default=0)
    except (TypeError, KeyError, IndexError) as error:
        raise UsageError(f"{path} cannot be read as safetensors: its header does not say where arrays end") from error


def _require_form(path: Path, form: Form, metadata: Any) -> None:
    if not isinstance(metadata, dict) or cast(dict[str, Any], metadata).get("format") != form.name:
        raise UsageError(f"{path} is not a polyak {form.what}")
    found = _version(metadata)
    if found not in map(str, range(1, form.version + 1)):
        raise NewerFormatError(
            f"{path} is a {form.what} of format version {found}, but this polyak reads up to {form.version}: "
            "upgrade polyak"
        )


def _require_expected(path: Path, header: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    kinds = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64", np.dtype(np.int32): "I32"}
    for name in sorted(expected.keys() | header.keys()):
        here = f"{header[name]['dtype']} {str(header[name].get('shape'))[:80]}" if name in header else "absent"
        needed = f"{kinds[expected[name].dtype]} {list(expected[name].shape)}" if name in expected else "absent"
        if here != needed:
            raise UsageError(
                f"{path} does not fit these settings and this environment: {name} is {here}, but must be {needed}; "
                "observations, actions and hidden_sizes must be those that it was written with"
            )


def _with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with its header in a fixed order, so that equal arrays are equal files."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format aligns the data to 8 bytes
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
