"""TensorFlow for the tests."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

from backends import native, plain
from polyak.frameworks.tensorflow import parts as common
from polyak.frameworks.tensorflow.quiet import tf


class TensorFlow:
    name, namespace = "tensorflow", "tf"
    functions: ClassVar = {name: name for name in ("minimum", "sqrt", "zeros_like")} | {
        "clip": "clip_by_value",
        "log": "math.log",
    }

    def tensor(self, value: Any) -> Any:
        return tf.constant(value)

    @contextmanager
    def precisely(self) -> Generator[None]:
        yield

    def mapped(self, function: Callable[..., Any], *trees: Any) -> Any:
        return tf.nest.map_structure(function, *trees)

    def value_and_gradients(self, function: Callable[..., Any], parameters: Any, *rest: Any, aux: bool = True) -> Any:
        return plain(common.value_and_gradient(function, native(parameters, self), *native(rest, self)))


FRAMEWORK = TensorFlow()
