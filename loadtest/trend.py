"""Trend: does a measure drift? The slope of a line through it, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

Z = 1.959964  # of the 97.5th percentile of the normal distribution


@dataclass(frozen=True, slots=True)
class Trend:
    """Change per unit of x, with its 95 % interval, and the mean level it starts from."""

    slope: float
    low: float
    high: float
    mean: float

    @property
    def is_flat(self) -> bool:
        """No rise that chance would not explain."""
        return self.low <= 0.0


def trend_of(x: Sequence[float], y: Sequence[float]) -> Trend:
    """Least squares; neighbouring windows that resemble each other make the interval wider. Needs four points.

    What disturbs one minute often disturbs the next. With a correlation r of neighbouring residuals, n points tell as
    much as n (1 - r) / (1 + r) independent ones.
    """
    count = len(x)
    if count < 4:
        raise ValueError(f"a trend needs at least 4 points, not {count}")
    x_mean, y_mean = sum(x) / count, sum(y) / count
    spread = sum((each - x_mean) ** 2 for each in x)
    slope = sum((one - x_mean) * (other - y_mean) for one, other in zip(x, y, strict=True)) / spread
    residuals = [other - y_mean - slope * (one - x_mean) for one, other in zip(x, y, strict=True)]
    squares = sum(each * each for each in residuals)
    alike = sum(one * next_one for one, next_one in pairwise(residuals)) / (squares or 1.0)
    inflation = (1.0 + max(alike, 0.0)) / (1.0 - min(max(alike, 0.0), 0.95))
    error = sqrt(squares / (count - 2) / spread * inflation)
    margin = _t_quantile(count - 2) * error
    return Trend(slope, slope - margin, slope + margin, y_mean)


def _t_quantile(degrees: int) -> float:
    """97.5th percentile of Student's t, by the first terms of its expansion around the normal one (0.2 % off at 4)."""
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / degrees + second / degrees**2 + third / degrees**3
