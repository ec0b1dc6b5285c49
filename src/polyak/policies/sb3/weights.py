"""The one place where a file of PyTorch's is read, by its restricted reader: tensors and nothing that runs."""

import io
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polyak.errors import UsageError
from polyak.system.archives import archive_of
from polyak.types import Arrays

SAFE = (2, 10)
"""The first version whose restricted reader is not known to be deceived: CVE-2025-32434 (before 2.6) ran code, and
CVE-2026-24747 (before 2.10) corrupted memory."""


def read_weights(content: bytes, path: Path) -> Arrays:
    """The actor's tensors in the content of a `policy.pth`, float32.

    Raises:
        UsageError: PyTorch is missing or older than `SAFE`; or the content is anything but a table of tensors.
    """
    _require_reader()
    archive_of(content, path / "policy.pth")  # PyTorch would inflate, and reads formats older than zip otherwise
    import torch

    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a stranger's bytes let it raise, a pickle that is refused included
        told = " ".join(str(error).split())[:200]
        raise UsageError(f"{path} is refused: its policy.pth does not hold weights alone ({told})") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is refused: its policy.pth holds a {type(found).__name__}, and no table of weights")
    arrays: Arrays = {}
    for name, value in found.items():  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(name, str) or not name.startswith("actor."):
            continue
        whole = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not whole or value.dtype != torch.float32 or value.numel() * 4 > value.untyped_storage().nbytes():
            raise UsageError(f"{path} is refused: {name[:60]!a} in its policy.pth is no plain float32 tensor")
        arrays[name] = value.detach().numpy().copy()
    return arrays


def _require_reader() -> None:
    remedy = 'pip install "polyak[torch]"'
    try:
        found = version("torch")
    except PackageNotFoundError as error:
        raise UsageError(f"PyTorch, which reads the weights of such a model, is not installed: {remedy}") from error
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < SAFE:
        least = ".".join(map(str, SAFE))
        raise UsageError(
            f"PyTorch is {found}, whose reader of weights a hostile file can deceive: at least {least} is needed "
            f'(pip install "torch>={least}")'
        )
