"""PyTorch for the tests."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch


class Torch:
    name, namespace = "torch", "torch"
    functions: ClassVar = {name: name for name in ("minimum", "sqrt", "log", "zeros_like", "where")} | {"clip": "clamp"}

    def tensor(self, value: Any) -> Any:
        return torch.tensor(value)

    @contextmanager
    def precisely(self) -> Generator[None]:
        with torch.no_grad():
            yield

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function


FRAMEWORK = Torch()
