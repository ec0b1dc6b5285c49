"""PyTorch for the tests."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from backends import native, plain
from polyak.frameworks.torch import parts as common


class Torch:
    name, namespace = "torch", "torch"
    functions: ClassVar = {name: name for name in ("minimum", "sqrt", "log", "zeros_like")} | {"clip": "clamp"}

    def tensor(self, value: Any) -> Any:
        return torch.tensor(value)

    @contextmanager
    def precisely(self) -> Generator[None]:
        with torch.no_grad():
            yield

    def mapped(self, function: Callable[..., Any], *trees: Any) -> Any:
        return common.mapped(function, *trees)

    def value_and_gradients(self, function: Callable[..., Any], parameters: Any, *rest: Any, aux: bool = True) -> Any:
        return plain(common.value_and_gradient(function, native(parameters, self), *native(rest, self)))


FRAMEWORK = Torch()
