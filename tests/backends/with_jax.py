"""JAX for the tests."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from backends import native, plain


class Jax:
    name, namespace = "jax", "jnp"
    functions: ClassVar = {name: name for name in ("minimum", "clip", "sqrt", "log", "zeros_like")}

    def tensor(self, value: Any) -> Any:
        return jnp.array(value)

    @contextmanager
    def precisely(self) -> Generator[None]:
        with jax.disable_jit():
            yield

    def mapped(self, function: Callable[..., Any], *trees: Any) -> Any:
        return jax.tree.map(function, *trees)

    def value_and_gradients(self, function: Callable[..., Any], parameters: Any, *rest: Any, aux: bool = True) -> Any:
        gradient = jax.value_and_grad(function, has_aux=aux)
        return plain(gradient(native(parameters, self), *native(rest, self)))


FRAMEWORK = Jax()
