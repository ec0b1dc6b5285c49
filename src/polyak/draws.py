"""What an update draws, in NumPy: for a whole burst at once, from one stream, in the order in which it is declared."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyak.types import Arrays, Float


@dataclass(frozen=True)
class Normal:
    """Standard normal numbers, float32, [B, ...]: they travel as columns of the records."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Subset:
    """`size` of the numbers 0 to `of` - 1, none twice: int32 [size], one for the whole batch of an update."""

    size: int
    of: int


@dataclass(frozen=True)
class Bits:
    """True, each with this probability: booleans of this shape to a page; drawn and sent eight a byte."""

    shape: tuple[int, ...]
    probability: float


Draw = Normal | Subset | Bits
Draws = Mapping[str, Draw]
"""What an update draws, by name, in the order in which it is drawn."""


def drawn(draws: Draws, generator: np.random.Generator, updates: int) -> Arrays:
    """The draws of K updates: of `Normal` [K, B, ...], of `Subset` [K, size], of `Bits` uint8 [K, bytes]."""
    return {name: _drawn(each, generator, updates) for name, each in draws.items()}


def undrawn(draws: Draws, updates: int) -> Arrays:
    """Zeros in place of the draws of K updates, where nothing depends on them."""
    shapes = {name: (updates, *sent_shape(each)) for name, each in draws.items()}
    return {name: np.zeros(shapes[name], kind_of(each)) for name, each in draws.items()}


def sent_shape(draw: Draw) -> tuple[int, ...]:
    """The shape of one update's draw, as `drawn` gives it."""
    if isinstance(draw, Bits):
        return (bytes_of(draw),)
    return (draw.size,) if isinstance(draw, Subset) else draw.shape


def kind_of(draw: Draw) -> Any:
    """The kind of the numbers that `drawn` gives."""
    kinds: dict[type[Draw], Any] = {Normal: np.float32, Subset: np.int32, Bits: np.uint8}
    return kinds[type(draw)]


def bytes_of(bits: Bits) -> int:
    """Bytes that the bits of one update take."""
    return -(-math.prod(bits.shape) // 8)


def _drawn(draw: Draw, generator: np.random.Generator, updates: int) -> NDArray[Any]:
    if isinstance(draw, Subset):
        orders = generator.permuted(np.tile(np.arange(draw.of, dtype=np.int32), (updates, 1)), axis=1)
        return np.ascontiguousarray(orders[:, : draw.size])
    if isinstance(draw, Bits):
        return _bits(draw, generator, updates)
    found: Float = generator.standard_normal((updates, *draw.shape), dtype=np.float32)
    return found


def _bits(draw: Bits, generator: np.random.Generator, updates: int) -> NDArray[np.uint8]:
    """The bits of K updates, [K, bytes], the lowest of a byte first; what is left of an update's last byte is 0.

    From one that is true to the next is a geometric number of places. There are few of them where the probability is
    small, as that of a dropped unit: a hundredth of the numbers that a draw for each bit would take.
    """
    each, width = math.prod(draw.shape), bytes_of(draw)
    places = _places(draw.probability, updates * each, generator)
    update, bit = np.divmod(places, each)
    found = np.zeros(updates * width, np.uint8)
    np.add.at(found, update * width + (bit >> 3), np.left_shift(1, bit & 7).astype(np.uint8))
    return found.reshape(updates, width)


def _places(probability: float, total: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Which of so many bits are true, in their order."""
    expected = total * probability
    count = int(expected + 4.0 * math.sqrt(expected)) + 4  # hardly ever too few
    found, last = list[NDArray[np.int64]](), -1
    while last < total:
        gaps = np.minimum(generator.geometric(probability, count), total + 1)  # of which a sum does not overflow
        found.append(last + np.cumsum(gaps))
        last = int(found[-1][-1])
    places = np.concatenate(found)
    return places[places < total]
