"""JAX for the tests."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from backends.traced import Traced


class Jax:
    name, namespace = "jax", "jnp"
    functions: ClassVar = {name: name for name in ("minimum", "clip", "sqrt", "log", "zeros_like", "where")}

    def tensor(self, value: Any) -> Any:
        return jnp.array(value)

    @contextmanager
    def precisely(self) -> Generator[None]:
        with jax.disable_jit():
            yield

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return Traced(function)


FRAMEWORK = Jax()
