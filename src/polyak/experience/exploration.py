"""The noise that N environments are explored with: white, correlated within an episode, or held for some steps.

Held noise is FlashSAC's (Kim et al. 2026, 2604.04539): a standard normal vector acts for k steps, P(k) ~ k^-2 up to the
longest. Each environment has a clock of its own, which goes on over the ends of episodes. The spread is FastTD3's (Seo
et al. 2025, 2505.22642): a deviation for each environment, drawn anew where its episode ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from polyak.experience.draws import Draws
from polyak.types import Arrays, Bool, Float


class Manner(NamedTuple):
    """How noise is made."""

    correlation: float = 0.0
    """In [0, 1): of an episode's successive noise."""
    hold: int = 1
    """The most steps that it is held for."""
    spread: tuple[float, float] | None = None
    """Between which an environment's deviation is drawn, if it has one of its own."""


WHITE = Manner()


def chances(longest: int) -> NDArray[np.float64]:
    """[longest]: how probable it is that noise is held for 1, 2, ... steps."""
    weights = np.arange(1.0, longest + 1) ** -2
    return weights / weights.sum()


class Exploration:
    """Noise of N environments, drawn from one stream for all of them or from N, one for each."""

    def __init__(
        self,
        streams: np.random.Generator | Sequence[np.random.Generator],
        shape: tuple[int, int],
        manner: Manner = WHITE,
    ) -> None:
        """Take what to draw from, and `shape` [N, A]."""
        self._draws, self._manner = Draws(streams, shape), manner
        self._correlation = np.float32(manner.correlation)
        self._innovation = np.float32(np.sqrt(1.0 - manner.correlation**2))
        self._up_to = np.cumsum(chances(manner.hold))
        self._clock: NDArray[np.int64] = np.zeros(shape[0], np.int64)
        """[N]: steps for which the noise is still held; of no account where it is not held."""
        self.noise: Float = np.zeros(shape, np.float32)
        """[N, A]: of the next actions, standard normal."""
        self.spread: Float | None = None if manner.spread is None else np.zeros((shape[0], 1), np.float32)
        """[N, 1]: what each environment's noise is multiplied by, as `Policy.explore` says; None: by nothing."""

    def begin(self) -> None:
        """Draw what the first episodes begin with."""
        if self._manner.hold == 1:
            self.noise = self._draws.normal()
        else:
            self._hold_anew(range(len(self._clock)))
        for index in range(len(self._clock)):
            self._spread_anew(index)

    def go_on(self, valid: Bool) -> None:
        """The noise has acted, but where a step was only a reset (`valid` [N] is False): let the next be there."""
        if self._manner.hold > 1:
            self._clock -= valid
            if not self._clock.all():
                self._hold_anew(np.flatnonzero(self._clock == 0))
            return
        fresh = self._draws.normal()
        if self._correlation:
            fresh = cast(Float, self._correlation * self.noise + self._innovation * fresh)
        self.noise = fresh

    def episode_ended(self, index: int) -> None:
        """In environment `index`: unless it is held, its noise knows nothing of the last one; its spread is new."""
        if self._manner.hold == 1:
            self.noise[index] = self._draws.normal_for(index)
        self._spread_anew(index)

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `restore` needs, as JSON can hold it and as arrays."""
        counts: dict[str, Any] = {"exploration": self._draws.state()}
        if self._manner.hold > 1:
            counts["exploration_clock"] = self._clock.tolist()
        if self.spread is not None:
            counts["exploration_spread"] = self.spread[:, 0].tolist()
        return counts, {"exploration_noise": self.noise}

    def restore(self, counts: Mapping[str, Any], arrays: Arrays) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError, KeyError: this is none of as many environments with this manner of noise.
        """
        self._draws.restore(counts["exploration"])
        self.noise = arrays["exploration_noise"]
        if self._manner.hold > 1:
            clock: list[Any] = counts["exploration_clock"]
            if len(clock) != len(self._clock) or not all(type(each) is int and each in self._holds for each in clock):
                raise ValueError(f"noise is held for {str(clock)[:40]} steps, of {self._manner.hold} at most")
            self._clock = np.array(clock, np.int64)
        if self._manner.spread is not None:
            spread, (low, high) = np.array(counts["exploration_spread"], np.float32), self._ends(self._manner.spread)
            if spread.shape != self._clock.shape or not ((low <= spread) & (spread <= high)).all():
                raise ValueError(f"noise is spread by {str(spread)[:40]}, beyond {low} to {high}")
            self.spread = spread[:, np.newaxis]

    @staticmethod
    def _ends(spread: tuple[float, float]) -> tuple[float, float]:
        """In float32, as what lies between them is kept."""
        return float(np.float32(spread[0])), float(np.float32(spread[1]))

    @property
    def _holds(self) -> range:
        return range(1, self._manner.hold + 1)

    def _hold_anew(self, which: Sequence[int] | NDArray[np.int64]) -> None:
        """Draw for how long, then what, in each of these environments by itself."""
        self.noise = self.noise.copy()
        for index in which:
            below = np.searchsorted(self._up_to[:-1], self._draws.uniform_for(index), side="right")
            self._clock[index] = below + 1
            self.noise[index] = self._draws.normal_for(index)

    def _spread_anew(self, index: int) -> None:
        if self.spread is not None and self._manner.spread is not None:
            low, high = self._ends(self._manner.spread)
            self.spread = self.spread.copy()
            self.spread[index] = min(low + (high - low) * self._draws.uniform_for(index), high)
