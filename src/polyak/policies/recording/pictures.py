"""What an environment's `render()` gives, as the RGB bytes that a video takes."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError

Frame = NDArray[np.uint8]
"""[height, width, 3]"""

RIGHT = (
    "right is an array [height, width, 3] of bytes; grey, RGBA, booleans, floats in [0, 1], a list of frames and PIL's "
    "images are taken too"
)
UNIT = 2.0
"""A float picture whose largest number is below this is one in [0, 1]; in [0, 255] it would be black."""
NEARLY = 2
"""Levels of 255 that the eye does not tell apart."""


class Pictures:
    """Turns the pictures of one recording into frames, and notes whether anything could be seen on them."""

    def __init__(self) -> None:
        self.count = 0
        self._in_bytes = False  # whether floats have been seen that go up to 255
        self._low: Any = np.full(3, 255, np.uint8)
        self._high: Any = np.zeros(3, np.uint8)

    @property
    def one_colour(self) -> tuple[int, int, int] | None:
        """The colour of all pixels of all frames so far, where there is no other."""
        if not self.count or self._varied():
            return None
        return cast(tuple[int, int, int], tuple(self._low.tolist()))

    def frames(self, picture: Any) -> list[Frame]:
        """The frames of one answer of `render()`: one, or several where it is a list or has a leading axis.

        Raises:
            UsageError: it is no picture; what it is, is said.
        """
        if picture is None:
            raise UsageError(f"the environment cannot be recorded: its render() gives no picture; {RIGHT}")
        if isinstance(picture, list | tuple):
            several = cast("list[Any] | tuple[Any, ...]", picture)
            if all(_is_picture(each) for each in several):
                return [frame for each in several for frame in self.frames(each)]
        array = _array(picture)
        return [self._frame(each) for each in (array if array.ndim == 4 else [array])]

    def _frame(self, array: NDArray[Any]) -> Frame:
        frame = np.ascontiguousarray(self._bytes(_three_channels(array)))
        self.count += 1
        if not self._varied():
            self._low = np.minimum(self._low, frame.min(axis=(0, 1)))
            self._high = np.maximum(self._high, frame.max(axis=(0, 1)))
        return frame

    def _varied(self) -> bool:
        return bool((self._high.astype(int) - self._low > NEARLY).any())

    def _bytes(self, array: NDArray[Any]) -> Frame:
        if array.dtype == np.uint8:
            return cast(Frame, array)
        if array.dtype.kind == "b":
            return array.astype(np.uint8) * np.uint8(255)
        if array.dtype.kind not in "iuf":
            raise _refused(f"numbers of the type {array.dtype}")
        low, high = float(array.min()), float(array.max())
        if not (low >= -0.01 and high <= 255.5):  # neither is where one is not a number
            raise _refused(f"numbers from {low:g} to {high:g} ({array.dtype})")
        if array.dtype.kind == "f":
            self._in_bytes |= high >= UNIT
            array = np.rint(array.astype(np.float64) * (1.0 if self._in_bytes else 255.0))
        return np.clip(array, 0, 255).astype(np.uint8)


def _is_picture(value: Any) -> bool:
    """Whether an item of a list is a picture of its own, rather than a row of one."""
    return getattr(value, "ndim", 0) >= 2 or _is_pil(value)


def _is_pil(value: Any) -> bool:
    return hasattr(value, "getbands") and hasattr(value, "convert")


def _array(picture: Any) -> NDArray[Any]:
    if _is_pil(picture) and picture.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16"):
        picture = picture.convert("RGB")
    if hasattr(picture, "detach"):  # PyTorch's, perhaps on a GPU
        picture = picture.detach().cpu()
    try:
        array = np.asarray(picture)
    except Exception as error:
        raise _refused(f"a {type(picture).__name__} that is no array ({error})") from error
    if array.dtype.kind not in "biuf":
        raise _refused(f"a {type(picture).__name__}" + (f" of {array.dtype}" if array.ndim else ""))
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise _refused(f"the shape {array.shape}")
    return array


def _three_channels(array: NDArray[Any]) -> NDArray[Any]:
    """[height, width, 3] of a grey or coloured picture, with or without alpha; also where channels come first."""
    shape = array.shape
    if array.ndim == 3 and shape[2] not in (1, 2, 3, 4) and shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] in (1, 2):
        array = array[:, :, 0]
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4):
        raise _refused(f"the shape {shape}")
    return array[:, :, :3]  # an alpha of the whole picture says nothing: many simulators leave it 0


def _refused(what: str) -> UsageError:
    return UsageError(f"the environment cannot be recorded: its render() gives {what}; {RIGHT}")
