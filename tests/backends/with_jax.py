"""JAX for the tests."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import jax
import jax.numpy as jnp


class Jax:
    name, namespace = "jax", "jnp"
    functions: ClassVar = {name: name for name in ("minimum", "clip", "sqrt", "log", "zeros_like", "where")}

    def tensor(self, value: Any) -> Any:
        return jnp.array(value)

    @contextmanager
    def precisely(self) -> Generator[None]:
        with jax.disable_jit():
            yield


FRAMEWORK = Jax()
