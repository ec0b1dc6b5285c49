"""TensorFlow for the tests."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

from polyak.frameworks.tensorflow.quiet import tf


class TensorFlow:
    name, namespace = "tensorflow", "tf"
    functions: ClassVar = {name: name for name in ("minimum", "sqrt", "zeros_like", "where")} | {
        "clip": "clip_by_value",
        "log": "math.log",
    }

    def tensor(self, value: Any) -> Any:
        return tf.constant(value)

    @contextmanager
    def precisely(self) -> Generator[None]:
        yield

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function


FRAMEWORK = TensorFlow()
