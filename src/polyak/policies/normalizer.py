"""What brings observations to a common scale before a network sees them: numbers that stay as they are."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyak.settings.kinds import checked, require

Float = NDArray[np.float32]
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Normalizer:
    """clip((s - mean) scale, -clip, clip), in float32: a snapshot of running statistics, or any constants."""

    mean: Float
    """[O]"""
    scale: Float
    """[O], above 0: what a deviation from the mean is multiplied by."""
    clip: float
    """What is seen at most, in absolute value."""

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):
            value: Any = getattr(self, name)
            require(name, value, _is_vector(value), "a vector of float32")
        require("clip", self.clip, checked("clip", self.clip, float) > 0.0, "above 0")

    def __call__(self, observation: Float) -> Float:
        """Of raw observations, [..., O] -> [..., O]."""
        low, high = self._bounds
        with np.errstate(over="ignore"):  # what is beyond float32 is beyond the clip
            normalized = (observation - self.mean) * self.scale
        return np.minimum(np.maximum(normalized, low), high)

    @cached_property
    def _bounds(self) -> tuple[Float, Float]:
        return np.array(-self.clip, np.float32), np.array(self.clip, np.float32)

    def require_sound(self, size: int) -> None:
        """Check that it is one of observations of so many numbers, and gives none that is not finite.

        Raises:
            ValueError: it is not, or would.
        """
        if self.mean.shape != (size,) or self.scale.shape != (size,):
            raise ValueError(f"normalizer of {self.mean.shape} and {self.scale.shape} for {size} numbers")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ValueError("a mean of the normalizer is not finite, or a scale not finite and above 0")
        if not (0 < self.clip <= LARGEST):
            raise ValueError(f"the normalizer's clip is {self.clip}, but must be finite and above 0")

    def same(self, other: "Normalizer | None") -> bool:
        """Whether another has the same numbers."""
        return (
            other is not None
            and np.array_equal(self.mean, other.mean)
            and np.array_equal(self.scale, other.scale)
            and self.clip == other.clip
        )


def _is_vector(value: Any) -> bool:
    return isinstance(value, np.ndarray) and (value.dtype, value.ndim) == (np.float32, 1)  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a burst's batches were normalized by, and thus what the networks that learned from them are used to."""

    normalizer: Normalizer | None = None
    """Of observations."""
    reward_scale: float = 1.0
    """What rewards, and so values, were divided by: one unit of the learner's is so much reward."""


RAW = Snapshot()
"""Of batches of what there is, as it is."""
