"""The distribution that a stochastic policy draws its actions from, as numbers to look at."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError
from polyak.types import Float, Spec

NEAREST = 1.0 - 2.0**-24
"""The largest absolute value of a normalized action that is put through the inverse of tanh, which is infinite at 1."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """A squashed Gaussian: u is normal, the normalized action is tanh(u), and the action is that in environment units.

    Source: Haarnoja et al. 2018, arXiv 1812.05905, appendix C.
    """

    mean: Float
    """[A] or [N, A]: of u, before the squash."""
    std: Float
    """Likewise: the standard deviation of u."""
    spec: Spec

    def log_prob(self, action: Any) -> Any:
        """The logarithm of the density of actions in environment units, as `act` gives them: [] or [N], float64.

        It is the density of the normalized action in [-1, 1], which SAC's losses have: less the sum of
        `log(spec.action_half_range)`, it is that in environment units.

        Raises:
            UsageError: actions of another shape than the distribution's.
        """
        given: NDArray[np.float64] = np.asarray(action, np.float64)
        expected = (*self.mean.shape[:-1], *self.spec.action_shape)
        if given.shape != expected:
            raise UsageError(f"the action has shape {given.shape}, but this distribution is of actions {expected}")
        low, half_range = self.spec.action_low, self.spec.action_half_range
        normalized = (given.reshape(self.mean.shape) - low) / half_range - 1.0
        u = np.arctanh(np.clip(normalized, -NEAREST, NEAREST))
        std = self.std.astype(np.float64)
        normal = -0.5 * ((u - self.mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2.0 * math.pi)
        slope = 2.0 * (math.log(2.0) - np.abs(u) - np.log1p(np.exp(-2.0 * np.abs(u))))  # log(1 - tanh(u)^2), stable
        return np.sum(normal - slope, axis=-1)
