"""Imports TensorFlow without its remarks: it writes a page to standard error before it can be told not to."""

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from polyak.frameworks.execution import variables_set

said: list[str] = []
"""What TensorFlow wrote meanwhile; it tells why a GPU was not found."""


@contextmanager
def quietly() -> Generator[None]:
    """Keep what is written to file descriptor 2 within this block in `said`; after an error, pass it on as well."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            os.write(kept, _written(file))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.extend(_written(file).decode(errors="replace").splitlines())


def _written(file: Any) -> bytes:
    file.seek(0)
    return cast(bytes, file.read())


with quietly(), variables_set(TF_CPP_MIN_LOG_LEVEL=os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")):
    import tensorflow

    tf: Any = tensorflow  # its annotations cover a part of it, and wrongly
    tf.config.list_physical_devices()

if TYPE_CHECKING:
    Tensor = Any
else:
    Tensor = tf.Tensor

__all__ = ["Tensor", "said", "tf"]
